use std::cell::Cell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{
    IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE, IPPROTO_IP, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
    SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, SOL_UDP, UDP_SEGMENT, c_int, sock_extended_err, sockaddr_in6,
};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrIn, SockaddrIn6, SockaddrStorage, bind, recvmsg, sendmsg, sendto, setsockopt, socket, sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::inbox::Inbox;
use super::mtus::Mtus;
use crate::core::{IcmpError, Passage, Undelivery, Unreachable};
use crate::guest::now;
use crate::sys;

/// Errors of earlier datagrams that may stand in the way of one: each is taken by the attempt it fails.
const MAX_ATTEMPTS: usize = 3;

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// UDP.
    Datagrams,
    /// Echo requests of ICMP with their headers, and the replies to them. The kernel chooses the identifier
    /// (icmp(7)).
    Echoes,
}

/// A socket of the host for one port of the guest, or for one of its identifiers of ICMP; not connected:
/// one socket for every destination (RFC 4787, section 4.1).
pub(super) struct HostSocket {
    descriptor: AsyncFd<OwnedFd>,
    is_v6: bool,
    /// Whether what it sends over IPv4 and over IPv6 may be cut, as far as it was told.
    cuts: [Cell<Option<bool>>; 2],
    mtus: Mtus,
}

/// Why a datagram did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// The host has no room: the datagram is lost, as on any link.
    Lost,
    /// It cannot get there.
    Undelivered(Undelivery),
}

/// What became of datagrams that the kernel was handed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    Sent,
    /// The host has no room for them.
    Lost,
    /// They go one by one, if at all: each is longer than a packet on its way, say, or an earlier one was refused.
    Refused,
}

/// A datagram that left and was not delivered, as an ICMP error to this host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    pub(super) to: SocketAddr,
    /// How much of its payload is in the buffer.
    pub(super) len: usize,
    pub(super) error: IcmpError,
}

/// How much of what a socket had was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// All of it.
    All,
    /// There may be more.
    Some,
}

impl HostSocket {
    /// Opens a socket of one family on a port, or with an identifier, of the host's choice.
    ///
    /// # Errors
    /// Those of the system; where the host has no such family, `Uncategorized` or `Unsupported`, and where it
    /// lets nobody ask for an echo, `PermissionDenied`.
    pub(super) fn open(kind: Kind, is_v6: bool) -> io::Result<Self> {
        let (family, any) = if is_v6 {
            (AddressFamily::Inet6, IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        } else {
            (AddressFamily::Inet, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let protocol = match (kind, is_v6) {
            (Kind::Datagrams, _) => None,
            (Kind::Echoes, false) => Some(SockProtocol::Icmp),
            (Kind::Echoes, true) => Some(SockProtocol::IcmpV6),
        };
        let descriptor = socket(family, SockType::Datagram, flags, protocol)?;
        if is_v6 {
            if kind == Kind::Datagrams {
                setsockopt(&descriptor, sockopt::Ipv6V6Only, &true)?;
            }
            setsockopt(&descriptor, sockopt::Ipv6RecvErr, &true)?;
        } else {
            // Without it a socket that is not connected hears of no ICMP error (ip(7)).
            setsockopt(&descriptor, sockopt::Ipv4RecvErr, &true)?;
        }
        bind(descriptor.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, 0)))?;
        Self::of(descriptor, is_v6)
    }

    /// A socket of UDP that is bound, and does not block.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn bound(socket: UdpSocket) -> io::Result<Self> {
        let is_v6 = socket.local_addr()?.is_ipv6();
        if is_v6 {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        }
        // One of both families hears by this of what goes over IPv4.
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        Self::of(socket.into(), is_v6)
    }

    fn of(descriptor: OwnedFd, is_v6: bool) -> io::Result<Self> {
        Ok(Self {
            descriptor: sys::register_for_reading(descriptor)?,
            is_v6,
            cuts: Default::default(),
            mtus: Mtus::default(),
        })
    }

