//! Packets that no program of a guest would send, as fast as they go.
//!
//! They are sent by a process of its own: a raw socket takes a capability in the guest's namespace, which a
//! guest's command does not have.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

const IP_BYTES: usize = 20;

/// Packets between two looks at the clock.
const BATCH: u32 = 64;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Flood {
    /// Datagrams of 64 bytes, each from another port
    Udp,
    /// Requests for an echo of 64 bytes, each with another identifier
    Echo,
    /// SYNs, each from another port to another port
    Syn,
    /// First fragments of 1,400 bytes whose others never come
    Fragments,
}

impl Flood {
    pub(crate) const ALL: [Self; 4] = [Self::Udp, Self::Echo, Self::Syn, Self::Fragments];

    /// What figures and the command line call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Echo => "echo",
            Self::Syn => "syn",
            Self::Fragments => "fragments",
        }
    }

    fn protocol(self) -> u8 {
        match self {
            Self::Echo => 1,
            Self::Syn => 6,
            Self::Udp | Self::Fragments => 17,
        }
    }

    /// The packet but for what differs from one to the next. The kernel fills in the length and the sum of
    /// the header.
    fn packet(self, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
        const MORE_FRAGMENTS: u8 = 0x20;
        let mut packet = vec![0; IP_BYTES];
        packet[0] = 0x45;
        packet[8] = 64;
        packet[9] = self.protocol();
        packet[12..16].copy_from_slice(&from.octets());
        packet[16..20].copy_from_slice(&to.octets());
        match self {
            Self::Udp => packet.extend_from_slice(&[&[0, 0, 0x9c, 0x40, 0, 72, 0, 0][..], &[7; 64]].concat()),
            Self::Echo => packet.extend_from_slice(&[&[8, 0, 0, 0, 0, 0, 0, 1][..], &[7; 64]].concat()),
            // An MSS of 1,460, and nothing else.
            Self::Syn => packet.extend_from_slice(&[
                0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4,
            ]),
            Self::Fragments => {
                packet[6] = MORE_FRAGMENTS;
                packet.extend_from_slice(&[&[0x9c, 0x40, 0x9c, 0x40, 4, 0, 0, 0][..], &[7; 1_392]].concat());
            }
        }
        packet
    }

    /// Makes it another packet than those before it.
    fn vary(self, packet: &mut [u8], nth: u32) {
        let port = |shift: u32| (1_024 + (nth >> shift) % 64_000).to_be_bytes();
        let [_, _, high, low] = port(0);
        // Not 0, for which the kernel would put in its own.
        packet[4..6].copy_from_slice(&[high, low]);
        match self {
            Self::Udp => packet[IP_BYTES..][..2].copy_from_slice(&[high, low]),
            Self::Echo => {
                packet[IP_BYTES + 4..][..2].copy_from_slice(&[high, low]);
                put_sum(packet, IP_BYTES + 2, 0);
            }
            Self::Syn => {
                packet[IP_BYTES..][..2].copy_from_slice(&[high, low]);
                // Not the habits', whose queues of connections the other flow needs.
                let [_, _, high, low] = port(4);
                packet[IP_BYTES + 2..][..2].copy_from_slice(&[high | 0x80, low]);
                let pseudo = sum(&packet[12..IP_BYTES]) + u32::from(self.protocol()) + 24;
                put_sum(packet, IP_BYTES + 16, pseudo);
            }
            Self::Fragments => {}
        }
    }
}

/// Puts the sum of what is behind the header, and of what is in `start`, at `at`.
fn put_sum(packet: &mut [u8], at: usize, start: u32) {
    packet[at..at + 2].fill(0);
    let mut sum = start + sum(&packet[IP_BYTES..]);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    packet[at..at + 2].copy_from_slice(&[high, low]);
}

/// The sum of words of 16 bits (RFC 1071), of an even number of bytes.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum()
}

/// Sends to `to` for so many seconds; how many a second were taken.
pub(crate) fn flood(kind: Flood, to: Ipv4Addr, seconds: f64) -> Result<f64> {
    let socket = raw()?;
    let address = SockaddrIn::from(SocketAddrV4::new(to, 0));
    let mut packet = kind.packet(own(to)?, to);
    let (began, lasts) = (Instant::now(), Duration::from_secs_f64(seconds));
    let (mut nth, mut taken) = (0, 0_u32);
    while began.elapsed() < lasts {
        for _ in 0..BATCH {
            nth += 1;
            kind.vary(&mut packet, nth);
            match sendto(socket.as_raw_fd(), &packet, &address, MsgFlags::empty()) {
                Ok(_) => taken += 1,
                // The queue of the network is full.
                Err(Errno::ENOBUFS) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(f64::from(taken) / began.elapsed().as_secs_f64())
}

/// A socket to which packets are given with their headers.
fn raw() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
}

/// The address from which one here is reached.
fn own(to: Ipv4Addr) -> io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((to, 9))?;
    match socket.local_addr()?.ip() {
        std::net::IpAddr::V4(own) => Ok(own),
        std::net::IpAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is summed up with its own sum in it comes out as all ones (RFC 1071, section 1).
    #[test]
    fn sums_are_right_and_no_packet_is_like_the_last() {
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(192, 31, 196, 2));
        for kind in Flood::ALL {
            let mut packet = kind.packet(from, to);
            let mut last = packet.clone();
            for nth in [1, 2, 70_000] {
                kind.vary(&mut packet, nth);
                assert_ne!(packet, last, "{kind:?}");
                last.clone_from(&packet);
                let pseudo = match kind {
                    Flood::Syn => sum(&packet[12..IP_BYTES]) + 6 + 24,
                    Flood::Echo => 0,
                    // Without one.
                    Flood::Udp | Flood::Fragments => continue,
                };
                let all = pseudo + sum(&packet[IP_BYTES..]);
                assert_eq!((all >> 16) + (all & 0xffff), 0xffff, "{kind:?} {nth}");
            }
        }
    }
}
