//! A policy that changes under a running guest, and guests whose network ends by itself.

use std::sync::Arc;

use net_engine::{Denial, Event, Termination, TerminationHook, ViolationAction};
use net_policy::{Action, Policy, Rule, parse_target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::server::{http_recorder, one_connection};
use crate::wire::{read_responses, statuses};
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, World, placeholder, policy, rules, run};

#[test]
fn flows_that_a_new_policy_denies_are_reset_and_others_go_on() {
    run(async {
        let (first, accepted_first) = one_connection().await;
        let (second, accepted_second) = one_connection().await;
        let redirects = vec![((HOST_A.1, 7), first), ((HOST_B.1, 7), second)];
        let world =
            World::new(Setup { allow: &["9.9.9.1:7", "9.9.9.2:7"], redirects, ..Setup::default() }).await;
        let (mut denied, mut kept) =
            (world.connect_to(HOST_A.1, 7).await, world.connect_to(HOST_B.1, 7).await);
        let (mut denied_server, mut kept_server) = (accepted_first.await, accepted_second.await);

        world.handle.swap_policy(policy(&["9.9.9.2:7"])).await.unwrap();

        let mut byte = [0; 1];
        let read = timeout(PATIENCE, denied.read(&mut byte)).await.expect("the guest hears of it");
        assert!(read.is_err(), "the guest saw {read:?}");
        let read = timeout(PATIENCE, denied_server.read(&mut byte)).await.expect("upstream hears of it");
        assert!(!matches!(read, Ok(1)), "upstream saw {read:?}");
        let event = world.event().await;
        assert!(matches!(event, Event::Denied { .. }), "{event}");

        kept.write_all(b"x").await.unwrap();
        timeout(PATIENCE, kept_server.read_exact(&mut byte)).await.expect("a byte").unwrap();
        // What the old policy allowed is refused from now on.
        let refused = world.guest.connect((HOST_A.1, 7).into()).await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(std::io::ErrorKind::ConnectionRefused));
    });
}

#[test]
fn a_rule_that_denies_is_put_into_words_once() {
    run(async {
        let world = World::new(Setup { deny: &["9.9.9.1:7"], allow: &["9.9.9.1"], ..Setup::default() }).await;
        let mut labels = Vec::new();
        for _ in 0..2 {
            assert!(world.guest.connect((HOST_A.1, 7).into()).await.is_err());
            let event = world.event().await;
            assert_eq!(event.to_string(), "denied tcp 9.9.9.1:7: rule 1: deny 9.9.9.1:7");
            let Event::Denied { why: Denial::Rule { rule, .. }, .. } = event else { panic!("{event}") };
            labels.push(rule.text);
        }
        assert!(Arc::ptr_eq(&labels[0], &labels[1]));
        // What no rule decides has no words of its own.
        assert!(world.guest.connect((HOST_B.1, 7).into()).await.is_err());
        let event = world.event().await;
        assert_eq!(event.to_string(), "denied tcp 9.9.9.2:7: default (no rule allows it)");
        // Another policy has other rules under the same numbers.
        world.handle.swap_policy(rules(&["9.9.9.1"], &[])).await.unwrap();
        assert!(world.guest.connect((HOST_A.1, 7).into()).await.is_err());
        let event = world.event().await;
        assert_eq!(event.to_string(), "denied tcp 9.9.9.1:7: rule 1: deny 9.9.9.1");
    });
}

#[test]
fn dropping_the_last_rule_closes_what_was_open() {
    run(async {
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let world = World::new(Setup { allow: &["9.9.9.1:7"], redirects, ..Setup::default() }).await;
        let mut stream = world.connect_to(HOST_A.1, 7).await;
        let _server = accepted.await;
        world.handle.swap_policy(policy(&[])).await.unwrap();
        let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("the guest hears of it");
        assert!(read.is_err(), "the guest saw {read:?}");
        let refused = world.guest.connect((HOST_A.1, 7).into()).await;
        assert!(refused.is_err());
    });
}

#[test]
fn a_rule_allows_until_it_expires_by_the_wall_clock() {
    run(async {
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let world = World::new(Setup { allow: &[], redirects, ..Setup::default() }).await;
        let until = |time: &str| {
            let rule = parse_target("9.9.9.1:7").unwrap().into_rule(Action::Allow);
            Policy::new(vec![Rule { expires: Some(time.parse().unwrap()), ..rule }])
        };
        world.handle.swap_policy(until("2001-01-01T00:00:00Z")).await.unwrap();
        let refused = world.guest.connect((HOST_A.1, 7).into()).await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(std::io::ErrorKind::ConnectionRefused));
        world.handle.swap_policy(until("9999-01-01T00:00:00Z")).await.unwrap();
        world.connect_to(HOST_A.1, 7).await;
        accepted.await;
    });
}

