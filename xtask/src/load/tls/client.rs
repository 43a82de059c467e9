//! A client: connections whose TLS is up.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::message::{Wish, read_short};
use super::wide::Wide;
use super::{AUTHORITY, NAME, PORT, config};
use crate::load::answer::Answer;
use crate::load::names;
use crate::load::servers::{PATIENCE, Servers};

/// What rustls may hold of what is written, so that records are sent many at a time.
const SEND_BYTES: usize = 256 << 10;

/// A stream whose TLS is up.
pub(super) type Stream = StreamOwned<ClientConnection, Wide>;

/// Clients of one configuration, with the sessions they may resume.
pub(super) struct Client<'s> {
    servers: &'s Servers,
    config: Arc<ClientConfig>,
}

impl<'s> Client<'s> {
    pub(super) fn new(servers: &'s Servers, resumes: bool) -> Result<Self> {
        Ok(Self { servers, config: config::client(resumes)? })
    }

    /// A stream to the next server, by this name.
    pub(super) fn connect(&self, name: &str) -> io::Result<Stream> {
        let socket = self.servers.connect_to(PORT)?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut connection =
            ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(SEND_BYTES));
        let mut wide = Wide::new(socket);
        while connection.is_handshaking() {
            connection.complete_io(&mut wide)?;
        }
        Ok(StreamOwned::new(connection, wide))
    }

    /// A stream on which `wish` was asked for.
    pub(super) fn ask(&self, wish: Wish) -> io::Result<Stream> {
        let mut stream = self.connect(NAME)?;
        send(&mut stream, wish, NAME)?;
        Ok(stream)
    }
}

/// Asks on a stream that is up.
pub(super) fn send(stream: &mut Stream, wish: Wish, name: &str) -> io::Result<()> {
    stream.write_all(wish.request(&format!("{name}:{PORT}")).as_bytes())
}

/// The socket below, to be shut down by whoever does not move its bytes.
pub(super) fn socket(stream: &Stream) -> io::Result<TcpStream> {
    stream.sock.socket().try_clone()
}

/// Whether it was the servers' authority that signed it.
fn is_own(certificate: &[u8]) -> bool {
    certificate.windows(AUTHORITY.len()).any(|part| part == AUTHORITY.as_bytes())
}

/// Tries until a server answers: the network may still be coming up.
///
/// The name is asked for first: where it is what allows a connection, its addresses must be known by
/// it. Where nobody answers, nobody had to.
pub(in crate::load) fn reach(servers: &Servers) -> Result<Answer> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let _ = names::ask_once(servers.first()?, NAME);
        let reached = Client::new(servers, false).and_then(|client| {
            let mut stream = client.ask(Wish::Short)?;
            read_short(&mut stream)?;
            Ok(stream.conn.peer_certificates().is_some_and(|chain| chain.iter().any(|der| is_own(der))))
        });
        match reached {
            Ok(is_own) => return Ok(Answer::TlsReached { is_own }),
            Err(error) if Instant::now() > deadline => bail!("no TLS server can be reached: {error:#}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
