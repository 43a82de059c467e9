//! What holds for every input: called by the fuzz targets and by the tests that replay their
//! corpora. Each function panics where it does not hold.

use std::vec;
use std::vec::Vec;

use crate::{ClientHello, FirstFlight, MAX_HELLO_BYTES, NameError, ParseError, Sniffer, Status};

/// What another parser read out of a hello.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The name in lower case.
    pub name: Option<Vec<u8>>,
    /// The protocols in the client's order.
    pub alpn: Vec<Vec<u8>>,
}

/// Another parser: `None` where it does not accept the bytes as a whole ClientHello.
pub type Judge = fn(&[u8]) -> Option<Verdict>;

/// Longest input looked at: five full records.
const MAX_BYTES: usize = 5 * (1 << 14);

/// An answer stays with more bytes, `at_least` never lies, the joiner says the same, and whatever
/// `judge` accepts is accepted with the same name and protocols.
pub fn sniff(bytes: &[u8], judge: Judge) {
    let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
    let mut buffer = vec![0; MAX_HELLO_BYTES];
    let whole = borrowed(bytes);
    for length in interesting_lengths(bytes.len()) {
        let prefix = &bytes[..length];
        let early = borrowed(prefix);
        if let Answer::Partial(at_least) = early {
            assert!(at_least > length, "{at_least} for {length} bytes");
            let sooner = bytes.get(..at_least - 1).unwrap_or(bytes);
            assert!(matches!(borrowed(sooner), Answer::Partial(_)), "{length} bytes promised {at_least}");
        } else {
            assert_eq!(early, whole, "{length} of {} bytes", bytes.len());
        }
        let joined = answer(Sniffer::new(&mut buffer[..]).handle(prefix));
        if early != Answer::Fragmented {
            assert_eq!(joined, early, "{length} of {} bytes", bytes.len());
        }
    }
    if let Some(verdict) = judge(bytes) {
        agree(bytes, &verdict);
    }
}

/// The pieces a stream comes in change nothing. The first byte says how it is cut.
pub fn sniffer_chunked(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    // Clearing it takes longer than sniffing: no more room than most inputs need.
    let room = if bytes.len() <= 4096 { 4096 } else { MAX_BYTES };
    let mut whole_buffer = vec![0; room];
    let mut whole_sniffer = Sniffer::new(&mut whole_buffer[..]);
    let whole = answer(whole_sniffer.handle(bytes));
    let mut buffer = vec![0; room];
    let mut sniffer = Sniffer::new(&mut buffer[..]);
    let (mut seen, mut promised) = (0, 1);
    // Chunks of changing sizes, from one byte on.
    for (index, size) in (0..).map(|index: usize| (index, 1 + (index * 7 + 1) * usize::from(*cut) / 16)) {
        let Some(rest) = bytes.get(seen..).filter(|rest| !rest.is_empty()) else { break };
        let chunk = rest.get(..size).unwrap_or(rest);
        seen += chunk.len();
        let early = answer(sniffer.handle(chunk));
        if let Answer::Partial(at_least) = early {
            assert!(at_least > seen, "{at_least} for {seen} bytes");
            assert!(at_least >= promised, "{at_least} after {promised}");
            promised = at_least;
        } else {
            assert!(seen >= promised, "chunk {index}: an answer at {seen} bytes, {promised} were promised");
            assert_eq!(early, whole, "{seen} of {} bytes", bytes.len());
            break;
        }
    }
    // What is left changes nothing.
    assert_eq!(answer(sniffer.handle(bytes.get(seen..).unwrap_or_default())), whole);
    // A buffer that is too small says so, or makes no difference.
    let mut small = [0; 64];
    let cramped = answer(Sniffer::new(&mut small[..]).handle(bytes));
    assert!(cramped == whole || cramped == Answer::Wrong(ParseError::TooLarge), "{cramped:?}, not {whole:?}");
}

/// An answer stays with more bytes, comes no sooner than promised, and `sniff` agrees about TLS.
pub fn classify(bytes: &[u8]) {
    let whole = crate::classify(bytes);
    for length in 0..bytes.len().min(64) {
        match crate::classify(&bytes[..length]) {
            Status::Partial { at_least } => {
                assert!(at_least > length);
                let sooner = bytes.get(..at_least - 1).unwrap_or(bytes);
                assert!(matches!(crate::classify(sooner), Status::Partial { .. }), "{length}: {at_least}");
            }
            early @ Status::Complete(_) => assert_eq!(early, whole, "{length} of {} bytes", bytes.len()),
        }
    }
    let not_tls = matches!(crate::sniff(bytes), Err(ParseError::NotTls | ParseError::SslV2));
    if bytes.len() >= 2 && bytes[0] & 0x80 == 0 {
        assert_eq!(whole == Status::Complete(FirstFlight::Tls), !not_tls);
    }
}

