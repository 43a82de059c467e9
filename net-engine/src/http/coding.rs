//! Content codings that are undone, so that what is inside can be looked into (RFC 9110, section 8.4.1).

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use super::headers::words;

/// What one call gives at most.
const PIECE_BYTES: usize = 64 << 10;

/// The pieces that are decoded before others have their turn.
pub(super) const MAX_PIECES: usize = 16;

/// How many times as long as what came the content may be, beyond [`FREE_BYTES`]: text is less than fifty times, the
/// coding can do a thousand.
const MAX_RATIO: u64 = 256;
const FREE_BYTES: u64 = 16 << 20;

/// The members without content that a message may have: writers that are closed at once leave one or two.
const MAX_EMPTY_MEMBERS: u32 = 64;

/// The window of the longest reach, as every decoder must have (RFC 1952, section 2.3.1.2 by way of RFC 1951).
const WINDOW_BITS: u8 = 15;

/// What a message's content was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentCoding {
    /// Nothing that hides it.
    None,
    Known(Coding),
    /// The frames in which S3 is sent what it stores: what is inside stands there as it is, if no other coding is
    /// named.
    Framed,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 1952, of one member or more.
    Gzip,
    /// RFC 1950, or, as many send it, RFC 1951 alone.
    Deflate,
}

/// Why content cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum CodingError {
    #[error("the content is not what its coding says")]
    Malformed,
    #[error("the coded content ends too soon")]
    Truncated,
    #[error("something follows the coded content")]
    Trailing,
    #[error("the coded content has empty members without end")]
    Empty,
    #[error("the content is coded so densely that it is taken for an attack")]
    Dense,
}

impl ContentCoding {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut own = Self::None;
        let is_text = headers.get_all(CONTENT_ENCODING).iter().all(|value| value.to_str().is_ok());
        for word in words(headers, CONTENT_ENCODING) {
            let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(word));
            own = match own {
                _ if is(&["", "identity"]) => own,
                Self::None if is(&["gzip", "x-gzip"]) => Self::Known(Coding::Gzip),
                Self::None if is(&["deflate"]) => Self::Known(Coding::Deflate),
                Self::None | Self::Known(_) if is(&["aws-chunked"]) => Self::Framed,
                Self::None | Self::Known(_) | Self::Framed | Self::Unknown => Self::Unknown,
            };
        }
        if is_text { own } else { Self::Unknown }
    }
}

/// Undoes one coding, in pieces.
///
/// Holds the window, 32 KiB, and what one call gives. What a call costs is what it takes and gives, but for a new
/// member's window, and a member without content is one of few.
pub(super) struct Decoder {
    coding: Coding,
    /// `None` before the first byte of a member.
    member: Option<Decompress>,
    /// Whether a member has come to its end.
    has_ended: bool,
    /// Whether all was given of what has come.
    is_drained: bool,
    coded_bytes: u64,
    content_bytes: u64,
    empty_members: u32,
    /// Where pieces are written at first; nothing is left in it between calls.
    scratch: Vec<u8>,
}

impl Decoder {
    pub(super) fn new(coding: Coding) -> Self {
        Self {
            coding,
            member: None,
            has_ended: false,
            is_drained: true,
            coded_bytes: 0,
            content_bytes: 0,
            empty_members: 0,
            scratch: Vec::new(),
        }
    }

