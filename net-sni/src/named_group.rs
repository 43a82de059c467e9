use core::fmt;

/// A group for key exchange (RFC 8446, section 4.2.7), by its code point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamedGroup(pub u16);

/// Declares the code points once, with the names of IANA's registry.
macro_rules! groups {
    ($($constant:ident = $value:literal, $name:literal;)*) => {
        impl NamedGroup {
            $(#[doc = concat!("`", $name, "`")] pub const $constant: Self = Self($value);)*

            /// The name in IANA's registry, or the one in use for a draft; `None` for a code
            /// point this crate does not know, GREASE included.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

groups! {
    SECP256R1 = 0x0017, "secp256r1";
    SECP384R1 = 0x0018, "secp384r1";
    SECP521R1 = 0x0019, "secp521r1";
    X25519 = 0x001d, "x25519";
    X448 = 0x001e, "x448";
    FFDHE2048 = 0x0100, "ffdhe2048";
    FFDHE3072 = 0x0101, "ffdhe3072";
    FFDHE4096 = 0x0102, "ffdhe4096";
    FFDHE6144 = 0x0103, "ffdhe6144";
    FFDHE8192 = 0x0104, "ffdhe8192";
    MLKEM512 = 0x0200, "MLKEM512";
    MLKEM768 = 0x0201, "MLKEM768";
    MLKEM1024 = 0x0202, "MLKEM1024";
    SECP256R1_MLKEM768 = 0x11eb, "SecP256r1MLKEM768";
    X25519_MLKEM768 = 0x11ec, "X25519MLKEM768";
    SECP384R1_MLKEM1024 = 0x11ed, "SecP384r1MLKEM1024";
    CURVE_SM2_MLKEM768 = 0x11ee, "curveSM2MLKEM768";
    X25519_KYBER768_DRAFT00 = 0x6399, "X25519Kyber768Draft00";
    SECP256R1_KYBER768_DRAFT00 = 0x639a, "SecP256r1Kyber768Draft00";
}

impl NamedGroup {
    /// Whether recordings of the session withstand a quantum computer: ML-KEM or its draft, alone
    /// or beside a curve. A code point this crate does not know is none.
    pub const fn is_post_quantum(self) -> bool {
        matches!(self.0, 0x0200..=0x0202 | 0x11eb..=0x11ee | 0x6399 | 0x639a)
    }
}

impl fmt::Display for NamedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#06x}", self.0),
        }
    }
}

impl fmt::Debug for NamedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
