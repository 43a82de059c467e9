//! The finite forms in which a text hides: itself, base64 at three alignments, hex.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

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
