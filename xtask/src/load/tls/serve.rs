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
            Wish::Sink => read_on(&mut stream, |_| ())?,
        }
    }
    stream.conn.send_close_notify();
    stream.conn.write_tls(&mut stream.sock).map(drop)
}
