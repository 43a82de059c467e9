//! How a stream is carried that HTTP is, or may be, on.

use std::rc::Rc;

use bytes::Bytes;
use net_core::Flow;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::guarded::Guarded;
use super::opening::Opening;
use super::sender::Sender;
use super::serve::{Served, serve};
use super::sides::Sides;
use super::tunnel::{Duplex, carry_while_guest, pass_on_end};
use super::upstream::{Dialler, Upstream};
use crate::core::FlowId;
use crate::guest::{
    Context, Denial, GuestStream, HttpVersion, Inner, InnerTerms, InterceptError, LeakPlace, Prefixed,
    StreamInfo, dial_flow,
};
use crate::proxy::UpstreamStream;

/// Carries a stream whose TLS was opened on both sides: by `versions` HTTP of the guest and of upstream,
/// unless `terms` let it be something else. `dialler` connects to the same upstream again.
pub(crate) async fn bridge_tls<G, U>(
    context: &Rc<Context>,
    info: StreamInfo,
    guest: G,
    upstream: U,
    versions: (HttpVersion, HttpVersion),
    terms: InnerTerms,
    dialler: Dialler,
) -> Result<(), InterceptError>
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    match terms.inner() {
        Inner::Unread => {
            context.note_unread(info.id);
            carry_until_reset(context, info.id, guest, upstream).await;
            Ok(())
        }
        Inner::Http => {
            let (guest_version, upstream_version) = versions;
            let upstream = Sender::handshake(upstream, upstream_version, context).await?;
            let (id, sides) = (info.id, Sides::tls(guest_version, upstream_version));
            let exchange = Exchange::new(Rc::clone(context), info, sides);
            match serve(
                context,
                guest,
                Upstream::connected(upstream, Some(dialler)),
                exchange,
                context.stack.guest_reset(id),
            )
            .await
            {
                Served::Http => Ok(()),
                Served::Junk => Err(InterceptError::NotHttp),
            }
        }
        Inner::Either => bridge_either(context, info, guest, upstream, terms, dialler).await,
    }
}

/// Carries what is inside of TLS as what its first bytes show it to be: HTTP, or bytes that no placeholder
/// is in.
async fn bridge_either<G, U>(
    context: &Rc<Context>,
    info: StreamInfo,
    mut guest: G,
    mut upstream: U,
    terms: InnerTerms,
    dialler: Dialler,
) -> Result<(), InterceptError>
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let opening = tokio::select! {
        opening = Opening::read(&mut guest, &mut upstream, &context.limits) => opening?,
        () = context.stack.guest_reset(info.id) => return Ok(()),
    };
    let guest = Prefixed::new(opening.guest, guest);
    let upstream = Prefixed::new(opening.upstream, upstream);
    if let Some(version) = opening.version {
        let upstream = Sender::handshake(upstream, version, context).await?;
        // What began as HTTP and is none was answered by hyper, and ends.
        let id = info.id;
        let exchange = Exchange::new(Rc::clone(context), info, Sides::tls(version, version));
        let upstream = Upstream::connected(upstream, Some(dialler));
        serve(context, guest, upstream, exchange, context.stack.guest_reset(id)).await;
        return Ok(());
    }
    context.note_opaque(info.id, terms);
    let secrets = context.secrets();
    if secrets.is_empty() {
        carry_until_reset(context, info.id, guest, upstream).await;
        return Ok(());
    }
    let mut guest = Guarded::new(guest, secrets.detector_towards(&info.destination(info.name.as_ref())));
    carry_until_reset(context, info.id, &mut guest, upstream).await;
    match guest.violation() {
        None => Ok(()),
        Some(violation) => {
            context.report_violation(&info.flow, info.name, LeakPlace::Stream, violation);
            Err(InterceptError::Violation)
        }
    }
}

/// Moves bytes until both halves are closed or the guest is gone, and passes on how upstream ended: a stream that
/// breaks off there must not end as if it were whole (RFC 8446, section 6.1).
async fn carry_until_reset<G, U>(context: &Context, id: FlowId, mut guest: G, mut upstream: U)
where
    G: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(carried) = carry_while_guest(context, id, &mut guest, &mut upstream).await {
        pass_on_end(&context.stack, id, &mut guest, carried, &context.limits).await;
    }
}

/// Tells a guest by HTTP why its stream of TLS is denied: nothing was dialled for it. A guest that asks nothing
/// is waited for as for a first flight.
pub(crate) async fn deny_tls<G>(
    context: &Rc<Context>,
    info: StreamInfo,
    guest: G,
    version: HttpVersion,
    denial: Denial,
) where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (id, sides) = (info.id, Sides::tls(version, version));
    let exchange = Exchange::denied(Rc::clone(context), info, sides, denial);
    let told = serve(context, guest, Upstream::nowhere(), exchange, context.stack.guest_reset(id));
    let _ = timeout(context.limits.hello_timeout, told).await;
}

/// Carries a plain stream that begins with an HTTP request. `upstream` is dialled when the first
/// request is admitted, where the flow's address alone did not tell that it may be.
pub(crate) async fn bridge_plain(
    context: &Rc<Context>,
    info: StreamInfo,
    guest: GuestStream,
    upstream: Option<UpstreamStream>,
    prefix: Bytes,
    version: HttpVersion,
) -> Result<(), InterceptError> {
    let dialler = plain_dialler(context, info.id, info.flow);
    let upstream = match upstream {
        Some(upstream) => {
            Upstream::connected(Sender::handshake(upstream, version, context).await?, Some(dialler))
        }
        None => Upstream::unconnected(dialler),
    };
    let id = info.id;
    let exchange = Exchange::new(Rc::clone(context), info, Sides::plain(version));
    serve(context, Prefixed::new(prefix, guest), upstream, exchange, context.stack.guest_reset(id)).await;
    Ok(())
}

fn plain_dialler(context: &Rc<Context>, id: FlowId, flow: Flow) -> Dialler {
    let context = Rc::clone(context);
    Box::new(move |shown| {
        let (context, shown) = (Rc::clone(&context), shown.cloned());
        Box::pin(async move {
            let stream = dial_flow(&context, id, &flow, shown.as_ref()).await?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    })
}

/// Carries a plain stream that is neither TLS nor HTTP beside secrets: no placeholder passes.
pub(crate) async fn bridge_opaque(
    context: &Context,
    (id, flow): (FlowId, &Flow),
    guest: GuestStream,
    mut upstream: UpstreamStream,
    prefix: Bytes,
) -> Result<(), InterceptError> {
    let mut guest = Guarded::new(Prefixed::new(prefix, guest), context.secrets().detector());
    let carried = carry_while_guest(context, id, &mut guest, &mut upstream).await;
    if carried.is_none_or(|carried| carried.is_err()) {
        // An error on either side resets both.
        upstream.reset_on_drop();
    }
    let Some(violation) = guest.violation() else { return Ok(()) };
    context.report_violation(flow, None, LeakPlace::Stream, violation);
    Err(InterceptError::Violation)
}

/// Whether the content of a stream can change nothing: it was allowed by address whatever names it
/// shows, and there are no secrets, nor were there a short while ago.
pub(crate) fn nothing_at_stake(context: &Context, info: &StreamInfo) -> bool {
    info.rule.is_some_and(|rule| !rule.names_matter) && context.secrets().looks_for_nothing()
}
