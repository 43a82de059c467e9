use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::path::normal_path;

/// The longest pattern.
pub const MAX_PATTERN_BYTES: usize = 512;

/// The most wildcards in one pattern; `**` is one.
pub const MAX_WILDCARDS: usize = 16;

/// Paths: `*` stands for any characters within a segment, none included, a segment `**` for any number
/// of segments, none included, and everything else for itself.
///
/// Held against the normal form of a path, whose case matters; a wildcard never matches a `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern(Box<str>);

/// Why text is no [`PathPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathPatternError {
    /// It does not begin with a slash.
    #[error("a path begins with `/`")]
    NotAbsolute,
    /// It is longer than [`MAX_PATTERN_BYTES`].
    #[error("a path pattern has at most {MAX_PATTERN_BYTES} characters")]
    TooLong,
    /// It has more than [`MAX_WILDCARDS`].
    #[error("a path pattern has at most {MAX_WILDCARDS} wildcards")]
    TooManyWildcards,
    /// A `**` beside something else.
    #[error("`**` stands only as a whole segment, as in `/v1/**`")]
    DoubleWildcard,
    /// No path looks like it once it is in its normal form, by which it would match nothing.
    #[error(
        "no request's path looks like this: leave out query, dot segments and empty segments, and escape \
         (in upper case) what a path cannot hold, and nothing else"
    )]
    NotNormal,
}

impl PathPattern {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches a path in its normal form, in O(pattern × path).
    pub(super) fn matches(&self, path: &str) -> bool {
        // The target `*` is not below any path.
        if !path.starts_with('/') {
            return false;
        }
        let (mut pattern, mut path) = (Segments::of(&self.0), Segments::of(path));
        // Behind the last `**`, and where the path goes on once that has taken one segment more.
        let mut retry: Option<(Segments<'_>, Segments<'_>)> = None;
        loop {
            let (mut rest, mut path_rest) = (pattern, path);
            match (rest.next(), path_rest.next()) {
                (Some("**"), _) => {
                    pattern = rest;
                    retry = Some((rest, path));
                    continue;
                }
                (Some(wanted), Some(segment)) if segment_matches(wanted.as_bytes(), segment.as_bytes()) => {
                    (pattern, path) = (rest, path_rest);
                    continue;
                }
                (None, None) => return true,
                (Some(_) | None, _) => {}
            }
            // It is enough to give the last `**` more: what one before it could take, it can take too.
            let Some((behind, mut taken)) = retry else { return false };
            if taken.next().is_none() {
                return false;
            }
            (pattern, path) = (behind, taken);
            retry = Some((behind, taken));
        }
    }
}

/// The segments of a path that are left.
#[derive(Clone, Copy)]
struct Segments<'p>(Option<&'p str>);

impl<'p> Segments<'p> {
    fn of(path: &'p str) -> Self {
        Self(path.strip_prefix('/'))
    }

    fn next(&mut self) -> Option<&'p str> {
        let left = self.0?;
        let (segment, behind) = match left.split_once('/') {
            Some((segment, behind)) => (segment, Some(behind)),
            None => (left, None),
        };
        self.0 = behind;
        Some(segment)
    }
}

/// Whether a segment's pattern matches a segment, in O(pattern × segment).
fn segment_matches(pattern: &[u8], segment: &[u8]) -> bool {
    let (mut wanted, mut at) = (0, 0);
    // Behind the last `*`, and where the segment goes on once that has taken one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(wanted), segment.get(at)) {
            (Some(b'*'), _) => {
                wanted += 1;
                retry = Some((wanted, at));
            }
            (Some(one), Some(other)) if one == other => (wanted, at) = (wanted + 1, at + 1),
            (None, None) => return true,
            (Some(_) | None, _) => {
                let Some((behind, taken)) = retry.filter(|(_, taken)| *taken < segment.len()) else {
                    return false;
                };
                (wanted, at) = (behind, taken + 1);
                retry = Some((behind, taken + 1));
            }
        }
    }
}

