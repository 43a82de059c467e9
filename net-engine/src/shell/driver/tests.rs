use std::cell::Cell;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use net_policy::Policy;
use nix::libc::{SOL_UDP, UDP_GRO};
use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};
use tokio::task::LocalSet;

use super::*;
use crate::core::{GatewayConfig, GuestAddresses};
use crate::guest::{EventQueue, GuestConfig, PublicationId};
use crate::link::{
    Checksum, FrameMeta, LinkCapabilities, MAX_SPARED_PORTS, Received, Segmentation, SegmentationKind,
    Thinning,
};
use crate::sys;

/// The frames of a guest, the `nth` by `write`, as long as it gives their length; how many were taken and
/// sent, and how the link is to be thinned.
struct Source<W> {
    write: W,
    meta: FrameMeta,
    taken: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
    thinned: Arc<Mutex<Thinning>>,
}

impl<W: Fn(usize, &mut [u8]) -> Option<usize> + Send> Link for Source<W> {
    fn capabilities(&self) -> LinkCapabilities {
        LinkCapabilities { mtu: 1500, offload: self.meta != FrameMeta::default() }
    }

    fn poll_receive(&mut self, _: &mut TaskContext<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        let nth = self.taken.load(Ordering::Relaxed);
        let Some(len) = (self.write)(nth, buffer) else { return Poll::Pending };
        self.taken.store(nth + 1, Ordering::Relaxed);
        Poll::Ready(Ok(Received { len, meta: self.meta }))
    }

    fn poll_send(&mut self, _: &mut TaskContext<'_>, _: &FrameMeta, _: &[u8]) -> Poll<io::Result<()>> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn thin(&mut self, thinning: &Thinning) {
        *self.thinned.lock().expect("nobody panics") = thinning.clone();
    }
}

/// Where the guest sends to.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 7_000);

/// What a link counts.
struct Counts {
    taken: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
    thinned: Arc<Mutex<Thinning>>,
}

/// The driver of a guest whose frames are these, and which may do nothing; and the counts of its link.
fn driver(write: impl Fn(usize, &mut [u8]) -> Option<usize> + Send + 'static) -> (Driver, Counts) {
    let policy = Policy::new(Vec::new());
    driver_of(GuestConfig { policy, ..GuestConfig::default() }, FrameMeta::default(), write)
}

/// The same of a guest that may do what is said, and whose frames are of one kind.
fn driver_of(
    config: GuestConfig,
    meta: FrameMeta,
    write: impl Fn(usize, &mut [u8]) -> Option<usize> + Send + 'static,
) -> (Driver, Counts) {
    let counts = Counts { taken: Arc::default(), sent: Arc::default(), thinned: Arc::default() };
    let (taken, sent) = (Arc::clone(&counts.taken), Arc::clone(&counts.sent));
    let link = Source { write, meta, taken, sent, thinned: Arc::clone(&counts.thinned) };
    let gateway = GatewayConfig {
        addresses: GuestAddresses::default(),
        link: link.capabilities(),
        limits: config.limits.clone(),
        random_seed: 1,
        autoconfiguration: None,
    };
    let stack = Stack::new(Gateway::new(gateway, now()).expect("the default addresses"));
    let context = Rc::new(Context::new(stack, EventQueue::new(8), config));
    let udp = Rc::new(Udp::new(Rc::clone(&context)));
    (Driver::new(context, udp, Box::new(link), RawEchoSockets::default()), counts)
}

/// A datagram of the guest without data.
fn datagram(buffer: &mut [u8], from_port: u16, to: SocketAddr) -> usize {
    const BYTES: usize = 14 + 20 + 8;
    segment(buffer, from_port, false);
    let SocketAddr::V4(to) = to else { return 0 };
    let mut packet = Ipv4Packet::new_unchecked(&mut buffer[14..BYTES]);
    packet.set_total_len(28);
    packet.set_next_header(smoltcp::wire::IpProtocol::Udp);
    packet.set_dst_addr(*to.ip());
    packet.fill_checksum();
    // The ports are where they are in a segment; no sum.
    buffer[36..38].copy_from_slice(&to.port().to_be_bytes());
    buffer[38..BYTES].copy_from_slice(&[0, 8, 0, 0]);
    BYTES
}

