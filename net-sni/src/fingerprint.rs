use core::fmt;

use sha2::{Digest, Sha256};

use crate::{ClientHello, Extension, extension, is_grease};

/// Which protocol carried the hello: JA4 tells them apart, the hello itself does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// TLS over TCP.
    Tcp,
    /// QUIC.
    Quic,
}

/// A JA4 fingerprint: what kind of client wrote the hello, whomever it wants.
///
/// 36 ASCII characters: ten that can be read (transport, version, whether there is a name, how
/// many cipher suites and extensions, the first protocol), and two hashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ja4([u8; Self::BYTES]);

impl Ja4 {
    const BYTES: usize = 36;

    /// The fingerprint as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ClientHello<'_> {
    /// The JA4 fingerprint.
    ///
    /// A list that is malformed counts as absent. Allocates nothing; work is linear in the hello,
    /// with a large factor for one that has more than 128 cipher suites or extensions.
    pub fn ja4(&self, transport: Transport) -> Ja4 {
        let ciphers = || self.cipher_suites().filter(|suite| !is_grease(*suite));
        let extensions = || self.extensions().map(kind).filter(|kind| !is_grease(*kind));
        let algorithms = self.signature_algorithms().unwrap_or_default();
        let mut text = [b'_'; Ja4::BYTES];
        text[0] = match transport {
            Transport::Tcp => b't',
            Transport::Quic => b'q',
        };
        text[1..3].copy_from_slice(self.version());
        text[3] = if extensions().any(|kind| kind == extension::SERVER_NAME) { b'd' } else { b'i' };
        text[4..6].copy_from_slice(&two_digits(ciphers().count()));
        text[6..8].copy_from_slice(&two_digits(extensions().count()));
        text[8..10].copy_from_slice(&self.first_protocol());
        let mut list = List::default();
        sorted(ciphers, |suite| list.push(suite));
        text[11..23].copy_from_slice(&list.finish());
        let mut list = List::default();
        let hashed =
            || extensions().filter(|kind| !matches!(*kind, extension::SERVER_NAME | extension::ALPN));
        sorted(hashed, |kind| list.push(kind));
        list.part();
        algorithms.filter(|algorithm| !is_grease(*algorithm)).for_each(|algorithm| list.push(algorithm));
        text[24..36].copy_from_slice(&list.finish());
        Ja4(text)
    }

    fn version(&self) -> &'static [u8; 2] {
        let offered = self.supported_versions().unwrap_or_default().filter(|version| !is_grease(*version));
        match offered.max().unwrap_or_else(|| self.legacy_version()) {
            0x0304 => b"13",
            0x0303 => b"12",
            0x0302 => b"11",
            0x0301 => b"10",
            0x0300 => b"s3",
            0x0002 => b"s2",
            _ => b"00",
        }
    }

    /// First and last character of the first protocol, or of its hexadecimal form.
    fn first_protocol(&self) -> [u8; 2] {
        let protocol = self.alpn().unwrap_or_default().next().unwrap_or_default();
        match (protocol.first(), protocol.last()) {
            (Some(first), Some(last)) if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => {
                [*first, *last]
            }
            (Some(first), Some(last)) => [hex(first >> 4), hex(last & 0x0f)],
            (None, _) | (_, None) => *b"00",
        }
    }
}

fn kind(extension: Extension<'_>) -> u16 {
    extension.kind
}

/// The hash of a list of code points in hexadecimal.
#[derive(Default)]
struct List {
    hash: Sha256,
    /// What comes before the next value; nothing before the first.
    separator: Option<u8>,
}

impl List {
    fn push(&mut self, value: u16) {
        if let Some(separator) = self.separator {
            self.hash.update([separator]);
        }
        self.separator = Some(b',');
        let [high, low] = value.to_be_bytes();
        self.hash.update([hex(high >> 4), hex(high & 0x0f), hex(low >> 4), hex(low & 0x0f)]);
    }

    /// Ends a part of the list, if it has one.
    fn part(&mut self) {
        if self.separator.is_some() {
            self.separator = Some(b'_');
        }
    }

    /// The first twelve digits; zeros for an empty list.
    fn finish(self) -> [u8; 12] {
        let mut text = [b'0'; 12];
        if self.separator.is_some() {
            for (digits, byte) in text.chunks_exact_mut(2).zip(self.hash.finalize()) {
                digits.copy_from_slice(&[hex(byte >> 4), hex(byte & 0x0f)]);
            }
        }
        text
    }
}

/// Gives the values in rising order, in constant space: a short list is sorted on the stack, a
/// long one counted in passes over a share of the code points each.
fn sorted<I: Iterator<Item = u16>>(values: impl Fn() -> I, mut emit: impl FnMut(u16)) {
    const FEW: usize = 128;
    const SHARE_BITS: u32 = 10;
    let mut few = [0; FEW];
    let mut count = 0;
    for value in values() {
        if let Some(free) = few.get_mut(count) {
            *free = value;
        }
        count += 1;
    }
    if let Some(few) = few.get_mut(..count) {
        few.sort_unstable();
        return few.iter().for_each(|value| emit(*value));
    }
    for share in 0..1u16 << (u16::BITS - SHARE_BITS) {
        // A list in a hello has fewer than 2^15 entries.
        let mut counts = [0u16; 1 << SHARE_BITS];
        for value in values().filter(|value| value >> SHARE_BITS == share) {
            counts[usize::from(value & ((1 << SHARE_BITS) - 1))] += 1;
        }
        for (low, count) in (0u16..).zip(counts) {
            (0..count).for_each(|_| emit(share << SHARE_BITS | low));
        }
    }
}

fn two_digits(count: usize) -> [u8; 2] {
    let count = u8::try_from(count).unwrap_or(99).min(99);
    [b'0' + count / 10, b'0' + count % 10]
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}
