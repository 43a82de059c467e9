use std::fmt;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use thiserror::Error;
use zeroize::Zeroize as _;

/// Who we are to a server that asks: a certificate chain and its key. Clones share them.
#[derive(Clone)]
pub struct ClientIdentity(pub(crate) Arc<CertifiedKey>);

/// Why there is no [`ClientIdentity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientIdentityError {
    /// The chain is not made of PEM certificates.
    #[error("the certificate is not in pem: give the client's first, then those that lead to its issuer")]
    Certificate,
    /// The key is no PEM private key of a supported kind.
    #[error("the key is not a pem private key: give one of rsa, p-256, p-384, p-521 or ed25519")]
    Key,
    /// The key cannot be read without a password.
    #[error("the key is encrypted: decrypt it, as `openssl pkey` does, into a file only you can read")]
    EncryptedKey,
    /// The key does not belong to the first certificate.
    #[error("the key does not belong to the first certificate: give the two that were made together")]
    Mismatch,
}

impl ClientIdentity {
    /// Reads a chain, the client's certificate first, and its key, both PEM.
    ///
    /// # Errors
    /// [`ClientIdentityError`].
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, ClientIdentityError> {
        let chain =
            crate::parse_ca_pem(chain_pem.as_bytes()).map_err(|_| ClientIdentityError::Certificate)?;
        let is_encrypted = key_pem.contains("ENCRYPTED");
        let mut key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| match is_encrypted {
            true => ClientIdentityError::EncryptedKey,
            false => ClientIdentityError::Key,
        })?;
        if is_encrypted {
            return Err(ClientIdentityError::EncryptedKey);
        }
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key);
        key.zeroize();
        let identity = CertifiedKey::new(chain, signer.map_err(|_| ClientIdentityError::Key)?);
        identity.keys_match().map_err(|_| ClientIdentityError::Mismatch)?;
        Ok(Self(Arc::new(identity)))
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}