    /// Whether there is nothing to give before more comes.
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// The next piece of the content, zeroed when dropped. To be called until `coded` is empty and
    /// [`is_drained`](Self::is_drained); a piece may be empty.
    ///
    /// # Errors
    /// [`CodingError`]: there is no more.
    pub(super) fn decode(&mut self, coded: &mut Bytes) -> Result<Bytes, CodingError> {
        let first = coded.first().copied();
        let Some(first) = first.or_else(|| self.member.is_some().then_some(0)) else {
            self.is_drained = true;
            return Ok(Bytes::new());
        };
        let member = match &mut self.member {
            Some(member) => member,
            None if self.has_ended && (self.coding == Coding::Deflate || first != 0x1f) => {
                return Err(CodingError::Trailing);
            }
            none => none.insert(match self.coding {
                Coding::Gzip => Decompress::new_gzip(WINDOW_BITS),
                // Eight is its one method; what has no header begins with no such byte.
                Coding::Deflate => Decompress::new(first & 0x0f == 8),
            }),
        };
        let (came, gave) = (member.total_in(), member.total_out());
        self.scratch.resize(PIECE_BYTES, 0);
        let status = member.decompress(coded, &mut self.scratch, FlushDecompress::None);
        let (came, gave) = (member.total_in() - came, member.total_out() - gave);
        let is_empty = member.total_out() == 0;
        let Ok(status) = status else {
            // How much of it was written is not known.
            self.scratch.zeroize();
            return Err(CodingError::Malformed);
        };
        coded.advance(usize::try_from(came).unwrap_or(usize::MAX).min(coded.len()));
        let count = usize::try_from(gave).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let given = self.scratch.get_mut(..count).unwrap_or_default();
        let piece = Zeroizing::new(given.to_vec());
        given.zeroize();
        self.coded_bytes += came;
        self.content_bytes += gave;
        if self.content_bytes > FREE_BYTES.max(self.coded_bytes.saturating_mul(MAX_RATIO)) {
            return Err(CodingError::Dense);
        }
        self.is_drained = match status {
            Status::StreamEnd => {
                (self.member, self.has_ended) = (None, true);
                self.empty_members += u32::from(is_empty);
                if self.empty_members > MAX_EMPTY_MEMBERS {
                    return Err(CodingError::Empty);
                }
                true
            }
            Status::Ok | Status::BufError => count < PIECE_BYTES,
        };
        if came == 0 && gave == 0 && !coded.is_empty() && self.member.is_some() {
            return Err(CodingError::Malformed);
        }
        Ok(if piece.is_empty() { Bytes::new() } else { Bytes::from_owner(piece) })
    }

