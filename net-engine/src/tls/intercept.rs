use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use net_tls::{Alpn, AlpnOffer, AlpnQuestion, LeafSubject, UpstreamFault, fatal_alert};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, server};

use super::last_flight::LastFlight;
use super::upstream::{ConnectError, Connected, connect};
use crate::guest::{
    Admission, Context, DialError, FAREWELL, GuestAlert, GuestStream, HttpVersion, Inner, InnerProtocol,
    InterceptError, Prefixed, StreamInfo, dial_flow, fail,
};
use crate::http;
use crate::proxy::UpstreamStream;

type GuestTls = server::TlsStream<LastFlight<Prefixed<GuestStream>>>;

/// Opens a TLS stream: upstream's handshake first, then the guest's with what upstream chose; or, where
/// upstream's choice of the last time is remembered, both at once.
///
/// In either case nothing the guest sends goes to upstream, nor does anything but its handshake reach the
/// guest, before upstream's certificate is verified.
pub(crate) async fn intercept(
    context: &Rc<Context>,
    mut info: StreamInfo,
    guest: GuestStream,
    upstream: UpstreamStream,
    prefix: Bytes,
    protocols: Vec<Vec<u8>>,
) -> Result<(), InterceptError> {
    let opening = Opening::new(context, &info, protocols);
    let id = info.id;
    let opened = async {
        let admitted = match context.tls.admit(&opening.question.subject).await {
            Ok(admitted) => admitted,
            Err(error) => return Err(fail(&guest, error).await),
        };
        match opening.recall() {
            Some(remembered) => opening.at_once(&admitted, remembered, &info, guest, upstream, prefix).await,
            None => opening.in_turn(&admitted, &info, guest, upstream, prefix).await,
        }
    };
    let Opened { guest, told, upstream } = tokio::select! {
        opened = opened => opened?,
        () = context.stack.guest_reset(id) => return Ok(()),
    };
    let versions = (HttpVersion::of(told), HttpVersion::of(upstream.chosen));
    let terms = context.inner(&info.flow, info.name.as_ref(), opening.inside(told, versions));
    info.proof = upstream.proof;
    let dialler = dialler(Rc::clone(context), info.clone(), upstream.chosen);
    http::bridge_tls(context, info, guest, upstream.stream, versions, terms, dialler).await
}

/// Connects to an upstream of HTTP again: what it chose before is all it is offered, and it has to prove what it has
/// proved.
fn dialler(context: Rc<Context>, info: StreamInfo, chosen: Alpn) -> http::Dialler {
    let offer = match chosen {
        Alpn::Http2 => AlpnOffer::Http2,
        Alpn::Http1 => AlpnOffer::Http1,
        Alpn::Nothing | Alpn::Dot => AlpnOffer::Nothing,
    };
    // The session is for one name.
    Box::new(move |_| {
        let (context, info) = (Rc::clone(&context), info.clone());
        Box::pin(async move {
            let upstream = dial_flow(&context, info.id, &info.flow, info.name.as_ref()).await?;
            let connected = connect(&context, &info, upstream, offer, &[]).await;
            let connected = connected.map_err(|error| InterceptError::UpstreamTls(error.fault()))?;
            let is_same = HttpVersion::of(connected.chosen) == HttpVersion::of(chosen);
            if !is_same || connected.proof != info.proof {
                return Err(InterceptError::UpstreamTls(UpstreamFault::HandshakeFailed));
            }
            Ok(Box::new(connected.stream) as Box<dyn http::Duplex>)
        })
    })
}

/// A stream whose handshakes are under way.
struct Opening<'c> {
    context: &'c Context,
    question: AlpnQuestion,
    /// Whether the guest offers protocols, none of which is HTTP.
    has_others: bool,
    /// Those, where what is inside need not be HTTP: what must be is offered as nothing else.
    others: Vec<Vec<u8>>,
}

/// A stream whose handshakes are over.
struct Opened {
    guest: GuestTls,
    /// What the guest was told of the protocol inside.
    told: Alpn,
    upstream: Connected,
}

/// Why upstream cannot be had.
enum ConnectFailed {
    Dial(DialError),
    Tls(UpstreamFault),
}

impl From<ConnectError> for ConnectFailed {
    fn from(error: ConnectError) -> Self {
        Self::Tls(error.fault())
    }
}

impl<'c> Opening<'c> {
    fn new(context: &'c Context, info: &StreamInfo, protocols: Vec<Vec<u8>>) -> Self {
        let upstream = info.flow.upstream;
        let subject = match info.name.clone() {
            Some(name) => LeafSubject::Name(name),
            None => LeafSubject::Address(upstream.ip()),
        };
        let offer = AlpnOffer::of(&protocols);
        let has_others = offer == AlpnOffer::Nothing && !protocols.is_empty();
        let may_be_other = has_others
            && context.inner(&info.flow, info.name.as_ref(), InnerProtocol::Other).inner() != Inner::Http;
        let others = if may_be_other { protocols } else { Vec::new() };
        Self { context, question: AlpnQuestion { subject, port: upstream.port(), offer }, has_others, others }
    }

    /// What upstream chose the last time. Of other protocols nothing is remembered: a guest can think of
    /// many.
    fn recall(&self) -> Option<Alpn> {
        if self.others.is_empty() { self.context.tls.recall(&self.question) } else { None }
    }

