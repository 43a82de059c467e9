//! What streams hold, and that values are nowhere but in their store: an allocator that counts, and
//! looks at what is freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

use bytes::Bytes;
use net_core::HostName;
use net_secrets::{
    Binding, BodyTypes, Destination, HeaderNames, Placeholder, Places, SecretSet, SecretValue,
};

/// A value, in what is no heap: longer than its placeholder, so that buffers have to grow.
static VALUE: &[u8] =
    b"a-rather-secret-value_42-and-so-on-for-longer-than-any-placeholder-is-by-some-hundred-bytes-\
    so-that-what-it-is-put-into-is-larger-by-far-than-what-it-came-from-however-much-room-was-made-before_7";

struct Watching;

static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);
static IS_ARMED: AtomicBool = AtomicBool::new(false);
/// Freed with the value in them.
static UNWIPED: AtomicUsize = AtomicUsize::new(0);
/// Address and length of what is allocated while armed.
static BLOCKS: [(AtomicUsize, AtomicUsize); 1 << 15] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; 1 << 15];

fn holds_value(bytes: &[u8]) -> bool {
    bytes.windows(VALUE.len()).any(|window| window == VALUE)
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as above. Zeroed, so that what was in the memory before is not seen.
        let block = unsafe { System.alloc_zeroed(layout) };
        if IS_ARMED.load(Ordering::Relaxed) {
            let free = BLOCKS.iter().find(|(address, _)| {
                address.compare_exchange(0, block as usize, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            });
            free.expect("room for every block").1.store(layout.size(), Ordering::Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        if IS_ARMED.load(Ordering::Relaxed) {
            // SAFETY: the block is the caller's, of that size, and was zeroed.
            if holds_value(unsafe { std::slice::from_raw_parts(block, layout.size()) }) {
                UNWIPED.fetch_add(1, Ordering::Relaxed);
            }
            let known = BLOCKS.iter().find(|(address, _)| address.load(Ordering::Relaxed) == block as usize);
            if let Some((address, _)) = known {
                address.store(0, Ordering::Relaxed);
            }
        }
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// One test at a time is counted.
static TURN: Mutex<()> = Mutex::new(());

/// Bindings of as many secrets, to be used everywhere.
fn secrets(count: u8, value: impl Fn(u8) -> Vec<u8>) -> SecretSet {
    let bindings = (0..count).map(|index| {
        let hosts = vec!["a.example".parse().expect("a pattern")];
        let placeholder = Placeholder::generate([index; 16]);
        let places = Places {
            headers: HeaderNames::All,
            basic_auth: true,
            query: true,
            path: true,
            body: BodyTypes::DangerousAny,
            websocket: true,
            trailers: true,
        };
        let value = SecretValue::new(value(index));
        Binding { places, ..Binding::new(format!("TOKEN{index}"), placeholder, value, hosts) }
    });
    SecretSet::compile(bindings.collect(), *b"test key").expect("a set")
}

fn live_bytes() -> isize {
    LIVE_BYTES.load(Ordering::Relaxed)
}

#[test]
fn a_stream_holds_less_than_a_kibibyte() {
    let _turn = TURN.lock().expect("a turn");
    let host = HostName::parse("a.example").expect("a name");
    let to = Destination { host: Some(&host), port: 443, is_verified: true };
    let set = secrets(100, |index| format!("value-number-{index}-of-many-values").into_bytes());
    let placeholder = set.environment().next().expect("a secret").1.to_owned();
    // Both hold all they can: the beginning of what they look for, and escapes before.
    let open = format!("{}\\u0041%41 {}", "text ".repeat(4_000), &placeholder[..placeholder.len() - 1]);
    let echo = format!("{}\\u0041%41 value-number-1-of-many-value", "text ".repeat(4_000));
    const STREAMS: usize = 100;
    let before = live_bytes();
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let mut rewriter = set.body_rewriter(&to, Some(b"application/json"));
        let mut scrubber = set.scrubber(&to).expect("a scrubber");
        drop(rewriter.feed(Bytes::from(open.clone())).expect("a beginning"));
        drop(scrubber.feed(Bytes::from(echo.clone())));
        streams.push((rewriter, scrubber));
    }
    // Both directions, their parts on the heap and in the vector.
    let each = (live_bytes() - before) / STREAMS as isize;
    println!("{each} bytes a stream");
    assert!((1..1_024).contains(&each), "{each} bytes a stream");
}

#[test]
fn memory_does_not_grow_with_a_body() {
    let _turn = TURN.lock().expect("a turn");
    let host = HostName::parse("a.example").expect("a name");
    let to = Destination { host: Some(&host), port: 443, is_verified: true };
    let set = secrets(10, |index| format!("value-number-{index}-of-many-values").into_bytes());
    let placeholder = set.environment().next().expect("a secret").1.to_owned();
    let chunk = Bytes::from(format!("{}\\u0041%41 {placeholder}", "text ".repeat(3_000)));
    let mut rewriter = set.body_rewriter(&to, Some(b"text/plain"));
    let mut scrubber = set.scrubber(&to).expect("a scrubber");
    let before = live_bytes();
    for _ in 0..1_000 {
        drop(scrubber.feed(rewriter.feed(chunk.clone()).expect("bound")));
    }
    let grown = live_bytes() - before;
    // The test runner allocates now and then.
    assert!(grown < 64 << 10, "{grown} bytes more after 15 MB");
}

#[test]
fn a_value_is_nowhere_but_in_its_store() {
    let _turn = TURN.lock().expect("a turn");
    let host = HostName::parse("a.example").expect("a name");
    let to = Destination { host: Some(&host), port: 443, is_verified: true };
    IS_ARMED.store(true, Ordering::Relaxed);
    let set = secrets(1, |_| VALUE.to_vec());
    let set = set.clone().succeeding(&SecretSet::default(), now(), now()).expect("a set");
    let placeholder = set.environment().next().expect("a secret").1.to_owned();
    let text =
        Bytes::from(format!("{{\"key\": \"{placeholder}\", \"other\": \"{placeholder}\"}}").repeat(50));
    for _ in 0..3 {
        drop(set.substitute_header(&to, "x", &text).expect("bound"));
        drop(set.substitute_target(&to, &text).expect("bound"));
        for content_type in ["application/json", "text/plain", "application/octet-stream"] {
            for size in [7, 100, text.len()] {
                let mut rewriter = set.body_rewriter(&to, Some(content_type.as_bytes()));
                for at in (0..text.len()).step_by(size) {
                    drop(rewriter.feed(text.slice(at..text.len().min(at + size))).expect("bound"));
                }
                drop(rewriter.finish().expect("bound"));
            }
        }
        let mut websocket = set.websocket_rewriter(&to, 1 << 20);
        let frame =
            [&[0x81, 0xfe][..], &(placeholder.len() as u16).to_be_bytes(), &[0; 4], placeholder.as_bytes()];
        drop(websocket.feed(&mut Bytes::from(frame.concat())).expect("a frame"));
        // What upstream sends is its own; what we make of it is not to hold it.
        for size in [5, VALUE.len()] {
            let mut scrubber = set.scrubber(&to).expect("a scrubber");
            for piece in VALUE.chunks(size) {
                drop(scrubber.feed(Bytes::from_static(piece)));
            }
            drop(scrubber.finish());
            drop(scrubber.scrub(VALUE));
        }
    }
    let is_live = |(address, length): &&(AtomicUsize, AtomicUsize)| {
        let (address, length) = (address.load(Ordering::Relaxed), length.load(Ordering::Relaxed));
        // SAFETY: it was allocated with that size, zeroed, and not freed since; no other thread runs.
        address != 0 && holds_value(unsafe { std::slice::from_raw_parts(address as *const u8, length) })
    };
    let live = BLOCKS.iter().filter(is_live).count();
    let unwiped = UNWIPED.load(Ordering::Relaxed);
    drop(set);
    IS_ARMED.store(false, Ordering::Relaxed);
    assert_eq!(live, 1, "the store alone has it");
    assert_eq!(unwiped, 0, "what was freed was wiped");
    assert_eq!(UNWIPED.load(Ordering::Relaxed), 0, "the store too");
}

#[allow(clippy::disallowed_methods, reason = "any moment will do")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
