//! A client that asks for one name after another, and another client that suffers it or not.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::client::Client;
use super::handshake::{PAUSE, Timed, exchange, until};
use super::{FLOOD, NAME};
use crate::load::answer::Answer;
use crate::load::rank::quantile;
use crate::load::servers::Servers;

/// Those that flood, at a time.
const CLIENTS: usize = 8;

/// The first of them come at a pace that leaves two processors time: twice as many as a guest's leaves are
/// minted by default. The others come as fast as they are answered.
const PACED_NAMES: usize = 20_000;
const PACE_PER_S: f64 = 1_000.0;

/// Client: handshakes with [`NAME`] alone for some seconds, then beside handshakes with so many names.
pub(in crate::load) fn run(servers: &Servers, names: usize, seconds: f64) -> Result<Answer> {
    let client = Client::new(servers, false)?;
    exchange(&client, NAME)?;
    let began = Instant::now();
    let idle = until(&client, || began.elapsed().as_secs_f64() >= seconds);
    let paced_names = PACED_NAMES.min(names);
    let paced = beside(&client, 0..paced_names, Some(PACE_PER_S))?;
    let flooded = beside(&client, paced_names..names, None)?;
    let p99 = |timed: &Timed| quantile(&timed.millis, 0.99).unwrap_or_default();
    Ok(Answer::Flooded {
        per_s: flooded.per_s,
        carried: paced.carried + flooded.carried,
        errors: paced.others.errors + flooded.others.errors,
        idle_p99_ms: p99(&idle),
        paced_p99_ms: p99(&paced.others),
        p99_ms: p99(&flooded.others),
    })
}

/// What became of some names, and of the other client meanwhile.
struct Flooded {
    per_s: f64,
    carried: usize,
    others: Timed,
}

/// Asks for each of `names` once, at a pace or as fast as it is answered.
fn beside(client: &Client<'_>, names: Range<usize>, per_s: Option<f64>) -> Result<Flooded> {
    let (first, count) = (names.start, names.len());
    let (next, carried, flooding) = (AtomicUsize::new(first), AtomicUsize::new(0), AtomicUsize::new(CLIENTS));
    let began = Instant::now();
    let others = thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= names.end {
                        break;
                    }
                    if let Some(per_s) = per_s {
                        let due = Duration::from_secs_f64((nth - first) as f64 / per_s);
                        thread::sleep(due.saturating_sub(began.elapsed()));
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
    let per_s = count as f64 / began.elapsed().as_secs_f64();
    Ok(Flooded { per_s, carried: carried.into_inner(), others })
}