    /// What is known of the protocol inside.
    fn inside(&self, told: Alpn, versions: (HttpVersion, HttpVersion)) -> InnerProtocol {
        match versions {
            (HttpVersion::Http1, HttpVersion::Http1) if self.has_others => InnerProtocol::Other,
            (HttpVersion::Http1, HttpVersion::Http1)
                if told != Alpn::Nothing || Context::is_port_of_http(self.question.port) =>
            {
                InnerProtocol::Http1
            }
            (HttpVersion::Http1, HttpVersion::Http1) => InnerProtocol::Unknown,
            (HttpVersion::Http2, _) | (_, HttpVersion::Http2) => InnerProtocol::Http2,
        }
    }

    /// Upstream's handshake, then the guest's: a fault of the one is mirrored in the other.
    async fn in_turn(
        &self,
        admitted: &Admission<'_>,
        info: &StreamInfo,
        guest: GuestStream,
        upstream: UpstreamStream,
        prefix: Bytes,
    ) -> Result<Opened, InterceptError> {
        let upstream = match self.connect(info, upstream).await {
            Ok(connected) => connected,
            Err(ConnectFailed::Dial(error)) => {
                guest.abort();
                return Err(error.into());
            }
            Err(ConnectFailed::Tls(fault)) => return Err(self.mirror(admitted, fault, guest, prefix).await),
        };
        let told = self.question.offer.answer(upstream.chosen);
        let mut config = match self.context.tls.guest_config(admitted, told) {
            Ok(config) => config,
            Err(error) => return Err(fail(&guest, error).await),
        };
        if let Some(other) = &upstream.other {
            Arc::make_mut(&mut config).alpn_protocols = vec![other.clone()];
        }
        let guest = accept_guest(self.context, config, guest, prefix).await?;
        Ok(Opened { guest, told, upstream })
    }

    /// Both handshakes, the guest's as if upstream chose what it has chosen the last time. Where it chooses
    /// the other HTTP, each side is spoken to in its own; where it fails, the guest's handshake ends in an
    /// alert: a certificate that tells it more is not shown any more.
    async fn at_once(
        &self,
        admitted: &Admission<'_>,
        remembered: Alpn,
        info: &StreamInfo,
        guest: GuestStream,
        upstream: UpstreamStream,
        prefix: Bytes,
    ) -> Result<Opened, InterceptError> {
        let told = self.question.offer.answer(remembered);
        let config = match self.context.tls.guest_config(admitted, told) {
            Ok(config) => config,
            Err(error) => return Err(fail(&guest, error).await),
        };
        let accepting = accept_guest(self.context, config, guest, prefix);
        // A guest that ends its handshake ends both; for one whose upstream has failed it goes on, since
        // alerts of no meaning to the guest are all that can be said in the middle of it.
        let connecting = async { Ok(self.connect(info, upstream).await) };
        let (guest, connected) = tokio::try_join!(accepting, connecting)?;
        let error = match connected {
            Ok(upstream) => return Ok(Opened { guest, told, upstream }),
            Err(ConnectFailed::Dial(error)) => error.into(),
            Err(ConnectFailed::Tls(fault)) => InterceptError::UpstreamTls(fault),
        };
        Err(end_opened(guest, error).await)
    }

    /// Upstream's handshake with what the guest offers; where upstream speaks none of it, with the other
    /// HTTP, which is carried over. What it chose is remembered for the next time.
    async fn connect(&self, info: &StreamInfo, upstream: UpstreamStream) -> Result<Connected, ConnectFailed> {
        let connected = self.connect_either(info, upstream).await;
        match &connected {
            Ok(upstream) if self.others.is_empty() => self.context.tls.learn(&self.question, upstream.chosen),
            Ok(_) => {}
            Err(_) => self.context.tls.forget(&self.question),
        }
        connected
    }

    async fn connect_either(
        &self,
        info: &StreamInfo,
        upstream: UpstreamStream,
    ) -> Result<Connected, ConnectFailed> {
        let (context, offer) = (self.context, self.question.offer);
        match (connect(context, info, upstream, offer, &self.others).await, offer.other()) {
            (Err(ConnectError::NoProtocol), Some(other)) => {
                let again = dial_flow(context, info.id, &info.flow, info.name.as_ref()).await;
                let again = again.map_err(ConnectFailed::Dial)?;
                Ok(connect(context, info, again, other, &[]).await?)
            }
            (connected, _) => Ok(connected?),
        }
    }

    /// Shows the guest a certificate with upstream's fault, so that its own verifier says what is
    /// wrong. Nothing is relayed even if it accepts it.
    async fn mirror(
        &self,
        admitted: &Admission<'_>,
        fault: UpstreamFault,
        guest: GuestStream,
        prefix: Bytes,
    ) -> InterceptError {
        let error = InterceptError::UpstreamTls(fault);
        // Without a certificate there is none to mirror: an alert says what happened.
        let is_of_certificate = !matches!(fault, UpstreamFault::TimedOut | UpstreamFault::HandshakeFailed);
        let config = if is_of_certificate {
            self.context.tls.faulty_config(admitted, fault, self.question.offer).ok()
        } else {
            None
        };
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
    let accept = TlsAcceptor::from(config).accept(LastFlight::new(Prefixed::new(prefix, guest)));
    match timeout(context.limits.guest_handshake_timeout, accept).await {
        Ok(Ok(mut stream)) => {
            let (below, tls) = stream.get_mut();
            below.server_is_done(tls.protocol_version());
            // What waits is no matter of the guest's reading: this is a write into its ring.
            let flushed = stream.flush().await;
            flushed.map_err(|error| InterceptError::HandshakeRefused(GuestAlert::of(&error)))?;
            Ok(stream)
        }
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
