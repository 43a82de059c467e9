//! Deciding a flow or a name allocates nothing.
//!
//! A global allocator that counts is the only way to see it, and the only unsafe code here.
#![allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use net_core::{Direction, HostName, Protocol};
use net_policy::{Decision, HostAddresses, HttpCondition, NameTable, Policy, Query, RequestLine, UnixTime};

thread_local! {
    /// Of this thread: the test harness has others.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing, as the
// counter is const-initialised and needs no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0; 10]))), 1);
}

#[test]
fn a_decision_allocates_nothing() {
    let mut builder = Policy::builder().deny(".ads.example").deny("2002::/16").allow("private:22");
    for port in 1_000..1_100 {
        builder = builder.deny(&format!("1.1.1.1:{port}")).allow(&format!("h{port}.example:443,8000-8080"));
    }
    let some = HttpCondition::parse(&["GET"], &["/**/x*y"]).expect("a condition");
    let builder =
        builder.allow_requests("h1.example:443", some.clone()).deny_requests("h290.example:443", some);
    let policy = builder.allow("*.example").build().expect("a policy");
    let requests = ["/a/xzy", "/a/b"].map(|path| RequestLine::new("GET", path));
    let floored = policy.clone().with_floor(&Policy::public_only()).expect("one floor");
    let now = Instant::now();
    let mut pins = NameTable::new(1_000, 100);
    let names: Vec<HostName> =
        (0..300).map(|index| HostName::parse(&format!("h{index}.example")).expect("a name")).collect();
    for name in &names {
        pins.pin(name, [1, 1, 1, 1].into(), Duration::from_secs(300), now);
    }
    let hosts = HostAddresses::default().with_nat64(["64:ff9b:1::/96".parse().expect("a prefix")]);
    let addresses: Vec<IpAddr> =
        ["1.1.1.1", "10.0.0.1", "2002:101:101::", "64:ff9b:1::101:101", "::1", "fd00::1"]
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect();
    let (mut allowed, mut denied, mut requested) = (0, 0, 0);
    let count = allocations(|| {
        for policy in [&policy, &floored] {
            for (address, port) in addresses.iter().flat_map(|address| [(address, 443), (address, 1_050)]) {
                for name in [None, names.first(), names.get(290), names.last()] {
                    let query = Query {
                        direction: Direction::Egress,
                        protocol: Protocol::Tcp,
                        address: *address,
                        port,
                        name,
                        pins: &pins,
                        hosts: &hosts,
                        now,
                        wall: UnixTime::default(),
                    };
                    let decision = policy.decide(&query);
                    for request in &requests {
                        let decision = policy.decide_request(&query, request);
                        requested += usize::from(matches!(decision, Decision::Allow { .. }));
                    }
                    allowed += usize::from(matches!(decision, Decision::Allow { .. }));
                    denied += usize::from(matches!(decision, Decision::Deny { .. }));
                }
            }
            for name in &names {
                let _ = policy.decide_name(name, UnixTime::default());
            }
        }
    });
    assert!(allowed > 0 && denied > 0 && requested > 0, "{allowed} allowed, {denied} denied, {requested}");
    assert_eq!(count, 0);
}
