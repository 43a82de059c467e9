use std::task::Waker;
use std::time::{Duration, Instant};

use net_core::Flow;
use smoltcp::socket::tcp::{RecvError, Socket, State};
use smoltcp::wire::{IPV6_HEADER_LEN, Ipv4Packet, Ipv6Packet, TcpOption, TcpPacket};

use super::Unreachable;
use super::device::LastSent;
use crate::buffer_pool::{BufferPool, PooledSocket, RingUse};

/// The MSS of a peer that states none (RFC 9293, section 3.7.1).
const DEFAULT_MSS: u16 = 536;

/// What super-segments are filled up to: the largest TCP payload that fits an IPv6 packet of
/// 65,535 bytes with room for options.
const MAX_SUPER_SEGMENT: u16 = 65_400;

/// Segments a super-segment is cut into at most: a guest that states a tiny MSS must not have the
/// host's kernel cut one frame into tens of thousands.
const MAX_SEGMENTS: u16 = 64;

/// The smallest MSS a segment is cut to, that of Linux: below it headers are all there is.
const MIN_MSS: u16 = 48;

/// One TCP flow of the guest.
pub(crate) struct TcpFlow {
    pub(crate) tuple: Flow,
    pub(crate) state: TcpState,
}

pub(crate) enum TcpState {
    /// The SYN waits for a decision and a dial. Nothing but the packet is kept.
    Held(HeldSyn),
    /// The SYN, an IP packet, is to be refused as soon as the link has room for the answer.
    Refused(Box<[u8]>, Refusal),
    /// A socket with rings of its own.
    Open(Box<OpenFlow>),
}

/// How a guest is told that it gets no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// RST: somebody said no.
    Reset,
    /// An ICMP error: nobody could be asked.
    Unreachable(Unreachable),
    /// Nothing: the guest goes on waiting, as it would for a silent host.
    Silence,
}

/// An IP packet with a SYN of the guest, and what it stated in it.
pub(crate) struct HeldSyn {
    pub(crate) packet: Box<[u8]>,
    pub(crate) guest_mss: u16,
    /// The sequence number of the guest's first byte.
    pub(crate) first_seq: u32,
}

impl HeldSyn {
    /// Copies `packet`, whose TCP header starts at `tcp_offset`. Data in it, which no Linux sends, is
    /// for the guest to send again: a flow that only waits holds none.
    ///
    /// With `offload` the copy states an MSS as large as a frame, cut to a multiple of the real
    /// one: smoltcp then fills whole frames and the link cuts them evenly.
    pub(crate) fn new(packet: &[u8], tcp_offset: usize, offload: bool) -> Self {
        let mut packet = without_data(packet, tcp_offset);
        let first_seq = seq_of(&TcpPacket::new_unchecked(&packet[tcp_offset..])).wrapping_add(1);
        let Some((value_offset, guest_mss)) = find_mss(&packet[tcp_offset..]) else {
            return Self { packet, guest_mss: DEFAULT_MSS, first_seq };
        };
        if guest_mss == 0 {
            // smoltcp takes it as if it were absent, as Linux does.
            return Self { packet, guest_mss: DEFAULT_MSS, first_seq };
        }
        let guest_mss = guest_mss.max(MIN_MSS);
        if offload {
            let filled = (MAX_SUPER_SEGMENT / guest_mss).clamp(1, MAX_SEGMENTS) * guest_mss;
            let at = tcp_offset + value_offset;
            packet[at..at + 2].copy_from_slice(&filled.to_be_bytes());
        }
        Self { packet, guest_mss, first_seq }
    }
}

/// The sequence number of a segment.
pub(crate) fn seq_of<B: AsRef<[u8]>>(segment: &TcpPacket<B>) -> u32 {
    segment.seq_number().0.cast_unsigned()
}

/// An IP packet up to the end of its TCP header, its length corrected.
fn without_data(packet: &[u8], tcp_offset: usize) -> Box<[u8]> {
    let segment = TcpPacket::new_unchecked(&packet[tcp_offset..]);
    let end = (tcp_offset + usize::from(segment.header_len())).min(packet.len());
    let mut packet: Box<[u8]> = packet[..end].into();
    if packet[0] >> 4 == 6 {
        let mut header = Ipv6Packet::new_unchecked(&mut packet);
        header.set_payload_len(u16::try_from(end.saturating_sub(IPV6_HEADER_LEN)).unwrap_or(u16::MAX));
    } else {
        // The header's checksum was verified on the way in; smoltcp is told not to look again.
        Ipv4Packet::new_unchecked(&mut packet).set_total_len(u16::try_from(end).unwrap_or(u16::MAX));
    }
    packet
}

