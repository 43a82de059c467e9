//! Both ends of HTTP/2 as h2 has them, frame by frame, and what lies between them.

use h2::RecvStream;
use hyper::Request;
use hyper::body::Bytes;
use tokio::time::timeout;

use crate::server::{Identity, first_over_tls};
use crate::world::{HOST_A, PATIENCE, Setup, World};

pub(crate) fn setup(identity: &Identity, server: std::net::SocketAddr, with_secret: bool) -> Setup {
    Setup {
        allow: &["a.example"],
        redirects: vec![((HOST_A.1, 443), server), ((HOST_A.1, 80), server)],
        with_secret,
        bound_to: Some("a.example"),
        trusts: Some(identity.pem()),
        ..Setup::default()
    }
}

/// A guest that speaks HTTP/2 frame by frame.
pub(crate) async fn http2_guest(world: &World) -> h2::client::SendRequest<Bytes> {
    let stream = world.tls(HOST_A, "a.example", "h2").await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::task::spawn_local(connection);
    requests.ready().await.unwrap()
}

/// Serves one connection of HTTP/2 over TLS by `answer`, the first that offers it.
pub(crate) async fn http2_server<F>(
    identity: &Identity,
    answer: impl Fn(Request<RecvStream>, h2::server::SendResponse<Bytes>) -> F + 'static,
) -> std::net::SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor("a.example", "h2");
    tokio::task::spawn_local(async move {
        let stream = first_over_tls(&listener, &acceptor).await;
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::task::spawn_local(answer(request, respond));
        }
    });
    address
}

pub(crate) async fn data(body: &mut RecvStream) -> Option<Bytes> {
    let data = timeout(PATIENCE, body.data()).await.expect("data or an end")?.unwrap();
    let _ = body.flow_control().release_capacity(data.len());
    Some(data)
}
