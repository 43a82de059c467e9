use std::rc::Rc;

use bytes::Bytes;
use net_tls::LeafSubject;

use super::intercept::accept_guest;
use crate::guest::{
    ACCESS_DENIED, Context, Denial, GuestStream, InterceptError, Offer, StreamInfo, send_alert,
};
use crate::http;

/// Opens a TLS stream that is denied, to tell the guest so by HTTP; by an alert where the authority may not
/// sign for its name.
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
    let offer = Offer::of(protocols);
    // As if upstream had taken the first.
    let (version, answer) = offer.answer(offer.protocols().first().copied());
    let Ok(config) = context.tls.guest_config(&subject, answer) else {
        send_alert(&guest, ACCESS_DENIED).await;
        return Ok(());
    };
    let guest = accept_guest(context, config, guest, prefix).await?;
    http::deny_tls(context, info, guest, version, denial).await;
    Ok(())
}
