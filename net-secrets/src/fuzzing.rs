//! What holds for every input: called by the fuzz targets and by the tests that replay their corpora.

use std::sync::OnceLock;

use bytes::Bytes;
use net_core::HostName;

use crate::forms::{Form, forms};
use crate::{
    Binding, BodyTypes, Destination, HeaderNames, Placeholder, Places, SecretSet, SecretValue, Violation,
    WebSocketError,
};

/// Bound to the host, everywhere.
const VALUE: &str = "va\"l\\ue/w+x y-9";
/// Its placeholder, and one that begins with it, bound to the same host.
const OWN: &str = "netsec_own";
const LONGER: &str = "netsec_own_longer";
const LONGER_VALUE: &str = "netsec_own_value";
/// Bound to another host, and not to pass to this one.
const OTHER: &str = "another.placeholder";
/// Bound to another host, and to pass to this one.
const PASSING: &str = "passing-placeholder";

struct World {
    set: SecretSet,
    host: HostName,
    /// What single bytes of an input stand for.
    pieces: Vec<Vec<u8>>,
}

/// Compiled once: a fuzzer would do little else.
fn world() -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    WORLD.get_or_init(make).as_ref()
}

fn make() -> Option<World> {
    let host = HostName::parse("api.example.com").ok()?;
    let places = Places {
        headers: HeaderNames::All,
        basic_auth: true,
        query: true,
        path: true,
        body: BodyTypes::DangerousAny,
        websocket: true,
        trailers: true,
    };
    let binding = |env: &str, placeholder: &str, value: &str, host: &str| {
        let value = SecretValue::new(value.into());
        let placeholder = Placeholder::from_user(placeholder).ok()?;
        let binding = Binding::new(env, placeholder, value, vec![host.parse().ok()?]);
        Some(Binding { places: places.clone(), ..binding })
    };
    let mut passing = binding("PASSING", PASSING, "a-value-that-is-not-used", "b.example")?;
    passing.passthrough = vec!["api.example.com".parse().ok()?];
    let bindings = vec![
        binding("OWN", OWN, VALUE, "api.example.com")?,
        binding("LONGER", LONGER, LONGER_VALUE, "api.example.com")?,
        binding("OTHER", OTHER, "another-value", "b.example")?,
        passing,
    ];
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for text in [OWN, LONGER, OTHER, PASSING, VALUE, LONGER_VALUE] {
        pieces.push(text.into());
        pieces.push(escaped(text, |byte| format!("%{byte:02x}")));
        pieces.push(escaped(text, |byte| format!("\\u{byte:04X}")));
    }
    pieces.push(escaped(OTHER, |byte| format!("%25{byte:02X}")));
    for text in [OTHER, VALUE] {
        pieces.extend([1, 2, 3, 8].map(|form| Form::ALL[form].of(text.as_bytes())));
    }
    pieces.truncate(32);
    Some(World { set: SecretSet::compile(bindings, *b"fuzzing!").ok()?, host, pieces })
}

fn escaped(text: &str, escape: impl Fn(u8) -> String) -> Vec<u8> {
    text.bytes().map(escape).collect::<String>().into_bytes()
}

impl World {
    fn destination(&self) -> Destination<'_> {
        Destination { host: Some(&self.host), port: 443, is_verified: true }
    }

    /// The first byte says how the rest is cut, the second is the caller's; below a space a byte of the
    /// rest stands for a piece.
    fn read(&self, bytes: &[u8]) -> Option<(usize, u8, Vec<u8>)> {
        let [cut, mode, stream @ ..] = bytes else { return None };
        let mut text = Vec::new();
        for byte in stream {
            match self.pieces.get(usize::from(*byte)) {
                Some(piece) => text.extend_from_slice(piece),
                None => text.push(*byte),
            }
        }
        Some((1 + usize::from(*cut) % 40, *mode, text))
    }
}

/// A text with its placeholders replaced, as one would do it who has all of it; `None` for a violation.
fn reference(text: &[u8], value: Option<&str>, longer: Option<&str>) -> Option<Vec<u8>> {
    let (mut result, mut left, mut at) = (Vec::new(), Vec::new(), 0);
    while at < text.len() {
        let rest = &text[at..];
        // The longer one first.
        let found = [LONGER, OWN, OTHER, PASSING].into_iter().find(|own| rest.starts_with(own.as_bytes()));
        let Some(found) = found else {
            result.push(text[at]);
            left.push(text[at]);
            at += 1;
            continue;
        };
        match found {
            OWN => result.extend_from_slice(value?.as_bytes()),
            LONGER => result.extend_from_slice(longer?.as_bytes()),
            PASSING => result.extend_from_slice(PASSING.as_bytes()),
            _ => return None,
        }
        left.push(0);
        at += found.len();
    }
    (!hides(&left, &[OWN, LONGER, OTHER])).then_some(result)
}

