//! The authority of a guest that is opened: its end, and policies that need more than it may sign.

use std::time::Duration;

use net_engine::{Event, SwapError};
use net_tls::{AuthorityParams, NameConstraints};

use crate::server::{Identity, say_ok};
use crate::wire::{read_responses, statuses};
use crate::world::{HOST_A, Setup, World, policy, run};
use tokio::io::AsyncWriteExt as _;

#[test]
fn an_authority_that_ends_within_a_day_is_an_event_and_once() {
    run(async {
        let mut authority = AuthorityParams::default();
        authority.lifetime = Duration::from_secs(23 * 60 * 60);
        let mut world = World::new(Setup { authority, ..Setup::default() }).await;
        let event = world.event().await;
        assert!(matches!(event, Event::AuthorityEnds { .. }), "{event}");
        assert!(event.to_string().starts_with("warning: the certificate authority ends at 20"), "{event}");
        // Nor is it said again when something else has happened.
        world.handle.swap_policy(policy(&[])).await.unwrap();
        world.handle.swap_policy(policy(&["a.example"])).await.unwrap();
        let quiet = tokio::time::timeout(Duration::from_secs(1), world.handle.next_event()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        world.trust_nobody();
    });
}

#[test]
fn a_policy_that_needs_more_names_than_the_authority_may_sign_for_is_refused() {
    run(async {
        let identity = Identity::new();
        let (server, _) = identity.recorder("a.example", say_ok).await;
        let mut authority = AuthorityParams::default();
        let constraints = NameConstraints::permitting(["a.example".parse().unwrap()], []);
        authority.constraints = Some(constraints.unwrap());
        let world = World::new(Setup {
            allow: &["a.example"],
            redirects: vec![((HOST_A.1, 443), server)],
            trusts: Some(identity.pem()),
            authority,
            ..Setup::default()
        });
        let world = world.await;
        // The rules, and whether they need another authority.
        let cases: [(&[&str], bool); 6] = [
            (&["b.example"], true),
            (&["a.example", ".example"], true),
            (&["public"], true),
            (&["*.a.example", "b.example:22"], false),
            (&[], false),
            (&["a.example"], false),
        ];
        for (allow, needs_more) in cases {
            let swapped = world.handle.swap_policy(policy(allow)).await.map(drop);
            let expected = if needs_more { Err(SwapError::NeedsNewAuthority) } else { Ok(()) };
            assert_eq!(swapped, expected, "{allow:?}");
            if needs_more {
                // The one before holds.
                let mut stream = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
                assert_eq!(statuses(&read_responses(&mut stream, 1).await), ["200"], "{allow:?}");
            }
        }
    });
}
