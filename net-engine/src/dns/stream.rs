use std::rc::Rc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Lookups;
use super::service::{answer_busy, answer_message};

/// A query is a name and some options (RFC 1035, section 2.3.4; RFC 6891): what states more is none.
const MAX_QUERY_BYTES: u16 = 4_096;

/// Queries of one stream that are answered at one time; those behind them wait in the stream.
const MAX_PIPELINED: usize = 16;

/// DNS over a stream (RFC 7766): messages behind a two-byte length.
///
/// Queries are answered as their answers come, not in their order (section 6.2.1.1).
pub(crate) async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin>(lookups: &Rc<Lookups>, mut stream: S) {
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let idle = lookups.context.limits.drain_timeout;
    let mut answers = FuturesUnordered::new();
    // Kept over rounds of the loop: a read that was begun is not begun again.
    let mut next = Box::pin(read_message(&mut reader));
    let mut has_more = true;
    while has_more || !answers.is_empty() {
        tokio::select! {
            answer = answers.next(), if !answers.is_empty() => {
                // What was no query gets no answer, and those beside it theirs.
                let Some(Some(answer)) = answer else { continue };
                if !matches!(timeout(idle, write_message(&mut writer, answer)).await, Ok(Some(()))) {
                    break;
                }
            }
            query = timeout(idle, &mut next), if has_more && answers.len() < MAX_PIPELINED => {
                match query {
                    Ok(Some((query, reader))) => {
                        answers.push(answer(lookups, query));
                        next = Box::pin(read_message(reader));
                    }
                    // The guest has closed its half, or was quiet for too long: what it asked is answered.
                    Ok(None) | Err(_) => has_more = false,
                }
            }
        }
    }
    let _ = timeout(idle, writer.shutdown()).await;
}

async fn answer(lookups: &Rc<Lookups>, query: Vec<u8>) -> Option<Vec<u8>> {
    match lookups.context.enter_dns_query() {
        Some(_place) => answer_message(lookups, &query).await,
        None => answer_busy(&query),
    }
}

/// The next message, and where to read on.
async fn read_message<R: AsyncRead + Unpin>(reader: &mut R) -> Option<(Vec<u8>, &mut R)> {
    let length = reader.read_u16().await.ok().filter(|length| *length <= MAX_QUERY_BYTES)?;
    let mut message = vec![0; usize::from(length)];
    reader.read_exact(&mut message).await.ok()?;
    Some((message, reader))
}

async fn write_message<W: AsyncWrite + Unpin>(writer: &mut W, message: Vec<u8>) -> Option<()> {
    let length = u16::try_from(message.len()).ok()?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(&message);
    writer.write_all(&framed).await.ok()?;
    writer.flush().await.ok()
}