    /// The message has ended.
    ///
    /// # Errors
    /// Its content has not.
    pub(super) fn finish(&self) -> Result<(), CodingError> {
        if self.member.is_none() { Ok(()) } else { Err(CodingError::Truncated) }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use http::HeaderValue;

    use super::*;

    fn coded(mut with: Compress, content: &[u8]) -> Vec<u8> {
        let mut coded = Vec::with_capacity(content.len() + 1024);
        with.compress_vec(content, &mut coded, FlushCompress::Finish).expect("content");
        coded
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        coded(Compress::new_gzip(Compression::new(6), WINDOW_BITS), content)
    }

    fn decode(coding: Coding, coded: &[u8], size: usize) -> Result<Vec<u8>, CodingError> {
        let (mut decoder, mut content) = (Decoder::new(coding), Vec::new());
        for piece in coded.chunks(size) {
            let mut piece = Bytes::copy_from_slice(piece);
            while !(piece.is_empty() && decoder.is_drained()) {
                let decoded = decoder.decode(&mut piece)?;
                assert!(decoded.len() <= PIECE_BYTES);
                content.extend_from_slice(&decoded);
            }
        }
        decoder.finish().map(|()| content)
    }

    #[test]
    fn content_is_the_same_however_it_is_cut() {
        let text: Vec<u8> =
            (0..30_000u32).flat_map(|number| format!("{} ", number * number).into_bytes()).collect();
        let [zlib, raw] = [true, false].map(|header| Compress::new(Compression::new(6), header));
        let cases = [
            (Coding::Gzip, gzip(&text), text.clone()),
            (Coding::Gzip, [gzip(b"one "), gzip(b""), gzip(&text)].concat(), [b"one ", &text[..]].concat()),
            (Coding::Deflate, coded(zlib, &text), text.clone()),
            (Coding::Deflate, coded(raw, &text), text.clone()),
            (Coding::Gzip, gzip(&vec![0; 300_000]), vec![0; 300_000]),
            (Coding::Gzip, Vec::new(), Vec::new()),
        ];
        for (index, (coding, coded, content)) in cases.iter().enumerate() {
            for size in [1, 7, 4096, coded.len().max(1)] {
                let decoded = decode(*coding, coded, size);
                assert!(
                    decoded.as_ref() == Ok(content),
                    "case {index} in pieces of {size}: {:?}",
                    decoded.err()
                );
            }
        }
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_told_apart_from_what_is_wrong() {
        let whole = gzip(b"some content, and some more");
        for count in 1..whole.len() {
            assert_eq!(decode(Coding::Gzip, &whole[..count], 3), Err(CodingError::Truncated), "{count}");
        }
        let behind = [&whole[..], b"x"].concat();
        assert_eq!(decode(Coding::Gzip, &behind, behind.len()), Err(CodingError::Trailing));
        let zlib = coded(Compress::new(Compression::new(6), true), b"content");
        let behind = [&zlib[..], &zlib].concat();
        assert_eq!(decode(Coding::Deflate, &behind, 5), Err(CodingError::Trailing));
        let mut broken = whole.clone();
        let last = broken.len() - 8;
        broken[last] ^= 1;
        assert_eq!(decode(Coding::Gzip, &broken, 9), Err(CodingError::Malformed), "the sum is wrong");
        assert_eq!(decode(Coding::Gzip, b"no gzip at all", 4), Err(CodingError::Malformed));
        // A dictionary that nobody has.
        assert_eq!(decode(Coding::Deflate, &[0x78, 0xbb, 0, 0, 0, 1, 0, 0], 8), Err(CodingError::Malformed));
    }

    #[test]
    fn content_that_is_too_dense_is_refused() {
        let zeros = vec![0; 40 << 20];
        assert_eq!(decode(Coding::Gzip, &gzip(&zeros), 1000), Err(CodingError::Dense));
        assert!(decode(Coding::Gzip, &gzip(&zeros[..15 << 20]), 1000).is_ok());
    }

    #[test]
    fn members_without_content_are_few() {
        let empty = gzip(b"");
        let few = usize::try_from(MAX_EMPTY_MEMBERS).expect("a few");
        for size in [1, 4096] {
            assert_eq!(decode(Coding::Gzip, &empty.repeat(few), size), Ok(Vec::new()));
            assert_eq!(decode(Coding::Gzip, &empty.repeat(few + 1), size), Err(CodingError::Empty));
            let full = gzip(b"x").repeat(few + 1);
            assert_eq!(decode(Coding::Gzip, &full, size), Ok(vec![b'x'; few + 1]));
        }
    }

    #[test]
    fn nothing_is_left_where_pieces_are_written() {
        let mut decoder = Decoder::new(Coding::Gzip);
        let mut coded = Bytes::from(gzip(b"some content"));
        assert_eq!(decoder.decode(&mut coded).as_deref(), Ok(&b"some content"[..]));
        assert!(decoder.scratch.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn codings_are_known_by_name_and_only_one_is_undone() {
        const CASES: &[(&[&str], ContentCoding)] = &[
            (&[], ContentCoding::None),
            (&["identity"], ContentCoding::None),
            (&[""], ContentCoding::None),
            (&["GZip"], ContentCoding::Known(Coding::Gzip)),
            (&["x-gzip"], ContentCoding::Known(Coding::Gzip)),
            (&["identity, deflate"], ContentCoding::Known(Coding::Deflate)),
            (&["gzip, gzip"], ContentCoding::Unknown),
            (&["gzip", "deflate"], ContentCoding::Unknown),
            (&["br"], ContentCoding::Unknown),
            (&["gzip \u{fc}"], ContentCoding::Unknown),
            (&["aws-chunked"], ContentCoding::Framed),
            (&["gzip,aws-chunked"], ContentCoding::Framed),
            (&["br,aws-chunked"], ContentCoding::Unknown),
            (&["aws-chunked", "gzip"], ContentCoding::Unknown),
        ];
        for (values, expected) in CASES {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
            }
            assert_eq!(ContentCoding::of(&headers), *expected, "{values:?}");
        }
    }
}
