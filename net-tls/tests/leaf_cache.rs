//! The cache: what it keeps, for how long, and what many threads get of it at once.
#![allow(clippy::disallowed_methods, reason = "tests mint certificates that are valid now")]

use std::collections::HashSet;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use net_tls::{
    Alpn, Authority, AuthorityParams, LeafCache, LeafSubject, MintError, NameConstraints, system_clock,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Within the last hour of a leaf that is minted now.
const RENEWAL_DUE: Duration = Duration::from_secs(23 * 60 * 60 + 60);

fn cache(capacity: usize) -> LeafCache {
    let authority = Authority::generate(&AuthorityParams::default(), SystemTime::now());
    LeafCache::new(authority.expect("an authority"), capacity)
}

fn subject(name: &str) -> LeafSubject {
    LeafSubject::Name(name.parse().expect(name))
}

fn certificate(cache: &LeafCache, name: &str, now: SystemTime) -> Vec<u8> {
    cache.get_or_mint(&subject(name), now).expect("a leaf").cert[0].to_vec()
}

#[test]
fn it_is_bounded_and_what_is_used_stays() {
    let now = SystemTime::now();
    let cache = cache(8);
    let first = certificate(&cache, "first.example", now);
    for index in 0..100 {
        certificate(&cache, &format!("h{index}.example"), now);
        assert_eq!(certificate(&cache, "first.example", now), first, "after {index} others");
        assert!(cache.len() <= 8, "{} leaves", cache.len());
    }
    let kept = (0..100).filter(|index| cache.has(&subject(&format!("h{index}.example")), now)).count();
    assert_eq!((kept, cache.len()), (7, 8));
}

#[test]
fn a_leaf_is_renewed_ahead_of_its_end() {
    let now = SystemTime::now();
    let cache = cache(8);
    let first = certificate(&cache, "first.example", now);
    assert_eq!(certificate(&cache, "first.example", now + 22 * HOUR), first);
    let renewed = certificate(&cache, "first.example", now + RENEWAL_DUE);
    assert_ne!(renewed, first);
    assert_eq!(certificate(&cache, "first.example", now + RENEWAL_DUE), renewed);
    assert_eq!(cache.len(), 1);
    // One whose end has passed is not shown, whoever may be renewing it.
    assert!(cache.has(&subject("first.example"), now + 24 * HOUR));
    assert!(!cache.has(&subject("first.example"), now + 50 * HOUR));
}

#[test]
fn a_configuration_is_kept_with_its_leaf() {
    let now = SystemTime::now();
    let cache = cache(2);
    let clock = system_clock();
    let get =
        |name: &str, alpn, now| cache.get_or_mint_config(&subject(name), alpn, &clock, now).expect("a leaf");
    const ALL: [Alpn; 4] = [Alpn::Nothing, Alpn::Http1, Alpn::Http2, Alpn::Dot];
    let first = ALL.map(|alpn| get("first.example", alpn, now));
    for (config, alpn) in first.iter().zip(ALL) {
        assert!(Arc::ptr_eq(config, &get("first.example", alpn, now)), "{alpn:?}");
        assert_eq!(config.alpn_protocols, alpn.protocols(), "{alpn:?}");
        assert_eq!(config.max_early_data_size, 0, "{alpn:?}");
        assert!(!Arc::ptr_eq(config, &get("other.example", alpn, now)), "{alpn:?}");
    }
    // A renewed leaf has new ones.
    assert!(!Arc::ptr_eq(&first[0], &get("first.example", Alpn::Nothing, now + RENEWAL_DUE)));
}

#[test]
fn what_cannot_be_minted_can_be_asked_for_again() {
    let now = SystemTime::now();
    let mut params = AuthorityParams::default();
    let constraints = NameConstraints::permitting(["a.example".parse().expect("a name")], []);
    params.constraints = Some(constraints.expect("one subtree"));
    let cache = LeafCache::new(Authority::generate(&params, now).expect("an authority"), 8);
    for _ in 0..2 {
        let refused = cache.get_or_mint(&subject("b.example"), now).map(drop);
        assert_eq!(refused, Err(MintError::NotPermitted));
    }
    certificate(&cache, "a.example", now);
    // A successor that cannot be minted leaves the leaf as it is; once it has ended there is none.
    let late = now + 31 * 24 * HOUR;
    for _ in 0..2 {
        let refused = cache.get_or_mint(&subject("a.example"), late).map(drop);
        assert_eq!(refused, Err(MintError::AuthorityExpired));
    }
}

/// Runs `work` on this many threads at once.
fn at_once<R: Send>(threads: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|index| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(index)
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

#[test]
fn many_threads_mint_a_name_once() {
    let now = SystemTime::now();
    for round in 0..50 {
        let cache = cache(64);
        let name = format!("h{round}.example");
        let seen: HashSet<Vec<u8>> = at_once(8, |_| certificate(&cache, &name, now)).into_iter().collect();
        assert_eq!(seen.len(), 1, "round {round}");
        // Where it is due, one goes and mints its successor; the others have the old one or the new.
        let later: HashSet<Vec<u8>> =
            at_once(8, |_| certificate(&cache, &name, now + RENEWAL_DUE)).into_iter().collect();
        let new = later.difference(&seen).count();
        assert!(new == 1 && later.len() <= 2, "round {round}: {new} new, {} seen", later.len());
    }
}

#[test]
fn many_threads_and_names_stay_within_bounds() {
    let now = SystemTime::now();
    let cache = cache(16);
    at_once(8, |thread| {
        for index in 0..100 {
            // Some shared, some of one thread alone.
            let name = if index % 2 == 0 {
                format!("h{index}.example")
            } else {
                format!("h{index}.t{thread}.example")
            };
            certificate(&cache, &name, now);
        }
    });
    assert_eq!(cache.len(), 16);
    let shared = (0..100).map(|index| format!("h{index}.example"));
    let own = (0..8).flat_map(|thread| (0..100).map(move |index| format!("h{index}.t{thread}.example")));
    assert_eq!(shared.chain(own).filter(|name| cache.has(&subject(name), now)).count(), 16);
}

#[test]
fn near_the_end_of_its_authority_a_leaf_is_minted_once_too() {
    let now = SystemTime::now();
    let mut params = AuthorityParams::default();
    params.lifetime = HOUR / 2;
    let cache = LeafCache::new(Authority::generate(&params, now).expect("an authority"), 8);
    let first = certificate(&cache, "first.example", now);
    assert_eq!(certificate(&cache, "first.example", now + HOUR / 4), first);
    assert!(cache.get_or_mint(&subject("first.example"), now + HOUR).is_err(), "it has ended");
}
