//! Gateway, guest and cable on one time line that this test moves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use net_core::{Flow, Limits};
use net_engine::core::{
    FlowId, Gateway, GatewayConfig, GuestAddresses, Ingress, Refusal, StreamRead, StreamWrite,
};
use net_engine::link::{FrameMeta, LinkCapabilities};
use smoltcp::iface::SocketHandle;

use crate::guest::Guest;
use crate::wire::{Faults, Wire, complete};

pub(crate) const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
pub(crate) const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
pub(crate) const SERVERS: [IpAddr; 2] = [SERVER_V4, SERVER_V6];

/// How a world is built.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) offload: bool,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
}

impl Default for Setup {
    fn default() -> Self {
        let limits =
            Limits { tcp_rx_buffer_bytes: 64 << 10, tcp_tx_buffer_bytes: 128 << 10, ..Limits::default() };
        Self { offload: false, faults: Faults::default(), limits }
    }
}

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) guest: Guest,
    pub(crate) now: Instant,
    /// SYNs that were not looked at yet.
    pub(crate) syns: Vec<(FlowId, Flow)>,
    /// Flows the guest reset while they waited.
    pub(crate) given_up: Vec<FlowId>,
    /// Frames the guest was sent, complete, in order of sending.
    pub(crate) seen: Vec<Vec<u8>>,
    pub(crate) keep_seen: bool,
    /// How often anything was polled.
    pub(crate) steps: u64,
    start: Instant,
    to_guest: Wire,
    to_gateway: Wire,
}

