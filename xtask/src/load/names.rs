//! Names asked of a server: one after the other, and as many as go.

use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::load::answer::Answer;
use crate::load::quantile;

/// The name everybody is asked for.
pub(crate) const NAME: &str = "bench.test";

/// A question without an answer by then is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks `server` for [`NAME`] `count` times in a row, then by dnsperf for some seconds.
pub(crate) fn run(server: IpAddr, count: usize, seconds: f64) -> Result<Answer> {
    let socket = socket(server)?;
    let mut lost = 0;
    let mut took_us = Vec::with_capacity(count);
    for index in 0..count {
        let id = u16::try_from(index % 65_536).unwrap_or(0).to_be_bytes();
        let began = Instant::now();
        socket.send(&query(id, NAME))?;
        match answered(&socket, id) {
            Ok(()) => took_us.push(began.elapsed().as_secs_f64() * 1e6),
            Err(_) => lost += 1,
        }
    }
    let at = |q| quantile(&took_us, q).with_context(|| format!("none of {count} questions was answered"));
    let (p50_us, p99_us) = (at(0.5)?, at(0.99)?);
    let (per_s, lost_at_speed) = dnsperf(server, seconds)?;
    Ok(Answer::Named { p50_us, p99_us, per_s, lost: lost + lost_at_speed })
}

/// Asks `server` for the addresses of one name.
pub(super) fn ask_once(server: IpAddr, name: &str) -> Result<()> {
    const ID: [u8; 2] = [0, 1];
    let socket = socket(server)?;
    socket.send(&query(ID, name))?;
    answered(&socket, ID)
}

fn socket(server: IpAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect((server, 53))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// RFC 1035, section 4: one question for an address.
fn query(id: [u8; 2], name: &str) -> Vec<u8> {
    let mut query = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

fn answered(socket: &UdpSocket, id: [u8; 2]) -> Result<()> {
    let mut buffer = [0; 512];
    loop {
        let length = socket.recv(&mut buffer)?;
        match buffer.get(..length) {
            // A late answer to another question is none.
            Some([high, low, ..]) if [*high, *low] != id => {}
            // NOERROR and some records.
            Some([_, _, _, code, _, _, _, answers, ..]) if code & 15 == 0 && *answers > 0 => return Ok(()),
            _ => bail!("it answered otherwise"),
        }
    }
}

/// Queries a second, and how many were lost.
fn dnsperf(server: IpAddr, seconds: f64) -> Result<(f64, usize)> {
    // It starts again at the list's end, which it cannot do with a pipe.
    let mut list = tempfile::NamedTempFile::new()?;
    writeln!(list, "{NAME} A")?;
    let mut command = Command::new("dnsperf");
    command.args(["-s", &server.to_string(), "-l", &seconds.ceil().to_string(), "-d"]).arg(list.path());
    let output = command.stdin(Stdio::null()).output().context("cannot start dnsperf")?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok((number(&said, "Queries per second:")?, number(&said, "Queries lost:")? as usize))
}

/// The number that follows `label`.
fn number(said: &str, label: &str) -> Result<f64> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix(label));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).with_context(|| format!("dnsperf does not say `{label}`: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dnsperf_says_is_understood() {
        let said = "  Queries sent:         12345\n  Queries lost:         3 (0.02%)\n\n  \
                    Queries per second:   45678.123456\n";
        assert_eq!(number(said, "Queries per second:").unwrap(), 45_678.123_456);
        assert_eq!(number(said, "Queries lost:").unwrap(), 3.0);
        assert!(number(said, "Queries found:").is_err());
    }

    #[test]
    fn a_question_is_a_question() {
        assert_eq!(query([1, 2], NAME).len(), 12 + 12 + 4);
        assert_eq!(query([1, 2], NAME)[..6], [1, 2, 1, 0, 0, 1]);
    }
}