/// Whether a text, read in any way a detector reads it, has one of these in any form.
pub(crate) fn hides(text: &[u8], placeholders: &[&str]) -> bool {
    let (raw, once, json) = (text.to_vec(), percent_decoded(text), json_decoded(text));
    let twice = percent_decoded(&once);
    let json_once = percent_decoded(&json);
    let levels = [
        json_decoded(&once),
        json_decoded(&twice),
        percent_decoded(&json_once),
        json_once,
        raw,
        once,
        twice,
        json,
    ];
    placeholders
        .iter()
        .flat_map(|placeholder| forms(placeholder.as_bytes()))
        .any(|form| levels.iter().any(|level| memchr::memmem::find(level, &form).is_some()))
}

/// Percent-decodes a whole text.
pub(crate) fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit =
        |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        match (byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Undoes the escapes of JSON strings of a whole text; characters beyond ASCII do not matter here.
pub(crate) fn json_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.strip_prefix(b"u").and_then(|digits| std::str::from_utf8(digits.get(..4)?).ok());
        let code = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = code.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let (byte, used) = match (first, behind.first(), code) {
            (b'\\', Some(_), Some(code)) => (u8::try_from(code).unwrap_or(0xff), 6),
            (b'\\', Some(sign @ (b'"' | b'\\' | b'/')), _) => (*sign, 2),
            (b'\\', Some(b'b' | b'f' | b'n' | b'r' | b't'), _) => (b'\n', 2),
            _ => (*first, 1),
        };
        decoded.push(byte);
        rest = &rest[used..];
    }
    decoded
}

fn contains(text: &[u8], part: &str) -> bool {
    memchr::memmem::find(text, part.as_bytes()).is_some()
}

/// A body in pieces is what the reference makes of the whole; what must not leave does not.
pub fn rewrite_body(bytes: &[u8]) {
    // The type, and the two values in it.
    const KINDS: &[(&str, Option<&str>)] = &[
        ("application/json", Some("va\\\"l\\\\ue/w+x y-9")),
        ("application/x-www-form-urlencoded", Some("va%22l%5Cue%2Fw%2Bx%20y-9")),
        ("text/xml", Some("va&quot;l\\ue/w+x y-9")),
        ("text/plain", Some(VALUE)),
        ("multipart/form-data; boundary=b", Some(VALUE)),
        ("application/octet-stream", Some(VALUE)),
    ];
    let Some(world) = world() else { return };
    let Some((cut, mode, text)) = world.read(bytes) else { return };
    let (content_type, value) = KINDS[usize::from(mode) % KINDS.len()];
    let expected = reference(&text, value, Some(LONGER_VALUE));
    let to = world.destination();
    for size in [text.len().max(1), cut] {
        let mut rewriter = world.set.body_rewriter(&to, Some(content_type.as_bytes()));
        let (sent, result) = run(text.chunks(size), |end| match end {
            Some(piece) => rewriter.feed(piece),
            None => rewriter.finish(),
        });
        match &expected {
            Some(expected) => {
                assert_eq!(result, Ok(()));
                assert_eq!(sent, *expected, "in pieces of {size}");
            }
            None => assert!(result.is_err(), "in pieces of {size}"),
        }
        assert!(!contains(&sent, OTHER));
    }
}

/// Feeds pieces, and the end, to what may refuse them: what was let through, and whether it was refused.
fn run<'p, E>(
    pieces: impl Iterator<Item = &'p [u8]>,
    mut feed: impl FnMut(Option<Bytes>) -> Result<Bytes, E>,
) -> (Vec<u8>, Result<(), E>) {
    let mut sent = Vec::new();
    for piece in pieces.map(Some).chain([None]) {
        match feed(piece.map(Bytes::copy_from_slice)) {
            Ok(bytes) => sent.extend_from_slice(&bytes),
            Err(error) => return (sent, Err(error)),
        }
    }
    (sent, Ok(()))
}

/// A header value is what the reference makes of it, and so are a target and Basic credentials.
pub fn rewrite_header(bytes: &[u8]) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let Some(world) = world() else { return };
    let Some((_, mode, text)) = world.read(bytes) else { return };
    let to = world.destination();
    let unchanged = |result: Result<Option<zeroize::Zeroizing<Vec<u8>>>, Violation>, text: &[u8]| {
        result.ok().map(|new| new.map_or_else(|| text.to_vec(), |new| new.to_vec()))
    };
    match mode % 3 {
        0 => {
            let result = unchanged(world.set.substitute_header(&to, "x-any", &text), &text);
            assert_eq!(result, reference(&text, Some(VALUE), Some(LONGER_VALUE)));
        }
        1 => {
            let result = unchanged(world.set.substitute_target(&to, &text), &text);
            let mark = text.iter().position(|byte| *byte == b'?').unwrap_or(text.len());
            let part = |text| reference(text, Some("va%22l%5Cue%2Fw%2Bx%20y-9"), Some(LONGER_VALUE));
            let expected = part(&text[..mark]).and_then(|path| Some([path, part(&text[mark..])?].concat()));
            assert_eq!(result, expected);
        }
        _ => {
            let credentials = format!("Basic {}", STANDARD.encode(&text));
            let result = world.set.substitute_header(&to, "authorization", credentials.as_bytes());
            let result = unchanged(result, credentials.as_bytes());
            let decoded = result.map(|new| STANDARD.decode(&new[6..]).ok());
            // Neither half holds a colon that a placeholder could be on both sides of.
            let colon = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            let part = |text| reference(text, Some(VALUE), Some(LONGER_VALUE));
            let expected = part(&text[..colon]).and_then(|user| Some([user, part(&text[colon..])?].concat()));
            assert_eq!(decoded, expected.map(Some));
        }
    }
}

