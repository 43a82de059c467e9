use std::rc::Rc;

use net_core::Flow;
use net_tls::LeafSubject;

use super::stream::serve_stream;
use crate::event::Event;
use crate::shell::{Context, FirstFlight, GuestStream, Wait, fail, first_flight};
use crate::tls::{InterceptError, accept_guest};

/// RFC 7858 has none; clients that offer one offer this (IANA's ALPN registry).
const ALPN: &[u8] = b"dot";

/// DNS over TLS (RFC 7858) goes to nobody but us, whatever resolver was asked: the guest is shown a leaf for
/// the name it wants, or for the address.
pub(crate) async fn serve_tls_stream(context: &Rc<Context>, flow: &Flow, guest: GuestStream) {
    if let Err(error) = serve(context, flow, guest).await {
        context.events.push(Event::InterceptFailed { flow: *flow, name: None, error });
    }
}

async fn serve(context: &Rc<Context>, flow: &Flow, guest: GuestStream) -> Result<(), InterceptError> {
    let flight = match first_flight(&guest, Wait::ForName, None, &context.limits).await {
        Ok(flight) => flight,
        Err(error) => return Err(fail(&guest, error).await),
    };
    let FirstFlight::Tls { prefix, hello } = flight else {
        return Err(fail(&guest, InterceptError::NotTls).await);
    };
    let subject = match hello.name {
        Ok(Some(name)) => LeafSubject::Name(name),
        Ok(None) => LeafSubject::Address(flow.upstream.ip()),
        Err(()) => return Err(fail(&guest, InterceptError::InvalidName).await),
    };
    let alpn = hello.alpn.iter().any(|offered| offered == ALPN).then_some(ALPN);
    let config = match context.tls.guest_config(&subject, alpn) {
        Ok(config) => config,
        Err(error) => return Err(fail(&guest, error).await),
    };
    let guest = accept_guest(context, config, guest, prefix).await?;
    serve_stream(context, guest).await;
    Ok(())
}
