//! The server: HTTP/1.1 over TLS, a thread for each connection.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::{io, thread};

use anyhow::Result;
use nix::sys::socket::{Backlog, listen};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::bulk::{read_on, write_on};
use super::message::Wish;
use super::wide::Wide;
use super::{PORT, config};
use crate::load::raise_descriptor_limit;

/// Waiting connections for each listener, as far as the namespace's `somaxconn` allows.
const BACKLOG: i32 = 4096;

/// What rustls may hold of what is written, so that records are sent many at a time.
const SEND_BYTES: usize = 256 << 10;

/// Serves on every address until the process is killed.
///
/// # Errors
/// When the certificate cannot be read or an address not be listened on.
pub(crate) fn serve(addresses: &[IpAddr], chain: &Path, key: &Path) -> Result<()> {
    raise_descriptor_limit();
    let acceptors = start(addresses, &config::server(chain, key)?)?;
    println!("listening");
    for acceptor in acceptors {
        // It does not end unless it panics.
        let _ = acceptor.join();
    }
    Ok(())
}

/// Listens everywhere; when this returns clients are accepted.
pub(super) fn start(
    addresses: &[IpAddr],
    config: &Arc<ServerConfig>,
) -> io::Result<Vec<thread::JoinHandle<()>>> {
    let mut acceptors = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(SocketAddr::new(*address, PORT))?;
        listen(&listener, Backlog::new(BACKLOG)?)?;
        let config = Arc::clone(config);
        acceptors.push(thread::spawn(move || {
            loop {
                // Out of descriptors, or a client that is gone already: the client's error to report.
                let Ok((socket, _)) = listener.accept() else { continue };
                let config = Arc::clone(&config);
                thread::spawn(move || serve_one(socket, config));
            }
        }));
    }
    Ok(acceptors)
}

fn serve_one(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    connection.set_buffer_limit(Some(SEND_BYTES));
    let mut stream = StreamOwned::new(connection, Wide::new(socket));
    while let Some(wish) = Wish::read(&mut stream)? {
        stream.write_all(&wish.answer())?;
        match wish {
            Wish::Short => {}
            Wish::Source => write_on(&mut stream, |_| ())?,
            Wish::Sink | Wish::ChunkedSink => read_on(&mut stream, |_| ())?,
        }
    }
    stream.conn.send_close_notify();
    stream.conn.write_tls(&mut stream.sock).map(drop)
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command, Stdio};
    use std::time::Duration;

    use rustls::pki_types::ServerName;

    use super::super::message::read_short;
    use super::*;

    #[test]
    fn a_request_is_answered_over_tls() {
        let dir = tempfile::tempdir().expect("a directory");
        let [chain, key] = ["leaf.pem", "leaf.key"].map(|name| dir.path().join(name));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.args(["-days", "2", "-subj", "/CN=tls.test", "-addext", "subjectAltName=DNS:tls.test"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&chain).stderr(Stdio::null());
        if !openssl.status().is_ok_and(|status| status.success()) {
            eprintln!("a_request_is_answered_over_tls did NOT run: there is no openssl");
            return;
        }
        // An address of its own, should this test run twice at a time.
        let [.., high, low] = process::id().to_be_bytes();
        let loopback = IpAddr::from([127, high, low, 78]);
        start(&[loopback], &config::server(&chain, &key).expect("a certificate")).expect("the port is free");
        let client = config::client_trusting(&chain, true).expect("an anchor");
        let mut resumed = Vec::new();
        for _ in 0..2 {
            let socket = TcpStream::connect(SocketAddr::new(loopback, PORT)).expect("a server");
            socket.set_read_timeout(Some(Duration::from_secs(10))).expect("an open socket");
            let name = ServerName::try_from("tls.test").expect("a name");
            let connection = rustls::ClientConnection::new(Arc::clone(&client), name).expect("a client");
            let mut stream = StreamOwned::new(connection, Wide::new(socket));
            for _ in 0..2 {
                stream.write_all(Wish::Short.request("tls.test").as_bytes()).expect("an open stream");
                read_short(&mut stream).expect("an answer");
            }
            resumed.push(stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed));
        }
        assert_eq!(resumed, [false, true]);
    }
}