/// A response in pieces is cleaned as the whole is, and nothing that decodes to a value is left.
pub fn scrub_response(bytes: &[u8]) {
    let Some(world) = world() else { return };
    let Some((cut, _, text)) = world.read(bytes) else { return };
    let from = world.destination();
    let clean = |size| {
        let Some(mut scrubber) = world.set.scrubber(&from) else { return Vec::new() };
        let feed = |end| {
            Ok::<_, ()>(match end {
                Some(piece) => scrubber.feed(piece),
                None => scrubber.finish(),
            })
        };
        run(text.chunks(size), feed).0
    };
    let whole = clean(text.len().max(1));
    assert_eq!(whole, clean(cut), "in pieces of {cut}");
    if let Some(scrubber) = world.set.scrubber(&from) {
        assert_eq!(scrubber.scrub(&text).unwrap_or_else(|| text.clone()), whole);
    }
    let plus: Vec<u8> = whole.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    for view in [whole.clone(), percent_decoded(&whole), percent_decoded(&plus), json_decoded(&whole)] {
        for value in [VALUE, LONGER_VALUE] {
            for form in Form::ALL {
                let form = form.of(value.as_bytes());
                let is_echo = memchr::memmem::find(&view, &form).is_some();
                assert!(!is_echo, "{} in {}", form.escape_ascii(), whole.escape_ascii());
            }
        }
    }
    if whole == text {
        return;
    }
    assert!([OWN, LONGER].iter().any(|own| hides(&whole, &[own])), "a value became a placeholder");
}

/// A detector finds what a search of everything finds, however the stream is cut, and nothing that it
/// found has left.
pub fn detect_encoded(bytes: &[u8]) {
    let Some(world) = world() else { return };
    let Some((cut, mode, text)) = world.read(bytes) else { return };
    let to = world.destination();
    let (expected, texts): (_, &[&str]) = if mode % 2 == 0 {
        (hides(&text, &[OWN, LONGER, OTHER, PASSING]), &[OWN, LONGER, OTHER, PASSING])
    } else {
        (hides(&text, &[OWN, LONGER, OTHER]), &[OWN, LONGER, OTHER])
    };
    for size in [text.len().max(1), cut] {
        let mut detector = if mode % 2 == 0 { world.set.detector() } else { world.set.detector_towards(&to) };
        let (sent, result) = run(text.chunks(size), |end| match end {
            Some(piece) => detector.feed(piece),
            None => Ok(detector.finish()),
        });
        assert_eq!(result.is_err(), expected, "in pieces of {size}");
        assert!(text.starts_with(&sent));
        assert!(texts.iter().all(|text| !contains(&sent, text)));
        assert!(result.is_err() || sent == text);
    }
}

/// Frames in pieces carry what they carry as a whole, in both directions.
pub fn websocket(bytes: &[u8]) {
    let Some(world) = world() else { return };
    let [cut, mode, stream @ ..] = bytes else { return };
    let to = world.destination();
    let frames = |size| {
        let feed: &mut dyn FnMut(&mut Bytes) -> Result<Bytes, WebSocketError> = if mode % 2 == 0 {
            let mut rewriter = world.set.websocket_rewriter(&to, 1 << 20);
            &mut move |piece| rewriter.feed(piece)
        } else {
            let mut scrubber = world.set.websocket_scrubber(&to);
            &mut move |piece| scrubber.feed(piece)
        };
        run(stream.chunks(size), |end| {
            let (mut chunk, mut sent) = (end.unwrap_or_default(), Vec::new());
            while !chunk.is_empty() {
                sent.extend_from_slice(&feed(&mut chunk)?);
            }
            Ok::<_, WebSocketError>(sent.into())
        })
    };
    let whole = frames(stream.len().max(1));
    let pieces = frames(1 + usize::from(*cut) % 40);
    assert_eq!(whole.1.is_ok(), pieces.1.is_ok());
    if mode % 2 == 0 && whole.1.is_ok() {
        // Held messages leave as one frame, whole or not at all.
        assert_eq!(whole.0, pieces.0);
    }
    if mode % 2 == 0 {
        assert!(crate::websocket::payloads(&whole.0).iter().all(|payload| !contains(payload, OTHER)));
    }
}
