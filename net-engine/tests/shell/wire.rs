//! HTTP/1.1 as a guest reads it: by its framing, and to the end.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::world::PATIENCE;

/// Reads `count` final responses, each to the end its framing tells, or to the end of the stream.
pub(crate) async fn read_responses<S: AsyncRead + Unpin>(stream: &mut S, count: usize) -> String {
    let mut all = Vec::new();
    let ended = timeout(PATIENCE, async {
        while finals(&all) < count {
            match stream.read_buf(&mut all).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    });
    // What has come by then is what the test compares.
    let _ = ended.await;
    String::from_utf8_lossy(&all).into_owned()
}

/// Closes the guest's half and reads what is left.
pub(crate) async fn finish<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> String {
    // A stream that was reset has nothing left to close.
    let _ = stream.shutdown().await;
    read_to_end(stream).await
}

/// Reads to the end of the stream, orderly or not.
pub(crate) async fn read_to_end<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("a stream that ends");
    String::from_utf8_lossy(&all).into_owned()
}

pub(crate) async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, needle: &str) -> String {
    let mut all = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if text.contains(needle) {
            return text;
        }
        let count = timeout(PATIENCE, stream.read_buf(&mut all)).await.expect("an answer").unwrap();
        assert!(count > 0, "the stream ended at {text:?}");
    }
}

pub(crate) fn statuses(response: &str) -> Vec<&str> {
    response.split("HTTP/1.").skip(1).filter_map(|part| part.get(2..5)).collect()
}

/// How many whole final responses `bytes` holds.
fn finals(bytes: &[u8]) -> usize {
    let (mut count, mut rest) = (0, bytes);
    while let Some((is_final, length)) = response_bytes(rest) {
        count += usize::from(is_final);
        rest = &rest[length..];
    }
    count
}

/// Whether the first response is final, and its length once it is whole.
fn response_bytes(bytes: &[u8]) -> Option<(bool, usize)> {
    let head = position(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let status = text.get(9..12)?;
    if status == "101" {
        return Some((true, head));
    }
    if status.starts_with('1') || status == "204" || status == "304" {
        return Some((!status.starts_with('1'), head));
    }
    if text.contains("transfer-encoding: chunked") {
        let mut at = head;
        loop {
            let line = position(&bytes[at..], b"\r\n")?;
            let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            at += line + 2 + size;
            if size == 0 {
                let trailers = if bytes[at..].starts_with(b"\r\n") {
                    2
                } else {
                    position(&bytes[at..], b"\r\n\r\n")? + 4
                };
                return Some((true, at + trailers));
            }
            at += 2;
            bytes.get(at..)?;
        }
    }
    // Without a length it ends with the stream.
    let length: usize = text.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().unwrap();
    (bytes.len() >= head + length).then_some((true, head + length))
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
