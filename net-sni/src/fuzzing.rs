//! What holds for every input: called by the fuzz target and by the tests that replay its corpus.

use crate::{Status, classify, sniff};

/// Longest input looked at: two full records.
const MAX_BYTES: usize = 2 * (1 << 14);

/// An answer never changes with more bytes, and `at_least` never lies.
pub fn sniff_is_stable(bytes: &[u8]) {
    if bytes.len() > MAX_BYTES {
        return;
    }
    let mut scratch = [0; 2 * MAX_BYTES];
    let whole = summary(bytes, &mut scratch);
    let class = classify(bytes);
    for length in [0, 1, 2, 3, 5, 6, 9, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let Some(prefix) = bytes.get(..length) else { continue };
        match summary(prefix, &mut scratch) {
            Answer::NeedMore(at_least) => {
                assert!(at_least > length, "{at_least} for {length} bytes");
                if at_least > bytes.len() {
                    assert!(matches!(whole, Answer::NeedMore(_)), "{length} bytes promised {at_least}");
                }
            }
            early @ (Answer::Hello { .. } | Answer::Wrong(_)) => {
                assert_eq!(early, whole, "{length} of {} bytes", bytes.len())
            }
        }
        match classify(prefix) {
            Status::Partial { at_least } => {
                assert!(at_least > length);
                let sooner = bytes.get(..at_least - 1).unwrap_or(bytes);
                assert!(matches!(classify(sooner), Status::Partial { .. }), "{length} promised {at_least}");
            }
            early @ Status::Complete(_) => assert_eq!(early, class, "{length} of {} bytes", bytes.len()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    NeedMore(usize),
    Hello { name: Option<usize>, protocols: usize, groups: usize },
    Wrong(crate::ParseError),
}

fn summary(bytes: &[u8], scratch: &mut [u8]) -> Answer {
    match sniff(bytes, scratch) {
        Ok(Status::Partial { at_least }) => Answer::NeedMore(at_least),
        Ok(Status::Complete(hello)) => Answer::Hello {
            name: hello.server_name().ok().flatten().map(<[u8]>::len),
            protocols: hello.alpn().count(),
            groups: hello.supported_groups().count(),
        },
        Err(error) => Answer::Wrong(error),
    }
}
