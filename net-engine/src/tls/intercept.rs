use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use net_tls::{LeafSubject, UpstreamFault};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, client, server};

use super::upstream::{ConnectError, connect};
use crate::guest::{
    Context, DialError, GuestAlert, GuestStream, HttpVersion, Inner, InnerProtocol, InterceptError, Offer,
    Prefixed, Proof, StreamInfo, dial_flow, fail,
};
use crate::http;

/// Opens a TLS stream: upstream's handshake first, then the guest's with what upstream chose.
pub(crate) async fn intercept(
    context: &Rc<Context>,
    mut info: StreamInfo,
    guest: GuestStream,
    upstream: TcpStream,
    prefix: Bytes,
    protocols: Vec<Vec<u8>>,
) -> Result<(), InterceptError> {
    let offer = Offer::of(&protocols);
    let has_others = offer == Offer::Nothing && !protocols.is_empty();
    let terms = |protocol| context.inner(&info.flow, info.name.as_ref(), protocol);
    // What must be HTTP is offered as nothing else.
    let may_be_other = has_others && terms(InnerProtocol::Other).inner() != Inner::Http;
    let others = if may_be_other { protocols } else { Vec::new() };
    let address = info.flow.upstream.ip();
    let subject = info.name.clone().map_or(LeafSubject::Address(address), LeafSubject::Name);
    let connected = tokio::select! {
        connected = connect_either(context, &info, upstream, offer, &others) => connected,
        () = context.stack.guest_reset(info.id) => return Ok(()),
    };
    let (upstream, proof) = match connected {
        Ok(connected) => connected,
        Err(ConnectFailed::Dial(error)) => {
            guest.abort();
            return Err(error.into());
        }
        Err(ConnectFailed::Tls(fault)) => return Err(mirror(context, &subject, fault, guest, prefix).await),
    };
    let chosen = upstream.get_ref().1.alpn_protocol();
    let upstream_version = HttpVersion::chosen(chosen);
    let (guest_version, answer) = offer.answer(chosen);
    let protocol = match (guest_version, upstream_version) {
        (HttpVersion::Http1, HttpVersion::Http1) if has_others => InnerProtocol::Other,
        (HttpVersion::Http1, HttpVersion::Http1)
            if answer.is_some() || Context::is_port_of_http(info.flow.upstream.port()) =>
        {
            InnerProtocol::Http1
        }
        (HttpVersion::Http1, HttpVersion::Http1) => InnerProtocol::Unknown,
        (HttpVersion::Http2, _) | (_, HttpVersion::Http2) => InnerProtocol::Http2,
    };
    let terms = terms(protocol);
    info.proof = proof;
    let mut config = match context.tls.guest_config(&subject, answer) {
        Ok(config) => config,
        Err(error) => return Err(fail(&guest, error).await),
    };
    if let (true, Some(other)) = (may_be_other, chosen) {
        // Not kept: a guest can think of many.
        Arc::make_mut(&mut config).alpn_protocols = vec![other.to_vec()];
    }
    let guest = accept_guest(context, config, guest, prefix).await?;
    http::bridge_tls(context, info, guest, upstream, (guest_version, upstream_version), terms).await
}

/// Why upstream cannot be had.
enum ConnectFailed {
    Dial(DialError),
    Tls(UpstreamFault),
}

/// Upstream's handshake with what the guest offers; where upstream speaks none of it, with the other
/// HTTP, which is carried over.
async fn connect_either(
    context: &Context,
    info: &StreamInfo,
    upstream: TcpStream,
    offer: Offer,
    others: &[Vec<u8>],
) -> Result<(client::TlsStream<TcpStream>, Proof), ConnectFailed> {
    let failed = match (connect(context, info, upstream, offer, others).await, offer.other()) {
        (Ok(connected), _) => return Ok(connected),
        (Err(ConnectError::NoProtocol), Some(other)) => {
            let again = dial_flow(context, &info.flow).await.map_err(ConnectFailed::Dial)?;
            match connect(context, info, again, other, &[]).await {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            }
        }
        (Err(error), _) => error,
    };
    Err(ConnectFailed::Tls(failed.fault()))
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
