//! TLS that is opened to names nobody has asked for yet: so many pass, the others wait.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use net_core::Limits;
use net_engine::{Event, InterceptError};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;

use crate::server::{Identity, say_ok};
use crate::world::{HOST_A, Setup, World, run};

/// An address at which any name is, with room in the line for so long a wait.
async fn world(leaves_per_second: u32, leaf_burst: u32, max_leaf_wait: Duration) -> World {
    let identity = Identity::new();
    let (server, _) = identity.recorder("a.example", say_ok).await;
    let world = World::new(Setup {
        allow: &["9.9.9.1:443"],
        redirects: vec![((HOST_A.1, 443), server)],
        trusts: Some(identity.pem()),
        skips_verification: true,
        limits: Limits { leaves_per_second, leaf_burst, max_leaf_wait, ..Limits::default() },
        ..Setup::default()
    });
    world.await
}

/// Whether the guest's handshake for this name succeeds.
async fn is_opened(world: &World, name: &str) -> bool {
    world.tls_to(HOST_A.1, 443, name, "").await.is_ok()
}

/// The next event that is none of a certificate nobody looks at.
async fn event(world: &World) -> Event {
    loop {
        let event = world.event().await;
        if !matches!(event, Event::Unverified { .. }) {
            return event;
        }
    }
}

#[test]
fn new_names_wait_their_turn_and_known_ones_do_not_wait_behind_them() {
    run(async {
        let world = world(5, 3, Duration::from_secs(2)).await;
        assert!(is_opened(&world, "known.example").await);
        let done = RefCell::new(Vec::new());
        let open = async |name: String| {
            assert!(is_opened(&world, &name).await, "{name}");
            done.borrow_mut().push(name);
        };
        let new = async {
            join_all((0..8).map(|index| open(format!("n{index}.example")))).await;
        };
        let known = async {
            // Once some of them wait.
            while world.handle.counters().await.unwrap().names_held < 5 {
                tokio::task::yield_now().await;
            }
            for _ in 0..3 {
                open("known.example".to_owned()).await;
            }
        };
        tokio::join!(new, known);
        let done = done.into_inner();
        let last_known = done.iter().rposition(|name| name == "known.example").unwrap();
        assert!(done.len() == 11 && last_known < 10, "{done:?}");
        // Two passed at once, or three: a fifth of a second may have gone by.
        assert!((5..=6).contains(&world.handle.counters().await.unwrap().names_held));
        let event = event(&world).await;
        assert!(matches!(event, Event::LimitHolds { limit: "leaves_per_second" }), "{event}");
        assert!(event.to_string().contains("wait"), "{event}");
    });
}

#[test]
fn a_line_that_is_full_refuses_at_once_and_those_who_go_make_room() {
    run(async {
        let world = world(5, 1, Duration::from_millis(600)).await;
        // Three may wait.
        let names: Vec<String> = (0..20).map(|index| format!("n{index}.example")).collect();
        let opened = join_all(names.iter().map(|name| is_opened(&world, name))).await;
        let count = opened.iter().filter(|is_opened| **is_opened).count();
        assert!((4..12).contains(&count), "{count}");
        let mut refused = 0;
        while refused < 20 - count {
            let event = event(&world).await;
            let is_refusal = matches!(
                event,
                Event::InterceptFailed { error: InterceptError::MintLimit, name: Some(_), .. }
            );
            assert!(is_refusal || matches!(event, Event::LimitHolds { .. }), "{event}");
            refused += usize::from(is_refusal);
        }
    });
}

#[test]
fn a_guest_that_goes_leaves_the_line() {
    run(async {
        let world = world(1, 1, Duration::from_secs(1)).await;
        assert!(is_opened(&world, "first.example").await);
        let others = world.handle.counters().await.unwrap().flows_open;
        // One may wait, and it goes.
        let stream = {
            let mut stream = world.connect_to(HOST_A.1, 443).await;
            let shown = ServerName::try_from("second.example").unwrap();
            let mut hello = Vec::new();
            ClientConnection::new(world.client(&[]), shown).unwrap().write_tls(&mut hello).unwrap();
            stream.write_all(&hello).await.unwrap();
            stream
        };
        while world.handle.counters().await.unwrap().names_held < 1 {
            tokio::task::yield_now().await;
        }
        stream.abort();
        while world.handle.counters().await.unwrap().flows_open > others {
            tokio::task::yield_now().await;
        }
        // Its place, which went with its flow, is another's, who is not refused.
        assert!(is_opened(&world, "third.example").await);
    });
}
