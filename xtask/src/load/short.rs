//! Short connections: a byte there, a KiB back, the server closes first.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::load::answer::Answer;
use crate::load::habit::Habit;
use crate::load::rank::quantile;
use crate::load::servers::Servers;

const REPLY_BYTES: usize = 1 << 10;

/// A client that was refused waits this long, so that refusals do not fill the time.
const PAUSE: Duration = Duration::from_millis(1);

/// When the clients stop.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Elapsed(f64),
    Opened(usize),
}

/// Client: one connection after another, so many at a time.
pub(crate) fn run(servers: &Servers, clients: usize, until: Until) -> Result<Answer> {
    let began = Instant::now();
    let opened = AtomicUsize::new(0);
    let goes_on = || {
        let nth = opened.fetch_add(1, Ordering::Relaxed);
        match until {
            Until::Elapsed(seconds) => began.elapsed().as_secs_f64() < seconds,
            Until::Opened(count) => nth < count,
        }
    };
    let client = || {
        let (mut millis, mut errors) = (Vec::new(), 0);
        while goes_on() {
            let one = Instant::now();
            match exchange(servers) {
                Ok(()) => millis.push(one.elapsed().as_secs_f64() * 1e3),
                Err(_) => {
                    errors += 1;
                    thread::sleep(PAUSE);
                }
            }
        }
        (millis, errors)
    };
    let (mut millis, mut errors) = (Vec::new(), 0);
    thread::scope(|scope| {
        let running: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        for client in running {
            let (more, failed) = client.join().map_err(|_| anyhow!("a client panicked"))?;
            millis.extend(more);
            errors += failed;
        }
        anyhow::Ok(())
    })?;
    let at = |q| quantile(&millis, q).unwrap_or_default();
    let per_s = millis.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Answer::Short { total: millis.len(), per_s, errors, p50_ms: at(0.5), p99_ms: at(0.99) })
}

fn exchange(servers: &Servers) -> io::Result<()> {
    let mut stream = servers.connect(Habit::Short)?;
    stream.write_all(&[1])?;
    let mut buffer = [0; 2 * REPLY_BYTES];
    let mut length = 0;
    loop {
        match stream.read(&mut buffer[length..])? {
            0 if length == REPLY_BYTES => return Ok(()),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
}

/// Server: one such connection.
pub(crate) fn answer(mut stream: &TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0])?;
    stream.write_all(&[1; REPLY_BYTES])
}
