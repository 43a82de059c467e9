#![allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use net_core::Limits;

use super::*;

/// A table whose mappings are numbered and whose peers are known by their address.
struct World {
    table: PortTable<usize, SocketAddr>,
    now: Instant,
    mappings: usize,
}

fn guest(port: u16) -> SocketAddr {
    ([172, 16, 0, 2], port).into()
}

fn server(host: u8, port: u16) -> SocketAddr {
    ([9, 9, 9, host], port).into()
}

impl World {
    fn new(max_udp_mappings: usize, max_udp_peers: usize) -> Self {
        let limits = Limits::default();
        let bounds = Bounds {
            max_mappings: (max_udp_mappings, "max_udp_mappings"),
            max_peers: (max_udp_peers, "max_udp_peers"),
            idle_timeout: limits.udp_idle_timeout,
            exchange_timeout: limits.udp_exchange_timeout,
        };
        Self { table: PortTable::new(bounds), now: Instant::now(), mappings: 0 }
    }

    /// Sends; the number of the mapping it leaves by.
    fn send(&mut self, from: SocketAddr, to: SocketAddr) -> usize {
        self.send_by(from, to, to)
    }

    fn send_by(&mut self, from: SocketAddr, to: SocketAddr, dialled: SocketAddr) -> usize {
        if let Some(outbound) = self.table.handle_egress(from, to, self.now) {
            assert_eq!((*outbound.peer, outbound.dialled), (to, dialled));
            return *outbound.mapping;
        }
        let Self { table, mappings, .. } = self;
        let mapping = || {
            *mappings += 1;
            *mappings
        };
        table.open((from, to), dialled, to, mapping, self.now);
        *self.table.outbound_to(from, to).expect("it was opened").mapping
    }

    fn receive(&mut self, to: SocketAddr, from: SocketAddr) -> Option<SocketAddr> {
        self.table.handle_ingress(to, from, self.now)
    }

    fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
        self.table.handle_timeout(self.now);
    }

    fn ended(&mut self) -> Vec<Ended<usize, SocketAddr>> {
        std::iter::from_fn(|| self.table.poll_ended()).collect()
    }
}

fn gone(peer: SocketAddr, limit: Option<&'static str>) -> Ended<usize, SocketAddr> {
    Ended::Peer { state: peer, limit }
}

#[test]
fn the_oldest_ports_that_were_answered_are_named() {
    let mut world = World::new(8, 16);
    for port in [30, 10, 20, 40, 50] {
        world.send(guest(port), server(1, 443));
    }
    assert!(world.table.answered_ports(8).is_empty());
    // In another order, and not by everybody.
    for port in [40, 20, 30] {
        world.receive(guest(port), server(1, 443)).expect("it was sent to");
    }
    assert_eq!(world.receive(guest(50), server(2, 443)), None);
    assert_eq!(world.table.answered_ports(8), [30, 20, 40]);
    assert_eq!(world.table.answered_ports(2), [30, 20]);
    world.table.end(guest(30), server(1, 443));
    assert_eq!(world.table.answered_ports(2), [20, 40]);
    // What floods is not, until it is answered again; it is as old as it was.
    world.table.note_flood(guest(20));
    world.table.note_flood(guest(60));
    assert_eq!(world.table.answered_ports(2), [40]);
    world.receive(guest(20), server(1, 443)).expect("it was sent to");
    assert_eq!(world.table.answered_ports(2), [20, 40]);
}

#[test]
fn one_mapping_for_every_destination_and_only_who_was_asked_may_answer() {
    let mut world = World::new(8, 8);
    let (first, second) = (server(1, 7000), server(2, 7000));
    assert_eq!(world.send(guest(5000), first), 1);
    assert_eq!(world.send(guest(5000), second), 1);
    assert_eq!(world.send(guest(5001), first), 2);
    assert_eq!((world.table.mapping_count(), world.table.peer_count()), (2, 3));
    // Answers come from the address and the port that were asked, to the port that asked.
    assert_eq!(world.receive(guest(5000), first), Some(first));
    assert_eq!(world.receive(guest(5000), second), Some(second));
    assert_eq!(world.receive(guest(5000), server(1, 7001)), None);
    assert_eq!(world.receive(guest(5000), server(3, 7000)), None);
    assert_eq!(world.receive(guest(5001), second), None);
    assert_eq!(world.receive(guest(5002), first), None);
}

