//! What holds for every input: called by the fuzz target and by the test that replays its corpus.

mod gateway;
mod operations;

pub use gateway::Reached;
pub use operations::Operated;

/// Whatever a proxy answers, it leads to the same in one piece and byte by byte; whether to a connection.
pub fn proxy_replies_are_read_in_any_pieces(bytes: &[u8]) -> bool {
    crate::proxy::replies_are_read_in_any_pieces(bytes)
}

/// Whatever frames a guest sends, and whatever the shell does meanwhile: no panic, bounded state,
/// nothing but the guest's own flows, and every frame back is for the guest.
///
/// The input is a list of steps: a byte says which, and the next ones are its arguments.
pub fn a_gateway_stays_itself(bytes: &[u8]) -> Option<Reached> {
    gateway::run(bytes)
}

/// Whatever the guest, the shell and strangers do in whatever order, a gateway does what a simple model says:
/// which flows wait, are open or gone, what is heard of them, and that nothing comes of what is not the guest's.
///
/// The input is a list of operations of three bytes: which one, on which flow, and how much.
pub fn a_gateway_does_what_a_model_says(bytes: &[u8]) -> Operated {
    operations::run(bytes)
}

/// Whatever a client of DHCP sends, what it is answered is sound; whether it was answered.
pub fn dhcp_replies_are_sound(bytes: &[u8]) -> bool {
    crate::core::dhcp::replies_are_sound(bytes)
}

/// Whatever a guest's first flight says, what it is told of upstream's choice is what upstream chose, under
/// the name that was decided. See `shell::selection_model`.
pub fn hellos_select_what_was_chosen(flight: &[u8]) -> Option<usize> {
    crate::shell::hellos_select_what_was_chosen(flight)
}

/// Whatever a guest sends as HTTP, what goes on is read by a strict parser as the very requests that were
/// admitted, for their host, however the bytes were split. See `http::fuzzing`.
///
/// How many requests went on.
pub fn requests_stay_themselves(bytes: &[u8]) -> usize {
    crate::http::fuzzing::requests_stay_themselves(bytes)
}

/// Whatever fragments of datagrams come in whatever order, what is put together is what a naive reading
/// makes of them. See `core::fragments`.
pub fn fragments_agree_with_a_model(bytes: &[u8]) {
    crate::core::fragments::model::agree_with_a_model(bytes);
}

/// What requests are made of, and what they are not made of.
#[cfg(test)]
const PIECES: &[&str] = &[
    "GET ",
    "POST ",
    "PRI ",
    "/ ",
    "/a?b ",
    "* ",
    "http://a.example/c ",
    "HTTP/1.1\r\n",
    "HTTP/1.0\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    "\0",
    "\u{7f}",
    "Host: a.example\r\n",
    "Host: b.example\r\n",
    "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 3, 3\r\n",
    "Content-Length : 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding:\tchunked\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer_Encoding: chunked\r\n",
    " folded\r\n",
    "3\r\nabc\r\n",
    "0\r\n",
    "3;x=y\r\nabc\r\n",
    "0x3\r\nabc\r\n",
    "abc",
    "Connection: close\r\n",
    "Connection: host\r\n",
    "Connection: transfer-encoding, content-length\r\n",
    "Expect: 100-continue\r\n",
    "TE: trailers\r\n",
    "Trailer: x\r\n",
    "x: 1\r\n",
    "Upgrade: websocket\r\n",
    "cookie:a=1\n",
    "\n:scheme: x\n",
];

