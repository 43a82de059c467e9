//! Packets as a client makes them, and as none does.

use std::vec;
use std::vec::Vec;

use super::frame::CryptoFrames;
use super::packet::Version;
use super::protection::Keys;

/// The connection ID of RFC 9001, appendix A.
pub(crate) const DESTINATION: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

/// A run of datagrams, each behind its length in two bytes; the last one may be cut short.
pub(crate) fn datagrams(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (datagram, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        bytes = rest;
        Some(datagram)
    })
}

/// An Initial packet with these frames, filled up to a datagram of 1200 bytes.
pub(crate) fn packet(number: u16, frames: &[u8]) -> Vec<u8> {
    const HEADER_BYTES: usize = 20;
    const NUMBER_AND_TAG_BYTES: usize = 18;
    let room = 1200 - HEADER_BYTES - NUMBER_AND_TAG_BYTES;
    let frames = [frames, &vec![0; room.saturating_sub(frames.len())]].concat();
    coalesced(&DESTINATION, number, &frames)
}

/// An Initial packet of version 1 with just these frames.
pub(crate) fn coalesced(destination: &[u8], number: u16, frames: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frames.len() + 18).expect("a short packet") | 0x8000_0000;
    let destination_length = u8::try_from(destination.len()).expect("a short connection id");
    let mut header = Vec::from([0xc1, 0, 0, 0, 1, destination_length]);
    header.extend_from_slice(destination);
    header.extend_from_slice(&[0, 0]);
    header.extend_from_slice(&length.to_be_bytes());
    Keys::client(Version::One, destination).seal(&header, number, frames)
}

/// Whether the frames of these packets give one byte of the stream two values.
pub(crate) fn contradict(packets: &[&[u8]]) -> bool {
    let mut stream = std::collections::HashMap::new();
    packets.iter().any(|frames| {
        let mut frames = CryptoFrames::new(frames);
        let crypto = std::iter::from_fn(|| frames.next().ok().flatten());
        let mut bytes = crypto.flat_map(|frame| (frame.offset..).zip(frame.bytes.iter().copied()));
        bytes.any(|(offset, byte)| *stream.entry(offset).or_insert(byte) != byte)
    })
}

/// A CRYPTO frame.
#[cfg(test)]
pub(crate) fn crypto(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let varint = |value: usize| (u32::try_from(value).expect("a short stream") | 0x8000_0000).to_be_bytes();
    [&[6][..], &varint(offset), &varint(bytes.len()), bytes].concat()
}
