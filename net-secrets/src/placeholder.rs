use std::fmt;

use thiserror::Error;

/// What every generated placeholder starts with: one short pattern finds them all.
pub const MARKER: &str = "netsec_";

/// Shortest placeholder a user may bring: anything shorter occurs by chance.
const MIN_BYTES: usize = 8;
const MAX_BYTES: usize = 512;

/// What the guest holds in place of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Placeholder(String);

/// Why text is no placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a placeholder has 8 to 512 letters, digits, hyphens, dots and underscores")]
pub struct PlaceholderError;

impl Placeholder {
    /// A new placeholder from 128 bits the caller drew.
    pub fn generate(random: [u8; 16]) -> Self {
        use fmt::Write as _;
        let mut text = MARKER.to_owned();
        for byte in random {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// A placeholder of the owner's choice.
    ///
    /// # Errors
    /// [`PlaceholderError`].
    pub fn from_user(text: &str) -> Result<Self, PlaceholderError> {
        let fits = (MIN_BYTES..=MAX_BYTES).contains(&text.len());
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(PlaceholderError) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
