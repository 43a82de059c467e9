//! An authority, whom it is trusted by, and handshakes in memory.

use std::sync::Arc;
use std::time::SystemTime;

use net_tls::{Authority, AuthorityParams, UpstreamTrust, parse_ca_pem};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

/// Flights each way until both ends are done, and what follows a handshake has come.
const FLIGHTS: usize = 6;

pub(crate) fn authority() -> Authority {
    Authority::generate(&AuthorityParams::default(), SystemTime::now()).expect("an authority")
}

pub(crate) fn trusting(authority: &Authority) -> UpstreamTrust {
    let mut trust = UpstreamTrust::default();
    let pem = authority.certificate_pem().as_bytes();
    assert_eq!(trust.add(parse_ca_pem(pem).expect("our own PEM")), 1);
    trust
}

/// A handshake in memory, with the tickets that follow it.
pub(crate) fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    for _ in 0..FLIGHTS {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory takes bytes");
        }
        server.read_tls(&mut bytes.as_slice()).expect("memory gives bytes");
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory takes bytes");
        }
        client.read_tls(&mut bytes.as_slice()).expect("memory gives bytes");
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}
