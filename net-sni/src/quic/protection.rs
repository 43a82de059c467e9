use aes::Aes128;
use aes::cipher::BlockCipherEncrypt;
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;

use super::packet::{Initial, Version};

const TAG_BYTES: usize = 16;
const SAMPLE_BYTES: usize = 16;
/// The sample is taken as if the packet number had four bytes (RFC 9001, section 5.4.2).
const MAX_NUMBER_BYTES: usize = 4;

/// The client's Initial keys (RFC 9001, section 5.2): whoever sees the first packet has them.
#[derive(Clone)]
pub(crate) struct Keys {
    packet: Aes128Gcm,
    iv: [u8; 12],
    header: Aes128,
}

/// An opened packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened<'b> {
    pub(crate) number: u64,
    pub(crate) payload: &'b [u8],
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Not this client's, or damaged.
    Unauthentic,
    /// Authentic, but with reserved bits set or without a frame (RFC 9000, sections 12.4, 17.2).
    Malformed,
    /// Larger than the scratch.
    TooLarge,
}

/// What one version calls things.
struct Labels {
    salt: [u8; 20],
    key: &'static [u8],
    iv: &'static [u8],
    header: &'static [u8],
}

/// RFC 9001, section 5.2.
const ONE: Labels = Labels {
    salt: [
        0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
        0xbb, 0x7f, 0x0a,
    ],
    key: b"tls13 quic key",
    iv: b"tls13 quic iv",
    header: b"tls13 quic hp",
};

/// RFC 9369, section 3.3.
const TWO: Labels = Labels {
    salt: [
        0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9,
        0xbd, 0x2e, 0xd9,
    ],
    key: b"tls13 quicv2 key",
    iv: b"tls13 quicv2 iv",
    header: b"tls13 quicv2 hp",
};

impl Keys {
    /// From the connection ID the client made up for its first packet.
    pub(crate) fn client(version: Version, destination: &[u8]) -> Self {
        let labels = match version {
            Version::One => ONE,
            Version::Two => TWO,
        };
        let initial = Hkdf::<Sha256>::new(Some(&labels.salt), destination);
        let secret: [u8; 32] = expand_label(&initial, b"tls13 client in");
        let client = Hkdf::<Sha256>::from_prk(&secret).unwrap_or(initial);
        let key: [u8; 16] = expand_label(&client, labels.key);
        let header: [u8; 16] = expand_label(&client, labels.header);
        Self {
            packet: Aes128Gcm::new(&key.into()),
            iv: expand_label(&client, labels.iv),
            header: Aes128::new(&header.into()),
        }
    }

    /// Copies the packet to `scratch` and opens it there. `expected` is the next packet number.
    pub(crate) fn open<'b>(
        &self,
        packet: &Initial<'_>,
        expected: u64,
        scratch: &'b mut [u8],
    ) -> Result<Opened<'b>, OpenError> {
        let scratch = scratch.get_mut(..packet.bytes.len()).ok_or(OpenError::TooLarge)?;
        scratch.copy_from_slice(packet.bytes);
        let (header, number) = self.unmask(scratch, packet.number_at).ok_or(OpenError::Unauthentic)?;
        let number = number.full(expected);
        let reserved_bits = scratch.first().is_some_and(|first| first & 0x0c != 0);
        let (header, body) = scratch.split_at_mut(header);
        let (payload, tag) = body.split_last_chunk_mut::<TAG_BYTES>().ok_or(OpenError::Unauthentic)?;
        let nonce = self.nonce(number).into();
        let tag = (*tag).into();
        self.packet
            .decrypt_inout_detached(&nonce, header, (&mut *payload).into(), &tag)
            .map_err(|_| OpenError::Unauthentic)?;
        if reserved_bits || payload.is_empty() {
            return Err(OpenError::Malformed);
        }
        Ok(Opened { number, payload })
    }

    /// Removes header protection in place (RFC 9001, section 5.4): the length of the header with
    /// its packet number, and the number.
    fn unmask(&self, packet: &mut [u8], number_at: usize) -> Option<(usize, Truncated)> {
        let sample_at = number_at + MAX_NUMBER_BYTES;
        let mask = self.mask(packet.get(sample_at..)?.first_chunk()?);
        let [first_mask, number_mask @ ..] = mask;
        let first = packet.first_mut()?;
        *first ^= first_mask & 0x0f;
        let bytes = usize::from(*first & 3) + 1;
        let mut number = Truncated { bytes, value: 0 };
        for (byte, mask) in packet.get_mut(number_at..number_at + bytes)?.iter_mut().zip(number_mask) {
            *byte ^= mask;
            number.value = number.value << 8 | u64::from(*byte);
        }
        Some((number_at + bytes, number))
    }

    fn mask(&self, sample: &[u8; SAMPLE_BYTES]) -> [u8; 5] {
        let mut block = (*sample).into();
        self.header.encrypt_block(&mut block);
        let [a, b, c, d, e, ..]: [u8; SAMPLE_BYTES] = block.into();
        [a, b, c, d, e]
    }

    fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// Makes a packet of a header whose packet number has two bytes, and frames: for tests, which
    /// have no client that sends what hostile ones do.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn seal(&self, header: &[u8], number: u16, frames: &[u8]) -> std::vec::Vec<u8> {
        let mut packet = [header, &number.to_be_bytes(), frames].concat();
        let number_at = header.len();
        let (aad, payload) = packet.split_at_mut(number_at + 2);
        let nonce = self.nonce(number.into()).into();
        let tag = self.packet.encrypt_inout_detached(&nonce, aad, payload.into()).expect("a short packet");
        packet.extend_from_slice(&tag);
        let sample = packet[number_at + MAX_NUMBER_BYTES..].first_chunk().expect("a packet with a tag");
        let mask = self.mask(sample);
        packet[0] ^= mask[0] & 0x0f;
        packet[number_at] ^= mask[1];
        packet[number_at + 1] ^= mask[2];
        packet
    }
}

/// The low bytes of a packet number.
#[derive(Clone, Copy)]
struct Truncated {
    bytes: usize,
    value: u64,
}

impl Truncated {
    /// The number nearest to the expected one (RFC 9000, appendix A.3).
    fn full(self, expected: u64) -> u64 {
        let window = 1u64 << (8 * self.bytes);
        let candidate = expected & !(window - 1) | self.value;
        if candidate + window / 2 <= expected {
            candidate + window
        } else if candidate > expected + window / 2 && candidate >= window {
            candidate - window
        } else {
            candidate
        }
    }
}

/// HKDF-Expand-Label (RFC 8446, section 7.1) with an empty context.
fn expand_label<const N: usize>(secret: &Hkdf<Sha256>, label: &[u8]) -> [u8; N] {
    const MAX_INFO_BYTES: usize = 20;
    let mut info = [0; MAX_INFO_BYTES];
    let lengths = (u16::try_from(N), u8::try_from(label.len()));
    let (Ok(output), Ok(label_length)) = lengths else { return [0; N] };
    let [high, low] = output.to_be_bytes();
    info[..3].copy_from_slice(&[high, low, label_length]);
    let end = 3 + label.len();
    info[3..end].copy_from_slice(label);
    let mut okm = [0; N];
    // Fails for more than 255 hashes only: these are at most one.
    let _ = secret.expand(&info[..=end], &mut okm);
    okm
}
