use std::time::Instant;

use net_core::Flow;
use smoltcp::iface::Context;
use thiserror::Error;

use super::flow_table::FlowId;
use super::gateway::{Gateway, prepare};
use super::tcp_flow::{OpenFlow, TcpFlow, TcpState};

/// How often a SYN goes out again for what the guest answers it with, and not for its silence.
const MAX_BEGINS_AGAIN: u8 = 2;

/// Why no connection towards the guest was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The addresses are not the guest's and that of somebody else, of one family.
    #[error("the addresses are not the guest's and somebody else's")]
    Addresses,
    /// There is such a flow.
    #[error("the two ports are connected to each other")]
    InUse,
    /// [`Limits::max_tcp_flows`](net_core::Limits::max_tcp_flows) hold buffers already, or the host has no
    /// memory for more.
    #[error("no more tcp flows can be opened")]
    Limit,
}

impl Gateway {
    /// Begins a connection to the guest, which hears of it from `flow.upstream`.
    ///
    /// It is read and written like one the guest has begun, from the moment it answers; until then
    /// [`Gateway::write`] is `Blocked`, and `Reset` once it has refused or
    /// [`Limits::connect_timeout`](net_core::Limits::connect_timeout) is over.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was sent then.
    pub fn connect(&mut self, flow: Flow, now: Instant) -> Result<FlowId, ConnectError> {
        let (guest, far) = (flow.guest, flow.upstream);
        let is_between = self.claims().is_guest(guest.ip()) && !self.claims().is_guest(far.ip());
        if !is_between || guest.is_ipv4() != far.is_ipv4() || guest.port() == 0 || far.port() == 0 {
            return Err(ConnectError::Addresses);
        }
        if self.flows.id_of(&flow).is_some() {
            return Err(ConnectError::InUse);
        }
        // The sequence number is the guest's to choose: it comes with its answer.
        let (mut socket, rings) = self.pool.socket(0).ok_or(ConnectError::Limit)?;
        let tcp = socket.tcp_mut();
        prepare(tcp, self.limits.connect_timeout);
        let remote = (guest.ip(), guest.port());
        if tcp.connect(self.interface.context(), remote, (far.ip(), far.port())).is_err() {
            self.pool.release(socket, &rings);
            return Err(ConnectError::Addresses);
        }
        // What the guest takes at once is in its answer too.
        let mut open = OpenFlow::new(socket, rings, u16::MAX, now);
        open.begins_left = Some(MAX_BEGINS_AGAIN);
        let id = self.flows.insert(TcpFlow { tuple: flow, state: TcpState::Open(Box::new(open)) });
        self.dirty.push_back(id);
        self.wire.counters.flows_opened += 1;
        Ok(id)
    }
}

impl OpenFlow {
    /// Begins again where the guest's answer to our SYN was just refused with a reset.
    ///
    /// It was about an older connection of the two ports, mostly one in TIME-WAIT: that takes no SYN whose
    /// sequence number is not beyond its own (RFC 9293, section 3.6.1) and is ended by the reset (section
    /// 3.5.1). smoltcp would leave the next SYN to its timer, a second later.
    pub(super) fn begin_again(&mut self, context: &mut Context) {
        let Some(left) = self.begins_left.and_then(|left| left.checked_sub(1)) else { return };
        let tcp = self.socket.tcp_mut();
        let (Some(local), Some(remote)) = (tcp.local_endpoint(), tcp.remote_endpoint()) else { return };
        self.begins_left = Some(left);
        // Nothing is sent for this: the socket is open again before it is polled. Its sequence number is another
        // one, which a guest that heeds no reset in TIME-WAIT (RFC 1337) may take.
        tcp.abort();
        // These endpoints have been connected before.
        let _ = tcp.connect(context, remote, local);
    }
}
