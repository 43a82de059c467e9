//! CONNECT (RFC 9110, section 9.3.6), in HTTP/1.1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dialogue::Step;
use super::{ProxyCredentials, ProxyError, ProxyTarget, Secret};

/// The longest head of an answer that is read.
pub(super) const MAX_REPLY_BYTES: usize = 16 << 10;

const PROXY_AUTHENTICATION_REQUIRED: u16 = 407;

/// A client's end.
pub(super) struct Connect {
    authority: String,
    credentials: Option<ProxyCredentials>,
}

impl Connect {
    pub(super) fn new(target: ProxyTarget<'_>, credentials: Option<&ProxyCredentials>) -> Self {
        Self { authority: target.to_string(), credentials: credentials.cloned() }
    }

    pub(super) fn opening(&self) -> Secret {
        let authority = &self.authority;
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        let basic = self.credentials.as_ref().map(basic).unwrap_or_default();
        // In one allocation: nothing of it is left behind.
        let mut bytes = Secret::new(Vec::with_capacity(head.len() + basic.len() + 2));
        bytes.extend(head.as_bytes());
        bytes.extend(&*basic);
        bytes.extend(b"\r\n");
        bytes
    }

    pub(super) fn handle(&self, received: &[u8]) -> Result<Step, ProxyError> {
        let mut at = 0;
        // Interim answers come before the final one (RFC 9110, section 15.2).
        loop {
            let head = received.get(at..).unwrap_or_default();
            let Some(status) = status(head)? else { break };
            let is_interim = (100..200).contains(&status);
            match status {
                100..300 => {}
                PROXY_AUTHENTICATION_REQUIRED if self.credentials.is_none() => {
                    return Err(ProxyError::CredentialsWanted);
                }
                PROXY_AUTHENTICATION_REQUIRED => return Err(ProxyError::CredentialsRefused),
                _ => return Err(ProxyError::Http(status)),
            }
            let Some(end) = end_of_head(head) else { break };
            at += end;
            if at > MAX_REPLY_BYTES {
                break;
            }
            if !is_interim {
                // A body it says to have is none (RFC 9110, section 9.3.6).
                return Ok(Step::Connected { consumed: at });
            }
        }
        if received.len() >= MAX_REPLY_BYTES { Err(ProxyError::TooLong) } else { Ok(Step::Partial) }
    }
}

/// The field that says who we are (RFC 7617), as a line.
fn basic(credentials: &ProxyCredentials) -> Secret {
    let pair = Secret::new([credentials.username(), b":", credentials.password()].concat());
    let encoded = zeroize::Zeroizing::new(STANDARD.encode(&*pair));
    Secret::new([b"Proxy-Authorization: Basic ", encoded.as_bytes(), b"\r\n"].concat())
}

/// The status an answer begins with, once its line is whole.
fn status(head: &[u8]) -> Result<Option<u16>, ProxyError> {
    const VERSION: &[u8] = b"HTTP/1.";
    let known = head.len().min(VERSION.len());
    if head[..known] != VERSION[..known] {
        return Err(ProxyError::Malformed);
    }
    let Some(line) = head.split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.ends_with(b"\n"))
    else {
        return Ok(None);
    };
    // One digit of the minor version, a space, the status, and a space or the line's end.
    match line.get(VERSION.len()..) {
        Some(&[minor, b' ', a, b, c, b' ' | b'\r' | b'\n', ..])
            if [minor, a, b, c].iter().all(u8::is_ascii_digit) =>
        {
            let status = [a, b, c].iter().fold(0, |status, digit| 10 * status + u16::from(digit - b'0'));
            if status < 100 { Err(ProxyError::Malformed) } else { Ok(Some(status)) }
        }
        Some(_) | None => Err(ProxyError::Malformed),
    }
}