/// A datagram of the guest over IPv6 without data, in one fragment that is all of it (RFC 6946).
fn atomic_fragment(buffer: &mut [u8], from_port: u16) -> usize {
    const BYTES: usize = 14 + 40 + 8 + 8;
    let addresses = GuestAddresses::default();
    let guest = addresses.ipv6.expect("an address").guest;
    let server = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    buffer[..BYTES].fill(0);
    buffer[..6].copy_from_slice(&addresses.gateway_mac.0);
    buffer[6..12].copy_from_slice(&addresses.guest_mac.0);
    buffer[12..14].copy_from_slice(&[0x86, 0xdd]);
    let mut packet = Ipv6Packet::new_unchecked(&mut buffer[14..BYTES]);
    packet.set_version(6);
    packet.set_payload_len(16);
    packet.set_next_header(smoltcp::wire::IpProtocol::Ipv6Frag);
    packet.set_hop_limit(64);
    packet.set_src_addr(guest);
    packet.set_dst_addr(server);
    buffer[54] = 17;
    let mut udp = UdpPacket::new_unchecked(&mut buffer[62..BYTES]);
    udp.set_src_port(from_port);
    udp.set_dst_port(7_000);
    udp.set_len(8);
    udp.fill_checksum(&guest.into(), &server.into());
    BYTES
}

/// A segment of the guest without data or options.
fn segment(buffer: &mut [u8], from_port: u16, is_reset: bool) -> usize {
    const BYTES: usize = 14 + 20 + 20;
    let addresses = GuestAddresses::default();
    let (guest, server) = (addresses.ipv4.expect("an address").guest, Ipv4Addr::new(198, 51, 100, 7));
    buffer[..BYTES].fill(0);
    buffer[..6].copy_from_slice(&addresses.gateway_mac.0);
    buffer[6..12].copy_from_slice(&addresses.guest_mac.0);
    buffer[12..14].copy_from_slice(&[8, 0]);
    let mut packet = Ipv4Packet::new_unchecked(&mut buffer[14..BYTES]);
    packet.set_version(4);
    packet.set_header_len(20);
    packet.set_total_len(40);
    packet.set_hop_limit(64);
    packet.set_next_header(smoltcp::wire::IpProtocol::Tcp);
    packet.set_src_addr(guest);
    packet.set_dst_addr(server);
    packet.fill_checksum();
    let mut tcp = TcpPacket::new_unchecked(packet.payload_mut());
    tcp.set_src_port(from_port);
    tcp.set_dst_port(80);
    tcp.set_header_len(20);
    tcp.set_syn(!is_reset);
    tcp.set_rst(is_reset);
    tcp.fill_checksum(&guest.into(), &server.into());
    BYTES
}

/// A link that always has frames, and somebody else on the worker who exchanges bytes over sockets.
#[test]
fn sockets_are_looked_at_however_much_the_link_has() {
    const ROUND_TRIPS: usize = 20;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (driver, Counts { taken, .. }) = driver(|_, _| Some(0));
    let frames = LocalSet::new().block_on(&runtime, async {
        let (near, mut far) = UnixStream::pair().expect("two sockets");
        let (answered, written) = std::sync::mpsc::channel();
        let peer = std::thread::spawn(move || {
            let mut byte = [0];
            for _ in 0..ROUND_TRIPS {
                far.read_exact(&mut byte).expect("the other end is there");
                far.write_all(&byte).expect("the other end is there");
                answered.send(()).expect("somebody waits");
            }
        });
        near.set_nonblocking(true).expect("a socket");
        let near = tokio::net::UnixStream::from_std(near).expect("a reactor");
        let flood = tokio::task::spawn_local(driver.run());
        let mut frames = 0;
        for _ in 0..ROUND_TRIPS {
            near.writable().await.expect("it is open");
            assert_eq!(near.try_write(&[1]).expect("there is room"), 1);
            // It has come back by then; what is left is that somebody looks.
            written.recv().expect("the other end is there");
            let before = taken.load(Ordering::Relaxed);
            // Until there is nothing more: what is known to be readable needs no look at the socket.
            let mut has_come = false;
            loop {
                match near.try_read(&mut [0]) {
                    Ok(1) => has_come = true,
                    // The other end has closed, after the last one.
                    Ok(_) => break,
                    Err(_) if has_come => break,
                    Err(_) => near.readable().await.expect("it is open"),
                }
            }
            frames += taken.load(Ordering::Relaxed) - before;
        }
        flood.abort();
        peer.join().expect("it has exchanged all");
        frames
    });
    let turn = net_core::Limits::default().max_frames_per_wakeup;
    assert!(frames > 0, "the link had frames all the time");
    assert!(frames <= ROUND_TRIPS * 4 * turn, "{frames} frames were taken before the sockets' turn");
}

