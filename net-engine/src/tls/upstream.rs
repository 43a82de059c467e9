use net_core::HostName;
use net_tls::UpstreamFault;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client};

use super::intercept::StreamInfo;
use super::offer::Offer;
use crate::shell::Context;

/// What upstream has proved by its certificate. Only [`connect`] makes one that says anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proof(Proved);

#[derive(Clone, Debug, Default)]
enum Proved {
    /// On plain streams, and where every certificate is believed.
    #[default]
    Nothing,
    Name(HostName),
    /// Without a server_name the flow's address is verified, which says nothing of names.
    Address,
}

impl Proof {
    /// Whether upstream is `name`.
    pub(super) fn is_of(&self, name: &HostName) -> bool {
        match &self.0 {
            Proved::Name(own) => own == name,
            Proved::Nothing | Proved::Address => false,
        }
    }
}

/// Upstream's handshake, and what its certificate proves.
pub(super) async fn connect(
    context: &Context,
    info: &StreamInfo,
    upstream: TcpStream,
    offer: Offer,
) -> Result<(client::TlsStream<TcpStream>, Proof), UpstreamFault> {
    let (asked, proved) = match &info.name {
        Some(name) => {
            let asked = ServerName::try_from(name.to_string()).map_err(|_| UpstreamFault::HandshakeFailed)?;
            (asked, Proved::Name(name.clone()))
        }
        None => (ServerName::from(info.flow.upstream.ip()), Proved::Address),
    };
    let connector = TlsConnector::from(context.tls.upstream_config(offer));
    let connected =
        timeout(context.limits.upstream_handshake_timeout, connector.connect(asked, upstream)).await;
    match connected {
        Ok(Ok(stream)) if context.tls.verifies() => Ok((stream, Proof(proved))),
        Ok(Ok(stream)) => Ok((stream, Proof::default())),
        Ok(Err(error)) => Err(error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .map_or(UpstreamFault::HandshakeFailed, UpstreamFault::from)),
        Err(_elapsed) => Err(UpstreamFault::TimedOut),
    }
}
