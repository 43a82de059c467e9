//! TLS that is opened: what a name outside and a name inside may be, and how handshakes end.

use net_engine::{Event, InterceptError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::server::{Identity, asked, say_ok};
use crate::wire::{finish, read_responses, read_to_end, statuses};
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, World, placeholder, policy, rules, run};

const BOTH: &[&str] = &["a.example:443", "b.example:443"];

#[test]
fn the_name_inside_must_be_the_name_outside() {
    // The bound host's name over a connection to another one's, with and without its secret.
    for with_token in [false, true] {
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder("a.example", say_ok).await;
            let redirects = vec![((HOST_A.1, 443), server), ((HOST_B.1, 443), server)];
            let setup = Setup {
                allow: BOTH,
                redirects,
                with_secret: true,
                bound_to: Some("b.example"),
                trusts: Some(identity.pem()),
                ..Setup::default()
            };
            let world = World::new(setup).await;
            world.resolve(HOST_B.0).await;
            let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
            let token = if with_token { format!("X-Token: {}\r\n", placeholder()) } else { String::new() };
            let request = format!("GET / HTTP/1.1\r\nHost: b.example\r\n{token}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let response = read_responses(&mut stream, 1).await + &finish(&mut stream).await;
            assert_eq!(statuses(&response), ["421"], "{response}");
            assert!(seen.borrow().is_empty(), "{:?}", seen.borrow());
        });
    }
}

#[test]
fn an_address_proves_no_name() {
    // (the guest's server_name, upstream's certificate, whether it is believed unseen)
    const CASES: &[(&str, &str, bool)] =
        &[("9.9.9.1", "9.9.9.1", false), ("a.example", "a.example", true), ("9.9.9.1", "9.9.9.1", true)];
    for (shown, subject, skips_verification) in CASES {
        run(async {
            let identity = Identity::new();
            let (server, seen) = identity.recorder(subject, say_ok).await;
            let setup = Setup {
                allow: BOTH,
                redirects: vec![((HOST_A.1, 443), server)],
                with_secret: true,
                bound_to: Some("a.example"),
                trusts: Some(identity.pem()),
                skips_verification: *skips_verification,
                ..Setup::default()
            };
            let world = World::new(setup).await;
            // Without the placeholder the name may be asked for: the address was resolved for it.
            let mut stream = world.tls(HOST_A, shown, "http/1.1").await.unwrap();
            stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
            let response = read_responses(&mut stream, 1).await;
            assert_eq!(statuses(&response), ["200"], "{shown}: {response}");
            let request = format!("GET /2 HTTP/1.1\r\nHost: a.example\r\nX-Token: {}\r\n\r\n", placeholder());
            stream.write_all(request.as_bytes()).await.unwrap();
            let response = read_responses(&mut stream, 1).await + &finish(&mut stream).await;
            assert_eq!(statuses(&response), ["403"], "{shown}: {response}");
            if *skips_verification {
                let event = world.event().await;
                assert!(matches!(event, Event::Unverified { .. }), "{shown}: {event}");
            }
            let event = world.event().await;
            assert!(event.to_string().contains("has not proved its identity"), "{shown}: {event}");
            assert_eq!(seen.borrow().len(), 1, "{shown}: {:?}", seen.borrow());
        });
    }
}

#[test]
fn a_connection_outlives_a_policy_that_numbers_its_rule_anew() {
    run(async {
        let identity = Identity::new();
        let (server, seen) = identity.recorder("a.example", say_ok).await;
        let setup = Setup::of_a(&identity, server);
        let world = World::new(setup).await;
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        // Then one that denies the name on another port only, and one that denies it altogether.
        let policies =
            [policy(&["b.example:443", "a.example:443"]), rules(&["a.example:80"], &["a.example:443"])];
        for policy in policies {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
            let response = read_responses(&mut stream, 1).await;
            assert_eq!(statuses(&response), ["200"], "{response}");
            world.handle.swap_policy(policy).await.unwrap();
        }
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"]);
        world.handle.swap_policy(policy(&["b.example:443"])).await.unwrap();
        // It was reset; whether the guest has heard of it by now does not matter.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(read_to_end(&mut stream).await, "");
        assert_eq!(seen.borrow().len(), 3);
    });
}

