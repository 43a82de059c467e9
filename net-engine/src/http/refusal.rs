use std::fmt::Write as _;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use net_core::HostName;

use super::guest_body::GuestBody;
use super::headers::words;
use crate::guest::Denial;

/// An answer of our own, in place of upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// One clause, which every guest may read.
    pub(super) error: String,
    /// Which rule and why, for a guest that may know.
    pub(super) denial: Option<Denial>,
    /// Whom the request was for.
    pub(super) host: Option<HostName>,
}

/// How a guest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In a line that names no rule.
    Terse,
    /// In a line.
    Text,
    /// As an object (RFC 8259): `error`, and where they are known `reason`, `rule`, `host`.
    Json,
}

impl Form {
    /// As a request accepts it (RFC 9110, section 12.5.1), where the guest may know.
    pub(super) fn accepted(headers: &HeaderMap, may_know: bool) -> Self {
        if !may_know {
            return Self::Terse;
        }
        let is_json = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let is_unwanted = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            let is_json = media == "application/json"
                || media.strip_prefix("application/").is_some_and(|kind| kind.ends_with("+json"));
            is_json && !is_unwanted
        };
        if words(headers, ACCEPT).any(is_json) { Self::Json } else { Self::Text }
    }
}

impl Refusal {
    /// The answer, in this form.
    pub(super) fn response(&self, form: Form) -> Response<GuestBody> {
        let (text, kind) = match form {
            Form::Terse => (format!("net-engine: {}\n", self.error), "text/plain; charset=utf-8"),
            Form::Text => (self.text(), "text/plain; charset=utf-8"),
            Form::Json => (self.json(), "application/json"),
        };
        let mut response = Response::new(GuestBody::own(text));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    fn text(&self) -> String {
        let mut text = format!("net-engine: {}", self.error);
        // Writing to a string does not fail.
        let _ = match (&self.denial, self.denial.as_ref().and_then(Denial::rule)) {
            (Some(denial), Some(_)) => write!(text, ": {denial} ({})", denial.reason()),
            (Some(denial), None) => write!(text, ": {denial}"),
            (None, _) => Ok(()),
        };
        text.push('\n');
        text
    }

    fn json(&self) -> String {
        let mut object = String::from("{\"error\":");
        push_string(&mut object, &self.error);
        let denial = self.denial.as_ref();
        let host = self.host.as_ref().map(HostName::as_str);
        for (key, value) in
            [("reason", denial.map(Denial::reason)), ("rule", denial.and_then(Denial::rule)), ("host", host)]
        {
            if let Some(value) = value {
                let _ = write!(object, ",\"{key}\":");
                push_string(&mut object, value);
            }
        }
        object.push_str("}\n");
        object
    }
}

/// Writes a JSON string (RFC 8259, section 7).
fn push_string(to: &mut String, text: &str) {
    to.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => to.extend(['\\', character]),
            '\0'..='\x1f' => {
                let _ = write!(to, "\\u{:04x}", u32::from(character));
            }
            _ => to.push(character),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_who_accepts_it_and_may_know() {
        const CASES: &[(&[&str], Form)] = &[
            (&[], Form::Text),
            (&["*/*"], Form::Text),
            (&["text/html, application/json"], Form::Json),
            (&["text/html", "Application/JSON; q=0.5"], Form::Json),
            (&["application/problem+json"], Form::Json),
            (&["application/json;q=0"], Form::Text),
            (&["application/jsonp"], Form::Text),
        ];
        for (accept, expected) in CASES {
            let mut headers = HeaderMap::new();
            for value in *accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(Form::accepted(&headers, true), *expected, "{accept:?}");
            assert_eq!(Form::accepted(&headers, false), Form::Terse, "{accept:?}");
        }
    }

    #[test]
    fn text_is_escaped_where_json_asks_for_it() {
        let mut text = String::new();
        push_string(&mut text, "a \"rule\" \\ of\n\u{1f}\u{fc}");
        assert_eq!(text, "\"a \\\"rule\\\" \\\\ of\\u000a\\u001f\u{fc}\"");
    }
}
