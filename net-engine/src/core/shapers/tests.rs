use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;
use net_core::Shape;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream that always has something to upload.
struct Stream {
    id: FlowId,
    woken: Arc<Woken>,
    waker: Waker,
    seen: usize,
    carried: usize,
}

impl Stream {
    fn new(index: usize) -> Self {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        Self { id: FlowId::numbered(index), woken, waker, seen: 0, carried: 0 }
    }

    fn was_woken(&mut self) -> bool {
        let count = self.woken.0.load(Ordering::Relaxed);
        std::mem::replace(&mut self.seen, count) != count
    }

    /// Carries what it may, as a relay does, in pieces.
    fn run(&mut self, shapers: &mut Shapers<u8>, now: Instant) {
        while let Some(allowance) = shapers.poll(self.id, Direction::Egress, &self.waker, now) {
            let bytes = allowance.min(10_000);
            shapers.spend(self.id, Direction::Egress, bytes, now);
            self.carried += bytes;
            assert!(self.carried < 1 << 40, "there is no bound");
        }
    }
}

fn upload(bandwidth: &str) -> Shaping {
    let bandwidth = Some(bandwidth.parse().expect(bandwidth));
    Shaping { upload: Shape { bandwidth, packets: None }, ..Shaping::default() }
}

#[allow(clippy::disallowed_methods, reason = "virtual time starts from some instant")]
fn start() -> Instant {
    Instant::now()
}

/// Lets streams run until `end`, each as it is woken; `each` is done at every step.
fn run(
    shapers: &mut Shapers<u8>,
    streams: &mut [Stream],
    (start, end): (Instant, Instant),
    mut each: impl FnMut(&mut Shapers<u8>, Instant),
) {
    let mut now = start;
    streams.iter_mut().for_each(|stream| stream.run(shapers, now));
    while now < end {
        // A runtime's timers are late by up to a millisecond.
        now = shapers.poll_timeout().map_or(end, |at| at.max(now) + Duration::from_micros(900)).min(end);
        each(shapers, now);
        shapers.handle_timeout(now);
        for stream in &mut *streams {
            if stream.was_woken() {
                stream.run(shapers, now);
            }
        }
    }
}

#[test]
fn streams_of_one_rule_share_its_rate_evenly_and_others_are_not_bounded() {
    let (start, mut shapers) = (start(), Shapers::new());
    let mut streams: Vec<Stream> = (0..5).map(Stream::new).collect();
    let shaped = shapers.bound(1, &upload("10 MB/s burst 100 kB"));
    assert_eq!(shapers.bound(1, &upload("10 MB/s burst 100 kB")), shaped);
    streams.iter().for_each(|stream| shapers.bind(stream.id, Some(shaped), start));
    let free = Stream::new(9);
    run(&mut shapers, &mut streams, (start, start + Duration::from_secs(10)), |shapers, now| {
        let allowance = shapers.poll(free.id, Direction::Egress, &free.waker, now);
        assert_eq!(allowance, Some(usize::MAX));
    });
    let all: usize = streams.iter().map(|stream| stream.carried).sum();
    assert!((99_000_000..=100_200_000).contains(&all), "{all}");
    for Stream { carried, .. } in &streams {
        assert!((19_000_000..21_000_000).contains(carried), "{carried} of {all}");
    }
    assert!(shapers.waits() > 0);
    // The other direction has no bound.
    let allowance = shapers.poll(streams[0].id, Direction::Ingress, &streams[0].waker, start);
    assert_eq!(allowance, Some(usize::MAX));
}

