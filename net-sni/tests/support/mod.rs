//! Hellos made by hand, and those of real clients.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::path::{Path, PathBuf};

/// The captures in a folder of `testdata/`, by client.
pub(crate) fn captures(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let mut captures: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder of captures")
        .map(|file| file.expect("a file").path())
        .map(|path| {
            let client = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (client, std::fs::read(&path).expect("a readable file"))
        })
        .collect();
    captures.sort();
    assert!(captures.len() >= 4);
    captures
}

pub(crate) fn capture(folder: &str, client: &str) -> Vec<u8> {
    captures(folder).into_iter().find(|(name, _)| name == client).expect("a capture").1
}

/// A run of datagrams, each behind its length in two bytes.
pub(crate) fn datagrams(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut datagrams = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (datagram, rest) = rest.split_at(u16::from_be_bytes(*length).into());
        datagrams.push(datagram);
        bytes = rest;
    }
    datagrams
}

/// A handshake message in records of at most `size` bytes.
pub(crate) fn records(message: &[u8], size: usize) -> Vec<u8> {
    message
        .chunks(size)
        .flat_map(|piece| [&[22, 3, 1][..], &length_16(piece.len()), piece].concat())
        .collect()
}

/// The handshake messages in a run of records.
pub(crate) fn message(mut records: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    while let Some(([_, _, _, high, low], rest)) = records.split_first_chunk::<5>() {
        let (body, rest) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
        message.extend_from_slice(body);
        records = rest;
    }
    message
}

/// A ClientHello with these extensions, as a handshake message.
pub(crate) fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let list: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &length_16(body.len()), body].concat())
        .collect();
    handshake(&[&bare(), &length_16(list.len())[..], &list].concat())
}

/// The body of a hello without extensions.
pub(crate) fn bare() -> Vec<u8> {
    [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 0x01, 1, 0]].concat()
}

/// A ClientHello with this body, as a handshake message.
pub(crate) fn handshake(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short hello").to_be_bytes();
    [&[1, length[1], length[2], length[3]], body].concat()
}

/// A server_name extension with these names.
pub(crate) fn server_name(names: &[&[u8]]) -> (u16, Vec<u8>) {
    let list: Vec<u8> =
        names.iter().flat_map(|name| [&[0][..], &length_16(name.len()), name].concat()).collect();
    (0, [&length_16(list.len())[..], &list].concat())
}

pub(crate) fn length_16(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("a short list").to_be_bytes()
}
