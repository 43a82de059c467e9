use std::rc::Rc;

use bytes::Bytes;
use net_core::{Flow, HostName};
use net_policy::RuleId;
use net_tls::{LeafSubject, UpstreamFault};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::InterceptError;
use crate::http;
use crate::shell::{Context, GuestStream, Hello, HttpVersion, Prefixed};

/// The protocols that are carried when upstream chooses them.
const CARRIED: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// RFC 8446, section 6.2.
const HANDSHAKE_FAILURE: u8 = 40;

/// What is known of a stream when its content is looked into.
#[derive(Clone, Debug)]
pub(crate) struct StreamInfo {
    pub(crate) flow: Flow,
    /// The server_name.
    pub(crate) name: Option<HostName>,
    /// The rule that allowed the stream; every request on it must lead to the same.
    pub(crate) rule: Option<RuleId>,
    /// Whether upstream has proved by certificate that it is `name`.
    pub(crate) is_verified: bool,
}

/// Opens a TLS stream: upstream's handshake first, then the guest's with what upstream chose.
pub(crate) async fn intercept(
    context: &Rc<Context>,
    info: StreamInfo,
    guest: GuestStream,
    upstream: TcpStream,
    prefix: Bytes,
    hello: &Hello,
) -> Result<(), InterceptError> {
    let address = info.flow.upstream.ip();
    let subject = info.name.clone().map_or(LeafSubject::Address(address), LeafSubject::Name);
    let offer: Vec<Vec<u8>> =
        hello.alpn.iter().filter(|protocol| CARRIED.contains(&protocol.as_slice())).cloned().collect();
    let upstream = match connect(context, &info, upstream, &offer).await {
        Ok(upstream) => upstream,
        Err(fault) => {
            mirror(context, &subject, fault, guest, prefix).await;
            return Err(InterceptError::UpstreamTls(fault));
        }
    };
    let chosen = upstream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let leaf = context.tls.leaf(&subject)?;
    let config = context.tls.guest_config(leaf, chosen.as_deref());
    let guest = handshake(context, config, guest, prefix).await?;
    let version = if chosen.as_deref() == Some(b"h2") { HttpVersion::Http2 } else { HttpVersion::Http1 };
    http::bridge_tls(context, info, guest, upstream, version).await
}

async fn connect(
    context: &Context,
    info: &StreamInfo,
    upstream: TcpStream,
    offer: &[Vec<u8>],
) -> Result<client::TlsStream<TcpStream>, UpstreamFault> {
    let name = match &info.name {
        Some(name) => ServerName::try_from(name.to_string()).map_err(|_| UpstreamFault::HandshakeFailed)?,
        None => ServerName::from(info.flow.upstream.ip()),
    };
    let connector = TlsConnector::from(context.tls.upstream_config(offer));
    let connected =
        timeout(context.limits.upstream_handshake_timeout, connector.connect(name, upstream)).await;
    match connected {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .map_or(UpstreamFault::HandshakeFailed, UpstreamFault::from)),
        Err(_elapsed) => Err(UpstreamFault::TimedOut),
    }
}

async fn handshake(
    context: &Context,
    config: std::sync::Arc<rustls::ServerConfig>,
    guest: GuestStream,
    prefix: Bytes,
) -> Result<server::TlsStream<Prefixed<GuestStream>>, InterceptError> {
    let accept = TlsAcceptor::from(config).accept(Prefixed::new(prefix, guest));
    match timeout(context.limits.guest_handshake_timeout, accept).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) | Err(_) => Err(InterceptError::HandshakeTimeout),
    }
}

/// Shows the guest a certificate with upstream's fault, so that its own verifier says what is
/// wrong. Nothing is relayed even if it accepts it.
async fn mirror(
    context: &Context,
    subject: &LeafSubject,
    fault: UpstreamFault,
    guest: GuestStream,
    prefix: Bytes,
) {
    // Without a certificate there is none to mirror: handshake_failure says what happened.
    let is_of_certificate = !matches!(fault, UpstreamFault::TimedOut | UpstreamFault::HandshakeFailed);
    let leaf = if is_of_certificate { context.tls.faulty_leaf(subject, fault).ok() } else { None };
    let Some(leaf) = leaf else {
        crate::shell::send_alert(&guest, HANDSHAKE_FAILURE).await;
        return;
    };
    let config = context.tls.guest_config(leaf, None);
    if let Ok(mut accepted) = handshake(context, config, guest, prefix).await {
        // A guest that does not verify gets an orderly end, and nothing else.
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut accepted).await;
    }
}
