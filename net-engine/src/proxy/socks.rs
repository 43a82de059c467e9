//! SOCKS 5 (RFC 1928), with user name and password (RFC 1929).

use std::net::SocketAddr;

use super::dialogue::Step;
use super::{ProxyCredentials, ProxyError, ProxyTarget, Secret};

const VERSION: u8 = 5;
const COMMAND_CONNECT: u8 = 1;

const METHOD_NONE: u8 = 0;
const METHOD_PASSWORD: u8 = 2;
const METHOD_NOTHING_SUITS: u8 = 0xff;

/// The version of the exchange of a user name and a password.
const PASSWORD_VERSION: u8 = 1;

const TYPE_IPV4: u8 = 1;
const TYPE_NAME: u8 = 3;
const TYPE_IPV6: u8 = 4;

/// A client's end.
pub(super) struct Socks {
    request: Vec<u8>,
    credentials: Option<ProxyCredentials>,
    state: State,
}

enum State {
    /// What has been offered is still to be chosen from.
    Method,
    /// The user name and the password are still to be accepted.
    Password,
    /// The request is still to be answered.
    Reply,
}

impl Socks {
    pub(super) fn new(target: ProxyTarget<'_>, credentials: Option<&ProxyCredentials>) -> Self {
        Self { request: request(target), credentials: credentials.cloned(), state: State::Method }
    }

    pub(super) fn opening(&self) -> Secret {
        let methods: &[u8] = match self.credentials {
            None => &[VERSION, 1, METHOD_NONE],
            // One that asks nobody is not told either.
            Some(_) => &[VERSION, 2, METHOD_NONE, METHOD_PASSWORD],
        };
        methods.to_vec().into()
    }

    pub(super) fn handle(&mut self, received: &[u8]) -> Result<Step, ProxyError> {
        match self.state {
            State::Method => self.handle_method(received),
            State::Password => self.handle_password(received),
            State::Reply => handle_reply(received),
        }
    }

    fn handle_method(&mut self, received: &[u8]) -> Result<Step, ProxyError> {
        let method = match received {
            [] | [VERSION] => return Ok(Step::Partial),
            [VERSION, method, ..] => *method,
            [..] => return Err(ProxyError::Malformed),
        };
        match (method, &self.credentials) {
            (METHOD_NONE, _) => Ok(self.ask()),
            (METHOD_PASSWORD, Some(credentials)) => {
                let bytes = password(credentials);
                self.state = State::Password;
                Ok(Step::Say { consumed: 2, bytes })
            }
            (METHOD_NOTHING_SUITS | METHOD_PASSWORD, None) => Err(ProxyError::CredentialsWanted),
            (METHOD_NOTHING_SUITS, Some(_)) => Err(ProxyError::CredentialsRefused),
            // It was not offered.
            _ => Err(ProxyError::Malformed),
        }
    }

    fn handle_password(&mut self, received: &[u8]) -> Result<Step, ProxyError> {
        match received {
            // Some servers answer with the version of the protocol itself.
            [] | [PASSWORD_VERSION | VERSION] => Ok(Step::Partial),
            [PASSWORD_VERSION | VERSION, 0, ..] => Ok(self.ask()),
            [PASSWORD_VERSION | VERSION, ..] => Err(ProxyError::CredentialsRefused),
            [..] => Err(ProxyError::Malformed),
        }
    }

    fn ask(&mut self) -> Step {
        self.state = State::Reply;
        Step::Say { consumed: 2, bytes: std::mem::take(&mut self.request).into() }
    }
}

/// The answer to the request; of one that says no, its beginning is enough.
fn handle_reply(received: &[u8]) -> Result<Step, ProxyError> {
    match received {
        [] | [VERSION] => return Ok(Step::Partial),
        [VERSION, 0, ..] => {}
        [VERSION, reply, ..] => return Err(ProxyError::Socks(*reply)),
        [..] => return Err(ProxyError::Malformed),
    }
    // Version, reply, reserved, type, the address it connects from, its port.
    let address_bytes = match received.get(3..) {
        None | Some([]) => return Ok(Step::Partial),
        Some([TYPE_IPV4, ..]) => 4,
        Some([TYPE_IPV6, ..]) => 16,
        Some([TYPE_NAME]) => return Ok(Step::Partial),
        Some([TYPE_NAME, length, ..]) => 1 + usize::from(*length),
        Some([..]) => return Err(ProxyError::Malformed),
    };
    let consumed = 4 + address_bytes + 2;
    Ok(if received.len() < consumed { Step::Partial } else { Step::Connected { consumed } })
}