/// Ports whose datagrams pass while a flood is thinned: none that floods itself, and no flood of what passes
/// anyway has others thinned.
#[test]
fn published_ports_are_spared_and_what_passes_anyway_thins_nothing() {
    const FRAMES: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (to_port, is_thinned) in [(67, false), (7_000, true)] {
        let to = SocketAddr::new(SERVER.ip(), to_port);
        let mut config = GuestConfig { policy: Policy::new(Vec::new()), ..GuestConfig::default() };
        (config.limits.new_udp_flow_burst, config.limits.new_udp_flows_per_second) = (1, 1);
        let (mut driver, Counts { taken, thinned, .. }) =
            driver_of(config, FrameMeta::default(), move |nth, buffer| {
                (nth < FRAMES).then(|| datagram(buffer, 9_000, to))
            });
        LocalSet::new().block_on(&runtime, async {
            for (id, port) in [(1, 9_000), (2, 5_353)] {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
                socket.set_nonblocking(true).expect("a socket");
                driver.udp.publish(PublicationId(id), socket, port).expect("it is served");
            }
            assert_eq!(driver.udp.spared_ports(MAX_SPARED_PORTS, now()), [5_353, 9_000]);
            assert_eq!(driver.udp.spared_ports(1, now()), [5_353]);
            most_until(&mut driver, &taken, FRAMES).await;
            assert!(driver.udp.refused() > 9_000, "{}", driver.udp.refused());
            let stack = driver.context.stack.clone();
            assert_eq!(driver.udp.spared_ports(MAX_SPARED_PORTS, now()), [5_353]);
            sleep(Duration::from_millis(60)).await;
            driver.floods.poll(&stack, &driver.udp, &driver.ping, &mut *driver.link);
            let thinning = thinned.lock().expect("nobody panics").clone();
            let expected: &[u16] = if is_thinned { &[5_353] } else { &[] };
            assert_eq!((thinning.datagrams > 0, &*thinning.spared_ports), (is_thinned, expected));
        });
    }
}

#[test]
fn a_link_is_told_at_once_how_much_to_leave_away_and_seldom_which_ports_to_spare() {
    let (mut driver, Counts { thinned, .. }) = driver(|_, _| None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let start = now();
        // After so many milliseconds a port is published, and datagrams are to be thinned so; which ports the link
        // spares then.
        for (after, port, datagrams, spared) in [
            (0, 1_000, 3, &[1_000][..]),
            (50, 1_001, 3, &[1_000]),
            (950, 1_002, 3, &[1_000]),
            (1_000, 1_003, 3, &[1_000, 1_001, 1_002, 1_003]),
            (1_050, 1_004, 3, &[1_000, 1_001, 1_002, 1_003]),
            (1_100, 1_005, 4, &[1_000, 1_001, 1_002, 1_003, 1_004, 1_005]),
            (2_050, 1_006, 4, &[1_000, 1_001, 1_002, 1_003, 1_004, 1_005]),
            (2_060, 1_007, 0, &[]),
            (9_000, 1_008, 0, &[]),
            (9_050, 1_009, 1, &[1_000, 1_001, 1_002, 1_003, 1_004, 1_005, 1_006, 1_007, 1_008, 1_009]),
        ] {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            socket.set_nonblocking(true).expect("a socket");
            driver.udp.publish(PublicationId(port.into()), socket, port).expect("it is served");
            let thinning = Thinning { datagrams, ..Thinning::default() };
            let at = start + Duration::from_millis(after);
            driver.floods.thin(thinning, &driver.udp, &mut *driver.link, at);
            let told = thinned.lock().expect("nobody panics").clone();
            assert_eq!((told.datagrams, &*told.spared_ports), (datagrams, spared), "{after}");
        }
    });
}

