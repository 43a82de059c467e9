use std::io;
use std::sync::Arc;

use net_tls::{Alpn, AlpnOffer, UpstreamFault};
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::last_flight::LastFlight;
use super::read_ahead::ReadAhead;
use super::upstream_tls::UpstreamTls;
use crate::guest::{Context, Event, Proof, StreamInfo};
use crate::proxy::UpstreamStream;

/// Upstream's end, once its handshake is over and its certificate verified.
pub(super) struct Connected {
    pub(super) stream: UpstreamTls,
    /// What its certificate proves.
    pub(super) proof: Proof,
    /// The protocol it chose, if it is one of HTTP.
    pub(super) chosen: Alpn,
    /// The one it chose of others.
    pub(super) other: Option<Vec<u8>>,
}

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

    fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => Self::NoProtocol,
            Some(error) => Self::Fault(UpstreamFault::from(error)),
            None => Self::Fault(UpstreamFault::HandshakeFailed),
        }
    }
}

/// Upstream's handshake, with protocols of HTTP or with these others. One that proves nothing, because it
/// need not, is an event.
pub(super) async fn connect(
    context: &Context,
    info: &StreamInfo,
    upstream: UpstreamStream,
    offer: AlpnOffer,
    others: &[Vec<u8>],
) -> Result<Connected, ConnectError> {
    let failed = ConnectError::Fault(UpstreamFault::HandshakeFailed);
    let asked = match &info.name {
        Some(name) => ServerName::try_from(name.to_string()).map_err(|_| failed)?,
        None => ServerName::from(info.flow.upstream.ip()),
    };
    let (mut config, verifies) = context.tls.upstream_config(info, offer);
    if !others.is_empty() {
        Arc::make_mut(&mut config).alpn_protocols = others.to_vec();
    }
    let connecting = TlsConnector::from(config).connect(asked, LastFlight::new(ReadAhead::new(upstream)));
    let stream = match timeout(context.limits.upstream_handshake_timeout, connecting).await {
        Ok(Ok(stream)) => UpstreamTls::new(stream),
        Ok(Err(error)) => return Err(ConnectError::of(&error)),
        Err(_elapsed) => return Err(ConnectError::Fault(UpstreamFault::TimedOut)),
    };
    let proof = if verifies {
        Proof::of_verified(info.name.as_ref())
    } else {
        context.events.push(Event::Unverified { flow: info.flow, name: info.name.clone() });
        Proof::default()
    };
    // rustls takes no protocol that was not offered.
    let negotiated = stream.alpn_protocol();
    let (chosen, other) = if others.is_empty() {
        (Alpn::of(negotiated).ok_or(failed)?, None)
    } else {
        (Alpn::Nothing, negotiated.map(<[u8]>::to_vec))
    };
    Ok(Connected { stream, proof, chosen, other })
}
