use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use net_tls::{LeafSubject, UpstreamFault};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, server};

use super::upstream::connect;
use crate::guest::{
    Context, GuestAlert, GuestStream, HTTP2, HttpVersion, InterceptError, Offer, Prefixed, StreamInfo, fail,
};
use crate::http;

/// Opens a TLS stream: upstream's handshake first, then the guest's with what upstream chose.
pub(crate) async fn intercept(
    context: &Rc<Context>,
    mut info: StreamInfo,
    guest: GuestStream,
    upstream: TcpStream,
    prefix: Bytes,
    offer: Offer,
) -> Result<(), InterceptError> {
    let address = info.flow.upstream.ip();
    let subject = info.name.clone().map_or(LeafSubject::Address(address), LeafSubject::Name);
    if let Err(error) = context.tls.may_open(&subject) {
        return Err(fail(&guest, error).await);
    }
    let connected = tokio::select! {
        connected = connect(context, &info, upstream, offer) => connected,
        () = context.stack.guest_reset(info.id) => return Ok(()),
    };
    let (upstream, proof) = match connected {
        Ok(connected) => connected,
        Err(fault) => return Err(mirror(context, &subject, fault, guest, prefix).await),
    };
    info.proof = proof;
    let chosen = upstream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let config = match context.tls.guest_config(&subject, chosen.as_deref()) {
        Ok(config) => config,
        Err(error) => return Err(fail(&guest, error).await),
    };
    let guest = accept_guest(context, config, guest, prefix).await?;
    let version = if chosen.as_deref() == Some(HTTP2) { HttpVersion::Http2 } else { HttpVersion::Http1 };
    http::bridge_tls(context, info, guest, upstream, version).await
}

/// The guest's handshake, by this leaf; `prefix` is what it has sent of it already.
pub(crate) async fn accept_guest(
    context: &Context,
    config: Arc<ServerConfig>,
    guest: GuestStream,
    prefix: Bytes,
) -> Result<server::TlsStream<Prefixed<GuestStream>>, InterceptError> {
    let accept = TlsAcceptor::from(config).accept(Prefixed::new(prefix, guest));
    match timeout(context.limits.guest_handshake_timeout, accept).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(InterceptError::HandshakeRefused(GuestAlert::of(&error))),
        Err(_elapsed) => Err(InterceptError::HandshakeTimeout),
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
) -> InterceptError {
    let error = InterceptError::UpstreamTls(fault);
    // Without a certificate there is none to mirror: an alert says what happened.
    let is_of_certificate = !matches!(fault, UpstreamFault::TimedOut | UpstreamFault::HandshakeFailed);
    let config = if is_of_certificate { context.tls.faulty_config(subject, fault).ok() } else { None };
    let Some(config) = config else { return fail(&guest, error).await };
    if let Ok(mut accepted) = accept_guest(context, config, guest, prefix).await {
        // A guest that does not verify gets an orderly end, and nothing else.
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut accepted).await;
    }
    error
}
