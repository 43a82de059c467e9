//! A gateway that is told what to do, beside a model that knows what must come of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use net_core::{Flow, Limits, Protocol};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

use crate::core::{
    AcceptError, FlowId, Gateway, GatewayConfig, GuestAddresses, Ingress, MacAddress, Refusal, StreamRead,
    StreamWrite, Unreachable,
};
use crate::link::{FrameMeta, LinkCapabilities};

const MAX_OPEN: usize = 4;
const MAX_HELD: usize = 3;
/// Flows the model remembers, ended ones too.
const MAX_KNOWN: usize = 12;
/// Frames and passes that one operation may take.
const MAX_WORK: usize = 64;
/// What the guest's first sequence number is.
const ISN: u32 = 1_000;
const SERVER_PORT: u16 = 443;

/// How much of everything an input had done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Operated {
    /// Flows that were accepted.
    pub accepted: u64,
    /// Flows that were refused, by bounds too.
    pub refused: u64,
    /// Frames of others than the guest.
    pub spoofed: u64,
    /// Bytes that arrived, both ways.
    pub carried: u64,
}

/// See [`a_gateway_does_what_a_model_says`](super::a_gateway_does_what_a_model_says).
pub(super) fn run(bytes: &[u8]) -> Operated {
    let mut world = World::new();
    for operation in bytes.chunks_exact(3) {
        world.operate(operation[0], operation[1].into(), operation[2].into());
        world.check();
    }
    world.done
}

/// A flow as the model knows it.
struct Known {
    id: FlowId,
    flow: Flow,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    Open(Talk),
    Gone,
}

/// What was said on an open flow, in bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Talk {
    /// By the guest, and how many of them were acknowledged and read.
    sent: u32,
    acked: u32,
    read: u32,
    /// By the shell, and how many of them the guest has.
    written: u32,
    heard: u32,
    /// The sequence number of the shell's first byte.
    first: u32,
    window: u32,
}

/// The byte of a stream at a place.
fn byte_at(port: u16, place: u32) -> u8 {
    (u32::from(port) ^ place.wrapping_mul(31) ^ (place >> 8)).to_le_bytes()[0]
}

fn bytes_at(port: u16, from: u32, count: u32) -> Vec<u8> {
    (from..from + count).map(|place| byte_at(port, place)).collect()
}

/// A segment for the guest.
struct Heard {
    flow: Flow,
    seq: u32,
    ack: u32,
    window: u32,
    is_syn: bool,
    is_rst: bool,
    payload: Vec<u8>,
}

struct World {
    gateway: Gateway,
    addresses: GuestAddresses,
    now: Instant,
    known: Vec<Known>,
    next_port: u16,
    done: Operated,
}

impl World {
    #[allow(clippy::disallowed_methods, reason = "any instant will do: the run moves it from here on")]
    fn new() -> Self {
        let limits = Limits {
            max_tcp_flows: MAX_OPEN,
            max_held_syns: MAX_HELD,
            // The model answers each; what is above a rate has tests of its own.
            resets_per_second: u32::MAX,
            icmp_errors_per_second: u32::MAX,
            new_flows_per_second: u32::MAX,
            new_flow_burst: u32::MAX,
            tcp_rx_buffer_bytes: 4 << 10,
            tcp_tx_buffer_bytes: 8 << 10,
            ..Limits::default()
        };
        let addresses = GuestAddresses::default();
        let link = LinkCapabilities { mtu: 1500, offload: false };
        let config = GatewayConfig { addresses, link, limits, random_seed: 1, autoconfiguration: None };
        let now = Instant::now();
        let gateway = Gateway::new(config, now).expect("the default addresses");
        Self { gateway, addresses, now, known: Vec::new(), next_port: 10_000, done: Operated::default() }
    }

    fn operate(&mut self, operation: u8, which: usize, amount: u32) {
        if operation.is_multiple_of(10) {
            return self.begin(which % 2 == 1);
        }
        if operation % 10 == 9 {
            self.now += Duration::from_millis(u64::from(amount));
            let heard = self.drain();
            assert!(heard.is_empty(), "time alone says something: all was acknowledged");
            return;
        }
        let Some(index) = which.checked_rem(self.known.len()) else { return };
        match operation % 10 {
            1 => self.begin_again(index),
            2 => self.accept(index),
            3 => self.refuse(index, amount),
            4 => self.reset(index),
            5 => self.send(index, amount * 8),
            6 => self.read(index),
            7 => self.write(index, amount * 32),
            _ if operation < 128 => self.abort(index),
            _ => self.spoof(index, amount),
        }
    }