#[test]
fn a_burst_of_flows_is_started_a_few_at_a_time() {
    const FLOWS: u16 = 100;
    let (mut driver, Counts { taken, sent, .. }) = driver(|nth, buffer| {
        let nth = u16::try_from(nth).ok().filter(|nth| *nth < FLOWS)?;
        Some(segment(buffer, 10_000 + nth, false))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let mut timer = pin!(sleep(Duration::ZERO));
        let most = Cell::new(0);
        let mut polls = 0;
        poll_fn(|task| {
            let (before, refused) = (taken.load(Ordering::Relaxed), sent.load(Ordering::Relaxed));
            assert!(driver.poll(task, timer.as_mut()).is_pending());
            let frames = taken.load(Ordering::Relaxed) - before;
            // Nothing is allowed, so that each that is started is refused.
            let started = sent.load(Ordering::Relaxed) - refused;
            assert!(started <= 2 * MAX_STARTS, "{started} in one turn, after {frames} frames");
            most.set(most.get().max(driver.starts.len()));
            polls += 1;
            if sent.load(Ordering::Relaxed) == usize::from(FLOWS) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(most.get() > usize::from(FLOWS) / 2, "none had to wait: {}", most.get());
        assert!(polls >= usize::from(FLOWS) / (2 * MAX_STARTS), "{polls} turns");
    });
}

#[test]
fn a_flow_that_the_guest_gives_up_while_it_waits_is_not_started() {
    const FLOWS: u16 = 20;
    let (mut driver, Counts { sent, .. }) = driver(|nth, buffer| {
        let nth = u16::try_from(nth).ok().filter(|nth| *nth < 2 * FLOWS)?;
        Some(segment(buffer, 10_000 + nth % FLOWS, nth >= FLOWS))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let mut timer = pin!(sleep(Duration::ZERO));
        for _ in 0..8 {
            poll_fn(|task| Poll::Ready(driver.poll(task, timer.as_mut()).is_pending())).await;
        }
    });
    assert!(driver.starts.is_empty());
    assert_eq!(sent.load(Ordering::Relaxed), 0, "nobody waits for an answer");
}

#[test]
fn the_link_is_thinned_while_there_is_a_flood() {
    type Write = fn(&mut [u8], u16) -> usize;
    type Shift = fn(&Thinning) -> u8;
    let floods: [(&str, Write, Shift); 3] = [
        ("syns", |buffer, port| segment(buffer, port, false), |thinning| thinning.syns),
        ("datagrams", |buffer, port| datagram(buffer, port, SERVER), |thinning| thinning.datagrams),
        // Of a datagram that is whole, which is refused as one: a filter knows it by its piece.
        ("datagrams in pieces", atomic_fragment, |thinning| thinning.fragments),
    ];
    for (name, write, shift) in floods {
        let goes_on = Arc::new(AtomicBool::new(true));
        let is_flooded = Arc::clone(&goes_on);
        let (driver, Counts { thinned, .. }) = driver(move |nth, buffer| {
            let port = u16::try_from(1_024 + nth % 60_000).ok()?;
            is_flooded.load(Ordering::Relaxed).then(|| write(buffer, port))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let flood = tokio::task::spawn_local(driver.run());
            for is_thinned in [true, false] {
                goes_on.store(is_thinned, Ordering::Relaxed);
                let told = tokio::time::timeout(Duration::from_secs(20), async {
                    loop {
                        let thinning = thinned.lock().expect("nobody panics").clone();
                        if thinning.is_none() != is_thinned {
                            break thinning;
                        }
                        sleep(Duration::from_millis(5)).await;
                    }
                });
                let thinning = told.await.expect("the link is told");
                let others = [thinning.syns, thinning.datagrams, thinning.echoes, thinning.fragments];
                assert_eq!(shift(&thinning) > 0, is_thinned, "{name}: {thinning:?}");
                let thinned_kinds = others.iter().filter(|shift| **shift > 0).count();
                assert_eq!(thinned_kinds, usize::from(is_thinned), "{name}: {thinning:?}");
            }
            flood.abort();
        });
    }
}

#[test]
fn a_flood_of_syns_has_no_burst() {
    let mut config = GuestConfig { policy: Policy::new(Vec::new()), ..GuestConfig::default() };
    // One that nobody comes to the end of.
    (config.limits.new_flow_burst, config.limits.new_flows_per_second) = (u32::MAX, 1);
    let (driver, _) = driver_of(config, FrameMeta::default(), |nth, buffer| {
        let port = u16::try_from(1_024 + nth % 60_000).ok()?;
        Some(segment(buffer, port, false))
    });
    let stack = driver.context.stack.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let flood = tokio::task::spawn_local(driver.run());
        // Too many wait at once, and then there is the rate alone.
        let by_rate = tokio::time::timeout(Duration::from_secs(20), async {
            while stack.with(|gateway| gateway.counters()).flows_over_rate == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        });
        by_rate.await.expect("it is found out");
        flood.abort();
    });
}

