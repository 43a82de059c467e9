//! What holds for every input: called by the fuzz target and by the tests that replay its corpus.

use std::net::IpAddr;

use crate::{HostName, HostPattern, MAX_HOST_NAME_BYTES};

/// What is accepted is in normal form, and prints as something that parses to the same.
pub fn names_round_trip(bytes: &[u8]) {
    let name = HostName::from_ascii(bytes);
    if let Ok(name) = &name {
        check(name);
        // A name is one of the spellings of itself: nothing but case and the last dot was folded.
        let spelt = bytes.strip_suffix(b".").unwrap_or(bytes);
        assert!(name.as_str().as_bytes().eq_ignore_ascii_case(spelt), "{name} from {bytes:?}");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert_eq!(HostName::parse(text), name, "{text:?} as text and as bytes");
    let Ok(pattern) = HostPattern::parse(text) else { return };
    check(pattern.apex());
    let shown = pattern.to_string();
    assert_eq!(HostPattern::parse(&shown).as_ref(), Ok(&pattern), "{text:?} printed as {shown}");
    let takes_apex = !matches!(pattern, HostPattern::Subdomains(_));
    assert_eq!(pattern.matches(pattern.apex()), takes_apex, "{shown}");
}

fn check(name: &HostName) {
    let text = name.as_str();
    assert_eq!(text.parse::<HostName>().as_ref(), Ok(name), "{text}");
    assert_eq!(name.to_string(), text);
    assert!(!text.is_empty() && text.len() <= MAX_HOST_NAME_BYTES, "{text}");
    assert!(!text.ends_with('.') && !text.bytes().any(|byte| byte.is_ascii_uppercase()), "{text}");
    assert!(text.parse::<IpAddr>().is_err(), "{text}");
    assert!(name.labels().all(|label| (1..=63).contains(&label.len())), "{text}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn the_corpus_holds() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/names");
        let files: Vec<_> = std::fs::read_dir(corpus).expect("a corpus").collect();
        assert!(files.len() >= 3, "the corpus is small: {}", files.len());
        for file in files {
            let path = file.expect("a file").path();
            super::names_round_trip(&std::fs::read(&path).expect("a readable file"));
        }
    }

    proptest! {
        #[test]
        fn any_text_round_trips(text in "[*.]{0,2}[a-zA-Z0-9._xü。-]{0,40}\\.?") {
            super::names_round_trip(text.as_bytes());
        }
    }
}
