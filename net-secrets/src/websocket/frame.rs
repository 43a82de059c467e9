use thiserror::Error;

/// Why bytes are no frame that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A reserved bit, as for an extension; none is negotiated.
    #[error("a frame uses an extension")]
    Extension,
    /// An opcode without a meaning.
    #[error("a frame has an unknown opcode")]
    Opcode,
    /// A frame of a client without a mask, or one of a server with one.
    #[error("a frame is masked where it must not be, or not where it must")]
    Mask,
    /// A control frame of more than 125 bytes, or a fragment of one.
    #[error("a control frame is too long or fragmented")]
    Control,
    /// A fragment of nothing, or a message within another.
    #[error("fragments of messages do not follow each other")]
    Fragment,
    /// A length of 2^63 bytes or more.
    #[error("a frame is too long")]
    Length,
}

/// A longest header: two bytes, a length of eight, a mask of four.
pub(super) const MAX_HEADER_BYTES: usize = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Control(u8),
}

/// What stands before a payload (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) is_last: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) payload_bytes: u64,
}

impl Header {
    /// The header at the beginning of `bytes` and its length; `None` when it goes on behind them.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::Extension);
        }
        let is_last = first & 0x80 != 0;
        let short = second & 0x7f;
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8..=10 if !is_last || short > 125 => return Err(FrameError::Control),
            control @ 8..=10 => Opcode::Control(control),
            _ => return Err(FrameError::Opcode),
        };
        let (payload_bytes, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        if payload_bytes >> 63 != 0 {
            return Err(FrameError::Length);
        }
        let (mask, rest) = match rest.split_first_chunk() {
            _ if second & 0x80 == 0 => (None, rest),
            Some((mask, rest)) => (Some(*mask), rest),
            None => return Ok(None),
        };
        Ok(Some((Self { is_last, opcode, mask, payload_bytes }, bytes.len() - rest.len())))
    }

    /// Writes a frame to the end of `out`.
    pub(super) fn write(
        is_last: bool,
        opcode: Opcode,
        mask: Option<[u8; 4]>,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) {
        out.reserve(MAX_HEADER_BYTES + payload.len());
        let code = match opcode {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Control(code) => code,
        };
        out.push(u8::from(is_last) << 7 | code);
        let masked = u8::from(mask.is_some()) << 7;
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(length @ 0..126), _) => out.push(masked | length),
            (_, Ok(length)) => {
                out.push(masked | 126);
                out.extend(length.to_be_bytes());
            }
            (_, Err(_)) => {
                out.push(masked | 127);
                out.extend((payload.len() as u64).to_be_bytes());
            }
        }
        let start = out.len() + mask.map_or(0, |mask| mask.len());
        out.extend(mask.iter().flatten());
        out.extend_from_slice(payload);
        if let Some(mask) = mask {
            apply_mask(mask, 0, &mut out[start..]);
        }
    }
}

/// Masks, or unmasks, what begins `offset` bytes into a payload (section 5.3).
pub(super) fn apply_mask(mask: [u8; 4], offset: u64, bytes: &mut [u8]) {
    let mut mask = mask;
    mask.rotate_left((offset % 4) as usize);
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}