#[cfg(test)]
mod tests {
    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = std::fs::read_dir(corpus).expect("a corpus");
        let files: Vec<_> =
            files.map(|file| std::fs::read(file.expect("a file").path()).expect("a readable file")).collect();
        assert!(!files.is_empty(), "{target} starts from nowhere");
        files
    }

    /// What answers of proxies are made of.
    const REPLIES: &[&[u8]] = &[
        b"\x05\0",
        b"\x05\x02",
        b"\x01\0",
        b"\x05\0\0\x01\0\0\0\0\0\0",
        b"\x05\0\0\x03\x02ab\0\0",
        b"\x05\x05",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Wait\r\n",
        b"HTTP/1.1 407 Who\r\n",
        b"Via: x\r\n",
        b"\r\n",
        b"\n",
        b"x",
    ];

    #[test]
    fn the_corpus_holds() {
        let (mut opened, mut refused, mut answered, mut datagrams, mut reassembled) = (0, 0, 0, 0, 0);
        for bytes in corpus("frames") {
            let reached = super::a_gateway_stays_itself(&bytes).expect("a run");
            opened += reached.counters.flows_opened;
            refused += reached.counters.flows_refused;
            answered += reached.counters.frames_sent;
            datagrams += reached.datagrams;
            reassembled += reached.reassembled;
        }
        // Else the corpus would start from nowhere.
        assert!(opened >= 2 && refused >= 3 && answered >= 8, "{opened}, {refused}, {answered}");
        assert!(datagrams >= 2 && reassembled >= 2, "{datagrams}, {reassembled}");
    }

    #[test]
    fn the_corpus_of_operations_holds() {
        let (mut accepted, mut refused, mut spoofed, mut carried) = (0, 0, 0, 0);
        for bytes in corpus("gateway_ops") {
            let done = super::a_gateway_does_what_a_model_says(&bytes);
            accepted += done.accepted;
            refused += done.refused;
            spoofed += done.spoofed;
            carried += done.carried;
        }
        // Else the corpus would start from nowhere.
        assert!(accepted >= 9 && refused >= 6 && spoofed >= 18, "{accepted}, {refused}, {spoofed}");
        assert!(carried >= 20_000, "{carried}");
    }

    #[test]
    fn the_corpus_of_requests_holds() {
        let passed = corpus("http_request").into_iter().map(|bytes| super::requests_stay_themselves(&bytes));
        // Else the corpus would show nothing.
        assert!(passed.sum::<usize>() >= 20);
    }

    #[test]
    fn the_corpus_of_fragments_holds() {
        corpus("fragments").iter().for_each(|bytes| super::fragments_agree_with_a_model(bytes));
    }

    #[test]
    fn the_corpus_of_dhcp_holds_and_is_answered() {
        let all = corpus("dhcp");
        let answered = all.iter().filter(|bytes| super::dhcp_replies_are_sound(bytes)).count();
        assert!(answered >= 4, "{answered} of {}", all.len());
    }

    #[test]
    fn the_corpus_of_proxy_replies_holds() {
        let all = corpus("proxy_reply");
        let connected = all.iter().filter(|bytes| super::proxy_replies_are_read_in_any_pieces(bytes)).count();
        assert!(connected >= 5 && all.len() - connected >= 5, "{connected} of {}", all.len());
    }

    #[test]
    fn the_corpus_of_hellos_holds() {
        let flights = corpus("hello_selection");
        let answered = flights.iter().filter_map(|flight| super::hellos_select_what_was_chosen(flight));
        // Clients of TLS 1.2 and 1.3 are answered under every choice they permit.
        let answered: usize = answered.sum();
        assert!(answered >= 20, "{answered}");
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_hello_selects_what_was_chosen(which in 0usize..64, at in 0usize..2_000, byte: u8) {
            let mut flights = corpus("hello_selection");
            let count = flights.len();
            let flight = &mut flights[which % count];
            let length = flight.len();
            flight[at % length] = byte;
            super::hellos_select_what_was_chosen(flight);
        }

        #[test]
        fn any_proxy_reply_is_read_in_any_pieces(
            kind in 0u8..4,
            pieces in proptest::collection::vec(0usize..REPLIES.len(), 0..12),
        ) {
            let pieces = pieces.into_iter().flat_map(|piece| REPLIES[piece].iter().copied());
            super::proxy_replies_are_read_in_any_pieces(&[kind].into_iter().chain(pieces).collect::<Vec<u8>>());
        }

        #[test]
        fn any_steps_are_no_danger(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            super::a_gateway_stays_itself(&bytes);
        }

        #[test]
        fn any_operations_do_what_the_model_says(
            operations in proptest::collection::vec((0u8..10, 0u8..12, proptest::prelude::any::<u8>()), 0..120),
            spoofs in proptest::prelude::any::<bool>(),
        ) {
            let high = if spoofs { 130 } else { 0 };
            let bytes = operations.into_iter().flat_map(|(which, flow, amount)| [which + high, flow, amount]);
            super::a_gateway_does_what_a_model_says(&bytes.collect::<Vec<u8>>());
        }

        #[test]
        fn any_requests_stay_themselves(
            flags in 0u8..8,
            step in 1u8..40,
            pieces in proptest::collection::vec(0usize..super::PIECES.len(), 0..40),
        ) {
            let pieces = pieces.into_iter().flat_map(|piece| super::PIECES[piece].bytes());
            let bytes: Vec<u8> = [flags, step].into_iter().chain(pieces).collect();
            super::requests_stay_themselves(&bytes);
        }

        #[test]
        fn any_fragments_are_what_a_naive_reading_makes_of_them(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
            near in proptest::collection::vec((0u8..32, 0u8..12, 0u8..4), 0..80),
        ) {
            super::fragments_agree_with_a_model(&bytes);
            // Close enough to each other to touch.
            let near: Vec<u8> =
                near.into_iter().flat_map(|(which, offset, units)| [which, 0, offset, units * 8, which]).collect();
            super::fragments_agree_with_a_model(&near);
        }
    }
}