/// Both ends of one connection.
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) guest: SocketHandle,
    pub(crate) flow: FlowId,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        #[allow(clippy::disallowed_methods, reason = "any instant will do: the test moves it from here on")]
        let start = Instant::now();
        let addresses = GuestAddresses::default();
        let link = LinkCapabilities { mtu: 1500, offload: setup.offload };
        let config =
            GatewayConfig { addresses, link, limits: setup.limits, random_seed: 1, autoconfiguration: None };
        Self {
            gateway: Gateway::new(config, start).expect("the default addresses"),
            guest: Guest::new(&addresses, 1500),
            now: start,
            syns: Vec::new(),
            given_up: Vec::new(),
            seen: Vec::new(),
            keep_seen: false,
            steps: 0,
            start,
            to_guest: Wire::new(setup.faults, 0x9e37_79b9),
            to_gateway: Wire::new(setup.faults, 0x7f4a_7c15),
        }
    }

    /// Lets everything due now happen, then moves to the next moment at which something is due, at
    /// most `until`. Whether there was one before.
    pub(crate) fn step(&mut self, until: Instant) -> bool {
        self.steps += 1;
        self.settle();
        let smoltcp_now = self.smoltcp_now();
        let guest_due = self.guest.poll_delay(smoltcp_now).map(|delay| {
            // A stack that is due now has just been polled and has nothing to say.
            self.now + Duration::from_micros(delay.total_micros().max(100))
        });
        let due =
            [self.to_guest.next_at(), self.to_gateway.next_at(), self.gateway.poll_timeout(), guest_due];
        let next = due.into_iter().flatten().min();
        match next {
            Some(next) if next <= until => {
                self.now = next.max(self.now);
                self.settle();
                true
            }
            Some(_) | None => {
                self.now = until;
                self.settle();
                false
            }
        }
    }

    fn settle(&mut self) {
        while let Some(frame) = self.to_guest.receive(self.now) {
            self.guest.handle_frame(frame);
        }
        let smoltcp_now = self.smoltcp_now();
        for frame in self.guest.poll(smoltcp_now) {
            self.to_gateway.send(frame, self.now);
        }
        loop {
            while self.gateway.has_room() {
                let Some(frame) = self.to_gateway.receive(self.now) else { break };
                self.feed(&frame);
            }
            let more = self.gateway.poll_flows(self.now);
            let mut sent = false;
            while let Some(frame) = self.gateway.next_frame() {
                sent = true;
                for piece in complete(&frame.meta, frame.bytes()) {
                    if self.keep_seen {
                        self.seen.push(piece.clone());
                    }
                    self.to_guest.send(piece, self.now);
                }
                self.gateway.frame_sent();
            }
            if !more && !sent {
                return;
            }
        }
    }

    /// Hands the gateway one frame, past the cable.
    pub(crate) fn feed(&mut self, frame: &[u8]) {
        match self.gateway.handle_frame(&FrameMeta::default(), frame, self.now) {
            Ingress::Syn { id, flow } => self.syns.push((id, flow)),
            Ingress::GivenUp { id } => self.given_up.push(id),
            Ingress::Handled | Ingress::Datagram { .. } => {}
            Ingress::Datagrams { .. } | Ingress::Reassembled(_) | Ingress::Echo { .. } => {}
        }
    }

    /// Hands the gateway one frame and takes what it sends, past cable and guest. An empty frame
    /// takes only.
    pub(crate) fn answers(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        if !frame.is_empty() {
            self.feed(frame);
        }
        let mut answers = Vec::new();
        while self.gateway.poll_flows(self.now) || self.gateway.next_frame().is_some() {
            answers.extend(self.gateway.next_frame().map(|frame| frame.bytes().to_vec()));
            self.gateway.frame_sent();
        }
        answers
    }

    /// Runs until `done` or for `patience` of virtual time; whether it was done.
    pub(crate) fn run_until(&mut self, patience: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now + patience;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(until) && self.now >= until {
                return done(self);
            }
        }
    }

    /// Runs for `duration` of virtual time.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            self.step(until);
        }
    }

    /// A SYN of the guest is held.
    pub(crate) fn syn_held(&mut self, to: (IpAddr, u16), from_port: u16) -> Connection {
        let guest = self.guest.tcp();
        self.guest.connect(guest, to, from_port);
        assert!(self.run_until(Duration::from_secs(30), |world| !world.syns.is_empty()), "no SYN arrived");
        let (flow, tuple) = self.syns.remove(0);
        assert_eq!((tuple.upstream.ip(), tuple.upstream.port()), to);
        Connection { guest, flow }
    }

    /// A connection is established at both ends.
    pub(crate) fn established(&mut self, to: (IpAddr, u16), from_port: u16) -> Connection {
        let connection = self.syn_held(to, from_port);
        self.gateway.accept(connection.flow, self.now).expect("room for a flow");
        let guest = connection.guest;
        let done = self.run_until(Duration::from_secs(60), |world| {
            let is_up = world.gateway.write(connection.flow, |_| (0, ())) == StreamWrite::Room(());
            is_up && world.guest.socket(guest).may_send()
        });
        assert!(done, "the two ends were not connected");
        connection
    }

    /// Takes all that the guest has sent so far, and how the stream goes on.
    pub(crate) fn drain(&mut self, flow: FlowId) -> (Vec<u8>, StreamRead<()>) {
        let mut all = Vec::new();
        loop {
            let read = self.gateway.read(flow, |bytes| {
                all.extend_from_slice(bytes);
                (bytes.len(), ())
            });
            if read != StreamRead::Data(()) {
                return (all, read);
            }
        }
    }

    /// Sends as much of `bytes` as there is room for; how much that was.
    pub(crate) fn fill(&mut self, flow: FlowId, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            let write = self.gateway.write(flow, |room| {
                let count = room.len().min(bytes.len() - sent);
                room[..count].copy_from_slice(&bytes[sent..sent + count]);
                (count, count)
            });
            match write {
                StreamWrite::Room(count) => sent += count,
                StreamWrite::Blocked | StreamWrite::Reset => break,
            }
        }
        sent
    }

    /// Takes all that has reached the guest's socket so far.
    pub(crate) fn drain_guest(&mut self, handle: SocketHandle) -> Vec<u8> {
        let mut all = Vec::new();
        let socket = self.guest.socket(handle);
        while socket.can_recv() {
            socket
                .recv(|bytes| {
                    all.extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .expect("a socket that can receive");
        }
        all
    }

    pub(crate) fn refuse(&mut self, flow: FlowId, how: Refusal) {
        self.gateway.refuse(flow, how);
    }

    pub(crate) fn smoltcp_now(&self) -> smoltcp::time::Instant {
        let elapsed = self.now.duration_since(self.start);
        smoltcp::time::Instant::from_micros(i64::try_from(elapsed.as_micros()).expect("a short test"))
    }
}
