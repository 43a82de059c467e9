use net_tls::{Alpn, AlpnOffer, UpstreamFault};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client};

use crate::guest::{Context, Event, Proof, StreamInfo};

/// Upstream's end, once its handshake is over and its certificate verified.
pub(super) struct Connected {
    pub(super) stream: client::TlsStream<TcpStream>,
    /// What its certificate proves.
    pub(super) proof: Proof,
    /// The protocol it chose.
    pub(super) chosen: Alpn,
}

/// Upstream's handshake. One that proves nothing, because it need not, is an event.
pub(super) async fn connect(
    context: &Context,
    info: &StreamInfo,
    upstream: TcpStream,
    offer: AlpnOffer,
) -> Result<Connected, UpstreamFault> {
    let asked = match &info.name {
        Some(name) => ServerName::try_from(name.to_string()).map_err(|_| UpstreamFault::HandshakeFailed)?,
        None => ServerName::from(info.flow.upstream.ip()),
    };
    let (config, verifies) = context.tls.upstream_config(info, offer);
    let connecting = TlsConnector::from(config).connect(asked, upstream);
    let stream = match timeout(context.limits.upstream_handshake_timeout, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            return Err(error.map_or(UpstreamFault::HandshakeFailed, UpstreamFault::from));
        }
        Err(_elapsed) => return Err(UpstreamFault::TimedOut),
    };
    let proof = if verifies {
        Proof::of_verified(info.name.as_ref())
    } else {
        context.events.push(Event::Unverified { flow: info.flow, name: info.name.clone() });
        Proof::default()
    };
    // rustls takes no protocol that was not offered.
    let chosen = Alpn::of(stream.get_ref().1.alpn_protocol()).ok_or(UpstreamFault::HandshakeFailed)?;
    Ok(Connected { stream, proof, chosen })
}