fn request(target: ProxyTarget<'_>) -> Vec<u8> {
    let mut request = vec![VERSION, COMMAND_CONNECT, 0];
    let port = match target {
        ProxyTarget::Name(name, port) => {
            let name = name.as_str().as_bytes();
            // A name has 253 bytes at most.
            request.extend([TYPE_NAME, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
            request.extend(name);
            port
        }
        ProxyTarget::Address(SocketAddr::V4(address)) => {
            request.push(TYPE_IPV4);
            request.extend(address.ip().octets());
            address.port()
        }
        ProxyTarget::Address(SocketAddr::V6(address)) => {
            request.push(TYPE_IPV6);
            request.extend(address.ip().octets());
            address.port()
        }
    };
    request.extend(port.to_be_bytes());
    request
}

fn password(credentials: &ProxyCredentials) -> Secret {
    // In one allocation: nothing of it is left behind.
    let mut bytes = Vec::with_capacity(3 + 2 * usize::from(u8::MAX));
    bytes.push(PASSWORD_VERSION);
    for value in [credentials.username(), credentials.password()] {
        // Each has 255 bytes at most.
        bytes.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        bytes.extend(value);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::super::credentials::credentials;
    use super::*;

    /// What is said, and where it leads, when the server answers with these bytes, all at once.
    fn talk(
        target: ProxyTarget<'_>,
        known: Option<(&str, &str)>,
        answers: &[u8],
    ) -> (Vec<Vec<u8>>, Result<usize, ProxyError>) {
        let known = known.map(|(name, password)| credentials(name, password).expect("credentials"));
        let mut socks = Socks::new(target, known.as_ref());
        let mut said = vec![socks.opening().to_vec()];
        let mut at = 0;
        loop {
            match socks.handle(&answers[at..]) {
                Ok(Step::Partial) => return (said, Err(ProxyError::Closed)),
                Ok(Step::Say { consumed, bytes }) => {
                    at += consumed;
                    said.push(bytes.to_vec());
                }
                Ok(Step::Connected { consumed }) => return (said, Ok(answers.len() - at - consumed)),
                Err(error) => return (said, Err(error)),
            }
        }
    }

    #[test]
    fn a_target_is_said_as_it_is_known() {
        let name = "a.example".parse().expect("a name");
        let cases: [(ProxyTarget<'_>, &[u8]); 3] = [
            (ProxyTarget::Name(&name, 443), b"\x05\x01\0\x03\x09a.example\x01\xbb"),
            (ProxyTarget::Address(([9, 9, 9, 1], 80).into()), b"\x05\x01\0\x01\x09\x09\x09\x01\0\x50"),
            (
                ProxyTarget::Address("[2001:db8::1]:80".parse().expect("an address")),
                b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50",
            ),
        ];
        for (target, expected) in cases {
            let (said, end) = talk(target, None, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0early");
            assert_eq!(said, [b"\x05\x01\0", expected], "{target}");
            assert_eq!(end, Ok(5), "{target}");
        }
    }

    #[test]
    fn every_answer_leads_somewhere() {
        let target = ProxyTarget::Address(([9, 9, 9, 1], 80).into());
        let known = Some(("user", "password"));
        type Case = (Option<(&'static str, &'static str)>, &'static [u8], Result<usize, ProxyError>);
        let cases: &[Case] = &[
            (known, b"\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0", Ok(0)),
            (known, b"\x05\x02\x05\0\x05\0\0\x01\0\0\0\0\0\0", Ok(0)),
            (known, b"\x05\0\x05\0\0\x03\x02ab\0\0", Ok(0)),
            (None, b"\x05\0\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", Ok(0)),
            (known, b"\x05\x02\x01\x01", Err(ProxyError::CredentialsRefused)),
            (known, b"\x05\xff", Err(ProxyError::CredentialsRefused)),
            (None, b"\x05\xff", Err(ProxyError::CredentialsWanted)),
            (None, b"\x05\x02", Err(ProxyError::CredentialsWanted)),
            (None, b"\x05\x01", Err(ProxyError::Malformed)),
            (known, b"\x05\x02\x02\0", Err(ProxyError::Malformed)),
            (None, b"HTTP/1.1 400 Bad Request\r\n\r\n", Err(ProxyError::Malformed)),
            // The rest of an answer that says no need not come.
            (None, b"\x05\0\x05\x05", Err(ProxyError::Socks(5))),
            (None, b"\x05\0\x05\0\0\x02", Err(ProxyError::Malformed)),
            (None, b"\x05\0\x04\0", Err(ProxyError::Malformed)),
        ];
        for (known, answers, expected) in cases {
            assert_eq!(talk(target, *known, answers).1, *expected, "{answers:02x?}");
        }
        let (said, _) = talk(target, known, cases[0].1);
        assert_eq!(said[..2], [&b"\x05\x02\0\x02"[..], b"\x01\x04user\x08password"]);
        // One that wants no password has none.
        let (said, _) = talk(target, known, cases[2].1);
        assert!(said.iter().all(|said| !said.windows(8).any(|window| window == b"password")));
    }
}
