use std::time::Instant;

use net_core::Flow;
use thiserror::Error;

use super::flow_table::FlowId;
use super::gateway::{Gateway, prepare};
use super::tcp_flow::{OpenFlow, TcpFlow, TcpState};

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
        open.awaits_answer = true;
        let id = self.flows.insert(TcpFlow { tuple: flow, state: TcpState::Open(Box::new(open)) });
        self.dirty.push_back(id);
        self.wire.counters.flows_opened += 1;
        Ok(id)
    }
}