#[test]
fn a_guest_that_does_not_know_the_authority_is_told_apart() {
    run(async {
        let identity = Identity::new();
        let (server, _) = identity.recorder("a.example", say_ok).await;
        let setup = Setup::of_a(&identity, server);
        let mut world = World::new(setup).await;
        world.trust_nobody();
        assert!(world.tls(HOST_A, "a.example", "http/1.1").await.is_err());
        let event = world.event().await;
        assert!(
            matches!(
                event,
                Event::InterceptFailed { error: InterceptError::HandshakeRefused(alert), .. }
                    if alert.description() == Some(48)
            ),
            "{event}"
        );
        let line = event.to_string();
        assert!(line.contains("HandshakeRefused") && line.contains("install the authority"), "{line}");
    });
}

#[test]
fn a_hello_beyond_every_bound_gets_its_alert() {
    run(async {
        let identity = Identity::new();
        let (address, _accepted) = identity.one_connection("a.example").await;
        let setup = Setup::of_a(&identity, address);
        let world = World::new(setup).await;
        let mut stream = world.connect(HOST_A, 443).await;
        // A record with the beginning of a ClientHello of 16 MiB.
        let record = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 0x4000 - 4]].concat();
        for _ in 0..5 {
            let _ = stream.write_all(&record).await;
        }
        let mut alert = [0; 7];
        timeout(PATIENCE, stream.read_exact(&mut alert)).await.expect("an alert").unwrap();
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, 50]);
        let event = world.event().await;
        assert!(event.to_string().contains("HelloTooLarge"), "{event}");
    });
}

#[test]
fn an_upstream_that_is_no_tls_server_shows_as_an_alert() {
    run(async {
        let (address, accepted) = crate::server::one_connection().await;
        let setup = Setup {
            allow: &["a.example:443"],
            redirects: vec![((HOST_A.1, 443), address)],
            trusts: Some(Identity::new().pem()),
            ..Setup::default()
        };
        let world = World::new(setup).await;
        tokio::task::spawn_local(async move {
            let mut server = accepted.await;
            let _ = server.write_all(b"220 mail.example ready\r\n").await;
            let _ = server.read(&mut [0; 1024]).await;
        });
        let refused = world.tls(HOST_A, "a.example", "http/1.1").await.err().expect("no handshake");
        assert!(refused.to_string().contains("HandshakeFailure"), "{refused}");
        let event = world.event().await;
        assert!(event.to_string().contains("UpstreamTls"), "{event}");
    });
}

#[test]
fn a_body_beyond_one_record_arrives_whole() {
    run(async {
        const BYTES: usize = 300_000;
        let identity = Identity::new();
        let (address, accepted) = identity.one_connection("a.example").await;
        let setup = Setup {
            allow: &["9.9.9.1:443"],
            redirects: vec![((HOST_A.1, 443), address)],
            trusts: Some(identity.pem()),
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let served = tokio::task::spawn_local(async move {
            let (mut server, _) = asked(accepted).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
            server.write_all(head.as_bytes()).await.unwrap();
            server.write_all(&vec![b'x'; BYTES]).await.unwrap();
            server.shutdown().await.unwrap();
        });
        let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        let response = read_to_end(&mut stream).await;
        assert_eq!(response.matches('x').count(), BYTES);
        served.await.unwrap();
    });
}

#[test]
fn what_came_before_a_stream_breaks_off_arrives() {
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    const BYTES: usize = 300_000;
    // By a name, where it is HTTP until both sides leave it, and by an address, where nobody reads.
    for allow in [&["a.example:443"], &["9.9.9.1:443"]] {
        run(async {
            let identity = Identity::new();
            let (address, accepted) = identity.one_connection("a.example").await;
            let redirects = vec![((HOST_A.1, 443), address)];
            let trusts = Some(identity.pem());
            let world = World::new(Setup { allow, redirects, trusts, ..Setup::default() }).await;
            tokio::task::spawn_local(async move {
                let (mut server, _) = asked(accepted).await;
                server.write_all(SWITCH).await.unwrap();
                server.write_all(&[b'#'; BYTES]).await.unwrap();
                // The connection ends, and its TLS does not.
                server.flush().await.unwrap();
            });
            let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
            stream.write_all(ASK).await.unwrap();
            let mut response = Vec::new();
            let ended = timeout(PATIENCE, stream.read_to_end(&mut response)).await.expect("an end");
            assert_eq!(response.iter().filter(|byte| **byte == b'#').count(), BYTES, "{allow:?}");
            let kind = ended.map_err(|error| error.kind());
            assert_eq!(kind, Err(std::io::ErrorKind::UnexpectedEof), "{allow:?}");
        });
    }
}
