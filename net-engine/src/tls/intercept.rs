use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use net_tls::{Alpn, AlpnOffer, AlpnQuestion, LeafSubject, UpstreamFault, fatal_alert};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, server};

use super::upstream::{Connected, connect};
use crate::guest::{
    Context, FAREWELL, GuestAlert, GuestStream, HttpVersion, InterceptError, Prefixed, StreamInfo, fail,
};
use crate::http;

type GuestTls = server::TlsStream<Prefixed<GuestStream>>;

/// Opens a TLS stream: upstream's handshake first, then the guest's with what upstream chose; or, where
/// upstream's choice of the last time is remembered, both at once.
///
/// In either case nothing the guest sends goes to upstream, nor does anything but its handshake reach the
/// guest, before upstream's certificate is verified.
pub(crate) async fn intercept(
    context: &Rc<Context>,
    mut info: StreamInfo,
    guest: GuestStream,
    upstream: TcpStream,
    prefix: Bytes,
    offer: AlpnOffer,
) -> Result<(), InterceptError> {
    let opening = Opening::new(context, &info, offer);
    let id = info.id;
    let opened = async {
        match context.tls.recall(&opening.question) {
            Some(remembered) => opening.at_once(remembered, &info, guest, upstream, prefix).await,
            None => opening.in_turn(&info, guest, upstream, prefix).await,
        }
    };
    let (guest, upstream) = tokio::select! {
        opened = opened => opened?,
        () = context.stack.guest_reset(id) => return Ok(()),
    };
    info.proof = upstream.proof;
    http::bridge_tls(context, info, guest, upstream.stream, version(upstream.chosen)).await
}

/// A stream whose handshakes are under way.
struct Opening<'c> {
    context: &'c Context,
    question: AlpnQuestion,
}

impl<'c> Opening<'c> {
    fn new(context: &'c Context, info: &StreamInfo, offer: AlpnOffer) -> Self {
        let upstream = info.flow.upstream;
        let subject = match info.name.clone() {
            Some(name) => LeafSubject::Name(name),
            None => LeafSubject::Address(upstream.ip()),
        };
        Self { context, question: AlpnQuestion { subject, port: upstream.port(), offer } }
    }

    /// Upstream's handshake, then the guest's: a fault of the one is mirrored in the other.
    async fn in_turn(
        &self,
        info: &StreamInfo,
        guest: GuestStream,
        upstream: TcpStream,
        prefix: Bytes,
    ) -> Result<(GuestTls, Connected), InterceptError> {
        let upstream = match self.connect(info, upstream).await {
            Ok(connected) => connected,
            Err(fault) => return Err(self.mirror(fault, guest, prefix).await),
        };
        let config = match self.context.tls.guest_config(&self.question.subject, upstream.chosen) {
            Ok(config) => config,
            Err(error) => return Err(fail(&guest, error).await),
        };
        let guest = accept_guest(self.context, config, guest, prefix).await?;
        Ok((guest, upstream))
    }

    /// Both handshakes, the guest's with what upstream chose the last time. Where upstream fails or chooses
    /// otherwise, the guest's ends in an alert: a certificate that tells it more is not shown any more.
    async fn at_once(
        &self,
        remembered: Alpn,
        info: &StreamInfo,
        guest: GuestStream,
        upstream: TcpStream,
        prefix: Bytes,
    ) -> Result<(GuestTls, Connected), InterceptError> {
        let config = match self.context.tls.guest_config(&self.question.subject, remembered) {
            Ok(config) => config,
            Err(error) => return Err(fail(&guest, error).await),
        };
        let accepting = accept_guest(self.context, config, guest, prefix);
        // A guest that ends its handshake ends both; for one whose upstream has failed it goes on, since
        // alerts of no meaning to the guest are all that can be said in the middle of it.
        let connecting = async { Ok(self.connect(info, upstream).await) };
        let (guest, connected) = tokio::try_join!(accepting, connecting)?;
        let error = match connected {
            Ok(upstream) if version(upstream.chosen) == version(remembered) => return Ok((guest, upstream)),
            Ok(_) => InterceptError::ProtocolChanged,
            Err(fault) => InterceptError::UpstreamTls(fault),
        };
        Err(end_opened(guest, error).await)
    }

    /// Upstream's handshake; what it chose is remembered for the next time.
    async fn connect(&self, info: &StreamInfo, upstream: TcpStream) -> Result<Connected, UpstreamFault> {
        let connected = connect(self.context, info, upstream, self.question.offer).await;
        match &connected {
            Ok(upstream) => self.context.tls.learn(&self.question, upstream.chosen),
            Err(_) => self.context.tls.forget(&self.question),
        }
        connected
    }

    /// Shows the guest a certificate with upstream's fault, so that its own verifier says what is
    /// wrong. Nothing is relayed even if it accepts it.
    async fn mirror(&self, fault: UpstreamFault, guest: GuestStream, prefix: Bytes) -> InterceptError {
        let error = InterceptError::UpstreamTls(fault);
        // Without a certificate there is none to mirror: an alert says what happened.
        let is_of_certificate = !matches!(fault, UpstreamFault::TimedOut | UpstreamFault::HandshakeFailed);
        let subject = &self.question.subject;
        let config =
            if is_of_certificate { self.context.tls.faulty_config(subject, fault).ok() } else { None };
        let Some(config) = config else { return fail(&guest, error).await };
        if let Ok(mut accepted) = accept_guest(self.context, config, guest, prefix).await {
            // A guest that does not verify gets an orderly end, and nothing else.
            let _ = accepted.shutdown().await;
        }
        error
    }
}

/// The guest's handshake, by this leaf; `prefix` is what it has sent of it already.
pub(crate) async fn accept_guest(
    context: &Context,
    config: Arc<ServerConfig>,
    guest: GuestStream,
    prefix: Bytes,
) -> Result<GuestTls, InterceptError> {
    let accept = TlsAcceptor::from(config).accept(Prefixed::new(prefix, guest));
    match timeout(context.limits.guest_handshake_timeout, accept).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(InterceptError::HandshakeRefused(GuestAlert::of(&error))),
        Err(_elapsed) => Err(InterceptError::HandshakeTimeout),
    }
}

/// Ends a stream whose handshake with the guest is over by a fatal alert, or resets it.
async fn end_opened(guest: GuestTls, error: InterceptError) -> InterceptError {
    let (mut guest, connection) = guest.into_inner();
    let record = error.alert().and_then(|alert| fatal_alert(connection, alert.into()).ok());
    let Some(record) = record else { return error };
    let farewell = async {
        guest.write_all(&record).await?;
        guest.shutdown().await?;
        // A reset for what the guest still sends would take the alert from it.
        let mut ignored = [0; 4096];
        while guest.read(&mut ignored).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(FAREWELL, farewell).await;
    error
}

/// What a stream that negotiated `alpn` speaks, if it is HTTP.
fn version(alpn: Alpn) -> HttpVersion {
    match alpn {
        Alpn::Http2 => HttpVersion::Http2,
        Alpn::Nothing | Alpn::Http1 | Alpn::Dot => HttpVersion::Http1,
    }
}
