//! Throughput: the body of one request, or of one answer.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::client::{Client, socket};
use super::message::{Wish, read_head};
use crate::load::answer::Answer;
use crate::load::servers::Servers;

/// Buffers fill and windows open before the count begins.
const WARM_UP: Duration = Duration::from_millis(300);

/// What is read or written at once.
const PIECE_BYTES: usize = 128 << 10;

/// What bodies consist of.
const TEXT: &str = r#"{"id": 3117, "name": "an entry", "tags": ["one", "two"], "text": "It goes on.\n"},"#;

/// Client: sends for so many seconds.
pub(in crate::load) fn up(servers: &Servers, seconds: f64) -> Result<Answer> {
    run(servers, Wish::Sink, seconds)
}

/// Client: sends in chunks for so many seconds.
pub(in crate::load) fn up_chunked(servers: &Servers, seconds: f64) -> Result<Answer> {
    run(servers, Wish::ChunkedSink, seconds)
}

/// Client: reads for so many seconds.
pub(in crate::load) fn down(servers: &Servers, seconds: f64) -> Result<Answer> {
    run(servers, Wish::Source, seconds)
}

fn run(servers: &Servers, wish: Wish, seconds: f64) -> Result<Answer> {
    let mut stream = Client::new(servers, false)?.ask(wish)?;
    if wish == Wish::Source {
        read_head(&mut stream)?.context("it ended before an answer")?;
    }
    let socket = socket(&stream)?;
    let (moved, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let count = |bytes: usize| {
        moved.fetch_add(bytes as u64, Ordering::Relaxed);
    };
    let (gbit_per_s, broken) = thread::scope(|scope| {
        let moving = scope.spawn(|| {
            let _ = match wish {
                Wish::Sink => write_on(&mut stream, count),
                Wish::ChunkedSink => write_chunks_on(&mut stream, count),
                Wish::Short | Wish::Source => read_on(&mut stream, count),
            };
            !is_over.load(Ordering::Relaxed)
        });
        thread::sleep(WARM_UP);
        let (began, before) = (Instant::now(), moved.load(Ordering::Relaxed));
        thread::sleep(Duration::from_secs_f64(seconds));
        let (took, after) = (began.elapsed(), moved.load(Ordering::Relaxed));
        is_over.store(true, Ordering::Relaxed);
        // One that is gone already needs none.
        let _ = socket.shutdown(Shutdown::Both);
        let broken = moving.join().map_err(|_| anyhow!("a client panicked"))?;
        anyhow::Ok(((after - before) as f64 * 8e-9 / took.as_secs_f64(), usize::from(broken)))
    })?;
    Ok(Answer::Moved { gbit_per_s, total_bytes: moved.into_inner(), broken })
}

/// Reads until the stream ends.
pub(super) fn read_on(stream: &mut impl Read, count: impl Fn(usize)) -> io::Result<()> {
    let mut buffer = vec![1; PIECE_BYTES];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => count(length),
        }
    }
}

/// Writes until the stream breaks.
pub(super) fn write_on(stream: &mut impl Write, count: impl Fn(usize)) -> io::Result<()> {
    let buffer = text();
    loop {
        count(stream.write(&buffer)?);
    }
}

/// Likewise, each time as a chunk; its framing is not counted.
fn write_chunks_on(stream: &mut impl Write, count: impl Fn(usize)) -> io::Result<()> {
    let text = text();
    let chunk = [format!("{:x}\r\n", text.len()).as_bytes(), &text, b"\r\n"].concat();
    loop {
        stream.write_all(&chunk)?;
        count(text.len());
    }
}

/// Text, as what is searched for secrets mostly is.
fn text() -> Vec<u8> {
    TEXT.bytes().cycle().take(PIECE_BYTES).collect()
}