/// The MSS option of a segment and where its value lies.
fn find_mss(segment: &[u8]) -> Option<(usize, u16)> {
    let header = TcpPacket::new_checked(segment).ok()?;
    let all = header.options();
    let mut rest = all;
    while !rest.is_empty() {
        let at = 20 + all.len() - rest.len();
        let (next, option) = TcpOption::parse(rest).ok()?;
        if let TcpOption::MaxSegmentSize(value) = option {
            // Kind and length come before the value.
            return Some((at + 2, value));
        }
        if next.len() == rest.len() || option == TcpOption::EndOfList {
            return None;
        }
        rest = next;
    }
    None
}

/// A flow that was quiet for this long, and of which nothing is on its way, gives its memory back.
const QUIET: Duration = Duration::from_secs(1);

/// What a flow may hold of the guest's bytes while the memory of rings is short: a frame of any size.
const SHORT_RX_BYTES: usize = 64 << 10;

/// What a flow may hold for the guest while the memory of rings is short.
const SHORT_TX_BYTES: usize = 16 << 10;

/// A flow with a socket.
pub(crate) struct OpenFlow {
    pub(crate) socket: PooledSocket,
    pub(crate) rings: RingUse,
    /// The guest's MSS.
    pub(crate) segment_bytes: u16,
    pub(crate) last_sent: LastSent,
    /// Whether the flow is on the gateway's dirty list.
    pub(crate) is_dirty: bool,
    /// Of a flow that we have begun: how often it may be begun again. `None` of the guest's own.
    pub(crate) begins_left: Option<u8>,
    /// Bytes that went through the rings.
    pub(crate) moved_bytes: u64,
    /// Set when nobody reads or writes the flow any more: when it ends at the latest.
    pub(crate) linger_until: Option<Instant>,
    /// When the flow is looked at again at the latest, as the gateway's timers know it.
    pub(crate) timer: Option<Instant>,
    /// `moved_bytes` when the flow was last looked at, and since when it is that.
    quiet: (u64, Instant),
    pub(crate) reset: ResetWatch,
}

/// Whether the guest has ended a flow before both halves were closed, and who waits for that.
///
/// smoltcp has one waker for everything a reader may see; this one is beside it, for somebody who
/// does not read.
#[derive(Default)]
pub(crate) struct ResetWatch {
    pub(crate) has_come: bool,
    pub(crate) waker: Option<Waker>,
}

impl ResetWatch {
    /// Compares the states before and behind a step of smoltcp.
    pub(crate) fn note(&mut self, before: State, behind: State) {
        let was_open = match before {
            State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait => true,
            // Both halves are closed, or there never was a connection.
            State::Closing | State::LastAck | State::TimeWait | State::Closed | State::Listen => false,
        };
        if was_open && behind == State::Closed {
            self.has_come = true;
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

/// What reading from a flow gives.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum StreamRead<R> {
    /// What the closure made of the bytes at the front of the ring.
    Data(R),
    /// Nothing yet.
    Blocked,
    /// The guest has closed its half and everything was read.
    Finished,
    /// The guest has reset the flow, or it is gone.
    Reset,
}

/// What writing to a flow gives.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum StreamWrite<R> {
    /// What the closure made of the free part of the ring.
    Room(R),
    /// No room yet.
    Blocked,
    /// Our half is closed, or the flow is gone.
    Reset,
}

impl OpenFlow {
    /// A flow that is on the dirty list: its SYN was just fed.
    pub(crate) fn new(socket: PooledSocket, rings: RingUse, segment_bytes: u16, now: Instant) -> Self {
        Self {
            socket,
            rings,
            segment_bytes,
            last_sent: LastSent::default(),
            is_dirty: true,
            begins_left: None,
            moved_bytes: 0,
            linger_until: None,
            timer: None,
            quiet: (0, now),
            reset: ResetWatch::default(),
        }
    }

