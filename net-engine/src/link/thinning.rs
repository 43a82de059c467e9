//! What a flood is thinned by before it reaches the engine: a filter in the kernel.

use nix::libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JSET, BPF_K, BPF_LDX, BPF_MSH, BPF_RET,
    BPF_W, sock_filter,
};

use super::bpf::Assembly;

/// Ports of the guest that a filter can name.
pub const MAX_SPARED_PORTS: usize = 32;

/// Ports of services whose questions pass, whatever is left away: DNS and DHCP.
pub(crate) const SPARED_SERVICES: [u16; 2] = [53, 67];

/// The largest share that is left away: all but one in 2^15.
pub const MAX_SHIFT: u8 = 15;

/// Of frames that begin something, how few a link lets through: of each kind one in two to the power of its
/// number, drawn at random. Whatever goes on, segments of TCP without SYN above all, is never among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thinning {
    /// SYNs.
    pub syns: u8,
    /// Datagrams of UDP, but for those to ports 53 and 67 and from [`spared_ports`](Self::spared_ports).
    pub datagrams: u8,
    /// Requests for an echo.
    pub echoes: u8,
    /// Fragments.
    pub fragments: u8,
    /// Ports of the guest whose datagrams all pass, at most [`MAX_SPARED_PORTS`]; what is more is not looked at.
    pub spared_ports: Vec<u16>,
}

impl Thinning {
    /// Whether everything passes.
    pub fn is_none(&self) -> bool {
        [self.syns, self.datagrams, self.echoes, self.fragments] == [0; 4]
    }
}

const DROP: u32 = 0;
/// Of any length.
const KEEP: u32 = u32::MAX;

/// Where the kernel has random numbers for filters (`SKF_AD_OFF + SKF_AD_RANDOM`).
const RANDOM: u32 = (-0x1000_i32 + 56).cast_unsigned();

const TCP: u32 = 6;
const UDP: u32 = 17;

/// Where a jump leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    V4,
    V6,
    Tcp,
    Ports,
    Syn,
    Datagram,
    Echo,
    Fragment,
    Keep,
}

/// The filter that thins frames so, for a socket whose packets begin with an Ethernet header. A frame that is too
/// short to tell what it is goes nowhere.
pub(super) fn program(thinning: &Thinning) -> Vec<sock_filter> {
    let mut asm = Assembly::new();
    asm.load(BPF_H, BPF_ABS, 12);
    asm.jump(BPF_JEQ, 0x0800, To::V4, None);
    asm.jump(BPF_JEQ, 0x86dd, To::V6, To::Keep);

    asm.label(To::V4);
    // More fragments, or an offset.
    asm.load(BPF_H, BPF_ABS, 14 + 6);
    asm.jump(BPF_JSET, 0x3fff, To::Fragment, None);
    asm.push(BPF_LDX | BPF_B | BPF_MSH, 14);
    asm.load(BPF_B, BPF_ABS, 14 + 9);
    transport(&mut asm, 1, 8);

    asm.label(To::V6);
    // The header has no length of its own: X is what `transport` adds to, as if it were one of IPv4.
    asm.push(BPF_LDX | BPF_W | nix::libc::BPF_IMM, 40);
    asm.load(BPF_B, BPF_ABS, 14 + 6);
    asm.jump(BPF_JEQ, 44, To::Fragment, None);
    transport(&mut asm, 58, 128);

    asm.label(To::Tcp);
    asm.load(BPF_B, BPF_IND, 14 + 13);
    // SYN without ACK.
    asm.push(BPF_ALU | BPF_AND | BPF_K, 0x12);
    asm.jump(BPF_JEQ, 0x02, To::Syn, To::Keep);

    asm.label(To::Ports);
    asm.load(BPF_H, BPF_IND, 14 + 2);
    for service in SPARED_SERVICES {
        asm.jump(BPF_JEQ, u32::from(service), To::Keep, None);
    }
    asm.load(BPF_H, BPF_IND, 14);
    for port in thinning.spared_ports.iter().take(MAX_SPARED_PORTS) {
        asm.jump(BPF_JEQ, u32::from(*port), To::Keep, None);
    }
    asm.goto(To::Datagram);

    for (label, shift) in [
        (To::Syn, thinning.syns),
        (To::Datagram, thinning.datagrams),
        (To::Echo, thinning.echoes),
        (To::Fragment, thinning.fragments),
    ] {
        asm.label(label);
        let mask = (1 << shift.min(MAX_SHIFT)) - 1;
        asm.load(BPF_W, BPF_ABS, RANDOM);
        asm.push(BPF_ALU | BPF_AND | BPF_K, mask);
        asm.jump(BPF_JEQ, 0, To::Keep, None);
        asm.push(BPF_RET | BPF_K, DROP);
    }
    asm.label(To::Keep);
    asm.push(BPF_RET | BPF_K, KEEP);
    asm.finish()
}

