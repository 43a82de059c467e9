//! Credentials of the guest's own, towards hosts that have secrets.

use crate::compiled::Compiled;
use crate::{Binding, Destination, header};

/// What becomes of a credential that is not ours, towards the hosts of a binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForeignCredentials {
    /// It goes.
    #[default]
    Keep,
    /// It is left out, and the request goes without.
    Strip,
    /// The request is refused.
    Block,
}

/// What is to be done with one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CredentialVerdict {
    /// It is no credential, has one of our placeholders, or may go.
    Keep,
    /// Leave it out.
    Strip,
    /// Refuse the request.
    Block,
}

/// Fields that carry credentials, whatever is in them.
const NAMES: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "api-key",
    "apikey",
    "x-api-key",
    "x-apikey",
    "x-access-token",
    "x-amz-security-token",
    "x-auth-key",
    "x-auth-token",
    "x-csrf-token",
    "x-functions-key",
    "x-goog-api-key",
    "x-goog-iam-authorization-token",
    "x-session-token",
    "x-token",
    "x-vault-token",
    "dd-api-key",
    "dd-application-key",
    "job-token",
    "ocp-apim-subscription-key",
    "private-token",
];

/// What the credentials of well-known services begin with.
const BEGINNINGS: &[&str] = &[
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "npm_",
    "pypi-",
    "hf_",
    "dop_v1_",
    "SG.",
];

/// Schemes of HTTP authentication.
const SCHEMES: &[&str] = &["basic", "bearer", "digest", "negotiate", "token", "aws4-hmac-sha256", "apikey"];

pub(crate) fn judge(
    compiled: &Compiled,
    to: &Destination<'_>,
    name: &str,
    value: &[u8],
) -> CredentialVerdict {
    let covering = || compiled.bindings.iter().filter(|binding| binding.covers(to));
    let strictest = covering().map(|binding| binding.foreign_credentials).max().unwrap_or_default();
    if strictest == ForeignCredentials::Keep || !is_credential(name, value) {
        return CredentialVerdict::Keep;
    }
    let decoded = header::basic(name, value);
    let text = decoded.as_ref().map_or(value, |(_, decoded)| decoded.as_slice());
    let has = |binding: &Binding| {
        let placeholder = binding.placeholder.as_str().as_bytes();
        memchr::memmem::find(text, placeholder).is_some()
    };
    match strictest {
        _ if covering().any(has) => CredentialVerdict::Keep,
        ForeignCredentials::Keep => CredentialVerdict::Keep,
        ForeignCredentials::Strip => CredentialVerdict::Strip,
        ForeignCredentials::Block => CredentialVerdict::Block,
    }
}

/// Whether a field is what credentials are sent in, by its name or by what it looks like.
fn is_credential(name: &str, value: &[u8]) -> bool {
    let is_any_of =
        |names: &[&str], own: &[u8]| names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(own));
    let value = value.trim_ascii();
    let (first, rest) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    is_any_of(NAMES, name.as_bytes())
        || (!rest.is_empty() && is_any_of(SCHEMES, first))
        || BEGINNINGS.iter().any(|beginning| value.len() >= 20 && value.starts_with(beginning.as_bytes()))
}
