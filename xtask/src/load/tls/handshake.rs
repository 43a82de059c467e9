//! Handshakes: a connection, its TLS, one short request, and the client leaves.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::NAME;
use super::client::{Client, send};
use super::message::{Wish, read_short};

use crate::load::answer::Answer;
use crate::load::rank::quantile;
use crate::load::servers::Servers;

/// A client that was refused waits this long, so that refusals do not fill the time.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// Client: one handshake after another for some seconds, so many at a time.
pub(in crate::load) fn run(servers: &Servers, clients: usize, seconds: f64, resumes: bool) -> Result<Answer> {
    let client = Client::new(servers, resumes)?;
    if resumes {
        // So that the first ones have something to resume.
        for _ in 0..clients {
            exchange(&client, NAME)?;
        }
    }
    let began = Instant::now();
    let (mut millis, mut errors) = (Vec::new(), 0);
    let is_over = || began.elapsed().as_secs_f64() >= seconds;
    thread::scope(|scope| {
        let running: Vec<_> = (0..clients).map(|_| scope.spawn(|| until(&client, is_over))).collect();
        for client in running {
            let Timed { millis: more, errors: failed } =
                client.join().map_err(|_| anyhow!("a client panicked"))?;
            millis.extend(more);
            errors += failed;
        }
        anyhow::Ok(())
    })?;
    let at = |q| quantile(&millis, q).unwrap_or_default();
    let per_s = millis.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Answer::Short { total: millis.len(), per_s, errors, p50_ms: at(0.5), p99_ms: at(0.99) })
}

/// How long each took, and how many failed.
#[derive(Default)]
pub(super) struct Timed {
    pub(super) millis: Vec<f64>,
    pub(super) errors: usize,
}

/// Handshakes with [`NAME`], one after the other.
pub(super) fn until(client: &Client<'_>, is_over: impl Fn() -> bool) -> Timed {
    let mut timed = Timed::default();
    while !is_over() {
        let one = Instant::now();
        match exchange(client, NAME) {
            Ok(()) => timed.millis.push(one.elapsed().as_secs_f64() * 1e3),
            Err(_) => {
                timed.errors += 1;
                thread::sleep(PAUSE);
            }
        }
    }
    timed
}

/// One of them: the answer shows that TLS was up all the way.
pub(super) fn exchange(client: &Client<'_>, name: &str) -> io::Result<()> {
    let mut stream = client.connect(name)?;
    send(&mut stream, Wish::Short, name)?;
    read_short(&mut stream)?;
    stream.conn.send_close_notify();
    stream.conn.write_tls(&mut stream.sock).map(drop)
}
