//! The finite forms in which a text hides: itself, base64 at three alignments, hex.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Encoded forms shorter than this occur by chance and are not searched for.
const MIN_FORM_BYTES: usize = 8;

/// Every form of `text` in a fixed order, itself first; some may be equal or short.
pub(crate) fn encodings(text: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![text.to_vec()];
    for alignment in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            forms.push(base64_core(text, alignment, engine));
        }
    }
    let lower: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.push(lower.to_uppercase().into_bytes());
    forms.push(lower.into_bytes());
    forms
}

/// The forms of `text` worth looking for, itself first, without duplicates.
pub(crate) fn forms(text: &[u8]) -> Vec<Vec<u8>> {
    let mut unique: Vec<Vec<u8>> = Vec::new();
    for (index, form) in encodings(text).into_iter().enumerate() {
        if (index == 0 || form.len() >= MIN_FORM_BYTES) && !unique.contains(&form) {
            unique.push(form);
        }
    }
    unique
}

/// RFC 3986, section 2.3.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the usual encoders for URLs escape: everything but letters and digits, all but the
/// unreserved characters, the same but for the slash (a path), encodeURIComponent's, and a form's.
const ESCAPED: &[&AsciiSet] = &[
    NON_ALPHANUMERIC,
    &UNRESERVED,
    &UNRESERVED.remove(b'/'),
    &UNRESERVED.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')'),
    &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_'),
];

/// `text` as the usual encoders write it in a URL, a form or a JSON string, without duplicates and
/// without `text` itself.
///
/// An encoder that escapes more or less than these is not recognised.
pub(crate) fn escapes(text: &[u8]) -> Vec<Vec<u8>> {
    let mut escapes: Vec<Vec<u8>> = Vec::new();
    for set in ESCAPED {
        let upper = percent_encode(text, set).to_string();
        escapes.push(lower_escapes(&upper));
        escapes.push(upper.replace("%20", "+").into_bytes());
        escapes.push(upper.into_bytes());
    }
    for escapes_slash in [false, true] {
        escapes.push(json(text, escapes_slash));
    }
    escapes.sort();
    escapes.dedup();
    escapes.retain(|escape| escape != text);
    escapes
}

/// The hex digits of every escape in lower case.
fn lower_escapes(upper: &str) -> Vec<u8> {
    let mut bytes = upper.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            bytes[at + 1..at + 3].make_ascii_lowercase();
            at += 2;
        }
        at += 1;
    }
    bytes
}

/// The inside of a JSON string (RFC 8259, section 7), with the escapes that are due and, where
/// asked, that of the slash, which some writers add.
fn json(text: &[u8], escapes_slash: bool) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'"' | b'\\' => escaped.extend([b'\\', *byte]),
            b'/' if escapes_slash => escaped.extend(b"\\/"),
            b'\t' => escaped.extend(b"\\t"),
            _ => escaped.push(*byte),
        }
    }
    escaped
}

/// The characters of `text` in base64 that do not depend on its neighbours, when it starts
/// `alignment` bytes into a group of three.
fn base64_core(
    text: &[u8],
    alignment: usize,
    engine: &base64::engine::general_purpose::GeneralPurpose,
) -> Vec<u8> {
    let mut padded = vec![0; alignment];
    padded.extend_from_slice(text);
    let encoded = engine.encode(&padded);
    // The first characters mix with the bytes before, the last one with the bytes behind.
    let start = [0, 2, 3][alignment];
    let end = padded.len() * 8 / 6;
    encoded.as_bytes().get(start..end).unwrap_or_default().to_vec()
}

/// Where the longest suffix of `bytes` begins that may grow into one of `patterns`: `bytes.len()`
/// when none does. Suffixes shorter than `min_bytes` do not count.
pub(crate) fn open_suffix(bytes: &[u8], patterns: &[Vec<u8>], min_bytes: usize) -> usize {
    let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
    let first = bytes.len().saturating_sub(longest.saturating_sub(1));
    (first..bytes.len())
        .find(|start| {
            let suffix = &bytes[*start..];
            suffix.len() >= min_bytes
                && patterns.iter().any(|pattern| pattern.len() > suffix.len() && pattern.starts_with(suffix))
        })
        .unwrap_or(bytes.len())
}