/// By the protocol in A: where the header of TCP, UDP or ICMP is read, X behind the start of the packet.
fn transport(asm: &mut Assembly<To>, icmp: u32, echo_request: u32) {
    asm.jump(BPF_JEQ, TCP, To::Tcp, None);
    asm.jump(BPF_JEQ, UDP, To::Ports, None);
    asm.jump(BPF_JEQ, icmp, None, To::Keep);
    asm.load(BPF_B, BPF_IND, 14);
    asm.jump(BPF_JEQ, echo_request, To::Echo, To::Keep);
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::sys;

    /// How many of so many frames pass: the kernel runs the program, over a socket that takes filters alike.
    fn passing(thinning: &Thinning, frame: &[u8], count: usize) -> usize {
        let (near, far) = UnixDatagram::pair().expect("two sockets");
        sys::attach_socket_filter(far.as_fd(), &program(thinning)).expect("the kernel takes the program");
        far.set_nonblocking(true).expect("a socket");
        (0..count)
            .filter(|_| {
                // What is filtered away counts as sent, or as refused.
                let _ = near.send(frame);
                far.recv(&mut [0; 128]).is_ok()
            })
            .count()
    }

    fn v4(protocol: u8, options: usize, flags: [u8; 2], body: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend_from_slice(&[8, 0, 0x45 + u8::try_from(options / 4).unwrap(), 0, 0, 0, 0, 0]);
        frame.extend_from_slice(&[flags[0], flags[1], 64, protocol, 0, 0]);
        frame.resize(frame.len() + 8 + options, 9);
        frame.extend_from_slice(body);
        frame
    }

    fn v6(protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, protocol, 64]);
        frame.resize(frame.len() + 32, 9);
        frame.extend_from_slice(body);
        frame
    }

    fn tcp(flags: u8) -> Vec<u8> {
        let mut header = vec![0; 20];
        header[13] = flags;
        header
    }

    fn udp(from: u16, to: u16) -> Vec<u8> {
        [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 4]].concat()
    }

    fn all() -> Thinning {
        Thinning {
            syns: MAX_SHIFT,
            datagrams: MAX_SHIFT,
            echoes: MAX_SHIFT,
            fragments: MAX_SHIFT,
            ..Thinning::default()
        }
    }

    #[test]
    fn what_begins_something_is_thinned_and_what_goes_on_is_not() {
        const COUNT: usize = 50;
        let none = Thinning::default;
        let kinds: [(&str, Thinning, Vec<Vec<u8>>); 4] = [
            (
                "syns",
                Thinning { syns: 0, ..all() },
                vec![v4(6, 0, [0x40, 0], &tcp(2)), v4(6, 8, [0, 0], &tcp(0xc2)), v6(6, &tcp(2))],
            ),
            (
                "datagrams",
                Thinning { datagrams: 0, ..all() },
                vec![
                    v4(17, 0, [0, 0], &udp(7_000, 54)),
                    v4(17, 40, [0, 0], &udp(1, 9)),
                    v6(17, &udp(53, 443)),
                ],
            ),
            (
                "echoes",
                Thinning { echoes: 0, ..all() },
                vec![v4(1, 0, [0, 0], &[8, 0, 0, 0]), v6(58, &[128, 0, 0, 0])],
            ),
            (
                "fragments",
                Thinning { fragments: 0, ..all() },
                vec![
                    v4(17, 0, [0x20, 0], &udp(1, 53)),
                    v4(17, 0, [0, 1], &udp(1, 53)),
                    v4(6, 0, [0x1f, 0xff], &tcp(0x10)),
                    v6(44, &[17, 0, 0, 1, 0, 0, 0, 0]),
                ],
            ),
        ];
        for (kind, all_but, frames) in kinds {
            for (index, frame) in frames.iter().enumerate() {
                // One in 2^15 may pass.
                let thinned = passing(&all(), frame, COUNT);
                assert!(thinned <= 2, "{kind} {index}: {thinned} of {COUNT}");
                assert_eq!(passing(&all_but, frame, COUNT), COUNT, "{kind} {index} alone is not thinned");
                assert_eq!(passing(&none(), frame, COUNT), COUNT, "{kind} {index}");
            }
        }
        let go_on = [
            ("ack", v4(6, 0, [0x40, 0], &tcp(0x10))),
            ("fin v6", v6(6, &tcp(0x11))),
            ("syn-ack", v4(6, 20, [0, 0], &tcp(0x12))),
            ("rst", v6(6, &tcp(4))),
            ("dns", v4(17, 0, [0, 0], &udp(7_000, 53))),
            ("dns v6", v6(17, &udp(7_000, 53))),
            ("dhcp", v4(17, 0, [0, 0], &udp(68, 67))),
            ("echo reply", v4(1, 0, [0, 0], &[0, 0, 0, 0])),
            ("neighbour solicitation", v6(58, &[135, 0, 0, 0])),
            ("another protocol", v4(132, 0, [0, 0], &[0; 8])),
            ("arp", [&[2; 12][..], &[8, 6], &[0; 28]].concat()),
        ];
        for (name, frame) in go_on {
            assert_eq!(passing(&all(), &frame, COUNT), COUNT, "{name}");
        }
    }

    #[test]
    fn ports_that_are_spared_pass_and_as_many_as_a_filter_holds() {
        const COUNT: usize = 20;
        let spared_ports: Vec<u16> = (5_000..5_100).collect();
        let thinning = Thinning { spared_ports, ..all() };
        for port in [5_000, 5_031] {
            for frame in [v4(17, 4, [0, 0], &udp(port, 443)), v6(17, &udp(port, 443))] {
                assert_eq!(passing(&thinning, &frame, COUNT), COUNT, "{port}");
            }
        }
        for port in [4_999, 5_032] {
            assert!(passing(&thinning, &v6(17, &udp(port, 443)), COUNT) <= 2, "{port}");
        }
        // Jumps are relative, and 255 is the furthest.
        assert!(program(&thinning).len() <= 256);
    }

    #[test]
    fn the_share_that_passes_is_about_what_was_asked_for() {
        const COUNT: usize = 4_000;
        for shift in [1, 3] {
            let thinning = Thinning { syns: shift, ..Thinning::default() };
            let share = COUNT >> shift;
            let passed = passing(&thinning, &v6(6, &tcp(2)), COUNT);
            // Six standard deviations of the coarser one are 190.
            assert!(passed.abs_diff(share) < 200, "{passed} of {COUNT} at {shift}");
        }
    }

    #[test]
    fn a_frame_that_ends_too_soon_goes_nowhere() {
        let frame = v4(6, 0, [0, 0], &tcp(0x10));
        for length in [0, 13, 20, 24, 40] {
            assert_eq!(passing(&all(), &frame[..length], 5), 0, "{length}");
        }
    }
}