impl FromStr for PathPattern {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        if !text.starts_with('/') {
            return Err(PathPatternError::NotAbsolute);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PathPatternError::TooLong);
        }
        if text.split('/').any(|segment| segment.contains("**") && segment != "**") {
            return Err(PathPatternError::DoubleWildcard);
        }
        if text.replace("**", "*").matches('*').count() > MAX_WILDCARDS {
            return Err(PathPatternError::TooManyWildcards);
        }
        if normal_path(text).as_deref() != Some(text) {
            return Err(PathPatternError::NotNormal);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> PathPattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn matches() {
        const CASES: &[(&str, &[&str], &[&str])] = &[
            ("/", &["/"], &["/a", "/a/"]),
            ("/health", &["/health"], &["/", "/health/", "/healthz", "/Health", "/a/health"]),
            (
                "/v1/models/*",
                &["/v1/models/x", "/v1/models/", "/v1/models/a%2Fb"],
                &["/v1/models", "/v1/models/x/y", "/v1/x"],
            ),
            ("/v1/*/files", &["/v1/a/files"], &["/v1/files", "/v1/a/b/files", "/v1/a/files/"]),
            ("/v*", &["/v", "/v1", "/v1.2"], &["/v1/", "/x"]),
            ("/*.tar.*z", &["/a.tar.gz", "/.tar.z", "/a.tar.b.xz"], &["/a.tar.gz2", "/a/b.tar.gz"]),
            ("/v1/**", &["/v1", "/v1/", "/v1/a", "/v1/a/b/"], &["/", "/v11", "/v2/v1"]),
            ("/**", &["/", "/a", "/a/b"], &[]),
            ("/**/", &["/", "/a/", "/a/b/"], &["/a"]),
            ("/**/x", &["/x", "/a/x", "/x/x"], &["/x/", "/ax"]),
            ("/a/**/b/*/**/c", &["/a/b/x/c", "/a/q/b/x/y/c", "/a/b/b/c/c"], &["/a/b/c", "/a/x/c"]),
        ];
        for (text, matching, others) in CASES {
            let pattern = pattern(text);
            assert!(matching.iter().chain(*others).all(|path| normal_path(path).as_deref() == Some(path)));
            assert!(matching.iter().all(|path| pattern.matches(path)), "{text}");
            assert!(!others.iter().any(|path| pattern.matches(path)), "{text}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        use PathPatternError as E;
        let (long, wild) = (format!("/{}", "a".repeat(MAX_PATTERN_BYTES)), "/*".repeat(MAX_WILDCARDS + 1));
        let cases = [
            ("", E::NotAbsolute),
            ("v1/*", E::NotAbsolute),
            ("https://a.example/v1", E::NotAbsolute),
            ("/v1?x", E::NotNormal),
            ("/v1//x", E::NotNormal),
            ("/v1/../x", E::NotNormal),
            ("/%61", E::NotNormal),
            ("/a%2fb", E::NotNormal),
            ("/a b", E::NotNormal),
            ("/%", E::NotNormal),
            ("/v1**", E::DoubleWildcard),
            ("/***", E::DoubleWildcard),
            (&*long, E::TooLong),
            (&*wild, E::TooManyWildcards),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<PathPattern>(), Err(expected), "{text}");
        }
        assert!("/**/*".repeat(MAX_WILDCARDS / 2).parse::<PathPattern>().is_ok());
    }

    proptest! {
        #[test]
        fn equals_the_naive_reference(
            wanted in "(/(\\*\\*|[ab*]{0,3})){1,5}",
            path in "(/[ab]{0,3}){1,6}",
        ) {
            if let (Ok(pattern), Some(path)) = (wanted.parse::<PathPattern>(), normal_path(&path)) {
                prop_assert_eq!(pattern.matches(&path), crate::fuzzing::tried(wanted.as_bytes(), path.as_bytes()));
            }
        }
    }

    #[test]
    fn no_path_takes_long() {
        let pattern = pattern("/**/*a*a*a*a*a*a*b/**/*a*a*a*a*a*b");
        // With backtracking into every wildcard this would not end.
        let path = format!("/{}", "a".repeat(4_000)) + &"/aaaaaaaa".repeat(400);
        assert!(!pattern.matches(&path));
    }
}
