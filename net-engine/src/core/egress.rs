//! What the gateway sends: flows that have something to say, and the frames they fill.

use std::time::{Duration, Instant};

use smoltcp::iface::PollResult;
use smoltcp::socket::tcp::State;

use super::QueuedFrame;
use super::device::PacketDevice;
use super::flow_table::FlowId;
use super::gateway::Gateway;
use super::tcp_flow::{Refusal, TcpFlow, TcpState};

/// A flow that has nothing to send is looked at again no sooner: smoltcp may say "now" of work it
/// then declines, and the driver must not spin on that.
const MIN_TIMER: Duration = Duration::from_millis(1);

impl Gateway {
    /// Bounds the frames that wait by fewer bytes than the queue does, which on a slow link are time; at least one
    /// frame waits.
    pub fn set_max_queued_bytes(&mut self, bytes: usize) {
        self.wire.queue.set_max_bytes(bytes);
    }

    /// Counts that the link was left alone for its bounds.
    pub(crate) fn note_link_wait(&mut self) {
        self.wire.counters.link_waits += 1;
    }

    /// The frame to send next.
    pub fn next_frame(&self) -> Option<&QueuedFrame> {
        self.wire.queue.front()
    }

    /// The frame [`next_frame`](Self::next_frame) lent was taken by the link.
    pub fn frame_sent(&mut self) {
        if let Some(bytes) = self.wire.queue.pop() {
            self.wire.counters.frames_sent += 1;
            self.wire.counters.bytes_sent += u64::try_from(bytes).unwrap_or(0);
        }
    }

    /// Lets every flow that has something to send fill the queue; whether some still have more.
    ///
    /// Bounded by the queue: each pass sends at most [`Limits::max_queued_frames`] frames, and few large ones. A
    /// flow that filled it comes after the others next time.
    ///
    /// [`Limits::max_queued_frames`]: net_core::Limits::max_queued_frames
    pub fn poll_flows(&mut self, now: Instant) -> bool {
        self.latest = now;
        self.wire.queue.trim(now);
        self.fragments.handle_timeout(now);
        self.advertise_router(now);
        while let Some(id) = self.timers.poll_expired(now) {
            if let Some(open) = self.flows.open_mut(id) {
                open.timer = None;
                if open.mark_dirty() {
                    self.dirty.push_back(id);
                }
            }
        }
        while let Some(id) = self.dirty.pop_front() {
            if !self.poll_flow(id, now) {
                self.dirty.push_back(id);
                return true;
            }
        }
        false
    }

    /// Whether the flow has nothing more to send now.
    fn poll_flow(&mut self, id: FlowId, now: Instant) -> bool {
        let Some(flow) = self.flows.get_mut(id) else { return true };
        let open = match &mut flow.state {
            TcpState::Held(_) => return true,
            TcpState::Refused(..) => return self.poll_refused(id, now),
            TcpState::Open(open) => open,
        };
        let smoltcp_now = self.wire.smoltcp_now(now);
        let before = open.tcp().state();
        if open.linger_until.is_some_and(|until| until <= now || open.tcp().can_recv()) {
            // Nobody will read what the guest still sends: say so instead of letting it wait.
            open.socket.tcp_mut().abort();
        }
        loop {
            if self.wire.queue.is_full() {
                return false;
            }
            let mut device = PacketDevice::new(&mut self.wire, None, open.segment_bytes);
            let result = self.interface.poll_egress(smoltcp_now, &mut device, open.socket.set_mut());
            if let Some(sent) = device.last_sent() {
                open.last_sent = sent;
            }
            match result {
                PollResult::None => break,
                PollResult::SocketStateChanged => {}
            }
        }
        open.is_dirty = false;
        let state = open.tcp().state();
        // A handshake the guest did not finish in time ends here.
        open.reset.note(before, state);
        if open.linger_until.is_some() && matches!(state, State::Closed | State::TimeWait) {
            self.bury(id, state, now);
            return true;
        }
        let wake_at = self.interface.poll_at(smoltcp_now, open.socket.set());
        let due = wake_at.map(|at| self.wire.std_instant(at).max(now + MIN_TIMER));
        let rest = open.rest(&mut self.pool, now);
        let deadline = [due, rest, open.linger_until].into_iter().flatten().min();
        // A deadline that moved away is found out when the old one fires: nearly every segment moves
        // it, and few timers ever fire.
        if let Some(deadline) = deadline
            && open.timer.is_none_or(|armed| deadline < armed)
        {
            open.timer = Some(deadline);
            self.timers.set(id, deadline);
        }
        true
    }

    fn poll_refused(&mut self, id: FlowId, now: Instant) -> bool {
        if self.wire.queue.is_full() {
            return false;
        }
        let Some(flow) = self.forget(id) else { return true };
        if let TcpState::Refused(syn, how) = flow.state {
            match how {
                Refusal::Reset => self.feed_nobody(&syn, now),
                Refusal::Unreachable(why) => self.push_unreachable(&syn, why),
                Refusal::Silence => {}
            }
        }
        true
    }

    /// Removes an open flow that has ended and that nobody holds; TIME-WAIT leaves a tombstone, unless the
    /// guest uses the tuple again.
    fn bury(&mut self, id: FlowId, state: State, now: Instant) {
        let Some(flow) = self.forget(id) else { return };
        if let TcpState::Open(open) = flow.state {
            if state == State::TimeWait && self.flows.id_of(&flow.tuple).is_none() {
                self.tombstones.insert(flow.tuple, open.last_sent, now);
            }
            self.pool.release(open.socket, &open.rings);
        }
    }

    pub(super) fn forget(&mut self, id: FlowId) -> Option<TcpFlow> {
        let flow = self.flows.remove(id)?;
        self.timers.cancel(&id);
        match &flow.state {
            TcpState::Held(_) | TcpState::Refused(..) => self.held_syns -= 1,
            TcpState::Open(_) => {}
        }
        Some(flow)
    }

    /// When [`poll_flows`](Self::poll_flows) must be called again at the latest.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        [self.timers.poll_timeout(), self.fragments.poll_timeout(), self.advertiser.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }
}