/// Datagrams as they come, and as the frames of packets that open: no panic, and an answer stays.
#[cfg(feature = "quic")]
pub fn quic_initial(bytes: &[u8]) {
    use crate::QuicSniffer;
    use crate::quic::testing::{datagrams, packet};

    let mut sniffer = QuicSniffer::new([0; 4096]);
    let mut settled = None;
    for datagram in datagrams(bytes) {
        let found = quic_answer(sniffer.handle(datagram));
        if let Some(settled) = &settled {
            assert_eq!(&found, settled);
        } else if !matches!(found, Answer::Partial(_)) {
            settled = Some(found);
        }
    }
    // The same bytes as frames: up to four packets, each in a datagram of its own, in both orders.
    let frames: Vec<_> = datagrams(bytes).take(4).collect();
    let packets: Vec<_> = (0..).zip(&frames).map(|(number, frames)| packet(number, frames)).collect();
    let mut forward = QuicSniffer::new([0; 4096]);
    let mut backward = QuicSniffer::new([0; 4096]);
    let ahead = packets.iter().map(|packet| quic_answer(forward.handle(packet))).last();
    let back = packets.iter().rev().map(|packet| quic_answer(backward.handle(packet))).last();
    // Which of two faults is met first depends on the order; what a hello says does not, unless a
    // fault comes in between.
    if let (Some(one @ Answer::Hello(_)), Some(other @ Answer::Hello(_))) = (ahead, back) {
        assert_eq!(one, other);
    }
}

#[cfg(feature = "quic")]
fn quic_answer(found: Result<Status<ClientHello<'_>>, crate::QuicError>) -> Answer {
    match found {
        Ok(status) => answer(Ok(status)),
        Err(error) => Answer::WrongQuic(error),
    }
}

/// What must not change, without the borrow.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Partial(usize),
    Fragmented,
    Hello(Vec<u8>),
    Wrong(ParseError),
    #[cfg(feature = "quic")]
    WrongQuic(crate::QuicError),
}

fn borrowed(bytes: &[u8]) -> Answer {
    match crate::sniff(bytes) {
        Ok(Status::Fragmented(_)) => Answer::Fragmented,
        Ok(Status::Complete(hello)) => answer(Ok(Status::Complete(hello))),
        Ok(Status::Partial { at_least }) => Answer::Partial(at_least),
        Err(error) => Answer::Wrong(error),
    }
}

fn answer(found: Result<Status<ClientHello<'_>>, ParseError>) -> Answer {
    match found {
        Ok(Status::Complete(hello)) => Answer::Hello(everything(&hello)),
        Ok(Status::Partial { at_least }) => Answer::Partial(at_least),
        Err(error) => Answer::Wrong(error),
    }
}

/// Calls every accessor. The debug form of all they say stands for it.
fn everything(hello: &ClientHello<'_>) -> Vec<u8> {
    let key_shares = hello.key_shares().map(|shares| shares.map(Iterator::collect::<Vec<_>>));
    let said = (
        (hello.legacy_version(), hello.random(), hello.session_id(), hello.cipher_suites().len()),
        (hello.server_name(), hello.alpn().map(Iterator::collect::<Vec<_>>), key_shares),
        (
            hello.supported_versions().map(Iterator::collect::<Vec<_>>),
            hello.signature_algorithms().map(|all| all.len()),
        ),
        (
            hello.supported_groups().map(Iterator::count),
            hello.offers_post_quantum(),
            hello.record_size_limit(),
        ),
        (hello.ech(), hello.has_session_ticket(), hello.has_pre_shared_key(), hello.extensions().count()),
    );
    #[cfg(feature = "fingerprint")]
    assert_eq!(hello.ja4(crate::Transport::Tcp).as_str().len(), 36);
    std::format!("{said:?}").into_bytes()
}

fn agree(bytes: &[u8], verdict: &Verdict) {
    let mut buffer = vec![0; MAX_BYTES];
    let mut sniffer = Sniffer::new(&mut buffer[..]);
    let hello = match sniffer.handle(bytes) {
        Ok(Status::Complete(hello)) => hello,
        other => panic!("the judge accepts {verdict:?}, not so {other:?}"),
    };
    let name = match hello.server_name() {
        Ok(name) => name.map(<[u8]>::to_ascii_lowercase),
        // rustls takes an address for no name at all.
        Err(NameError::IpAddress) => None,
        Err(error) => panic!("the judge accepts {verdict:?}, the name is {error:?}"),
    };
    let alpn = hello.alpn().expect("what the judge accepts").map(<[u8]>::to_vec).collect();
    assert_eq!(&Verdict { name, alpn }, verdict);
}

/// All of them for a short input; for a long one those where headers are, and some more.
fn interesting_lengths(length: usize) -> impl Iterator<Item = usize> {
    let step = 1 + length / 64;
    (0..length.min(64)).chain((64..length).step_by(step)).chain(length.checked_sub(1))
}
