use std::io;

use net_tls::UpstreamFault;
use thiserror::Error;

/// What a proxy answered, or why it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It was not reached.
    #[error("it cannot be reached: {0}")]
    Unreached(io::ErrorKind),
    /// Its handshake failed, or its certificate proves nothing.
    #[error("no tls with it: {0}")]
    Tls(UpstreamFault),
    /// It said nothing for the time a dial may take.
    #[error("it did not answer")]
    TimedOut,
    /// It ended the connection before it had answered.
    #[error("it ended the connection without an answer")]
    Closed,
    /// Its answer is none of the protocol it is spoken to in.
    #[error("its answer is none of a proxy of its kind: check the scheme of its url")]
    Malformed,
    /// Its answer is longer than any should be.
    #[error("its answer is too long")]
    TooLong,
    /// It takes nobody without a user name and a password.
    #[error("it wants a user name and a password: set username and password of its [[proxy]]")]
    CredentialsWanted,
    /// It does not know that user name with that password.
    #[error("it refused the user name or the password: check username and password of its [[proxy]]")]
    CredentialsRefused,
    /// It is a SOCKS server, and answered so (RFC 1928, section 6).
    #[error("it answered {0}: {text}", text = socks_text(*.0))]
    Socks(u8),
    /// It is an HTTP server, and answered so.
    #[error("it answered {0}{text}", text = http_text(*.0))]
    Http(u16),
    /// There is no proxy of the name that a rule has for it.
    #[error("there is no proxy of the name that the rule has")]
    Unknown,
}

fn socks_text(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "its rules do not allow the connection",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "ttl expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "not assigned",
    }
}

fn http_text(status: u16) -> String {
    let known = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.map_or_else(String::new, |reason| format!(": {}", reason.to_ascii_lowercase()))
}
