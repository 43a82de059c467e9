//! A client that asks for one name after another, and another client that suffers it or not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::client::Client;
use super::handshake::{PAUSE, Timed, exchange, until};
use super::{FLOOD, NAME};
use crate::load::answer::Answer;
use crate::load::rank::quantile;
use crate::load::servers::Servers;

/// Those that flood, at a time.
const CLIENTS: usize = 8;

/// Client: handshakes with [`NAME`] alone for some seconds, then beside handshakes with so many names, each
/// asked for as soon as one before it was answered.
pub(in crate::load) fn run(servers: &Servers, names: usize, seconds: f64) -> Result<Answer> {
    let client = Client::new(servers, false)?;
    exchange(&client, NAME)?;
    let began = Instant::now();
    let idle = until(&client, || began.elapsed().as_secs_f64() >= seconds);
    let flooded = beside(&client, names)?;
    let p99 = |timed: &Timed| quantile(&timed.millis, 0.99).unwrap_or_default();
    Ok(Answer::Flooded {
        per_s: flooded.per_s,
        carried: flooded.carried,
        errors: flooded.others.errors,
        idle_p99_ms: p99(&idle),
        p99_ms: p99(&flooded.others),
    })
}

/// What became of some names, and of the other client meanwhile.
struct Flooded {
    per_s: f64,
    carried: usize,
    others: Timed,
}

/// Asks for each of so many names once.
fn beside(client: &Client<'_>, names: usize) -> Result<Flooded> {
    let (next, carried, flooding) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(CLIENTS));
    let began = Instant::now();
    let others = thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= names {
                        break;
                    }
                    if exchange(client, &format!("n{nth}.{FLOOD}")).is_ok() {
                        carried.fetch_add(1, Ordering::Relaxed);
                    } else {
                        thread::sleep(PAUSE);
                    }
                }
                flooding.fetch_sub(1, Ordering::Relaxed);
            });
        }
        scope
            .spawn(|| until(client, || flooding.load(Ordering::Relaxed) < CLIENTS))
            .join()
            .map_err(|_| anyhow!("a client panicked"))
    })?;
    let per_s = names as f64 / began.elapsed().as_secs_f64();
    Ok(Flooded { per_s, carried: carried.into_inner(), others })
}