#[test]
fn a_name_that_is_denied_is_denied_on_an_address_that_is_allowed() {
    run(async {
        let (server, seen) = http_recorder().await;
        let redirects = vec![((HOST_A.1, 80), server)];
        let world = World::new(Setup { allow: &["public"], redirects, ..Setup::default() }).await;
        let deny = parse_target("b.example").unwrap().into_rule(Action::Deny);
        let allow = parse_target("public").unwrap().into_rule(Action::Allow);
        world.handle.swap_policy(Policy::new(vec![deny, allow])).await.unwrap();
        for (host, expected) in [("b.example", "403"), ("c.example", "200")] {
            let mut stream = world.connect_to(HOST_A.1, 80).await;
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let response = read_responses(&mut stream, 1).await;
            assert_eq!(statuses(&response), [expected], "{host}: {response}");
        }
        assert_eq!(seen.borrow().len(), 1);
    });
}

#[test]
fn a_stream_that_shows_names_no_more_ends_when_names_come_to_matter() {
    run(async {
        let (server, _) = http_recorder().await;
        let redirects = vec![((HOST_A.1, 80), server)];
        let world = World::new(Setup { allow: &["public"], redirects, ..Setup::default() }).await;
        let mut stream = world.connect_to(HOST_A.1, 80).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").await.unwrap();
        assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
        // The same again changes nothing.
        world.handle.swap_policy(policy(&["public"])).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").await.unwrap();
        assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
        let deny = parse_target("b.example").unwrap().into_rule(Action::Deny);
        let allow = parse_target("public").unwrap().into_rule(Action::Allow);
        world.handle.swap_policy(Policy::new(vec![deny, allow])).await.unwrap();
        let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("the guest hears of it");
        assert!(read.is_err(), "the guest saw {read:?}");
    });
}

fn hook() -> (Option<TerminationHook>, oneshot::Receiver<Termination>) {
    let (sender, told) = oneshot::channel();
    (Some(TerminationHook::new(move |why| sender.send(why).expect("a test that waits"))), told)
}

#[test]
fn a_violation_ends_the_guest_where_its_owner_says_so() {
    for on_violation in [ViolationAction::Block, ViolationAction::Terminate] {
        run(async {
            let (server, seen) = http_recorder().await;
            let (on_termination, told) = hook();
            let redirects = vec![((HOST_A.1, 80), server)];
            let allow = &["a.example:80"];
            let setup = Setup {
                allow,
                redirects,
                with_secret: true,
                on_violation,
                on_termination,
                ..Setup::default()
            };
            let world = World::new(setup).await;
            let mut stream = world.connect(HOST_A, 80).await;
            let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Token: {}\r\n\r\n", placeholder());
            stream.write_all(request.as_bytes()).await.unwrap();
            let event = world.event().await;
            assert!(matches!(event, Event::Violation { .. }), "{event}");
            assert!(seen.borrow().is_empty());
            if on_violation == ViolationAction::Terminate {
                let why = timeout(PATIENCE, told).await.expect("the hook is called").unwrap();
                assert!(matches!(why, Termination::Violation(_)), "{why:?}");
                assert!(timeout(PATIENCE, world.handle.next_event()).await.expect("the end").is_none());
                return;
            }
            // The guest goes on, and a guest that is stopped has not ended by itself.
            world.connect(HOST_A, 80).await;
            let World { handle, engine, .. } = world;
            handle.stop().await;
            assert!(told.await.is_err());
            drop(engine);
        });
    }
}

#[test]
fn a_link_that_ends_is_reported() {
    run(async {
        let (on_termination, told) = hook();
        let config = net_engine::GuestConfig { on_termination, ..Default::default() };
        let engine = net_engine::Engine::builder().build().unwrap();
        let capabilities = net_engine::link::LinkCapabilities { mtu: 1500, offload: false };
        let (engine_end, guest_end) = net_engine::link::pair(capabilities, 8);
        let handle = engine.attach(0, Box::new(engine_end), config).await.unwrap();
        drop(guest_end);
        assert_eq!(
            timeout(PATIENCE, told).await.expect("the hook is called").unwrap(),
            Termination::LinkClosed
        );
        let event = timeout(PATIENCE, handle.next_event()).await.expect("an event");
        assert!(matches!(event, Some(Event::LinkClosed { .. })), "{event:?}");
        assert!(timeout(PATIENCE, handle.next_event()).await.expect("the end").is_none());
    });
}
