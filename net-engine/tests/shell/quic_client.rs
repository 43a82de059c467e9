//! The first datagrams of a QUIC client, by rustls: its hello, its keys, its header protection.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, Keys, Version};
use rustls::{ClientConfig, RootCertStore, Side};

const DATAGRAM_BYTES: usize = 1200;
/// First byte, version, lengths of two IDs and of the token, length, packet number.
const HEADER_BYTES: usize = 1 + 4 + 1 + 1 + 1 + 2 + 4;
const TAG_BYTES: usize = 16;

/// The ClientHello for `name`, with transport parameters.
pub(crate) fn hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client =
        ClientConnection::new(Arc::new(config), Version::V1, name, vec![1, 1, 0]).expect("a client");
    let mut hello = Vec::new();
    assert!(client.write_hs(&mut hello).is_none());
    hello
}

/// The datagrams of a client that begins a connection: the hello for `name` in two of them.
pub(crate) fn flight(id: &[u8; 8], name: &str) -> [Vec<u8>; 2] {
    let hello = hello(name);
    let (first, second) = hello.split_at(hello.len() / 2);
    [initial(id, 0, 0, first), initial(id, 1, first.len(), second)]
}

/// An Initial packet that fills a datagram, with a piece of the CRYPTO stream.
pub(crate) fn initial(id: &[u8; 8], number: u32, offset: usize, piece: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().and_then(rustls::Tls13CipherSuite::quic_suite);
    let keys = Keys::initial(
        Version::V1,
        suite.expect("a suite").suite,
        suite.expect("a suite").quic,
        id,
        Side::Client,
    );
    let varint = |value: usize| (u32::try_from(value).expect("a short stream") | 0x8000_0000).to_be_bytes();
    let mut payload = [&[6][..], &varint(offset), &varint(piece.len()), piece].concat();
    let room = DATAGRAM_BYTES - HEADER_BYTES - id.len() - TAG_BYTES;
    assert!(payload.len() <= room, "{} bytes are too many for one datagram", payload.len());
    payload.resize(room, 0);
    let length = u16::try_from(4 + room + TAG_BYTES).expect("a short packet") | 0x4000;
    let mut header = vec![0xc3, 0, 0, 0, 1, 8];
    header.extend_from_slice(id);
    header.extend_from_slice(&[0, 0]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&number.to_be_bytes());
    let tag = keys.local.packet.encrypt_in_place(number.into(), &header, &mut payload).expect("a packet");
    payload.extend_from_slice(tag.as_ref());
    let number_at = header.len() - 4;
    let (start, number_bytes) = header.split_at_mut(number_at);
    keys.local.header.encrypt_in_place(&payload[..16], &mut start[0], number_bytes).expect("a sample");
    [header, payload].concat()
}
