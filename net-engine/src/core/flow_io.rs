//! What the shell does with flows it has accepted.

use std::task::Waker;
use std::time::Instant;

use net_core::Flow;
use smoltcp::socket::tcp::State;

use super::FlowId;
use super::gateway::Gateway;
use super::tcp_flow::{OpenFlow, Refusal, StreamRead, StreamWrite};

impl Gateway {
    /// The 5-tuple of a flow.
    pub fn flow(&self, id: FlowId) -> Option<Flow> {
        self.flows.get(id).map(|flow| flow.tuple)
    }

    /// Lends the bytes at the front of a flow's receive ring; `take` says how many it consumed.
    ///
    /// The ring is contiguous up to its end, so what the guest has sent may take two calls.
    /// On `Blocked`, [`register_reader`](Self::register_reader) says when to come back.
    pub fn read<R>(&mut self, id: FlowId, take: impl FnOnce(&[u8]) -> (usize, R)) -> StreamRead<R> {
        let Some(open) = self.flows.open_mut(id) else { return StreamRead::Reset };
        let moved_before = open.moved_bytes;
        let read = open.read(take);
        // The window has opened; smoltcp says so once it has doubled.
        if open.moved_bytes != moved_before && open.mark_dirty() {
            self.dirty.push_back(id);
        }
        read
    }

    /// Lends the contiguous free part of a flow's send ring; `fill` says how many bytes it wrote.
    ///
    /// On `Blocked`, [`register_writer`](Self::register_writer) says when to come back.
    pub fn write<R>(&mut self, id: FlowId, fill: impl FnOnce(&mut [u8]) -> (usize, R)) -> StreamWrite<R> {
        let Some(open) = self.flows.open_mut(id) else { return StreamWrite::Reset };
        let moved_before = open.moved_bytes;
        let write = open.write(self.pool.is_short(), fill);
        self.pool.charge(&mut open.rings);
        if open.moved_bytes != moved_before && open.mark_dirty() {
            self.dirty.push_back(id);
        }
        write
    }

    /// Has `waker` woken when a read may no longer be `Blocked`. One reader per flow.
    pub fn register_reader(&mut self, id: FlowId, waker: &Waker) {
        if let Some(open) = self.flows.open_mut(id) {
            open.socket.tcp_mut().register_recv_waker(waker);
        }
    }

    /// Has `waker` woken when a write may no longer be `Blocked`. One writer per flow.
    pub fn register_writer(&mut self, id: FlowId, waker: &Waker) {
        if let Some(open) = self.flows.open_mut(id) {
            open.socket.tcp_mut().register_send_waker(waker);
        }
    }

    /// Whether the guest has reset the flow, or it is gone; otherwise has `waker` woken when that
    /// happens. One waiter per flow, besides its reader and its writer.
    #[must_use]
    pub fn poll_reset(&mut self, id: FlowId, waker: &Waker) -> bool {
        let Some(open) = self.flows.open_mut(id) else { return true };
        if !open.reset.has_come {
            open.reset.waker = Some(waker.clone());
        }
        open.reset.has_come
    }

    /// Ends our half of an open flow: what was written is still delivered, then FIN.
    pub fn close(&mut self, id: FlowId) {
        if let Some(open) = self.flows.open_mut(id) {
            open.socket.tcp_mut().close();
            self.mark_dirty(id);
        }
    }

    /// Resets an open flow.
    pub fn abort(&mut self, id: FlowId) {
        if let Some(open) = self.flows.open_mut(id) {
            open.socket.tcp_mut().abort();
            self.mark_dirty(id);
        }
    }

    /// Nobody reads or writes the flow any more.
    ///
    /// A flow whose half we closed finishes by itself, for
    /// [`Limits::drain_timeout`](net_core::Limits::drain_timeout) at most; any other is reset.
    pub fn release(&mut self, id: FlowId, now: Instant) {
        let drain_timeout = self.limits.drain_timeout;
        let Some(open) = self.flows.open_mut(id) else { return };
        match open.tcp().state() {
            State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck
            | State::TimeWait
            | State::Closed => {}
            State::Listen | State::SynSent | State::SynReceived | State::Established | State::CloseWait => {
                open.socket.tcp_mut().abort()
            }
        }
        open.linger_until = Some(now + drain_timeout);
        self.mark_dirty(id);
    }

    /// Resets every flow: the guest's network ends.
    pub fn abort_all(&mut self) {
        let ids: Vec<FlowId> = self.flows.ids().collect();
        for id in ids {
            self.refuse(id, Refusal::Reset);
            self.abort(id);
        }
    }

    /// Puts an open flow on the list of those that may have something to send.
    fn mark_dirty(&mut self, id: FlowId) {
        if self.flows.open_mut(id).is_some_and(OpenFlow::mark_dirty) {
            self.dirty.push_back(id);
        }
    }
}