#[test]
fn a_peer_lives_by_its_use_in_either_direction() {
    let mut world = World::new(8, 8);
    let (own, peer) = (guest(5000), server(1, 7000));
    world.send(own, peer);
    for _ in 0..3 {
        world.wait(119);
        assert_eq!(world.receive(own, peer), Some(peer));
        world.wait(119);
        assert_eq!(world.send(own, peer), 1);
    }
    assert_eq!(world.table.poll_timeout(), Some(world.now + Duration::from_secs(120)));
    world.wait(119);
    // What is no datagram of the peer keeps nothing alive, nor does a stranger.
    assert_eq!(world.table.peer_at(own, peer), Some(peer));
    assert_eq!(world.receive(own, server(1, 7001)), None);
    world.wait(1);
    assert_eq!(world.ended(), [gone(peer, None), Ended::Mapping(1)]);
    assert_eq!(world.receive(own, peer), None);
    assert_eq!(world.table.poll_timeout(), None);
    // From here on it is another mapping.
    assert_eq!(world.send(own, peer), 2);
}

#[test]
fn a_single_question_to_a_well_known_port_is_forgotten_sooner() {
    let mut world = World::new(8, 8);
    let (asked_once, asked_twice, user) = (server(1, 123), server(2, 123), server(3, 1024));
    for to in [asked_once, asked_twice, user, asked_twice] {
        world.send(guest(5000), to);
    }
    world.wait(20);
    // An answer counts, and makes no stream of it.
    assert_eq!(world.receive(guest(5000), asked_once), Some(asked_once));
    world.wait(29);
    assert_eq!(world.ended(), []);
    world.wait(1);
    assert_eq!(world.ended(), [gone(asked_once, None)]);
    world.wait(70);
    assert_eq!(world.ended(), [gone(user, None), gone(asked_twice, None), Ended::Mapping(1)]);
}

#[test]
fn the_least_recently_used_mapping_yields_with_its_peers() {
    let mut world = World::new(2, 8);
    let to = [server(1, 7000), server(2, 7000)];
    world.send(guest(1), to[0]);
    world.send(guest(2), to[0]);
    world.send(guest(2), to[1]);
    world.wait(1);
    world.receive(guest(1), to[0]);
    assert_eq!(world.send(guest(3), to[0]), 3);
    let limit = Some("max_udp_mappings");
    assert_eq!(world.ended(), [gone(to[0], limit), gone(to[1], limit), Ended::Mapping(2)]);
    assert_eq!(world.receive(guest(1), to[0]), Some(to[0]));
    assert_eq!(world.receive(guest(2), to[0]), None);
}

#[test]
fn a_port_that_sends_everywhere_loses_its_own_peers() {
    let mut world = World::new(8, 4);
    let other = server(200, 53);
    world.send(guest(1), other);
    for host in 1..100 {
        assert_eq!(world.send(guest(2), server(host, 7000)), 2);
    }
    assert_eq!(world.table.peer_count(), 4);
    world.wait(1);
    assert_eq!(world.receive(guest(1), other), Some(other));
    let ended = world.ended();
    assert_eq!(ended.len(), 96);
    assert_eq!(ended[0], gone(server(1, 7000), Some("max_udp_peers")));
    // A port without others of its own takes the place of whoever was quiet for longest.
    world.send(guest(3), other);
    assert_eq!(world.ended(), [gone(server(97, 7000), Some("max_udp_peers"))]);
}

