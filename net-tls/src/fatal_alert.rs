use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, ServerConnection,
    SupportedCipherSuite,
};

/// RFC 8446, section 6.
const FATAL: u8 = 2;

/// The record that ends a guest's session with a fatal alert, where its handshake was finished before
/// upstream's had failed.
///
/// rustls sends alerts for what a peer does wrong, and knows no word for what somebody else did. So its
/// keys are taken, for one record, and forgotten. What the connection has still to write is lost.
///
/// # Errors
/// The handshake is not complete, or the configuration is none that [`LeafCache`](crate::LeafCache) has
/// made.
pub fn fatal_alert(connection: ServerConnection, description: AlertDescription) -> Result<Vec<u8>, Error> {
    let suite = connection.negotiated_cipher_suite().ok_or(Error::HandshakeNotComplete)?;
    let (sequence, keys) = connection.dangerous_extract_secrets()?.tx;
    let (key, iv) = match keys {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => return Err(Error::EncryptError),
    };
    let mut encrypter = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
            let (fixed, explicit) = iv.as_ref().split_at_checked(fixed).ok_or(Error::EncryptError)?;
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    };
    let alert = [FATAL, u8::from(description)];
    let message = OutboundPlainMessage {
        typ: ContentType::Alert,
        // Of the record, in both versions (RFC 8446, section 5.1).
        version: ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(&alert),
    };
    Ok(encrypter.encrypt(message, sequence)?.encode())
}
