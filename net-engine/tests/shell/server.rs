//! A server that keeps the very bytes it was sent.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Messages that arrived whole, in order, over all connections.
pub(crate) type Seen = Rc<RefCell<Vec<String>>>;

/// Answers each HTTP/1.1 message with `ok`.
pub(crate) async fn http_recorder() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    tokio::task::spawn_local({
        let seen = Rc::clone(&seen);
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(record(stream, Rc::clone(&seen)));
            }
        }
    });
    (address, seen)
}

async fn record(mut stream: TcpStream, seen: Seen) {
    let mut unread = Vec::new();
    loop {
        while let Some(length) = message_bytes(&unread) {
            let message: Vec<u8> = unread.drain(..length).collect();
            seen.borrow_mut().push(String::from_utf8_lossy(&message).into_owned());
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
        if stream.read_buf(&mut unread).await.unwrap_or(0) == 0 {
            return;
        }
    }
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
