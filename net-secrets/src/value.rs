use zeroize::Zeroizing;

/// A real secret. It has no `Debug`, no `Display` and no serialisation, and is zeroed on drop.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes; keep them no longer than needed.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether the value can stand in a header (RFC 9110, section 5.5): a control byte would end
    /// the header and begin another.
    pub(crate) fn fits_header(&self) -> bool {
        self.0.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
    }
}
