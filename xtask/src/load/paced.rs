//! Uploads to a server that reads slowly, and how evenly it is served.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::load::answer::{Answer, Pace};
use crate::load::habit::Habit;
use crate::load::servers::Servers;

/// A small one, so that what the server does not read is soon felt at the other end.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 256 << 10;

/// How often the server reads.
const STEP: Duration = Duration::from_millis(1);

/// What lies in buffers when the client ends is still read at the pace.
const REPORT_PATIENCE: Duration = Duration::from_secs(60);

const WRITE_BYTES: usize = 64 << 10;

/// Client: writes as fast as it can for so long, then reads the server's report.
pub(crate) fn run(servers: &Servers, rate: u64, seconds: f64) -> Result<Answer> {
    let mut stream = servers.connect(Habit::Paced)?;
    stream.set_read_timeout(Some(REPORT_PATIENCE))?;
    stream.write_all(&rate.to_le_bytes())?;
    let buffer = vec![1; WRITE_BYTES];
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < seconds {
        stream.write_all(&buffer)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut report = String::new();
    stream.read_to_string(&mut report)?;
    Ok(Answer::Paced(serde_json::from_str(&report).context("the server's report")?))
}

/// Server: reads at the pace it is told until the client ends, then reports.
pub(crate) fn read_paced(mut stream: &TcpStream) -> io::Result<()> {
    let mut rate = [0; 8];
    stream.read_exact(&mut rate)?;
    let rate = u64::from_le_bytes(rate) as f64;
    let mut buffer = vec![1; 1 << 20];
    stream.read_exact(&mut buffer[..1])?;
    let began = Instant::now();
    let (mut bytes, mut last, mut longest_gap) = (1, began, Duration::ZERO);
    loop {
        let budget = (began.elapsed().as_secs_f64() * rate) as u64;
        let Some(allowed) = budget.checked_sub(bytes).filter(|allowed| *allowed > 0) else {
            thread::sleep(STEP);
            continue;
        };
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX).min(buffer.len());
        let asked = Instant::now();
        let length = stream.read(&mut buffer[..allowed])?;
        if length == 0 {
            break;
        }
        last = Instant::now();
        longest_gap = longest_gap.max(last - asked);
        bytes += length as u64;
        if length == allowed {
            thread::sleep(STEP);
        }
    }
    let pace = Pace {
        bytes,
        seconds: (last - began).as_secs_f64(),
        longest_gap_ms: longest_gap.as_secs_f64() * 1e3,
    };
    stream.write_all(serde_json::to_string(&pace)?.as_bytes())
}