    /// A raw socket of ICMP that does not block.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn raw(descriptor: OwnedFd, is_v6: bool) -> io::Result<Self> {
        Self::of(descriptor, is_v6)
    }

    /// Sends one datagram at once. It may cross as many routers as the guest said where those are few, else as many
    /// as the host's own, and is cut on its way only where it may be.
    ///
    /// # Errors
    /// [`SendError`]; never waits.
    pub(super) fn send(&self, payload: &[u8], to: SocketAddr, passage: Passage) -> Result<(), SendError> {
        // A socket of both families speaks IPv4 to those it has in the words of IPv6.
        let is_v4 = to.ip().to_canonical().is_ipv4();
        self.let_cut(is_v4, passage.may_be_cut);
        let address = SockaddrStorage::from(to);
        let socket = self.descriptor.as_raw_fd();
        let flags = MsgFlags::MSG_NOSIGNAL;
        let hops = passage.chosen_hops().map(c_int::from);
        let limit = hop_limit(hops.as_ref(), is_v4);
        let mut outcome = Err(SendError::Lost);
        for _ in 0..MAX_ATTEMPTS {
            let sent = match &limit {
                None => sendto(socket, payload, &address, flags),
                Some(limit) => {
                    let limit = std::slice::from_ref(limit);
                    sendmsg(socket, &[IoSlice::new(payload)], limit, flags, Some(&address))
                }
            };
            outcome =
                match sent {
                    Ok(_) => return Ok(()),
                    Err(Errno::EMSGSIZE) => {
                        let mtu = (!passage.may_be_cut).then(|| self.mtus.towards(to.ip(), now())).flatten();
                        return Err(mtu.map_or(SendError::Lost, |mtu| {
                            SendError::Undelivered(Undelivery::TooBig { mtu })
                        }));
                    }
                    Err(error) => Err(unreachable_by(error)
                        .map_or(SendError::Lost, |why| SendError::Undelivered(why.into()))),
                };
            if outcome == Err(SendError::Lost) {
                break;
            }
        }
        outcome
    }

    /// Whether the kernel cuts datagrams apart that it is handed together: an older one would send them as one.
    pub(super) fn cuts_datagrams(&self) -> bool {
        sys::option(self.descriptor.as_fd(), SOL_UDP, UDP_SEGMENT).is_ok()
    }

    /// Hands the kernel datagrams of `piece_bytes` each, the last of which may be shorter, by one system call; it takes
    /// 64 of them. Never waits.
    pub(super) fn send_joined(
        &self,
        payloads: &[u8],
        piece_bytes: usize,
        to: SocketAddr,
        passage: Passage,
    ) -> Joined {
        let Ok(size) = u16::try_from(piece_bytes) else { return Joined::Refused };
        let is_v4 = to.ip().to_canonical().is_ipv4();
        self.let_cut(is_v4, passage.may_be_cut);
        let hops = passage.chosen_hops().map(c_int::from);
        let cut = ControlMessage::UdpGsoSegments(&size);
        let control: &[_] = match hop_limit(hops.as_ref(), is_v4) {
            None => &[cut],
            Some(limit) => &[cut, limit],
        };
        let (pieces, flags) = ([IoSlice::new(payloads)], MsgFlags::MSG_NOSIGNAL);
        let address = SockaddrStorage::from(to);
        match sendmsg(self.descriptor.as_raw_fd(), &pieces, control, flags, Some(&address)) {
            Ok(_) => Joined::Sent,
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => Joined::Lost,
            Err(_) => Joined::Refused,
        }
    }

    /// Says whether what is sent from now on may be cut, where that was not said already.
    fn let_cut(&self, is_v4: bool, may_be_cut: bool) {
        let told = &self.cuts[usize::from(!is_v4)];
        if told.replace(Some(may_be_cut)) == Some(may_be_cut) {
            return;
        }
        // What must stay whole is held to the link it leaves by, as any router would, and to nothing that the host
        // has heard of the way: that is for the guest to hear (ip(7), ipv6(7)).
        let how = if may_be_cut { IP_PMTUDISC_DONT } else { IP_PMTUDISC_PROBE };
        // Failing to set it leaves it to the host.
        let (level, option) = match is_v4 {
            true => (IPPROTO_IP, IP_MTU_DISCOVER),
            false => (IPPROTO_IPV6, IPV6_MTU_DISCOVER),
        };
        let _ = sys::set_option(self.descriptor.as_fd(), level, option, how);
    }

    /// Waits until there is something to receive or an error to take.
    ///
    /// # Errors
    /// When the runtime ends.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.descriptor.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Takes what has come into `inbox`.
    pub(super) fn receive(&self, inbox: &mut Inbox) -> Received {
        inbox.clear();
        let taken = self.descriptor.try_io(Interest::READABLE, |_| {
            match inbox.fill(self.descriptor.as_raw_fd(), self.is_v6) {
                Ok(true) => Ok(()),
                // The kernel had no more: what comes next is announced anew.
                Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => Err(error.into()),
            }
        });
        match taken {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::All,
            // An error of an earlier datagram, which `take_undelivered` tells more of, hides nothing behind it.
            Ok(()) | Err(_) => Received::Some,
        }
    }

    /// Takes one error of an earlier datagram, with the start of that datagram in `buffer`. Those that
    /// are no news to a guest are left out.
    pub(super) fn take_undelivered(&self, buffer: &mut [u8]) -> Option<Undelivered> {
        loop {
            let taken = self.descriptor.try_io(Interest::ERROR, |_| self.take_error(buffer));
            match taken {
                Ok(Some(undelivered)) => return Some(undelivered),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }

    fn take_error(&self, buffer: &mut [u8]) -> io::Result<Option<Undelivered>> {
        let mut control = cmsg_space!(sock_extended_err, sockaddr_in6);
        let mut pieces = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(self.descriptor.as_raw_fd(), &mut pieces, Some(&mut control), flags)?;
        let to = message.address.as_ref().and_then(socket_address);
        let error = message.cmsgs()?.find_map(error_of);
        Ok(to.zip(error).map(|(to, error)| Undelivered { to, len: message.bytes, error }))
    }
}

/// The message that sets a datagram's TTL or hop limit.
fn hop_limit(hops: Option<&c_int>, is_v4: bool) -> Option<ControlMessage<'_>> {
    hops.map(|hops| match is_v4 {
        true => ControlMessage::Ipv4Ttl(hops),
        false => ControlMessage::Ipv6HopLimit(hops),
    })
}

