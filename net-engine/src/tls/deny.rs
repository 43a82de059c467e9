use std::rc::Rc;

use bytes::Bytes;
use net_tls::{Alpn, AlpnOffer, LeafSubject};

use super::intercept::accept_guest;
use crate::guest::{
    ACCESS_DENIED, Context, Denial, GuestStream, HttpVersion, InterceptError, StreamInfo, send_alert,
};
use crate::http;

/// Opens a TLS stream that is denied, to tell the guest so by HTTP; by an alert where the authority may not
/// sign for its name, or too many names are new.
pub(crate) async fn deny(
    context: &Rc<Context>,
    info: StreamInfo,
    guest: GuestStream,
    prefix: Bytes,
    protocols: &[Vec<u8>],
    denial: Denial,
) -> Result<(), InterceptError> {
    let address = info.flow.upstream.ip();
    let subject = info.name.clone().map_or(LeafSubject::Address(address), LeafSubject::Name);
    // As if upstream had taken the first.
    let told = match AlpnOffer::of(protocols) {
        AlpnOffer::Nothing => Alpn::Nothing,
        AlpnOffer::Http1 | AlpnOffer::Http1First => Alpn::Http1,
        AlpnOffer::Http2 | AlpnOffer::Http2First => Alpn::Http2,
    };
    let admitted = tokio::select! {
        admitted = context.tls.admit(&subject) => admitted,
        () = context.stack.guest_reset(info.id) => return Ok(()),
    };
    let Ok(config) = admitted.and_then(|admitted| context.tls.guest_config(&admitted, told)) else {
        send_alert(&guest, ACCESS_DENIED).await;
        return Ok(());
    };
    let guest = accept_guest(context, config, guest, prefix).await?;
    http::deny_tls(context, info, guest, HttpVersion::of(told), denial).await;
    Ok(())
}
