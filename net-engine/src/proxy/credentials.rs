use std::fmt;

use net_secrets::SecretValue;
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes with a secret in them, on their way to a proxy.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// The longest user name, and the longest password (RFC 1929, section 2).
const MAX_BYTES: usize = 255;

/// Who we are to a proxy. Shown to nobody else, and in no error.
#[derive(Clone)]
pub struct ProxyCredentials {
    username: SecretValue,
    password: SecretValue,
}

/// Why a user name and a password are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// One of them is empty, or longer than SOCKS can say.
    #[error("a user name and a password have 1 to 255 bytes each")]
    Length,
    /// The user name has a colon in it, which Basic authentication takes for its end (RFC 7617, section 2).
    #[error("a user name has no colon in it")]
    Colon,
    /// One of them has control characters in it, which Basic authentication forbids.
    #[error("a user name and a password have no control characters in them")]
    Control,
}

impl ProxyCredentials {
    /// A user name and a password.
    ///
    /// # Errors
    /// [`CredentialsError`], which says nothing of them.
    pub fn new(username: SecretValue, password: SecretValue) -> Result<Self, CredentialsError> {
        for value in [&username, &password] {
            let bytes = value.expose();
            if bytes.is_empty() || bytes.len() > MAX_BYTES {
                return Err(CredentialsError::Length);
            }
            if bytes.iter().any(u8::is_ascii_control) {
                return Err(CredentialsError::Control);
            }
        }
        if username.expose().contains(&b':') {
            return Err(CredentialsError::Colon);
        }
        Ok(Self { username, password })
    }

    pub(super) fn username(&self) -> &[u8] {
        self.username.expose()
    }

    pub(super) fn password(&self) -> &[u8] {
        self.password.expose()
    }
}

impl fmt::Debug for ProxyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyCredentials")
    }
}

#[cfg(test)]
pub(super) fn credentials(username: &str, password: &str) -> Result<ProxyCredentials, CredentialsError> {
    ProxyCredentials::new(SecretValue::new(username.into()), SecretValue::new(password.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_proxy_could_be_told_is_refused() {
        let long = "x".repeat(MAX_BYTES + 1);
        let cases = [
            ("user", "pass:word", Ok(())),
            ("", "password", Err(CredentialsError::Length)),
            ("user", "", Err(CredentialsError::Length)),
            ("user", &long, Err(CredentialsError::Length)),
            ("us:er", "password", Err(CredentialsError::Colon)),
            ("user", "pass\r\nword", Err(CredentialsError::Control)),
        ];
        for (username, password, expected) in cases {
            assert_eq!(credentials(username, password).map(drop), expected, "{username} {password}");
        }
        let shown = format!("{:?}", credentials("user", "password"));
        assert!(!shown.contains("user") && !shown.contains("password"), "{shown}");
    }
}