/// The length of a head with the empty line it ends with, once that has come. A line may end without CR (RFC 9112,
/// section 2.2).
fn end_of_head(head: &[u8]) -> Option<usize> {
    let mut end = 0;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        if matches!(line, b"\r\n" | b"\n") {
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::credentials::credentials;
    use super::*;

    #[test]
    fn a_target_is_asked_for_as_it_is_known() {
        let name = "a.example".parse().expect("a name");
        let known = credentials("user", "pass:word").expect("credentials");
        let v6 = "[2001:db8::1]:443".parse().expect("an address");
        let cases = [
            (ProxyTarget::Name(&name, 443), None, "a.example:443", ""),
            (ProxyTarget::Address(v6), None, "[2001:db8::1]:443", ""),
            (
                ProxyTarget::Address(([9, 9, 9, 1], 80).into()),
                Some(&known),
                "9.9.9.1:80",
                "Proxy-Authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n",
            ),
        ];
        for (target, known, authority, field) in cases {
            let said = Connect::new(target, known).opening();
            let expected = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{field}\r\n");
            assert_eq!(String::from_utf8_lossy(&said), expected);
        }
    }

    #[test]
    fn every_answer_leads_somewhere_in_any_pieces() {
        use ProxyError::{Closed, CredentialsRefused, CredentialsWanted, Http, Malformed};
        let known = credentials("user", "password").expect("credentials");
        let cases: &[(bool, &[u8], Result<usize, ProxyError>)] = &[
            (false, b"HTTP/1.1 200 Connection established\r\n\r\n", Ok(0)),
            (false, b"HTTP/1.0 200 OK\r\nVia: x\r\n\r\nSSH-2.0", Ok(7)),
            (false, b"HTTP/1.1 204\r\nContent-Length: 5\r\n\r\nearly", Ok(5)),
            (false, b"HTTP/1.1 200 OK\nVia: x\n\n", Ok(0)),
            (false, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n!", Ok(1)),
            (false, b"HTTP/1.1 407 Who?\r\n", Err(CredentialsWanted)),
            (true, b"HTTP/1.1 407 Who?\r\n", Err(CredentialsRefused)),
            (false, b"HTTP/1.1 503 Service Unavailable\r\n", Err(Http(503))),
            (false, b"HTTP/1.1 302 Elsewhere\r\n", Err(Http(302))),
            (false, b"HTTP/1.1 099 No\r\n\r\n", Err(Malformed)),
            (false, b"HTTP/1.1 20 OK\r\n\r\n", Err(Malformed)),
            (false, b"HTTP/1.1 2000 OK\r\n\r\n", Err(Malformed)),
            (false, b"HTTP/2 200\r\n\r\n", Err(Malformed)),
            (false, b"\x05\0", Err(Malformed)),
            (false, b"HTTP/1.1 200 OK\r\nVia: x\r\n", Err(Closed)),
        ];
        for (is_known, answer, expected) in cases {
            let name = "a.example".parse().expect("a name");
            let connect = Connect::new(ProxyTarget::Name(&name, 443), is_known.then_some(&known));
            let mut found = Err(Closed);
            for end in 0..=answer.len() {
                match connect.handle(&answer[..end]) {
                    Ok(Step::Partial) => {}
                    Ok(Step::Say { .. }) => panic!("there is nothing more to say"),
                    Ok(Step::Connected { consumed }) => {
                        found = Ok(answer.len() - consumed);
                        break;
                    }
                    Err(error) => {
                        found = Err(error);
                        break;
                    }
                }
            }
            assert_eq!(found, *expected, "{}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn an_answer_is_bounded() {
        let name = "a.example".parse().expect("a name");
        let connect = Connect::new(ProxyTarget::Name(&name, 443), None);
        let mut endless = b"HTTP/1.1 200 OK\r\n".to_vec();
        endless.resize(MAX_REPLY_BYTES - 1, b'x');
        assert!(matches!(connect.handle(&endless), Ok(Step::Partial)));
        endless.push(b'x');
        assert!(matches!(connect.handle(&endless), Err(ProxyError::TooLong)));
        endless.extend(b"\r\n\r\n");
        assert!(matches!(connect.handle(&endless), Err(ProxyError::TooLong)));
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_REPLY_BYTES / 25 + 1);
        assert!(matches!(connect.handle(&interim), Err(ProxyError::TooLong)));
    }
}