/// An address and port without the scope, which is this host's business.
pub(super) fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::new(v4.ip().into(), v4.port()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::new(v6.ip().into(), v6.port())))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "no other message says why")]
fn error_of(message: ControlMessageOwned) -> Option<IcmpError> {
    let (error, from) = match message {
        ControlMessageOwned::Ipv4RecvErr(error, from) => {
            (error, from.map(|from| IpAddr::V4(SockaddrIn::from(from).ip())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, from) => {
            (error, from.map(|from| IpAddr::V6(SockaddrIn6::from(from).ip())))
        }
        _ => return None,
    };
    Some(IcmpError { why: why_of(&error)?, from: from.filter(|from| !from.is_unspecified()) })
}

fn why_of(error: &sock_extended_err) -> Option<Undelivery> {
    /// Time exceeded in transit (RFC 792; RFC 4443, section 3.3).
    const TIME_EXCEEDED: [(u8, u8, u8); 2] = [(SO_EE_ORIGIN_ICMP, 11, 0), (SO_EE_ORIGIN_ICMP6, 3, 0)];
    /// RFC 1812, section 5.2.7.1: prohibited for the network, for the host, and by a filter. The kernel's
    /// error number tells them from nothing.
    const PROHIBITED: [(u8, u8); 3] = [(3, 9), (3, 10), (3, 13)];
    let (origin, kind) = (error.ee_origin, (error.ee_type, error.ee_code));
    if TIME_EXCEEDED.contains(&(origin, kind.0, kind.1)) {
        return Some(Undelivery::TimeExceeded);
    }
    if origin == SO_EE_ORIGIN_ICMP && PROHIBITED.contains(&kind) {
        return Some(Undelivery::Unreachable(Unreachable::Prohibited));
    }
    let number = Errno::from_raw(i32::try_from(error.ee_errno).unwrap_or(0));
    if number == Errno::EMSGSIZE {
        // What the kernel knows of the way by now, whoever told it (ip(7)).
        return Some(Undelivery::TooBig { mtu: u16::try_from(error.ee_info).unwrap_or(u16::MAX) });
    }
    unreachable_by(number).map(Undelivery::Unreachable)
}

/// What an error number says of the way; `None` where it says nothing.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other error is about the way")]
fn unreachable_by(error: Errno) -> Option<Unreachable> {
    match error {
        Errno::ECONNREFUSED => Some(Unreachable::Port),
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => Some(Unreachable::Host),
        // An address of no interface's scope has no way out either.
        Errno::ENETUNREACH | Errno::EINVAL | Errno::EADDRNOTAVAIL => Some(Unreachable::Network),
        // Also a broadcast address of a network of the host's (ip(7)).
        Errno::EACCES | Errno::EPERM => Some(Unreachable::Prohibited),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockname;
    use std::net::UdpSocket as StdSocket;
    use std::time::Duration;
    use tokio::time::timeout;

    const PLAIN: Passage = Passage { hops: 63, may_be_cut: true };

    fn run<R>(test: impl Future<Output = R>) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(Duration::from_secs(10), test).await.expect("an end") })
    }

    /// Where a socket is reached over loopback.
    fn own_address(socket: &HostSocket, loopback: IpAddr) -> SocketAddr {
        let bound: SockaddrStorage = getsockname(socket.descriptor.as_raw_fd()).unwrap();
        SocketAddr::new(loopback, socket_address(&bound).unwrap().port())
    }

    #[test]
    fn an_error_tells_whose_datagram_it_was_and_spoils_no_other() {
        run(async {
            for loopback in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                let gone = StdSocket::bind((loopback, 0)).unwrap();
                let (closed, open) = (gone.local_addr().unwrap(), StdSocket::bind((loopback, 0)).unwrap());
                drop(gone);
                open.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let socket = HostSocket::open(Kind::Datagrams, loopback.is_ipv6()).unwrap();
                let (mut buffer, mut inbox) = ([0; 64], Inbox::new());
                for round in 0..3 {
                    socket.send(b"lost", closed, PLAIN).unwrap();
                    // By now the error is there, and this one leaves all the same.
                    socket.send(b"found", open.local_addr().unwrap(), PLAIN).unwrap();
                    assert_eq!(open.recv(&mut buffer).unwrap(), 5, "round {round}");
                    let undelivered = loop {
                        socket.ready().await.unwrap();
                        socket.receive(&mut inbox);
                        assert_eq!(inbox.datagrams().count(), 0);
                        if let Some(undelivered) = socket.take_undelivered(&mut buffer) {
                            break undelivered;
                        }
                    };
                    let why = Undelivery::Unreachable(Unreachable::Port);
                    let error = IcmpError { why, from: Some(loopback) };
                    assert_eq!(undelivered, Undelivered { to: closed, len: 4, error });
                    assert_eq!(&buffer[..4], b"lost");
                    assert_eq!(socket.take_undelivered(&mut buffer), None);
                }
            }
        });
    }

    #[test]
    fn datagrams_come_in_order_with_their_senders_and_are_announced_again() {
        run(async {
            let mut inbox = Inbox::new();
            // The same inbox for both families, one after the other.
            for loopback in
                [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into(), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            {
                let sender = StdSocket::bind((loopback, 0)).unwrap();
                let socket = HostSocket::open(Kind::Datagrams, loopback.is_ipv6()).unwrap();
                let own = own_address(&socket, loopback);
                for count in [1, 15, 16, 17, 40] {
                    for index in 0..count {
                        sender.send_to(&vec![index; usize::from(index) * 100], own).unwrap();
                    }
                    let mut next = 0;
                    while next < count {
                        socket.ready().await.unwrap();
                        socket.receive(&mut inbox);
                        for (payload, from) in inbox.datagrams() {
                            assert_eq!(payload, vec![next; usize::from(next) * 100]);
                            assert_eq!(from, sender.local_addr().unwrap());
                            next += 1;
                        }
                    }
                    assert_eq!(socket.receive(&mut inbox), Received::All);
                    assert_eq!(inbox.datagrams().count(), 0);
                }
            }
        });
    }

    #[test]
    fn a_link_that_is_too_small_is_told_with_its_mtu() {
        // What the kernel keeps of "fragmentation needed" and "packet too big" (ip(7), ipv6(7)).
        for (origin, kind, code) in [(SO_EE_ORIGIN_ICMP, 3, 4), (SO_EE_ORIGIN_ICMP6, 2, 0)] {
            let error = sock_extended_err {
                ee_errno: u32::try_from(nix::libc::EMSGSIZE).unwrap(),
                ee_origin: origin,
                ee_type: kind,
                ee_code: code,
                ee_pad: 0,
                ee_info: 1_340,
                ee_data: 0,
            };
            assert_eq!(why_of(&error), Some(Undelivery::TooBig { mtu: 1_340 }));
        }
    }

    /// The name of the test below, run in a network of its own.
    const IN_A_NETWORK: &str = "shell::host_socket::tests::in_a_network_of_its_own";

    /// The loopback interface of that network, cut to this.
    const MTU: u16 = 1_400;

    #[test]
    fn a_datagram_leaves_as_it_asks_to_be_carried() {
        let setup = format!("ip link set lo mtu {MTU} up");
        crate::link::test_in_own_network(IN_A_NETWORK, "true", &setup);
    }

    #[test]
    #[ignore = "the test above runs it in a network of its own"]
    fn in_a_network_of_its_own() {
        let wire =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, Some(SockProtocol::EthAll))
                .unwrap();
        setsockopt(&wire, sockopt::ReceiveTimeout, &nix::sys::time::TimeVal::new(5, 0)).unwrap();
        // Hops, whether it may not be cut, and whether it is a fragment, of the next packet of UDP.
        let seen = || {
            let mut frame = [0; 2_048];
            loop {
                let count = nix::sys::socket::recv(wire.as_raw_fd(), &mut frame, MsgFlags::empty()).unwrap();
                let packet = &frame[14..count];
                match packet[0] >> 4 {
                    4 if packet[9] == 17 => {
                        return (packet[8], packet[6] & 0x40 != 0, packet[6] & 0x3f != 0 || packet[7] != 0);
                    }
                    // No packet of IPv6 may be cut by others.
                    6 if matches!(packet[6], 17 | 44) => return (packet[7], true, packet[6] == 44),
                    _ => {}
                }
            }
        };
        run(async {
            for loopback in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                let server = StdSocket::bind((loopback, 0)).unwrap();
                let to = server.local_addr().unwrap();
                let socket = HostSocket::open(Kind::Datagrams, loopback.is_ipv6()).unwrap();
                let (is_v6, own) = (loopback.is_ipv6(), 64);
                // The loopback interface shows each packet twice, as it leaves and as it comes.
                let passes = |seen: &dyn Fn() -> (u8, bool, bool)| [seen(), seen()];
                for (hops, may_be_cut, seen_hops) in [
                    (63, true, own),
                    (63, false, own),
                    (33, false, own),
                    (32, true, 32),
                    (3, false, 3),
                    (3, true, 3),
                ] {
                    socket.send(b"x", to, Passage { hops, may_be_cut }).unwrap();
                    assert_eq!(passes(&seen), [(seen_hops, is_v6 || !may_be_cut, false); 2], "{hops}");
                }
                // Together they leave as each would, where one fits the link.
                for (may_be_cut, bytes, expected) in [
                    (true, 100, Joined::Sent),
                    (false, 100, Joined::Sent),
                    (true, 1_500, Joined::Refused),
                    (false, 1_500, Joined::Refused),
                ] {
                    let passage = Passage { hops: 3, may_be_cut };
                    assert_eq!(socket.send_joined(&vec![0; 2 * bytes], bytes, to, passage), expected);
                    if expected == Joined::Sent {
                        assert_eq!(passes(&seen), [(3, is_v6 || !may_be_cut, false); 2]);
                    }
                }
                // Beyond the link's size.
                let large = [0; 1_500];
                let too_big = SendError::Undelivered(Undelivery::TooBig { mtu: MTU });
                for _ in 0..2 {
                    let kept_whole = socket.send(&large, to, Passage { hops: 3, may_be_cut: false });
                    assert_eq!(kept_whole, Err(too_big));
                    socket.send(&large, to, Passage { hops: 3, may_be_cut: true }).unwrap();
                    assert_eq!([passes(&seen), passes(&seen)], [[(3, is_v6, true); 2]; 2]);
                }
                // It is lost where nobody could send it.
                assert_eq!(socket.send(&[0; 65_530], to, PLAIN), Err(SendError::Lost));
            }
            // A socket of both families, as ports are published by.
            let both = HostSocket::bound(StdSocket::bind("[::]:0").unwrap()).unwrap();
            let server = StdSocket::bind("127.0.0.1:0").unwrap();
            let to = SocketAddr::new(
                Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
                server.local_addr().unwrap().port(),
            );
            both.send(b"x", to, Passage { hops: 3, may_be_cut: false }).unwrap();
            assert_eq!([seen(), seen()], [(3, true, false); 2]);
            let too_big = both.send(&[0; 1_500], to, Passage { hops: 3, may_be_cut: false });
            assert_eq!(too_big, Err(SendError::Undelivered(Undelivery::TooBig { mtu: MTU })));
        });
    }

    #[test]
    fn what_cannot_leave_is_told_at_once() {
        run(async {
            let socket = HostSocket::open(Kind::Datagrams, false).unwrap();
            let broadcast = SocketAddr::from(([255, 255, 255, 255], 9));
            let refused = socket.send(b"x", broadcast, PLAIN);
            assert!(matches!(refused, Err(SendError::Undelivered(_))), "{refused:?}");
            let too_long = vec![0; 65_508];
            assert_eq!(socket.send(&too_long, ([127, 0, 0, 1], 9).into(), PLAIN), Err(SendError::Lost));
        });
    }
}
