//! One question to one resolver after the other, by hickory's client side.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use hickory_net::NetError;
use hickory_net::proto::op::{DnsRequest, DnsRequestOptions, Message};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsHandle, DnsRequestSender};

/// Asks `nameservers` in turn until one answers; its answer in wire format.
///
/// A truncated answer is asked for again over TCP (RFC 7766, section 5). `None` when nobody
/// answered within `timeout`, which is shared among them.
pub(crate) async fn ask(
    nameservers: &[SocketAddr],
    question: &Message,
    timeout: Duration,
) -> Option<Vec<u8>> {
    let share = timeout / u32::try_from(nameservers.len().max(1)).unwrap_or(u32::MAX);
    for nameserver in nameservers {
        let attempt = ask_one(*nameserver, question, share);
        if let Ok(Some(answer)) = tokio::time::timeout(share, attempt).await {
            return Some(answer);
        }
    }
    None
}

async fn ask_one(nameserver: SocketAddr, question: &Message, timeout: Duration) -> Option<Vec<u8>> {
    let provider = TokioRuntimeProvider::new();
    let mut udp = UdpClientStream::builder(nameserver, provider.clone()).with_timeout(Some(timeout)).build();
    match udp.send_message(request(question, true)?).next().await? {
        Ok(answer) if !answer.metadata.truncation => return Some(answer.into_buffer()),
        // Over TCP nobody forges: an answer that was cut short, or to a question spelled otherwise, is
        // asked for again there.
        Ok(_) | Err(NetError::QueryCaseMismatch) => {}
        Err(_) => return None,
    }
    let tcp = TcpClientStream::exchange(nameserver, None, timeout, None, provider).await.ok()?;
    let answer = tcp.send(request(question, false)?).next().await?.ok()?;
    Some(answer.into_buffer())
}

/// The question under an id of its own, and over UDP with a spelling of its own: what the guest chose
/// must not help to forge an answer (RFC 5452, section 9).
fn request(question: &Message, respell: bool) -> Option<DnsRequest> {
    let mut message = question.clone();
    message.metadata.id = u16::try_from(getrandom::u32().ok()? >> 16).ok()?;
    let mut options = DnsRequestOptions::default();
    options.case_randomization = respell;
    let original = message.queries.first().cloned();
    if respell {
        message.queries.iter_mut().for_each(|query| query.name.randomize_label_case());
    }
    Some(DnsRequest::new(message, options).with_original_query(original))
}