    /// Gives the rings' memory back once the flow is [`QUIET`]; when to look again.
    pub(crate) fn rest(&mut self, pool: &mut BufferPool, now: Instant) -> Option<Instant> {
        let (moved_bytes, since) = self.quiet;
        if moved_bytes != self.moved_bytes {
            self.quiet = (self.moved_bytes, now);
        } else if since + QUIET <= now {
            pool.give_back_rx(&mut self.socket, &mut self.rings);
            pool.give_back_tx(&mut self.socket, &mut self.rings);
            // What is held up stays until it moves, and with it comes another look.
            return None;
        }
        (self.rings.resident() > 0).then(|| self.quiet.1 + QUIET)
    }

    /// Whether a segment may be taken while the memory of rings is short. One that may not is as good as
    /// lost: the guest sends it again, and by then what it holds may have been read.
    pub(crate) fn takes_when_short(&mut self, seq: u32, payload: usize, pool: &mut BufferPool) -> bool {
        let bound = self.rings.rx_resident().max(SHORT_RX_BYTES);
        if self.rings.rx_resident_after(seq, payload) <= bound {
            return true;
        }
        pool.give_back_rx(&mut self.socket, &mut self.rings);
        // An empty ring takes a frame of any size, wherever in a page it begins.
        self.rings.rx_resident() == 0
    }

    /// Where `segment`, in `packet` behind `tcp_offset`, is the guest's answer to our SYN: the packet that
    /// smoltcp is fed in its place.
    pub(crate) fn take_answer(
        &mut self,
        segment: &TcpPacket<&[u8]>,
        packet: &[u8],
        tcp_offset: usize,
        offload: bool,
    ) -> Option<Box<[u8]>> {
        let is_answer = self.begins_left.is_some() && segment.syn() && segment.ack() && !segment.rst();
        if !is_answer || self.tcp().state() != State::SynSent {
            return None;
        }
        let answer = HeldSyn::new(packet, tcp_offset, offload);
        self.segment_bytes = answer.guest_mss;
        self.rings.begin(answer.first_seq);
        Some(answer.packet)
    }

    /// Whether the flow is to be put on the dirty list, which it then is.
    #[must_use]
    pub(crate) fn mark_dirty(&mut self) -> bool {
        !std::mem::replace(&mut self.is_dirty, true)
    }

    pub(crate) fn tcp(&self) -> &Socket<'static> {
        self.socket.tcp()
    }

    /// Notes that the guest has sent something: a handshake that is over has no deadline any more, and
    /// one the guest has reset is over for good.
    pub(crate) fn note_segment(&mut self) {
        let tcp = self.socket.tcp_mut();
        if tcp.timeout().is_none() {
            return;
        }
        match tcp.state() {
            State::SynReceived | State::SynSent => {}
            // smoltcp would take another SYN; our flow has ended.
            State::Listen => tcp.abort(),
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck
            | State::TimeWait
            | State::Closed => tcp.set_timeout(None),
        }
    }

    /// Lends the contiguous front of the receive ring; `take` says how much it consumed.
    pub(crate) fn read<R>(&mut self, take: impl FnOnce(&[u8]) -> (usize, R)) -> StreamRead<R> {
        let tcp = self.socket.tcp_mut();
        if !tcp.can_recv() {
            return match tcp.state() {
                State::SynSent | State::SynReceived => StreamRead::Blocked,
                // Where smoltcp goes back to when the guest resets before it has acknowledged our SYN.
                State::Listen => StreamRead::Reset,
                State::Established | State::FinWait1 | State::FinWait2 => StreamRead::Blocked,
                State::CloseWait | State::LastAck | State::Closing | State::TimeWait => StreamRead::Finished,
                // A flow whose guest closed first and acknowledged our FIN ends here too.
                State::Closed => match tcp.recv(|_| (0, ())) {
                    Err(RecvError::Finished) => StreamRead::Finished,
                    Ok(()) | Err(RecvError::InvalidState) => StreamRead::Reset,
                },
            };
        }
        let mut consumed = 0;
        let result = tcp.recv(|bytes| {
            let (count, result) = take(bytes);
            consumed = count;
            (count, result)
        });
        self.rings.note_read(consumed);
        self.moved_bytes += u64::try_from(consumed).unwrap_or(0);
        result.map_or(StreamRead::Reset, StreamRead::Data)
    }

