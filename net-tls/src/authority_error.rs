use thiserror::Error;

/// Why there is no authority. Each says what to do where there is something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The certificate is no PEM certificate.
    #[error("the certificate is not a pem certificate")]
    Certificate,
    /// More than one certificate: which of them signs is not ours to guess.
    #[error("there are several certificates: give the authority's alone")]
    SeveralCertificates,
    /// Its subject has an attribute whose kind cannot be written into what it signs.
    #[error(
        "the certificate's subject has an attribute of an unknown kind: make an authority with a common name"
    )]
    Subject,
    /// The key is no PEM private key of a supported kind.
    #[error("the key is not a pem private key: give one of rsa, p-256, p-384, p-521 or ed25519")]
    Key,
    /// The key cannot be read without a password.
    #[error("the key is encrypted: decrypt it, as `openssl pkey` does, into a file only you can read")]
    EncryptedKey,
    /// An RSA key of less than 2048 bits, which clients refuse.
    #[error("the key is weak: make an authority with a p-256 key, or one of rsa with 2048 bits or more")]
    WeakKey,
    /// A kind of key or a curve that clients do not verify.
    #[error(
        "the certificate's kind of key is not supported: make one of rsa, p-256, p-384, p-521 or ed25519"
    )]
    UnsupportedKey,
    /// The key does not belong to the certificate.
    #[error("the key does not belong to the certificate: give the two that were made together")]
    Mismatch,
    /// The certificate may not sign others: not a CA, or without keyCertSign.
    #[error(
        "the certificate is not one of a certificate authority: it needs basicConstraints CA:TRUE and keyCertSign"
    )]
    NotAuthority,
    /// The certificate's validity is over.
    #[error("the certificate has expired: make a new authority")]
    Expired,
    /// The certificate's validity has not begun.
    #[error("the certificate is not valid yet: check the clock, or wait")]
    NotValidYet,
    /// The certificate's name constraints are broken, or of a form nobody can enforce.
    #[error("the certificate's name constraints are not understood")]
    Constraints,
    /// The life asked for begins before any time, or ends after the year 9999.
    #[error("the lifetime is out of range")]
    Lifetime,
    /// More subtrees than [`MAX_SUBTREES`](crate::MAX_SUBTREES).
    #[error("there are too many names to constrain the certificate to")]
    TooManySubtrees,
    /// The crypto provider failed.
    #[error("the key or certificate could not be made")]
    Crypto,
}
