use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher as _};

/// Requests that are kept for each destination: what is answered later than after so many others is lost. At the rate of
/// all echoes ([`Limits::echoes_per_second`](net_core::Limits::echoes_per_second)), to one destination, that is a quarter
/// of a second.
const MAX_ASKED: usize = 256;

/// Data that is told apart: as much as holds the time that every `ping` begins with. Some answer with the start of
/// longer data alone.
const COMPARED_BYTES: usize = 32;

/// What a destination was asked of late. The identifier of a reply says too little of whose it is: other processes of the
/// host choose theirs, and a guest may hold many.
#[derive(Default)]
pub(super) struct Asked {
    /// The last one at the front; no more than [`MAX_ASKED`].
    requests: VecDeque<Request>,
}

#[derive(Clone, Copy)]
struct Request {
    sequence: u16,
    /// No packet has more bytes.
    len: u16,
    start: u32,
}

impl Asked {
    /// It is asked this.
    pub(super) fn enter(&mut self, sequence: u16, data: &[u8]) {
        self.requests.truncate(MAX_ASKED - 1);
        let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
        self.requests.push_front(Request { sequence, len, start: start_of(data) });
    }

    /// Whether this is a reply to what it was asked: with the same data, or the start of it. One that comes twice is one
    /// twice, as on any network.
    pub(super) fn is_answered_by(&self, sequence: u16, data: &[u8]) -> bool {
        let start = start_of(data);
        self.requests.iter().any(|asked| {
            let most = usize::from(asked.len);
            let is_start = data.len() == most || (COMPARED_BYTES..most).contains(&data.len());
            asked.sequence == sequence && is_start && asked.start == start
        })
    }

    /// Whether an error may be about something it was asked: routers quote no more than the sequence number for certain
    /// (RFC 792).
    pub(super) fn has_asked(&self, sequence: u16) -> bool {
        self.requests.iter().any(|asked| asked.sequence == sequence)
    }
}

/// Data that nobody can foresee, as the time is, is not met by chance.
fn start_of(data: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(data.get(..COMPARED_BYTES).unwrap_or(data));
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_to_what_was_asked() {
        let mut asked = Asked::default();
        let data = [7; 100];
        asked.enter(1, &data);
        asked.enter(2, b"short");
        asked.enter(3, b"");
        let cases: &[(u16, &[u8], bool)] = &[
            (1, &data, true),
            // Some answer with the start alone, but that has to show whose it is.
            (1, &data[..64], true),
            (1, &data[..COMPARED_BYTES], true),
            (1, &data[..COMPARED_BYTES - 1], false),
            (1, &[7; 101], false),
            (1, &[8; 100], false),
            (1, b"", false),
            (2, b"short", true),
            (2, b"shor", false),
            (2, b"other", false),
            (3, b"", true),
            (3, b"x", false),
            (4, &data, false),
        ];
        for (sequence, data, expected) in cases {
            let found = asked.is_answered_by(*sequence, data);
            assert_eq!(found, *expected, "{sequence}, {} bytes", data.len());
        }
        assert!(asked.has_asked(3) && !asked.has_asked(4));
    }

    #[test]
    fn the_last_ones_are_kept() {
        let mut asked = Asked::default();
        let last = 1_000;
        for sequence in 0..=last {
            asked.enter(sequence, b"data");
        }
        let kept = u16::try_from(MAX_ASKED).expect("they are few");
        assert_eq!(asked.requests.len(), MAX_ASKED);
        assert!(asked.is_answered_by(last - kept + 1, b"data") && asked.has_asked(last - kept + 1));
        assert!(!asked.is_answered_by(last - kept, b"data") && !asked.has_asked(last - kept));
    }
}
