use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::service::answer_message;
use crate::guest::{Context, GuestStream};

/// DNS over TCP (RFC 7766): messages behind a two-byte length, one after the other.
///
/// Queries of one stream are answered in order; a guest that pipelines gets its answers as they
/// come, one query in flight per stream.
pub(crate) async fn serve_stream(context: &Rc<Context>, mut guest: GuestStream) {
    let idle = context.limits.drain_timeout;
    loop {
        let Ok(Ok(length)) = timeout(idle, guest.read_u16()).await else { break };
        let mut query = vec![0; usize::from(length)];
        let Ok(Ok(_)) = timeout(idle, guest.read_exact(&mut query)).await else { break };
        let Some(_place) = context.enter_dns_query() else { break };
        let Some(answer) = answer_message(context, &query).await else { break };
        let Ok(length) = u16::try_from(answer.len()) else { break };
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&answer);
        let Ok(Ok(())) = timeout(idle, guest.write_all(&framed)).await else { break };
    }
    guest.close();
}
