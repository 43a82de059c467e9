use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use net_tls::UpstreamFault;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::dialogue::{Dialogue, Step};
use super::{Proxy, ProxyError, ProxyTarget, UpstreamStream};

/// What is read at once of what a proxy says.
const READ_BYTES: usize = 4 << 10;

/// Connects to `address`, with the options every connection to upstream has.
///
/// # Errors
/// Those of the system; `TimedOut` after `timeout`.
pub(crate) async fn connect_tcp(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A peer that vanished without a word is noticed by the kernel, not by the idle timeout alone.
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    match tokio::time::timeout(timeout, socket.connect(address)).await {
        Ok(connected) => connected,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

impl Proxy {
    /// Has the proxy connect to `target`, within `patience` or its own timeout, whichever ends first.
    ///
    /// # Errors
    /// [`ProxyError`].
    pub(crate) async fn connect(
        &self,
        target: ProxyTarget<'_>,
        patience: Duration,
    ) -> Result<UpstreamStream, ProxyError> {
        let patience = self.connect_timeout.map_or(patience, |own| own.min(patience));
        let deadline = Instant::now() + patience;
        let stream = self.reach(deadline).await?;
        let asked = timeout_at(deadline, self.ask(stream, target)).await;
        asked.unwrap_or(Err(ProxyError::TimedOut))
    }

    /// A connection to the first of its addresses that answers; each has its share of the time.
    async fn reach(&self, deadline: Instant) -> Result<TcpStream, ProxyError> {
        let mut error = ProxyError::Unreached(io::ErrorKind::AddrNotAvailable);
        for (place, address) in self.addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let untried = u32::try_from(self.addresses.len() - place).unwrap_or(u32::MAX);
            match connect_tcp(*address, left / untried).await {
                Ok(stream) => return Ok(stream),
                Err(failed) => error = ProxyError::Unreached(failed.kind()),
            }
        }
        Err(error)
    }

    async fn ask(&self, stream: TcpStream, target: ProxyTarget<'_>) -> Result<UpstreamStream, ProxyError> {
        let dialogue = Dialogue::new(self.url.scheme(), target, self.credentials.as_ref());
        let Some(config) = &self.tls else {
            let mut stream = stream;
            let early = converse(&mut stream, dialogue).await?;
            return Ok(UpstreamStream::plain(stream, early));
        };
        let failed = ProxyError::Tls(UpstreamFault::HandshakeFailed);
        let name = self.server_name().ok_or(failed)?;
        let connected = TlsConnector::from(config.clone()).connect(name, stream).await;
        let mut stream = connected.map_err(|error| {
            let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            rustls.map_or(failed, |error| ProxyError::Tls(UpstreamFault::from(error)))
        })?;
        let early = converse(&mut stream, dialogue).await?;
        Ok(UpstreamStream::tls(stream, early))
    }
}

/// Says to a proxy what there is to say; what has come behind its answer is upstream's.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mut dialogue: Dialogue,
) -> Result<Bytes, ProxyError> {
    let mut to_say = Some(dialogue.opening());
    let mut received = BytesMut::with_capacity(READ_BYTES);
    loop {
        if let Some(bytes) = to_say.take() {
            // One that has gone has perhaps said why.
            let said = async {
                stream.write_all(&bytes).await?;
                stream.flush().await
            };
            if said.await.is_err() && received.is_empty() {
                return Err(ProxyError::Closed);
            }
        }
        match dialogue.handle(&received)? {
            Step::Partial => match stream.read_buf(&mut received).await {
                Ok(0) | Err(_) => return Err(ProxyError::Closed),
                Ok(_) => {}
            },
            Step::Say { consumed, bytes } => {
                received.advance(consumed);
                to_say = Some(bytes);
            }
            Step::Connected { consumed } => {
                received.advance(consumed);
                return Ok(received.freeze());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    async fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let at = listener.local_addr().expect("its address");
        (listener, at)
    }

    fn proxy(scheme: &str, addresses: Vec<SocketAddr>) -> Proxy {
        let url = format!("{scheme}://proxy.example:3128").parse().expect("a url");
        Proxy::new(url, addresses)
    }

    const TARGET: ([u8; 4], u16) = ([9, 9, 9, 1], 443);

    #[tokio::test]
    async fn a_proxy_that_is_silent_is_given_up() {
        let (_listener, at) = listening().await;
        let proxy = proxy("http", vec![at]).with_connect_timeout(Duration::from_millis(100));
        let ended = proxy.connect(ProxyTarget::Address(TARGET.into()), Duration::from_secs(60)).await;
        assert_eq!(ended.map(drop), Err(ProxyError::TimedOut));
    }

    #[tokio::test]
    async fn the_next_address_is_tried_and_what_came_early_is_upstream_s() {
        let (gone, nobody) = listening().await;
        drop(gone);
        let (listener, at) = listening().await;
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.read_exact(&mut [0; 3]).await.expect("an opening");
            stream.write_all(b"\x05\0").await.expect("room");
            stream.read_exact(&mut [0; 10]).await.expect("a request");
            stream.write_all(b"\x05\0\0\x01\0\0\0\0\0\0SSH-2.0").await.expect("room");
            stream
        });
        let proxy = proxy("socks5", vec![nobody, at]);
        let target = ProxyTarget::Address(TARGET.into());
        let mut upstream = proxy.connect(target, Duration::from_secs(10)).await.expect("a connection");
        upstream.spoke().await;
        let mut early = [0; 7];
        upstream.read_exact(&mut early).await.expect("what came early");
        assert_eq!(&early, b"SSH-2.0");
        drop(serving.await.expect("a server"));
        let mut refused = proxy;
        refused.addresses = vec![nobody];
        let ended = refused.connect(target, Duration::from_secs(10)).await;
        assert_eq!(ended.map(drop), Err(ProxyError::Unreached(io::ErrorKind::ConnectionRefused)));
    }
}
