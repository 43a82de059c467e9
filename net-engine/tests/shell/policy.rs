//! A policy that changes under a running guest, and a guest that ends.

use net_engine::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::server::one_connection;
use crate::world::{HOST_A, HOST_B, PATIENCE, Setup, World, policy, run};

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

        world.handle.swap_policy(policy(&["9.9.9.2:7"])).await;

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
fn dropping_the_last_rule_closes_what_was_open() {
    run(async {
        let (address, accepted) = one_connection().await;
        let redirects = vec![((HOST_A.1, 7), address)];
        let world = World::new(Setup { allow: &["9.9.9.1:7"], redirects, ..Setup::default() }).await;
        let mut stream = world.connect_to(HOST_A.1, 7).await;
        let _server = accepted.await;
        world.handle.swap_policy(policy(&[])).await;
        let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("the guest hears of it");
        assert!(read.is_err(), "the guest saw {read:?}");
        let refused = world.guest.connect((HOST_A.1, 7).into()).await;
        assert!(refused.is_err());
    });
}
