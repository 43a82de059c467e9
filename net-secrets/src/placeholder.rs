use std::fmt;

use thiserror::Error;

use crate::PlaceholderFormat;

/// What every generated placeholder has in it, behind its prefix: one short pattern finds them all.
///
/// Digits from 2 to 7 are in every alphabet that keys are written in, and the same in either case.
pub const MARKER: &str = "736427";

/// Shortest placeholder a user may bring: anything shorter occurs by chance.
const MIN_BYTES: usize = 8;
const MAX_BYTES: usize = 512;

/// What the guest holds in place of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Placeholder {
    text: String,
    /// Where the part begins that nobody can guess; 0 for a user's.
    core_start: usize,
}

/// Why text is no placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a placeholder has 8 to 512 letters, digits, hyphens, dots and underscores")]
pub struct PlaceholderError;

impl Placeholder {
    /// A new placeholder of no format in particular, from 128 bits the caller drew.
    pub fn generate(random: [u8; 16]) -> Self {
        PlaceholderFormat::default().generate(random)
    }

    /// A placeholder of the owner's choice. Streams are searched faster for generated ones.
    ///
    /// # Errors
    /// [`PlaceholderError`].
    pub fn from_user(text: &str) -> Result<Self, PlaceholderError> {
        let fits = (MIN_BYTES..=MAX_BYTES).contains(&text.len());
        if fits && text.bytes().all(is_plain) {
            Ok(Self { text: text.to_owned(), core_start: 0 })
        } else {
            Err(PlaceholderError)
        }
    }

    /// `core_start` is where the marker stands.
    pub(crate) fn marked(text: String, core_start: usize) -> Self {
        Self { text, core_start }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part by which it is found: whoever has that has all of it.
    pub(crate) fn core(&self) -> &str {
        self.text.get(self.core_start..).unwrap_or(&self.text)
    }
}

/// Whether the byte may stand in a placeholder: no place of a request has to escape it.
pub(crate) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
