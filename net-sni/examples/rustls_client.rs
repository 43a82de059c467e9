//! A rustls client that connects to `<address>` as if to `<name>`, with records of at most
//! `[bytes]`: one of those whose hellos are kept in `testdata/`.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, name, rest @ ..] = &arguments[..] else {
        return Err("usage: rustls_client <address> <name> [bytes]".into());
    };
    let mut config =
        ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_fragment_size = rest.first().map(|bytes| bytes.parse()).transpose()?;
    let mut client = ClientConnection::new(Arc::new(config), name.clone().try_into()?)?;
    let mut socket = TcpStream::connect(address)?;
    Stream::new(&mut client, &mut socket).read_exact(&mut [0])?;
    Ok(())
}
