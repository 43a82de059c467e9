//! Requests on a connection that is warm, one after the other.

use std::time::Instant;

use anyhow::Result;

use super::NAME;
use super::client::{Client, send};
use super::message::{Wish, read_short};
use crate::load::answer::Answer;
use crate::load::rank::quantile;
use crate::load::servers::Servers;

/// Requests before those that count.
const WARM_UP: usize = 100;

/// Client: so many requests.
pub(in crate::load) fn run(servers: &Servers, count: usize) -> Result<Answer> {
    let mut stream = Client::new(servers, false)?.connect(NAME)?;
    let mut micros = Vec::with_capacity(count);
    for turn in 0..count + WARM_UP {
        let began = Instant::now();
        send(&mut stream, Wish::Short, NAME)?;
        read_short(&mut stream)?;
        if turn >= WARM_UP {
            micros.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    let at = |q| quantile(&micros, q).unwrap_or_default();
    Ok(Answer::Rtt { p50_us: at(0.5), p99_us: at(0.99) })
}
