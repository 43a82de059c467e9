use net_tls::UpstreamFault;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client};

use super::read_ahead::ReadAhead;
use crate::guest::{Context, Offer, Proof, StreamInfo};

/// Upstream's handshake, and what its certificate proves.
pub(super) async fn connect(
    context: &Context,
    info: &StreamInfo,
    upstream: TcpStream,
    offer: Offer,
) -> Result<(client::TlsStream<ReadAhead<TcpStream>>, Proof), UpstreamFault> {
    let asked = match &info.name {
        Some(name) => ServerName::try_from(name.to_string()).map_err(|_| UpstreamFault::HandshakeFailed)?,
        None => ServerName::from(info.flow.upstream.ip()),
    };
    let connector = TlsConnector::from(context.tls.upstream_config(offer));
    let connected = timeout(
        context.limits.upstream_handshake_timeout,
        connector.connect(asked, ReadAhead::new(upstream)),
    )
    .await;
    match connected {
        Ok(Ok(stream)) if context.tls.verifies() => Ok((stream, Proof::of_verified(info.name.as_ref()))),
        Ok(Ok(stream)) => Ok((stream, Proof::default())),
        Ok(Err(error)) => Err(error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .map_or(UpstreamFault::HandshakeFailed, UpstreamFault::from)),
        Err(_elapsed) => Err(UpstreamFault::TimedOut),
    }
}
