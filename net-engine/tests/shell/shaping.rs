//! Bounds on what a guest and what a rule's flows may carry: never more than said, whatever the machine does
//! besides, and changed under running flows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use net_core::{Shape, Shaping};
use net_policy::{Action, Policy, Rule, parse_target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use crate::guest::Stream;
use crate::server::one_connection;
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, World, run};

fn shape(bandwidth: &str) -> Shape {
    Shape { bandwidth: Some(bandwidth.parse().unwrap()), packets: None }
}

fn both(bandwidth: &str) -> Shaping {
    Shaping { upload: shape(bandwidth), download: shape(bandwidth) }
}

fn rule(target: &str, shaping: Shaping) -> Rule {
    parse_target(target).unwrap().into_rule(Action::Allow).shaped(shaping).unwrap()
}

/// A guest with a stream to each of two servers, under these rules.
struct Two {
    world: World,
    guests: [Stream; 2],
    servers: [TcpStream; 2],
}

impl Two {
    async fn new(rules: Vec<Rule>, shaping: Shaping) -> Self {
        let ((first, to_first), (second, to_second)) = {
            let (a, b) = (one_connection().await, one_connection().await);
            ((a.1, a.0), (b.1, b.0))
        };
        let redirects = vec![((HOST_A.1, 7), to_first), ((HOST_B.1, 7), to_second)];
        let world = World::new(Setup { redirects, shaping, ..Setup::default() }).await;
        world.handle.swap_policy(Policy::new(rules)).await.unwrap();
        let guests = [world.connect_to(HOST_A.1, 7).await, world.connect_to(HOST_B.1, 7).await];
        Self { world, guests, servers: [first.await, second.await] }
    }
}

/// Sends so many bytes from one to the other; how long that took.
async fn carry(
    from: &mut (impl AsyncWriteExt + Unpin),
    to: &mut (impl AsyncReadExt + Unpin),
    bytes: usize,
) -> Duration {
    let began = Instant::now();
    let data = vec![7; bytes];
    let mut seen = vec![0; bytes];
    let (sent, received) =
        timeout(2 * PATIENCE, async { tokio::join!(from.write_all(&data), to.read_exact(&mut seen)) })
            .await
            .expect("everything arrives");
    sent.unwrap();
    received.unwrap();
    assert_eq!(seen, data);
    began.elapsed()
}

const MEGABYTE: usize = 1_000_000;

#[test]
fn a_guest_sends_and_receives_no_faster_than_it_may() {
    run(async {
        let rules = vec![rule("public", Shaping::default())];
        let mut two = Two::new(rules, both("1 MB/s burst 100 kB")).await;
        let [(guest, server), (other, other_server)] = {
            let ([a, b], [c, d]) = (&mut two.guests, &mut two.servers);
            [(a, c), (b, d)]
        };
        // What is sent is on its way before it counts: a window and a burst.
        let up = carry(guest, server, 2 * MEGABYTE).await;
        assert!(up > Duration::from_millis(1_500), "{up:?}");
        let (first, second) =
            tokio::join!(carry(server, guest, MEGABYTE), carry(other_server, other, MEGABYTE));
        // Both share it.
        assert!(first.max(second) > Duration::from_millis(1_500), "{first:?} {second:?}");
        assert!(two.world.handle.counters().await.unwrap().link_waits > 0);
        // At once, and for streams that run.
        two.world.handle.swap_shaping(both("20 kB/s burst 20 kB")).await;
        let (guest, server) = (&mut two.guests[0], &mut two.servers[0]);
        let slow = timeout(Duration::from_secs(1), carry(server, guest, MEGABYTE)).await;
        assert!(slow.is_err());
        two.world.handle.swap_shaping(Shaping::default()).await;
        carry(&mut two.servers[1], &mut two.guests[1], 8 * MEGABYTE).await;
    });
}

#[test]
fn a_rule_s_streams_share_its_bound_and_others_do_not_notice() {
    run(async {
        let rules = || vec![rule("9.9.9.1", both("1 MB/s burst 100 kB")), rule("public", Shaping::default())];
        let mut two = Two::new(rules(), Shaping::default()).await;
        // Another stream of the first rule.
        let (address, accepted) = one_connection().await;
        drop((address, accepted));
        let ([guest, free], [server, free_server]) = (&mut two.guests, &mut two.servers);
        let up = carry(guest, server, 2 * MEGABYTE).await;
        assert!(up > Duration::from_millis(1_500), "{up:?}");
        let bounded = carry(server, guest, 2 * MEGABYTE);
        let unbounded = async {
            carry(free_server, free, 8 * MEGABYTE).await;
            carry(free, free_server, 8 * MEGABYTE).await;
        };
        let (down, ()) = tokio::join!(bounded, unbounded);
        assert!(down > Duration::from_millis(1_500), "{down:?}");
        let counted = two.world.handle.counters().await.unwrap();
        assert!(counted.stream_waits > 0 && counted.link_waits == 0, "{up:?} {down:?} {counted:?}");
    });
}