    fn guest(&self, is_v6: bool) -> IpAddr {
        let v4 = || self.addresses.ipv4.map(|pair| IpAddr::V4(pair.guest));
        let v6 = || self.addresses.ipv6.map(|pair| IpAddr::V6(pair.guest));
        if is_v6 { v6() } else { v4() }.expect("the default addresses are of both families")
    }

    /// A flow from a port that was not used before.
    fn begin(&mut self, is_v6: bool) {
        let server: IpAddr = if is_v6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into()
        } else {
            Ipv4Addr::new(198, 51, 100, 7).into()
        };
        self.next_port = self.next_port.checked_add(1).unwrap_or(10_000);
        let guest = SocketAddr::new(self.guest(is_v6), self.next_port);
        let upstream = SocketAddr::new(server, SERVER_PORT);
        let flow = Flow { protocol: Protocol::Tcp, guest, upstream };
        let has_room = self.count(|state| *state == State::Held) < MAX_HELD;
        let refused = self.gateway.counters().flows_refused;
        let frame = self.frame(&flow, TcpControl::Syn, ISN, None, &[]);
        let begun = self.feed(&frame);
        let heard = self.drain();
        match begun {
            Fed::Syn(id, begun) => {
                assert!(has_room && begun == flow, "{begun:?}");
                assert!(heard.is_empty(), "nobody has decided yet");
                assert!(self.known.iter().all(|known| known.id != id), "an id is used twice");
                if self.known.len() == MAX_KNOWN {
                    let gone = self.known.iter().position(|known| known.state == State::Gone);
                    self.known.remove(gone.expect("fewer than these are held or open"));
                }
                self.known.push(Known { id, flow, state: State::Held });
            }
            Fed::Nothing => {
                assert!(!has_room, "a flow was refused for which there is room");
                assert_eq!(self.gateway.counters().flows_refused, refused + 1);
                assert!(only_reset(&heard, &flow), "the guest is told");
                self.done.refused += 1;
            }
            Fed::GivenUp(_) => panic!("nobody gave up"),
        }
    }

    /// The SYN of a flow once more.
    fn begin_again(&mut self, index: usize) {
        let Known { flow, state: State::Held, .. } = self.known[index] else { return };
        let frame = self.frame(&flow, TcpControl::Syn, ISN, None, &[]);
        assert!(matches!(self.feed(&frame), Fed::Nothing), "a flow is new once");
        assert!(self.drain().is_empty());
    }

    fn accept(&mut self, index: usize) {
        let Known { id, flow, state } = self.known[index];
        let has_room = self.count(|state| matches!(state, State::Open(_))) < MAX_OPEN;
        let accepted = self.gateway.accept(id, self.now);
        let heard = self.drain();
        match (state, has_room) {
            (State::Held, true) => {
                assert_eq!(accepted, Ok(()));
                let [answer] = &heard[..] else { panic!("{} answers to a SYN", heard.len()) };
                assert!(answer.flow == flow && answer.is_syn && answer.ack == ISN + 1);
                let talk =
                    Talk { first: answer.seq.wrapping_add(1), window: answer.window, ..Talk::default() };
                self.known[index].state = State::Open(talk);
                self.acknowledge(index);
                self.done.accepted += 1;
            }
            (State::Held, false) => assert_eq!(accepted, Err(AcceptError::Limit)),
            (State::Open(_) | State::Gone, _) => assert_eq!(accepted, Err(AcceptError::Gone)),
        }
    }

    fn refuse(&mut self, index: usize, how: u32) {
        let Known { id, flow, state } = self.known[index];
        let how = match how % 3 {
            0 => Refusal::Reset,
            1 => Refusal::Unreachable(Unreachable::Host),
            _ => Refusal::Silence,
        };
        let sent = self.gateway.counters().frames_sent;
        self.gateway.refuse(id, how);
        let heard = self.drain();
        let sent = self.gateway.counters().frames_sent - sent;
        if state != State::Held {
            assert_eq!(sent, 0, "only what waits can be refused");
            return;
        }
        match how {
            Refusal::Reset => assert!(only_reset(&heard, &flow)),
            Refusal::Unreachable(_) => assert!(heard.is_empty() && sent == 1, "one error of ICMP"),
            Refusal::Silence => assert_eq!(sent, 0),
        }
        self.known[index].state = State::Gone;
        self.done.refused += 1;
    }

    /// The guest resets a flow.
    fn reset(&mut self, index: usize) {
        let Known { id, flow, state } = self.known[index];
        let (seq, ack) = match state {
            State::Held => (ISN + 1, None),
            State::Open(talk) => (ISN + 1 + talk.sent, Some(talk.first.wrapping_add(talk.heard))),
            State::Gone => return,
        };
        let frame = self.frame(&flow, TcpControl::Rst, seq, ack, &[]);
        let fed = self.feed(&frame);
        match state {
            State::Held => assert!(matches!(fed, Fed::GivenUp(given_up) if given_up == id)),
            State::Open(_) | State::Gone => {
                assert!(matches!(fed, Fed::Nothing));
                assert!(matches!(self.gateway.write(id, |_| (0, ())), StreamWrite::Reset));
                self.gateway.release(id, self.now);
            }
        }
        assert!(self.drain().is_empty(), "a reset is not answered");
        self.known[index].state = State::Gone;
    }

    /// The guest sends as much as its window allows, `count` bytes at most.
    fn send(&mut self, index: usize, count: u32) {
        let Known { flow, state: State::Open(talk), .. } = self.known[index] else { return };
        let count = count.min(1_400).min((talk.acked + talk.window).saturating_sub(talk.sent));
        if count == 0 {
            return;
        }
        let payload = bytes_at(flow.guest.port(), talk.sent, count);
        let ack = talk.first.wrapping_add(talk.heard);
        let frame = self.frame(&flow, TcpControl::Psh, ISN + 1 + talk.sent, Some(ack), &payload);
        assert!(matches!(self.feed(&frame), Fed::Nothing));
        self.known[index].state = State::Open(Talk { sent: talk.sent + count, ..talk });
        self.exchange();
        if let State::Open(talk) = self.known[index].state {
            assert_eq!(talk.acked, talk.sent, "what the window allows is taken");
        }
    }

    /// The shell reads everything.
    fn read(&mut self, index: usize) {
        let Known { id, flow, state } = self.known[index];
        let State::Open(mut talk) = state else {
            assert!(matches!(self.gateway.read(id, |ring| (ring.len(), ())), StreamRead::Reset));
            return;
        };
        // The ring has one end: twice, and once more for nothing.
        for _ in 0..3 {
            let read = self.gateway.read(id, |ring| (ring.len(), ring.to_vec()));
            match read {
                StreamRead::Data(bytes) => {
                    let count = u32::try_from(bytes.len()).expect("a ring is small");
                    assert_eq!(bytes, bytes_at(flow.guest.port(), talk.read, count), "the guest's bytes");
                    talk.read += count;
                }
                StreamRead::Blocked => break,
                StreamRead::Finished | StreamRead::Reset => panic!("the guest has not ended"),
            }
        }
        assert_eq!(talk.read, talk.sent, "all of them");
        self.known[index].state = State::Open(talk);
        self.exchange();
    }

    /// The shell writes as much as there is room for, `count` bytes at most.
    fn write(&mut self, index: usize, count: u32) {
        let Known { id, flow, state } = self.known[index];
        let State::Open(mut talk) = state else {
            assert!(matches!(self.gateway.write(id, |_| (0, ())), StreamWrite::Reset | StreamWrite::Blocked));
            return;
        };
        let write = self.gateway.write(id, |ring| {
            let count = count.min(u32::try_from(ring.len()).expect("a ring is small"));
            let bytes = bytes_at(flow.guest.port(), talk.written, count);
            ring[..bytes.len()].copy_from_slice(&bytes);
            (bytes.len(), count)
        });
        match write {
            StreamWrite::Room(count) => talk.written += count,
            StreamWrite::Blocked => panic!("all was acknowledged: there is room"),
            StreamWrite::Reset => panic!("the guest has not reset it"),
        }
        self.known[index].state = State::Open(talk);
        self.exchange();
        if let State::Open(talk) = self.known[index].state {
            assert_eq!(talk.heard, talk.written, "all of it arrives");
        }
    }

    /// The shell resets a flow, and lets it go.
    fn abort(&mut self, index: usize) {
        let Known { id, flow, state: State::Open(_) } = self.known[index] else { return };
        self.gateway.abort(id);
        self.gateway.release(id, self.now);
        assert!(only_reset(&self.drain(), &flow));
        self.known[index].state = State::Gone;
    }

    /// Somebody else says something about a flow, or begins one: nothing may come of it.
    fn spoof(&mut self, index: usize, how: u32) {
        let Known { mut flow, state, .. } = self.known[index];
        let talk = if let State::Open(talk) = state { talk } else { Talk::default() };
        let (seq, ack) = (ISN + 1 + talk.sent, talk.first.wrapping_add(talk.heard));
        let is_stranger = how & 1 == 1;
        if is_stranger {
            let stranger: IpAddr = if flow.guest.is_ipv6() {
                Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9).into()
            } else {
                Ipv4Addr::new(203, 0, 113, 9).into()
            };
            flow.guest.set_ip(stranger);
        }
        let mut frame = match how >> 1 & 3 {
            0 => self.frame(&flow, TcpControl::Syn, ISN, None, &[]),
            1 => self.frame(&flow, TcpControl::Rst, seq, Some(ack), &[]),
            _ => self.frame(&flow, TcpControl::Psh, seq, Some(ack), b"not the guest's"),
        };
        if !is_stranger {
            frame[6..12].copy_from_slice(&MacAddress([2, 9, 9, 9, 9, 9]).0);
        }
        let before = self.gateway.counters();
        assert!(matches!(self.feed(&frame), Fed::Nothing));
        assert!(self.drain().is_empty());
        let after = self.gateway.counters();
        assert_eq!(after.dropped_total(), before.dropped_total() + 1);
        assert_eq!(after.frames_sent, before.frames_sent, "a stranger was answered");
        self.done.spoofed += 1;
    }

    /// The guest acknowledges what it has.
    fn acknowledge(&mut self, index: usize) {
        let Known { flow, state: State::Open(talk), .. } = self.known[index] else { return };
        let ack = talk.first.wrapping_add(talk.heard);
        let frame = self.frame(&flow, TcpControl::None, ISN + 1 + talk.sent, Some(ack), &[]);
        assert!(matches!(self.feed(&frame), Fed::Nothing));
        self.exchange();
    }

    /// Lets the gateway send, and the guest acknowledge, until both are silent.
    fn exchange(&mut self) {
        for _ in 0..MAX_WORK {
            let mut answers = Vec::new();
            for heard in self.drain() {
                let known = self.known.iter().position(|known| known.flow == heard.flow);
                let index = known.expect("a flow that the model knows");
                let State::Open(talk) = &mut self.known[index].state else { panic!("it is not open") };
                assert!(!heard.is_rst && !heard.is_syn, "nobody has ended it");
                talk.acked = heard.ack - (ISN + 1);
                talk.window = heard.window;
                let place = heard.seq.wrapping_sub(talk.first);
                let count = u32::try_from(heard.payload.len()).expect("a frame is small");
                assert_eq!(place, talk.heard, "the bytes come in order and once");
                assert_eq!(heard.payload, bytes_at(heard.flow.guest.port(), place, count));
                talk.heard += count;
                if count > 0 && !answers.contains(&index) {
                    answers.push(index);
                }
            }
            if answers.is_empty() {
                return;
            }
            for index in answers {
                let Known { flow, state: State::Open(talk), .. } = self.known[index] else { continue };
                let ack = talk.first.wrapping_add(talk.heard);
                let frame = self.frame(&flow, TcpControl::None, ISN + 1 + talk.sent, Some(ack), &[]);
                assert!(matches!(self.feed(&frame), Fed::Nothing));
            }
        }
        panic!("both talk for ever");
    }

    fn feed(&mut self, frame: &[u8]) -> Fed {
        assert!(self.gateway.has_room(), "everything was sent");
        match self.gateway.handle_frame(&FrameMeta::default(), frame, self.now) {
            Ingress::Handled => Fed::Nothing,
            Ingress::Syn { id, flow } => Fed::Syn(id, flow),
            Ingress::GivenUp { id } => Fed::GivenUp(id),
            Ingress::Datagram { .. }
            | Ingress::Datagrams { .. }
            | Ingress::Echo { .. }
            | Ingress::Reassembled(_) => panic!("it was TCP"),
        }
    }

    /// Everything the gateway has to say, of which the segments are returned.
    fn drain(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        for _ in 0..MAX_WORK {
            let more = self.gateway.poll_flows(self.now);
            while let Some(frame) = self.gateway.next_frame() {
                let bytes = frame.bytes();
                assert_eq!(bytes[..6], self.addresses.guest_mac.0);
                heard.extend(segment_in(bytes));
                self.gateway.frame_sent();
                assert!(heard.len() <= MAX_WORK, "one operation has bounded work");
            }
            if !more {
                return heard;
            }
        }
        panic!("the gateway sends for ever");
    }

    /// What is true after each operation.
    fn check(&mut self) {
        let counters = self.gateway.counters();
        let (held, open) =
            (self.count(|state| *state == State::Held), self.count(|state| matches!(state, State::Open(_))));
        assert_eq!((counters.syns_held, counters.flows_open), (wide(held), wide(open)));
        for Known { id, flow, state } in &self.known {
            assert_eq!(self.gateway.flow(*id), (*state != State::Gone).then_some(*flow));
        }
        let carried = self.known.iter().filter_map(|known| match known.state {
            State::Open(talk) => Some(u64::from(talk.read) + u64::from(talk.heard)),
            State::Held | State::Gone => None,
        });
        self.done.carried = self.done.carried.max(carried.sum());
    }

    fn count(&self, matches: impl Fn(&State) -> bool) -> usize {
        self.known.iter().filter(|known| matches(&known.state)).count()
    }

    /// A segment of `flow.guest`, from the guest's machine.
    fn frame(&self, flow: &Flow, control: TcpControl, seq: u32, ack: Option<u32>, payload: &[u8]) -> Vec<u8> {
        let number = |number: u32| TcpSeqNumber(number.cast_signed());
        let segment = TcpRepr {
            src_port: flow.guest.port(),
            dst_port: flow.upstream.port(),
            control,
            seq_number: number(seq),
            ack_number: ack.map(number),
            window_len: u16::MAX,
            window_scale: None,
            max_seg_size: (control == TcpControl::Syn).then_some(1_400),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload,
        };
        let (from, to): (IpAddress, IpAddress) = (flow.guest.ip().into(), flow.upstream.ip().into());
        let header = IpRepr::new(from, to, IpProtocol::Tcp, segment.buffer_len(), 64);
        let mut frame = [self.addresses.gateway_mac.0, self.addresses.guest_mac.0].concat();
        frame.extend_from_slice(if flow.guest.is_ipv6() { &[0x86, 0xdd] } else { &[0x08, 0x00] });
        let begins = frame.len();
        frame.resize(begins + header.buffer_len(), 0);
        let sums = ChecksumCapabilities::default();
        header.emit(&mut frame[begins..], &sums);
        let behind = begins + header.header_len();
        segment.emit(&mut TcpPacket::new_unchecked(&mut frame[behind..]), &from, &to, &sums);
        frame
    }
}

