use std::str::FromStr;

use thiserror::Error;

/// Some media types of bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyTypes {
    /// None.
    None,
    /// JSON, forms, XML and text: where clients put credentials.
    Usual,
    /// These.
    Named(Vec<MediaPattern>),
    /// Every one, and content without a type.
    DangerousAny,
}

/// `type/subtype`, `type/*` or `*/*`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPattern(String);

/// Why text is no media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a media type is written as in `application/json` or `text/*`")]
pub struct MediaPatternError;

/// How content is written, as far as that says what would break it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Json,
    Form,
    Xml,
    Multipart {
        /// Without the hyphens before it.
        boundary: Vec<u8>,
    },
    Text,
    Binary,
}

impl FromStr for MediaPattern {
    type Err = MediaPatternError;

    fn from_str(text: &str) -> Result<Self, MediaPatternError> {
        let is_token = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
        };
        match text.split_once('/') {
            Some(("*", "*")) => Ok(Self(text.to_owned())),
            Some((kind, subtype)) if is_token(kind) && (subtype == "*" || is_token(subtype)) => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            _ => Err(MediaPatternError),
        }
    }
}

impl MediaPattern {
    /// Whether it covers a type, which is in lower case and has no parameters.
    fn matches(&self, media_type: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some("*/") => true,
            Some(kind) => media_type.starts_with(kind),
            None => self.0 == media_type,
        }
    }
}

impl BodyTypes {
    pub(crate) fn contain(&self, media_type: &str) -> bool {
        match self {
            Self::None => false,
            Self::Usual => !matches!(BodyKind::of_type(media_type, &[]), BodyKind::Binary),
            Self::Named(patterns) => patterns.iter().any(|pattern| pattern.matches(media_type)),
            Self::DangerousAny => true,
        }
    }
}

impl BodyKind {
    /// What a Content-Type says (RFC 9110, section 8.3): the type without parameters in lower case, and
    /// how content of it is written.
    pub(crate) fn parse(content_type: Option<&[u8]>) -> (String, Self) {
        let text = content_type.map(String::from_utf8_lossy).unwrap_or_default();
        let (media_type, parameters) = text.split_once(';').unwrap_or((&text, ""));
        let media_type = media_type.trim().to_ascii_lowercase();
        let boundary = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').as_bytes())
        });
        let kind = Self::of_type(&media_type, boundary.unwrap_or_default());
        (media_type, kind)
    }

    fn of_type(media_type: &str, boundary: &[u8]) -> Self {
        let Some((kind, subtype)) = media_type.split_once('/') else { return Self::Binary };
        let is_suffixed = |suffix| subtype.rsplit_once('+').is_some_and(|(_, own)| own == suffix);
        match (kind, subtype) {
            (_, "json" | "x-ndjson" | "json-seq" | "jsonl") => Self::Json,
            _ if is_suffixed("json") => Self::Json,
            ("application", "x-www-form-urlencoded") => Self::Form,
            (_, "xml" | "html" | "xhtml") => Self::Xml,
            _ if is_suffixed("xml") => Self::Xml,
            ("multipart", _) => Self::Multipart { boundary: boundary.to_vec() },
            ("text", _) | ("application", "graphql" | "javascript" | "yaml" | "toml" | "sql") => Self::Text,
            _ => Self::Binary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let multipart = |boundary: &[u8]| BodyKind::Multipart { boundary: boundary.to_vec() };
        let cases: &[(&str, &str, BodyKind)] = &[
            ("application/json", "application/json", BodyKind::Json),
            ("Application/Problem+JSON; charset=utf-8", "application/problem+json", BodyKind::Json),
            ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded", BodyKind::Form),
            ("text/xml", "text/xml", BodyKind::Xml),
            ("text/plain;charset=utf-8", "text/plain", BodyKind::Text),
            ("multipart/form-data; boundary=\"a b\"", "multipart/form-data", multipart(b"a b")),
            ("multipart/form-data; x=1; Boundary=--ab", "multipart/form-data", multipart(b"--ab")),
            ("application/octet-stream", "application/octet-stream", BodyKind::Binary),
            ("nothing", "nothing", BodyKind::Binary),
        ];
        for (text, media_type, kind) in cases {
            assert_eq!(
                BodyKind::parse(Some(text.as_bytes())),
                ((*media_type).to_owned(), kind.clone()),
                "{text}"
            );
        }
        assert_eq!(BodyKind::parse(None).1, BodyKind::Binary);
    }

    #[test]
    fn patterns() {
        const CASES: &[(&str, &str, bool)] = &[
            ("application/json", "application/json", true),
            ("Application/JSON", "application/json", true),
            ("application/json", "application/json5", false),
            ("text/*", "text/csv", true),
            ("text/*", "textual/csv", false),
            ("*/*", "a/b", true),
        ];
        for (pattern, media_type, expected) in CASES {
            let pattern: MediaPattern = pattern.parse().expect(pattern);
            assert_eq!(BodyTypes::Named(vec![pattern]).contain(media_type), *expected, "{media_type}");
        }
        for text in ["json", "*/json", "a/b; c", "/", "a/", ""] {
            assert_eq!(text.parse::<MediaPattern>(), Err(MediaPatternError), "{text}");
        }
        assert!(BodyTypes::Usual.contain("application/json") && !BodyTypes::Usual.contain("image/png"));
        assert!(!BodyTypes::None.contain("application/json") && BodyTypes::DangerousAny.contain(""));
    }
}