    /// Lends the contiguous free part of the send ring, less of it while the memory of rings `is_short`;
    /// `fill` says how much it wrote.
    pub(crate) fn write<R>(
        &mut self,
        is_short: bool,
        fill: impl FnOnce(&mut [u8]) -> (usize, R),
    ) -> StreamWrite<R> {
        let tcp = self.socket.tcp_mut();
        if !tcp.can_send() {
            return match tcp.state() {
                State::SynSent | State::SynReceived => StreamWrite::Blocked,
                State::Established | State::CloseWait => StreamWrite::Blocked,
                State::FinWait1
                | State::FinWait2
                | State::Closing
                | State::LastAck
                | State::TimeWait
                | State::Listen
                | State::Closed => StreamWrite::Reset,
            };
        }
        let queued = tcp.send_queue();
        let most = if is_short { self.rings.tx_room(queued, SHORT_TX_BYTES) } else { usize::MAX };
        if most == 0 {
            // Not for lack of something on its way: once that is acknowledged, the writer is woken.
            return StreamWrite::Blocked;
        }
        let mut written = 0;
        let result = tcp.send(|room| {
            let most = most.min(room.len());
            let (count, result) = fill(&mut room[..most]);
            written = count;
            (count, result)
        });
        self.rings.note_write(queued, written);
        self.moved_bytes += u64::try_from(written).unwrap_or(0);
        result.map_or(StreamWrite::Reset, StreamWrite::Room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP_BYTES: usize = 20;

    fn syn(options: &[u8]) -> Vec<u8> {
        let header_words = u8::try_from((20 + options.len()) / 4).unwrap();
        let mut packet = vec![0u8; IP_BYTES + 20];
        packet[0] = 0x45;
        packet[IP_BYTES + 12] = header_words << 4;
        packet[IP_BYTES + 13] = 2;
        packet.extend_from_slice(options);
        let total = u16::try_from(packet.len()).unwrap();
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet
    }

    #[test]
    fn data_in_a_syn_is_not_held() {
        let bare = syn(&[2, 4, 0x05, 0xb4]);
        let with_data = [&bare[..], &[7; 1_000]].concat();
        assert_eq!(HeldSyn::new(&with_data, IP_BYTES, false).packet, bare.into());
    }

    #[test]
    fn the_mss_is_raised_to_a_multiple_only_with_offload() {
        let packet = syn(&[1, 1, 1, 1, 2, 4, 0x05, 0xb4]);
        let plain = HeldSyn::new(&packet, IP_BYTES, false);
        assert_eq!((plain.guest_mss, &*plain.packet), (1460, &*packet));
        let raised = HeldSyn::new(&packet, IP_BYTES, true);
        assert_eq!(raised.guest_mss, 1460);
        let stated = u16::from_be_bytes([raised.packet[46], raised.packet[47]]);
        assert_eq!((stated % 1460, stated > 63_000), (0, true));
    }

    #[test]
    fn a_tiny_mss_does_not_make_many_segments() {
        let held = HeldSyn::new(&syn(&[2, 4, 0, 1]), IP_BYTES, true);
        let stated = u16::from_be_bytes([held.packet[42], held.packet[43]]);
        assert_eq!((held.guest_mss, stated), (MIN_MSS, MIN_MSS * MAX_SEGMENTS));
    }

    #[test]
    fn hostile_options_end_the_search() {
        const CASES: &[(&[u8], u16)] = &[
            (&[], DEFAULT_MSS),
            (&[0, 2, 4, 5, 0xb4, 0, 0, 0], DEFAULT_MSS),
            (&[2, 0, 0, 0], DEFAULT_MSS),
            (&[2, 3, 0, 0], DEFAULT_MSS),
            (&[30, 0, 0, 0], DEFAULT_MSS),
            (&[2, 4, 0, 0], DEFAULT_MSS),
            (&[2, 4, 0, 1], MIN_MSS),
            (&[2, 4, 0xff, 0xff], 0xffff),
        ];
        for (options, expected) in CASES {
            assert_eq!(HeldSyn::new(&syn(options), IP_BYTES, true).guest_mss, *expected, "{options:?}");
        }
    }
}