#[test]
fn of_two_peers_behind_one_address_the_last_one_asked_has_answered() {
    let mut world = World::new(8, 8);
    let (first, second, dialled) = (server(1, 7), server(2, 7), SocketAddr::from(([127, 0, 0, 1], 9)));
    world.send_by(guest(1), first, dialled);
    world.send_by(guest(1), second, dialled);
    assert_eq!(world.receive(guest(1), dialled), Some(second));
    world.send_by(guest(1), first, dialled);
    assert_eq!(world.receive(guest(1), dialled), Some(first));
    // The address as the guest knows it is not where the answer comes from.
    assert_eq!(world.receive(guest(1), first), None);
    world.table.end(guest(1), second);
    assert_eq!(world.receive(guest(1), dialled), Some(first));
    // Where the last one asked is gone, the other has to be asked again.
    world.send_by(guest(1), second, dialled);
    world.table.end(guest(1), second);
    assert_eq!(world.receive(guest(1), dialled), None);
    world.send_by(guest(1), first, dialled);
    assert_eq!(world.receive(guest(1), dialled), Some(first));
}

#[test]
fn what_is_not_kept_is_told() {
    let mut world = World::new(8, 8);
    world.send(guest(1), server(1, 7));
    world.send(guest(2), server(2, 7));
    world.table.retain(|_, upstream, state| upstream == *state && upstream != server(1, 7));
    assert_eq!(world.ended(), [gone(server(1, 7), None), Ended::Mapping(1)]);
    assert_eq!(world.receive(guest(2), server(2, 7)), Some(server(2, 7)));
}

proptest! {
    /// Against a list of peers with their last use, searched from end to end.
    #[test]
    fn it_agrees_with_a_list(
        ops in proptest::collection::vec((0u8..4, 0u16..4, 0u8..6, 0u64..60), 0..200),
        max_mappings in 1usize..4,
        max_peers in 1usize..6,
    ) {
        let mut world = World::new(max_mappings, max_peers);
        let mut model: BTreeMap<Ports, (Instant, bool)> = BTreeMap::new();
        for (op, port, host, secs) in ops {
            let to = server(host, if host < 3 { 123 } else { 7000 });
            let ports = (guest(port), to);
            match op {
                0 | 1 => {
                    world.send(ports.0, to);
                    let again = model.contains_key(&ports);
                    model.insert(ports, (world.now, !again && to.port() < 1024));
                }
                2 => {
                    let known = model.get_mut(&ports);
                    prop_assert_eq!(world.receive(ports.0, to), known.as_ref().map(|_| to));
                    if let Some(known) = known {
                        known.0 = world.now;
                    }
                }
                _ => world.wait(secs),
            }
            // Those that had to yield are told, and were there.
            for ended in world.ended() {
                if let Ended::Peer { state, limit } = ended {
                    let now = world.now;
                    let found = model.iter().find(|((from, to), (used, is_exchange))| {
                        let patience = Duration::from_secs(if *is_exchange { 30 } else { 120 });
                        *to == state
                            && (limit.is_some() || *used + patience <= now)
                            && !world.table.by_ports.contains_key(&(*from, *to))
                    });
                    let ports = found.map(|(ports, _)| *ports);
                    prop_assert!(ports.is_some(), "{} was not due", state);
                    model.remove(&ports.expect("just found"));
                }
            }
            let known: Vec<_> = world.table.by_ports.keys().copied().collect();
            prop_assert_eq!(known.len(), model.len());
            prop_assert!(known.iter().all(|ports| model.contains_key(ports)));
            let guests: std::collections::BTreeSet<_> = model.keys().map(|(from, _)| *from).collect();
            prop_assert_eq!(world.table.mapping_count(), guests.len());
            prop_assert!(guests.len() <= max_mappings && model.len() <= max_peers);
            prop_assert_eq!(world.table.by_dialled.len(), model.len());
            let due = model.values().map(|(used, is_exchange)| {
                *used + Duration::from_secs(if *is_exchange { 30 } else { 120 })
            });
            prop_assert_eq!(world.table.poll_timeout(), due.min());
        }
    }
}