/// Where a guest sends to, and what has it arrive at a server here.
fn guest_of(server: &UdpSocket) -> (SocketAddr, GuestConfig) {
    let upstream = SocketAddr::from(([9, 9, 9, 9], 7_000));
    let policy = Policy::builder().allow("public").build().expect("rules");
    let redirects = HashMap::from([(upstream, server.local_addr().expect("an address"))]);
    (upstream, GuestConfig { policy, redirects, ..GuestConfig::default() })
}

#[test]
fn a_burst_of_datagrams_that_begin_flows_is_taken_a_few_at_a_time() {
    const FLOWS: u16 = 100;
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let (upstream, config) = guest_of(&server);
    let (mut driver, Counts { taken, .. }) = driver_of(config, FrameMeta::default(), move |nth, buffer| {
        let nth = u16::try_from(nth).ok().filter(|nth| *nth < FLOWS)?;
        Some(datagram(buffer, 10_000 + nth, upstream))
    });
    let most = most_in_one_turn(&mut driver, &taken, FLOWS.into());
    let turn = driver.context.limits.max_frames_per_wakeup;
    assert!(most <= turn / FRAMES_PER_UDP_FLOW + 1, "{most} in one turn");
    assert_eq!(driver.udp.counters().sent, u64::from(FLOWS));
}

/// Frames of some datagrams with a byte each: those that are carried, and those that each are decided and denied.
#[test]
fn frames_that_hold_many_datagrams_count_as_what_they_hold() {
    const FRAMES: usize = 100;
    const PIECES: usize = 8;
    const BYTES: usize = 14 + 20 + 8 + PIECES;
    let segmentation = Some(Segmentation { kind: SegmentationKind::Udp, header_bytes: 42, size: 1 });
    let meta = FrameMeta { checksum: Checksum::Verified, segmentation };
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    for (is_allowed, weight) in [(true, PIECES), (false, PIECES * FRAMES_PER_UDP_FLOW)] {
        let (upstream, mut config) = guest_of(&server);
        if !is_allowed {
            config.policy = Policy::new(Vec::new());
        }
        config.limits.new_udp_flow_burst = u32::MAX;
        let (mut driver, Counts { taken, .. }) = driver_of(config, meta, move |nth, buffer| {
            if nth == FRAMES {
                return None;
            }
            datagram(buffer, 10_000, upstream);
            buffer[42..BYTES].fill(1);
            let mut packet = Ipv4Packet::new_unchecked(&mut buffer[14..BYTES]);
            packet.set_total_len(u16::try_from(BYTES - 14).expect("it fits"));
            packet.fill_checksum();
            let length = u16::try_from(8 + PIECES).expect("it fits");
            buffer[38..40].copy_from_slice(&length.to_be_bytes());
            Some(BYTES)
        });
        let most = most_in_one_turn(&mut driver, &taken, FRAMES);
        let turn = driver.context.limits.max_frames_per_wakeup;
        assert!(most <= turn / weight + 1, "{most} in one turn, allowed: {is_allowed}");
        let sent = u64::try_from(FRAMES * PIECES).expect("it fits");
        let counters = driver.udp.counters();
        assert_eq!(counters.sent + counters.lost, if is_allowed { sent } else { 0 });
        assert_eq!(driver.udp.decided(), if is_allowed { 1 } else { sent });
    }
}