#[test]
fn a_new_policy_s_bounds_hold_for_streams_that_run() {
    run(async {
        let slow = || vec![rule("public", both("20 kB/s burst 20 kB"))];
        let mut two = Two::new(slow(), Shaping::default()).await;
        let (guest, server) = (&mut two.guests[0], &mut two.servers[0]);
        // It waits when the rules change, in both directions.
        for is_upload in [true, false] {
            let swap = async {
                sleep(Duration::from_millis(300)).await;
                let fast = Policy::new(vec![rule("public", Shaping::default())]);
                assert_eq!(two.world.handle.swap_policy(fast).await, Ok(0));
            };
            let bytes = 4 * MEGABYTE;
            if is_upload {
                tokio::join!(carry(guest, server, bytes), swap);
            } else {
                tokio::join!(carry(server, guest, bytes), swap);
            }
            assert_eq!(two.world.handle.swap_policy(Policy::new(slow())).await, Ok(0));
        }
        assert!(timeout(Duration::from_secs(1), carry(server, guest, MEGABYTE)).await.is_err());
    });
}

#[test]
fn a_stream_that_waits_for_its_bound_still_ends() {
    run(async {
        let mut two = Two::new(vec![rule("public", both("1 kB/s burst 1 kB"))], Shaping::default()).await;
        let (guest, server) = (&mut two.guests[0], &mut two.servers[0]);
        // Upstream's bytes wait, and the guest's reset is seen all the same.
        server.write_all(&vec![7; MEGABYTE]).await.unwrap();
        let mut first = [0; 100];
        timeout(PATIENCE, guest.read_exact(&mut first)).await.expect("the burst").unwrap();
        let [first, _second] = two.guests;
        first.abort();
        let mut byte = [0; 1];
        let ended = timeout(PATIENCE, server.read(&mut byte)).await.expect("an end");
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    });
}

#[test]
fn datagrams_beyond_a_rule_s_bound_are_lost_and_counted() {
    run(async {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let redirects = vec![((HOST_A.1, 7), server.local_addr().unwrap())];
        let world = World::new(Setup { redirects, ..Setup::default() }).await;
        let packets = |text: &str| Shape { bandwidth: None, packets: Some(text.parse().unwrap()) };
        let shaping = Shaping { upload: packets("1/s burst 5"), download: packets("1/s burst 3") };
        world.handle.swap_policy(Policy::new(vec![rule("public", shaping)])).await.unwrap();
        let guest = world.guest.datagrams();
        let target = SocketAddr::new(IpAddr::V4(HOST_A.1), 7);
        for _ in 0..50 {
            guest.send(target, b"one of many");
        }
        let counted = timeout(PATIENCE, async {
            loop {
                let udp = world.handle.counters().await.unwrap().udp;
                if udp.sent + udp.shaped == 50 {
                    return udp;
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        let counted = counted.await.expect("all of them");
        // A slow machine brings a token or two more.
        assert!((5..20).contains(&counted.sent), "{counted:?}");
        let (_, mapped) = server.recv_from(&mut [0; 64]).await.unwrap();
        for _ in 0..50 {
            server.send_to(b"one of many", mapped).await.unwrap();
        }
        let counted = timeout(PATIENCE, async {
            loop {
                let udp = world.handle.counters().await.unwrap().udp;
                if udp.received + udp.shaped - counted.shaped == 50 {
                    return udp;
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        assert!((3..20).contains(&counted.await.expect("all of them").received));
        // No bound, no loss: for destinations that are known.
        let free = Policy::new(vec![rule("public", Shaping::default())]);
        world.handle.swap_policy(free).await.unwrap();
        let before = world.handle.counters().await.unwrap().udp;
        for _ in 0..50 {
            guest.send(target, b"one of many");
        }
        let all = timeout(PATIENCE, async {
            while world.handle.counters().await.unwrap().udp.sent < before.sent + 50 {
                sleep(Duration::from_millis(10)).await;
            }
        });
        all.await.expect("all of them");
    });
}
