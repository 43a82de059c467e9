use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::libc::{IP_MTU, IPPROTO_IP, IPPROTO_IPV6, IPV6_MTU};

use crate::sys;

/// How long an answer holds: a route may change.
const HOLDS: Duration = Duration::from_secs(1);

/// Addresses that are asked about in that time, each for some system calls. The guest is told of more by nobody.
const MAX_ADDRESSES: usize = 8;

/// The largest packets that this host sends to addresses in one piece, as one socket has asked of late.
#[derive(Default)]
pub(super) struct Mtus {
    /// The oldest at the front; no more than [`MAX_ADDRESSES`].
    known: RefCell<VecDeque<Known>>,
}

#[derive(Clone, Copy)]
struct Known {
    address: IpAddr,
    mtu: Option<u16>,
    asked: Instant,
}

impl Mtus {
    /// That towards an address; `None` where the host does not know, or was asked about too many.
    pub(super) fn towards(&self, address: IpAddr, now: Instant) -> Option<u16> {
        self.known_or(address, now, mtu_towards)
    }

    fn known_or(
        &self,
        address: IpAddr,
        now: Instant,
        ask: impl FnOnce(IpAddr) -> Option<u16>,
    ) -> Option<u16> {
        let mut known = self.known.borrow_mut();
        while known.front().is_some_and(|oldest| now.saturating_duration_since(oldest.asked) >= HOLDS) {
            known.pop_front();
        }
        if let Some(found) = known.iter().find(|known| known.address == address) {
            return found.mtu;
        }
        if known.len() >= MAX_ADDRESSES {
            return None;
        }
        let mtu = ask(address);
        known.push_back(Known { address, mtu, asked: now });
        mtu
    }
}

/// Asks the host.
///
/// The error that says it of a datagram says it in passing: a socket that is connected knows it at any time.
fn mtu_towards(address: IpAddr) -> Option<u16> {
    let address = address.to_canonical();
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Nothing is sent for this.
    socket.connect(SocketAddr::new(address, 9)).ok()?;
    let (level, option) = match address {
        IpAddr::V4(_) => (IPPROTO_IP, IP_MTU),
        IpAddr::V6(_) => (IPPROTO_IPV6, IPV6_MTU),
    };
    let mtu = sys::option(socket.as_fd(), level, option);
    // That of the loopback interface is beyond what any packet has.
    mtu.ok().map(|mtu| u16::try_from(mtu).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_host_is_asked_about_few_addresses_a_second() {
        let (mtus, start, asked) = (Mtus::default(), crate::guest::now(), Cell::new(0));
        let address = |number: u8| IpAddr::from([192, 0, 2, number]);
        let towards = |number: u8, now: Instant| {
            mtus.known_or(address(number), now, |asked_of| {
                assert_eq!(asked_of, address(number));
                asked.set(asked.get() + 1);
                // There are those it knows nothing of.
                (number != 3).then_some(1_400 + u16::from(number))
            })
        };
        // A flood to two addresses by turns, with one there is no answer for.
        for _ in 0..1_000 {
            for (number, expected) in [(1, Some(1_401)), (2, Some(1_402)), (3, None)] {
                assert_eq!(towards(number, start), expected);
            }
        }
        assert_eq!(asked.get(), 3);
        // One to everybody.
        let told = (1..=255).filter(|number| towards(*number, start).is_some()).count();
        assert_eq!((asked.get(), told), (MAX_ADDRESSES, MAX_ADDRESSES - 1));
        // It is asked again after a while.
        assert_eq!(towards(200, start + HOLDS), Some(1_600));
        assert_eq!(asked.get(), MAX_ADDRESSES + 1);
    }
}