/// What the guest answers somebody who has sent to a published port, as much of it as the link has at once.
#[test]
fn answers_from_a_published_port_leave_together() {
    const ANSWERS: usize = 10;
    const BYTES: usize = 100;
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    peer.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    sys::set_option(peer.as_fd(), SOL_UDP, UDP_GRO, 1).expect("linux has it since 5.0");
    let gateway = GuestAddresses::default().ipv4.expect("an address").gateway;
    let shown = SocketAddr::new(gateway.into(), peer.local_addr().expect("it is bound").port());
    let answers = Arc::new(AtomicBool::new(false));
    let is_asked = Arc::clone(&answers);
    // The guest itself may send nothing.
    let (mut driver, Counts { taken, sent, .. }) = driver(move |nth, buffer| {
        if nth == ANSWERS || !is_asked.load(Ordering::Relaxed) {
            return None;
        }
        datagram(buffer, 9_000, shown);
        let end = 42 + BYTES;
        buffer[42..end].fill(u8::try_from(nth).expect("few"));
        let mut packet = Ipv4Packet::new_unchecked(&mut buffer[14..end]);
        packet.set_total_len(u16::try_from(end - 14).expect("it fits"));
        packet.fill_checksum();
        let length = u16::try_from(8 + BYTES).expect("it fits");
        buffer[38..40].copy_from_slice(&length.to_be_bytes());
        Some(end)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_nonblocking(true).expect("a socket");
        let published = socket.local_addr().expect("it is bound");
        driver.udp.publish(PublicationId(1), socket, 9_000).expect("it is served");
        peer.send_to(b"asked", published).expect("it is served");
        let heard = tokio::time::timeout(Duration::from_secs(20), async {
            let mut timer = pin!(sleep(Duration::ZERO));
            while sent.load(Ordering::Relaxed) == 0 {
                poll_fn(|task| Poll::Ready(driver.poll(task, timer.as_mut()).is_pending())).await;
                sleep(Duration::from_millis(5)).await;
            }
        });
        heard.await.expect("the guest hears it");
        answers.store(true, Ordering::Relaxed);
        most_until(&mut driver, &taken, ANSWERS).await;
        let mut buffer = vec![0; 64 << 10];
        // The first waits for nobody.
        let (first, others) = (vec![0; BYTES], (1..10).flat_map(|nth| [nth; BYTES]).collect::<Vec<u8>>());
        for expected in [first, others] {
            let (count, from) = peer.recv_from(&mut buffer).expect("it arrives");
            assert_eq!((&buffer[..count], from), (&*expected, published));
        }
        assert_eq!(driver.udp.counters().sent, 10);
    });
}

/// Polls a driver until it has taken so many frames; the most of them in one turn.
fn most_in_one_turn(driver: &mut Driver, taken: &AtomicUsize, all: usize) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, most_until(driver, taken, all))
}

async fn most_until(driver: &mut Driver, taken: &AtomicUsize, all: usize) -> usize {
    let mut timer = pin!(sleep(Duration::ZERO));
    let mut most = 0;
    poll_fn(|task| {
        let before = taken.load(Ordering::Relaxed);
        assert!(driver.poll(task, timer.as_mut()).is_pending());
        let now = taken.load(Ordering::Relaxed);
        most = most.max(now - before);
        if now == all { Poll::Ready(most) } else { Poll::Pending }
    })
    .await
}
