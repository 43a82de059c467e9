//! DNS over streams: whom it is asked of, and by what handshake.

use std::rc::Rc;

use net_core::{Flow, HostName};
use net_tls::{Alpn, LeafSubject};

use super::first_flight::{FirstFlight, first_flight};
use super::session::{accept, spawn};
use crate::core::{FlowId, Refusal};
use crate::dns::{Lookups, serve_stream};
use crate::guest::{DNS_OVER_TLS_PORT, Denial, Event, GuestStream, InterceptError, Stage, Wait, fail};
use crate::tls::accept_guest;

/// DNS over TCP (RFC 7766) and over TLS (RFC 7858) goes to nobody but us, whatever resolver was asked. Where no
/// TLS is opened nobody may ask past us either.
pub(crate) fn start(lookups: &Rc<Lookups>, id: FlowId, flow: Flow) {
    let context = &lookups.context;
    let is_tls = flow.upstream.port() == DNS_OVER_TLS_PORT;
    if is_tls && !context.opens_tls() {
        let why = Denial::Protocol("names are asked for on port 53 where no TLS is opened");
        context.events.push(Event::Denied { flow, name: None, real: None, why });
        context.stack.with(|gateway| gateway.refuse(id, Refusal::Reset));
        return;
    }
    spawn(context, id, flow, Stage::Dns, false, serve(Rc::clone(lookups), id, flow, is_tls));
}

async fn serve(lookups: Rc<Lookups>, id: FlowId, flow: Flow, is_tls: bool) {
    let Some(guest) = accept(&lookups.context, id) else { return };
    if !is_tls {
        serve_stream(&lookups, guest).await;
    } else if let Err((error, name)) = Box::pin(serve_tls(&lookups, id, &flow, guest)).await {
        lookups.context.events.push(Event::InterceptFailed { flow, name, error });
    }
}

/// The guest is shown a leaf for the name it wants, or for the address.
async fn serve_tls(
    lookups: &Rc<Lookups>,
    id: FlowId,
    flow: &Flow,
    guest: GuestStream,
) -> Result<(), (InterceptError, Option<HostName>)> {
    let context = &lookups.context;
    let flight = match first_flight(&guest, Wait::ForName, None, &context.limits).await {
        Ok(flight) => flight,
        Err(error) => return Err((fail(&guest, error).await, None)),
    };
    let FirstFlight::Tls { prefix, hello } = flight else {
        return Err((fail(&guest, InterceptError::NotTls).await, None));
    };
    let Ok(name) = hello.name else {
        return Err((fail(&guest, InterceptError::InvalidName).await, None));
    };
    let subject = match name.clone() {
        Some(name) => LeafSubject::Name(name),
        None => LeafSubject::Address(flow.upstream.ip()),
    };
    // RFC 7858 has none; clients that offer one offer `dot` (IANA's ALPN registry).
    let offers = hello.alpn.iter().any(|offered| Alpn::of(Some(offered)) == Some(Alpn::Dot));
    let alpn = if offers { Alpn::Dot } else { Alpn::Nothing };
    let admitted = tokio::select! {
        admitted = context.tls.admit(&subject) => admitted,
        () = context.stack.guest_reset(id) => return Ok(()),
    };
    let config = match admitted.and_then(|admitted| context.tls.guest_config(&admitted, alpn)) {
        Ok(config) => config,
        Err(error) => return Err((fail(&guest, error).await, name)),
    };
    let guest = accept_guest(context, config, guest, prefix).await.map_err(|error| (error, name))?;
    serve_stream(lookups, guest).await;
    Ok(())
}
