use std::sync::Arc;

use net_tls::UpstreamFault;
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client};

use crate::guest::{Context, Offer, Proof, StreamInfo};

/// Why there is no TLS with upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectError {
    /// It speaks no protocol of those offered (RFC 7301, section 3.2).
    NoProtocol,
    Fault(UpstreamFault),
}

impl ConnectError {
    pub(super) fn fault(self) -> UpstreamFault {
        match self {
            Self::NoProtocol => UpstreamFault::HandshakeFailed,
            Self::Fault(fault) => fault,
        }
    }

    fn of(error: &std::io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => Self::NoProtocol,
            Some(error) => Self::Fault(UpstreamFault::from(error)),
            None => Self::Fault(UpstreamFault::HandshakeFailed),
        }
    }
}

/// Upstream's handshake, and what its certificate proves: with protocols of HTTP, or with these others.
pub(super) async fn connect(
    context: &Context,
    info: &StreamInfo,
    upstream: TcpStream,
    offer: Offer,
    others: &[Vec<u8>],
) -> Result<(client::TlsStream<TcpStream>, Proof), ConnectError> {
    let asked = match &info.name {
        Some(name) => ServerName::try_from(name.to_string())
            .map_err(|_| ConnectError::Fault(UpstreamFault::HandshakeFailed))?,
        None => ServerName::from(info.flow.upstream.ip()),
    };
    let mut config = context.tls.upstream_config(offer);
    if !others.is_empty() {
        Arc::make_mut(&mut config).alpn_protocols = others.to_vec();
    }
    let connector = TlsConnector::from(config);
    let connected =
        timeout(context.limits.upstream_handshake_timeout, connector.connect(asked, upstream)).await;
    match connected {
        Ok(Ok(stream)) if context.tls.verifies() => Ok((stream, Proof::of_verified(info.name.as_ref()))),
        Ok(Ok(stream)) => Ok((stream, Proof::default())),
        Ok(Err(error)) => Err(ConnectError::of(&error)),
        Err(_elapsed) => Err(ConnectError::Fault(UpstreamFault::TimedOut)),
    }
}
