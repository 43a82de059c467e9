//! `sniff` and everything a hello says allocate nothing.
//!
//! A global allocator that counts is the only way to see it, and the only unsafe code here.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use net_sni::{MAX_HELLO_BYTES, Sniffer, Status, classify, sniff};

mod support;

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

/// Asks a hello for everything.
fn exhaust(hello: &net_sni::ClientHello<'_>) {
    let _ = std::hint::black_box((
        (hello.server_name(), hello.alpn().map(Iterator::count), hello.cipher_suites().count()),
        (hello.supported_versions().map(Iterator::count), hello.supported_groups().map(Iterator::count)),
        (hello.key_shares().map(|shares| shares.map(Iterator::count)), hello.record_size_limit()),
        (hello.signature_algorithms().map(Iterator::count), hello.ech(), hello.has_pre_shared_key()),
    ));
    #[cfg(feature = "fingerprint")]
    std::hint::black_box(hello.ja4(net_sni::Transport::Tcp));
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0; 10]))), 1);
}

#[test]
fn a_stream_is_read_without_an_allocation() {
    let mut buffer = vec![0; MAX_HELLO_BYTES];
    for (client, bytes) in support::captures("tls") {
        let count = allocations(|| {
            assert_eq!(classify(&bytes), Status::Complete(net_sni::FirstFlight::Tls));
            for length in 0..=bytes.len() {
                match sniff(&bytes[..length]) {
                    Ok(Status::Complete(hello)) => exhaust(&hello),
                    Ok(Status::Fragmented(fragments)) => {
                        if let Ok(Status::Complete(hello)) = fragments.join(&mut buffer) {
                            exhaust(&hello);
                        }
                    }
                    Ok(Status::Partial { .. }) | Err(_) => {}
                }
            }
            let mut sniffer = Sniffer::new(&mut buffer[..]);
            for chunk in bytes.chunks(100) {
                let _ = sniffer.handle(chunk);
            }
            assert!(matches!(sniffer.handle(&[]), Ok(Status::Complete(_))));
        });
        assert_eq!(count, 0, "{client}");
    }
}

#[cfg(feature = "quic")]
#[test]
fn a_flow_is_read_without_an_allocation() {
    use net_sni::{QUIC_BUFFER_BYTES, QuicSniffer};

    let mut buffer = vec![0; QUIC_BUFFER_BYTES];
    for (client, bytes) in support::captures("quic") {
        let datagrams = support::datagrams(&bytes);
        let count = allocations(|| {
            let mut sniffer = QuicSniffer::new(&mut buffer[..]);
            for datagram in &datagrams {
                if let Ok(Status::Complete(hello)) = sniffer.handle(datagram) {
                    exhaust(&hello);
                }
            }
        });
        assert_eq!(count, 0, "{client}");
    }
}