#[test]
fn who_does_not_use_its_turn_or_goes_away_holds_nobody_up() {
    let (start, mut shapers) = (start(), Shapers::new());
    let shaped = shapers.bound(1, &upload("1 MB/s"));
    let (mut idle, mut gone) = (Stream::new(7), Stream::new(8));
    for stream in [&mut idle, &mut gone] {
        shapers.bind(stream.id, Some(shaped), start);
        // Both wait: neither comes again.
        stream.run(&mut shapers, start);
    }
    let mut streams = vec![Stream::new(1)];
    shapers.bind(streams[0].id, Some(shaped), start);
    let mut until = start + Duration::from_secs(1);
    run(&mut shapers, &mut streams, (start, until), |_, _| {});
    assert!(streams[0].carried > 900_000, "{}", streams[0].carried);
    assert!(idle.was_woken());
    shapers.bind(gone.id, None, until);
    let carried = streams[0].carried;
    run(&mut shapers, &mut streams, (until, until + Duration::from_secs(1)), |_, _| {});
    assert!(streams[0].carried - carried > 900_000);
    // One whose bound is lifted is woken, and goes on.
    until += Duration::from_secs(1);
    shapers.bind(streams[0].id, None, until);
    assert!(streams[0].was_woken());
    let allowance = shapers.poll(streams[0].id, Direction::Egress, &streams[0].waker, until);
    assert_eq!(allowance, Some(usize::MAX));
    assert!(shapers.wakers.is_empty() && shapers.flows.len() == 1);
}

#[test]
fn new_rules_hold_at_once_and_old_bounds_mean_nothing_under_them() {
    let (start, mut shapers) = (start(), Shapers::new());
    let shaped = shapers.bound(1, &upload("1 kB/s burst 1 kB"));
    let mut streams = vec![Stream::new(1)];
    shapers.bind(streams[0].id, Some(shaped), start);
    streams[0].run(&mut shapers, start);
    assert!(!shapers.take_datagram(shaped, Direction::Egress, 100, start));
    shapers.clear();
    assert!(streams[0].was_woken());
    let other = shapers.bound(2, &upload("1 kB/s burst 1 kB"));
    assert_ne!(other, shaped);
    for _ in 0..100 {
        assert!(shapers.take_datagram(shaped, Direction::Egress, 100, start));
    }
    shapers.bind(streams[0].id, Some(shaped), start);
    let allowance = shapers.poll(streams[0].id, Direction::Egress, &streams[0].waker, start);
    assert_eq!(allowance, Some(usize::MAX));
    let now = upload("5 MB/s");
    let shaped = shapers.bound(1, &now);
    shapers.bind(streams[0].id, Some(shaped), start);
    let (carried, end) = (streams[0].carried, start + Duration::from_secs(2));
    run(&mut shapers, &mut streams, (start, end), |_, _| {});
    assert!((9_900_000..10_700_000).contains(&(streams[0].carried - carried)));
}

#[test]
fn datagrams_pass_at_the_rates_and_a_flood_of_them_leaves_streams_their_half() {
    let (start, mut shapers) = (start(), Shapers::new());
    let packets = Some("100/s burst 10".parse().expect("a rate"));
    let shaping = Shaping { upload: Shape { bandwidth: None, packets }, ..Shaping::default() };
    let by_packets = shapers.bound(1, &shaping);
    let by_bytes = shapers.bound(2, &upload("1 MB/s burst 100 kB"));
    let (mut counted, mut bytes) = (0, 0);
    for millisecond in 0..1_000 {
        let now = start + Duration::from_millis(millisecond);
        for _ in 0..10 {
            counted += usize::from(shapers.take_datagram(by_packets, Direction::Egress, 9_000, now));
            bytes += 500 * usize::from(shapers.take_datagram(by_bytes, Direction::Egress, 500, now));
        }
    }
    assert!((108..=111).contains(&counted), "{counted}");
    assert!((1_098_000..=1_101_000).contains(&bytes), "{bytes}");
    // Besides a stream of the same rule.
    let start = start + Duration::from_secs(1);
    let (mut streams, mut flood) = (vec![Stream::new(1)], 0);
    shapers.bind(streams[0].id, Some(by_bytes), start);
    run(&mut shapers, &mut streams, (start, start + Duration::from_secs(10)), |shapers, now| {
        for _ in 0..10_000 {
            flood += 500 * usize::from(shapers.take_datagram(by_bytes, Direction::Egress, 500, now));
        }
    });
    let stream = streams[0].carried;
    assert!(stream > 4_000_000 && flood > 3_000_000, "{stream} beside {flood}");
    assert!(stream + flood < 10_300_000, "{stream} beside {flood}");
}
