//! The finite forms in which a text hides: itself, base64 at three alignments, hex.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

/// A form of what may be a value.
pub(crate) type Form = Zeroizing<Vec<u8>>;

/// Encoded forms shorter than this occur by chance and are not searched for.
const MIN_FORM_BYTES: usize = 8;

/// Every form of `text` in a fixed order, itself first; some may be equal or short.
pub(crate) fn encodings(text: &[u8]) -> Vec<Form> {
    let mut forms = vec![Zeroizing::new(text.to_vec())];
    for alignment in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            forms.push(base64_core(text, alignment, engine));
        }
    }
    for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        let nibbles = text.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        let mut hex = Zeroizing::new(Vec::with_capacity(text.len() * 2));
        hex.extend(nibbles.map(|nibble| digits[usize::from(nibble)]));
        forms.push(hex);
    }
    forms
}

/// The forms of `text` worth looking for, itself first, without duplicates.
pub(crate) fn forms(text: &[u8]) -> Vec<Form> {
    let mut unique: Vec<Form> = Vec::new();
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
pub(crate) fn escapes(text: &[u8]) -> Vec<Form> {
    let mut escapes: Vec<Form> = Vec::new();
    for set in ESCAPED {
        let mut upper = Zeroizing::new(Vec::with_capacity(text.len() * 3));
        percent_encode(text, set).for_each(|piece| upper.extend_from_slice(piece.as_bytes()));
        escapes.push(lower_escapes(&upper));
        escapes.push(plus_for_space(&upper));
        escapes.push(upper);
    }
    for escapes_slash in [false, true] {
        escapes.push(json(text, escapes_slash));
    }
    escapes.sort_by(|one, other| one.as_slice().cmp(other));
    escapes.dedup();
    escapes.retain(|escape| escape.as_slice() != text);
    escapes
}

/// The hex digits of every escape in lower case.
fn lower_escapes(upper: &[u8]) -> Form {
    let mut bytes = Zeroizing::new(upper.to_vec());
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

/// A plus for every escaped space, as forms have it.
fn plus_for_space(upper: &[u8]) -> Form {
    let mut bytes = Zeroizing::new(Vec::with_capacity(upper.len()));
    let mut rest = upper;
    while let Some((first, behind)) = rest.split_first() {
        match rest.strip_prefix(b"%20") {
            Some(behind) => {
                bytes.push(b'+');
                rest = behind;
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

/// The inside of a JSON string (RFC 8259, section 7), with the escapes that are due and, where
/// asked, that of the slash, which some writers add.
fn json(text: &[u8], escapes_slash: bool) -> Form {
    let mut escaped = Zeroizing::new(Vec::with_capacity(text.len() * 2));
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
) -> Form {
    let mut padded = Zeroizing::new(Vec::with_capacity(alignment + text.len()));
    padded.resize(alignment, 0);
    padded.extend_from_slice(text);
    let encoded = Zeroizing::new(engine.encode(&*padded));
    // The first characters mix with the bytes before, the last one with the bytes behind.
    let start = [0, 2, 3][alignment];
    let end = padded.len() * 8 / 6;
    Zeroizing::new(encoded.as_bytes().get(start..end).unwrap_or_default().to_vec())
}
