//! What holds for every input: called by the fuzz targets and by the tests that replay their corpora.

use std::sync::OnceLock;

use bytes::Bytes;
use net_core::HostName;

use crate::{Binding, Destination, Placeholder, SecretSet, SecretValue};

const PLACEHOLDER: &str = "netsec_placeholder";
const VALUE: &[u8] = b"real-secret-value-9";

/// Compiled once: a fuzzer would do little else.
fn set() -> Option<&'static (SecretSet, HostName)> {
    static SET: OnceLock<Option<(SecretSet, HostName)>> = OnceLock::new();
    SET.get_or_init(compile).as_ref()
}

fn compile() -> Option<(SecretSet, HostName)> {
    let host = HostName::parse("api.example.com").ok()?;
    let binding = Binding {
        env: "TOKEN".to_owned(),
        placeholder: Placeholder::from_user(PLACEHOLDER).ok()?,
        value: SecretValue::new(VALUE.to_vec()),
        hosts: vec![net_core::HostPattern::Exact(host.clone())],
    };
    Some((SecretSet::compile(vec![binding]).ok()?, host))
}

/// The first byte says how the rest is cut.
fn cut(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (seed, stream) = bytes.split_first()?;
    Some((stream, 1 + usize::from(*seed) % 13))
}

/// The same verdict whole and in pieces, no byte lost or added, and no placeholder passes.
pub fn detection_ignores_chunks(bytes: &[u8]) {
    let (Some((stream, size)), Some((set, _))) = (cut(bytes), set()) else { return };
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut detector = set.detector();
        let mut passed = Vec::new();
        for piece in pieces {
            match detector.feed(Bytes::copy_from_slice(piece)) {
                Ok(bytes) => passed.extend(bytes),
                Err(violation) => return (passed, Some(violation)),
            }
        }
        passed.extend(detector.finish());
        (passed, None)
    };
    let (whole, found) = run(&mut std::iter::once(stream));
    let (pieces, found_in_pieces) = run(&mut stream.chunks(size));
    assert_eq!(found, found_in_pieces);
    let contains =
        |text: &[u8]| text.windows(PLACEHOLDER.len()).any(|window| window == PLACEHOLDER.as_bytes());
    if found.is_none() {
        assert_eq!(whole, stream);
        assert_eq!(pieces, stream);
        assert!(!contains(stream));
    }
    assert!(stream.starts_with(&pieces), "what passes is a prefix of the stream");
    assert!(!contains(&pieces));
}

/// The same result whole and in pieces, and no value passes.
pub fn scrubbing_ignores_chunks(bytes: &[u8]) {
    let (Some((stream, size)), Some((set, host))) = (cut(bytes), set()) else { return };
    let from = Destination { host: Some(host), is_verified: true };
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let Some(mut scrubber) = set.scrubber(&from) else { return Vec::new() };
        let mut clean: Vec<u8> =
            pieces.flat_map(|piece| scrubber.feed(Bytes::copy_from_slice(piece))).collect();
        clean.extend(scrubber.finish());
        clean
    };
    let whole = run(&mut std::iter::once(stream));
    let pieces = run(&mut stream.chunks(size));
    assert_eq!(whole, pieces);
    assert!(!whole.windows(VALUE.len()).any(|window| window == VALUE));
}
