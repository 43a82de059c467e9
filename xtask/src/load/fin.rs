//! How late the end of a stream arrives when it was quiet before.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::load::answer::Answer;
use crate::load::habit::Habit;
use crate::load::rank::quantile;
use crate::load::servers::Servers;

/// The last stretch is spun: a sleeper wakes up late.
const SPIN_NS: u64 = 200_000;

/// Client: so many connections that are quiet for so long and then end.
pub(crate) fn run(servers: &Servers, quiet_ms: u64, count: usize) -> io::Result<Answer> {
    let mut millis = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = servers.connect(Habit::Fin)?;
        stream.write_all(&quiet_ms.to_le_bytes())?;
        let mut ends_at = [0; 8];
        stream.read_exact(&mut ends_at)?;
        if stream.read(&mut [0])? != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let late_ns = monotonic_ns()?.saturating_sub(u64::from_le_bytes(ends_at));
        millis.push(late_ns as f64 * 1e-6);
    }
    let at = |q| quantile(&millis, q).unwrap_or_default();
    Ok(Answer::Late { p50_ms: at(0.5), p99_ms: at(0.99) })
}

/// Server: tells when it will end, and does.
pub(crate) fn end_in_time(mut stream: &TcpStream) -> io::Result<()> {
    let mut quiet_ms = [0; 8];
    stream.read_exact(&mut quiet_ms)?;
    let ends_at = monotonic_ns()?.saturating_add(u64::from_le_bytes(quiet_ms).saturating_mul(1_000_000));
    stream.write_all(&ends_at.to_le_bytes())?;
    let left = ends_at.saturating_sub(monotonic_ns()?);
    thread::sleep(Duration::from_nanos(left.saturating_sub(SPIN_NS)));
    while monotonic_ns()? < ends_at {
        std::hint::spin_loop();
    }
    stream.shutdown(Shutdown::Write)?;
    // The client's end: closing before it would be a reset if it had written.
    let _ = stream.read(&mut [0])?;
    Ok(())
}

/// The clock that both ends share, whatever namespaces they are in.
fn monotonic_ns() -> io::Result<u64> {
    Ok(u64::try_from(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_nanos()).unwrap_or(u64::MAX))
}