/// What a frame of the guest led to.
enum Fed {
    Nothing,
    Syn(FlowId, Flow),
    GivenUp(FlowId),
}

/// Whether the guest was told that there is no such flow, and nothing else.
fn only_reset(heard: &[Heard], flow: &Flow) -> bool {
    matches!(heard, [one] if one.is_rst && one.flow == *flow)
}

/// The TCP segment in a frame, where it is one.
fn segment_in(frame: &[u8]) -> Option<Heard> {
    let (from, to, payload): (IpAddr, IpAddr, &[u8]) = match frame.get(12..14)? {
        [0x08, 0x00] => {
            let packet = Ipv4Packet::new_checked(&frame[14..]).ok()?;
            if packet.next_header() != IpProtocol::Tcp {
                return None;
            }
            (packet.src_addr().into(), packet.dst_addr().into(), packet.payload())
        }
        [0x86, 0xdd] => {
            let packet = Ipv6Packet::new_checked(&frame[14..]).ok()?;
            if packet.next_header() != IpProtocol::Tcp {
                return None;
            }
            (packet.src_addr().into(), packet.dst_addr().into(), packet.payload())
        }
        _ => return None,
    };
    let segment = TcpPacket::new_checked(payload).ok()?;
    assert!(segment.verify_checksum(&from.into(), &to.into()), "a sum is wrong");
    let guest = SocketAddr::new(to, segment.dst_port());
    let upstream = SocketAddr::new(from, segment.src_port());
    Some(Heard {
        flow: Flow { protocol: Protocol::Tcp, guest, upstream },
        seq: segment.seq_number().0.cast_unsigned(),
        ack: segment.ack_number().0.cast_unsigned(),
        window: segment.window_len().into(),
        is_syn: segment.syn(),
        is_rst: segment.rst(),
        payload: segment.payload().to_vec(),
    })
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
