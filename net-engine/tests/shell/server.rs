//! Servers that keep the very bytes they were sent, plain and over TLS.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use net_tls::{Authority, AuthorityParams, LeafSubject};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::world::PATIENCE;

/// Messages that arrived whole, in order, over all connections.
pub(crate) type Seen = Rc<RefCell<Vec<String>>>;

/// The pieces of the answer to a message; each arrives by itself.
pub(crate) type Reply = fn(&str) -> Vec<String>;

/// Answers each HTTP/1.1 message with `ok`.
pub(crate) async fn http_recorder() -> (SocketAddr, Seen) {
    let (listener, address, seen) = listen().await;
    tokio::task::spawn_local({
        let seen = Rc::clone(&seen);
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(record(stream, Rc::clone(&seen), say_ok));
            }
        }
    });
    (address, seen)
}

/// Who servers say they are.
pub(crate) struct Identity {
    authority: Authority,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let authority = Authority::generate(&AuthorityParams::named("the internet"), SystemTime::now());
        Self { authority: authority.unwrap() }
    }

    /// What the engine must trust to believe them.
    pub(crate) fn pem(&self) -> String {
        self.authority.certificate_pem().to_owned()
    }

    /// Accepts TLS with a certificate for `subject`, a name or an address, and the protocol `alpn`.
    pub(crate) fn acceptor(&self, subject: &str, alpn: &str) -> TlsAcceptor {
        let subject = match subject.parse() {
            Ok(address) => LeafSubject::Address(address),
            Err(_) => LeafSubject::Name(subject.parse().unwrap()),
        };
        let leaf = self.mint(&subject, SystemTime::now());
        net_tls::guest_config(leaf, vec![alpn.into()], net_tls::system_clock()).into()
    }

    /// A certificate of theirs with its key.
    pub(crate) fn mint(&self, subject: &LeafSubject, now: SystemTime) -> Arc<CertifiedKey> {
        self.authority.mint(subject, now).unwrap().certified_key().unwrap()
    }

    /// Answers each HTTP/1.1 message over TLS by `reply`.
    pub(crate) async fn recorder(&self, subject: &str, reply: Reply) -> (SocketAddr, Seen) {
        let (listener, address, seen) = listen().await;
        let acceptor = self.acceptor(subject, "http/1.1");
        tokio::task::spawn_local({
            let seen = Rc::clone(&seen);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        tokio::task::spawn_local(record(stream, Rc::clone(&seen), reply));
                    }
                }
            }
        });
        (address, seen)
    }

    /// Accepts one connection and its TLS.
    pub(crate) async fn one_connection(
        &self,
        subject: &str,
    ) -> (SocketAddr, impl Future<Output = TlsStream<TcpStream>> + use<>) {
        let (address, accepted) = one_connection().await;
        let acceptor = self.acceptor(subject, "http/1.1");
        (address, async move { acceptor.accept(accepted.await).await.unwrap() })
    }
}

/// The first connection whose TLS comes about: who offers no protocol of the acceptor's is refused.
pub(crate) async fn first_over_tls(listener: &TcpListener, acceptor: &TlsAcceptor) -> TlsStream<TcpStream> {
    loop {
        if let Ok(stream) = acceptor.accept(listener.accept().await.unwrap().0).await {
            return stream;
        }
    }
}

async fn listen() -> (TcpListener, SocketAddr, Seen) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address, Seen::default())
}

pub(crate) fn say_ok(_: &str) -> Vec<String> {
    vec!["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned()]
}

async fn record<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, seen: Seen, reply: Reply) {
    let mut unread = Vec::new();
    loop {
        while let Some(length) = message_bytes(&unread) {
            let message: Vec<u8> = unread.drain(..length).collect();
            let message = String::from_utf8_lossy(&message).into_owned();
            let pieces = reply(&message);
            seen.borrow_mut().push(message);
            for piece in pieces {
                if stream.write_all(piece.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        if stream.read_buf(&mut unread).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

/// The connection a request has arrived on.
pub(crate) async fn asked<S: AsyncRead + Unpin>(accepted: impl Future<Output = S>) -> (S, String) {
    let mut server = timeout(PATIENCE, accepted).await.expect("a connection");
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = timeout(PATIENCE, server.read_buf(&mut request)).await.expect("a request").unwrap();
        assert!(count > 0, "the connection ended at {request:?}");
    }
    (server, String::from_utf8_lossy(&request).into_owned())
}

/// The length of the first whole message, if there is one.
fn message_bytes(bytes: &[u8]) -> Option<usize> {
    let end = |needle: &[u8], from: usize| {
        bytes[from..]
            .windows(needle.len())
            .position(|window| window == needle)
            .map(|at| from + at + needle.len())
    };
    let head = end(b"\r\n\r\n", 0)?;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("transfer-encoding: chunked") {
        // Our writer's last chunk is `0`, and nothing the tests send looks like it.
        return if bytes[head..].starts_with(b"0\r\n") {
            end(b"\r\n\r\n", head)
        } else {
            end(b"\r\n0\r\n", head).and_then(|last| end(b"\r\n", last - 2).map(|_| last)).and_then(|last| {
                if bytes[last..].starts_with(b"\r\n") { Some(last + 2) } else { end(b"\r\n\r\n", last) }
            })
        };
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |value| value.parse().expect("a length"));
    (bytes.len() >= head + length).then_some(head + length)
}

/// Runs hyper's HTTP/2 on this thread.
#[derive(Clone, Copy)]
pub(crate) struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Accepts one connection.
pub(crate) async fn one_connection() -> (SocketAddr, impl Future<Output = TcpStream>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, async move { listener.accept().await.unwrap().0 })
}

/// A port that answers no more SYNs: its backlog is full, and nobody accepts. What must be kept for
/// that is returned.
pub(crate) async fn silent_port() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address, waiting, listener)
}
