//! Datagrams: as many as go, and how many of half as many get lost; and round trips of one byte.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::load::answer::Answer;
use crate::load::habit::ECHO_PORT;
use crate::load::quantile;

/// Without an answer by then a datagram is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Round trips before those that count.
const WARM_UP: usize = 100;

/// Whether the guest sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

impl std::str::FromStr for Way {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "up" => Ok(Self::Up),
            "down" => Ok(Self::Down),
            _ => Err(()),
        }
    }
}

/// Client: datagrams of so many bytes by iperf3, whose other end is at `server`: unpaced, then at half of
/// what had arrived.
pub(crate) fn run(server: IpAddr, way: Way, bytes: usize, seconds: f64) -> Result<Answer> {
    let limit = iperf(server, way, bytes, seconds, 0)?;
    // In bits of payload, which is what iperf3 paces by.
    let half = (limit.per_s / 2.0) as usize * bytes * 8;
    let paced = iperf(server, way, bytes, seconds, half.max(1))?;
    Ok(Answer::Datagrams {
        per_s: limit.per_s,
        lost_percent: limit.lost_percent,
        half_lost_percent: paced.lost_percent,
    })
}

/// Client: so many round trips of one byte to `server`.
pub(crate) fn round_trips(server: IpAddr, count: usize) -> Result<Answer> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect((server, ECHO_PORT))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut micros, mut lost) = (Vec::with_capacity(count), 0);
    for turn in 0..count + WARM_UP {
        let sent = turn.to_be_bytes();
        let began = Instant::now();
        socket.send(&sent)?;
        let mut answer = [0; 8];
        match socket.recv(&mut answer) {
            Ok(_) if answer == sent && turn >= WARM_UP => micros.push(began.elapsed().as_secs_f64() * 1e6),
            Ok(_) => {}
            Err(_) => lost += 1,
        }
    }
    if lost * 100 > count {
        bail!("{lost} of {count} datagrams had no answer");
    }
    let at = |q| quantile(&micros, q).unwrap_or_default();
    Ok(Answer::Rtt { p50_us: at(0.5), p99_us: at(0.99) })
}

/// Server: returns datagrams, until the process ends.
pub(super) fn echo(address: IpAddr) -> io::Result<JoinHandle<()>> {
    let socket = UdpSocket::bind(SocketAddr::new(address, ECHO_PORT))?;
    Ok(thread::spawn(move || {
        let mut buffer = [0; 2048];
        loop {
            if let Ok((length, source)) = socket.recv_from(&mut buffer) {
                // Whoever is gone wants no answer.
                let _ = socket.send_to(&buffer[..length], source);
            }
        }
    }))
}

/// What arrived.
struct Arrived {
    per_s: f64,
    lost_percent: f64,
}

#[derive(Deserialize)]
struct Said {
    end: Option<End>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct End {
    sum: Option<Sum>,
}

#[derive(Deserialize)]
struct Sum {
    seconds: f64,
    packets: f64,
    lost_packets: f64,
    lost_percent: f64,
}

/// One run of the client; `bits_per_s` of nothing is no bound.
fn iperf(server: IpAddr, way: Way, bytes: usize, seconds: f64, bits_per_s: usize) -> Result<Arrived> {
    /// The server is there for one client at a time, and may not have seen the end of the last.
    const TRIES: usize = 5;
    let mut command = Command::new("iperf3");
    command.args(["--json", "--udp", "--client", &server.to_string(), "--length", &bytes.to_string()]);
    command.args(["--time", &seconds.ceil().to_string(), "--bitrate", &bits_per_s.to_string()]);
    if way == Way::Down {
        command.arg("--reverse");
    }
    let mut last = None;
    for _ in 0..TRIES {
        let output = command.stdin(Stdio::null()).output().context("cannot start iperf3")?;
        match understood(&output.stdout) {
            Ok(arrived) => return Ok(arrived),
            Err(error) => last = Some(error),
        }
        thread::sleep(PATIENCE);
    }
    Err(last.context("it was never tried")?)
}

fn understood(said: &[u8]) -> Result<Arrived> {
    let said: Said = serde_json::from_slice(said).context("iperf3 says no JSON")?;
    if let Some(error) = said.error {
        bail!("iperf3: {error}");
    }
    let sum = said.end.and_then(|end| end.sum).context("iperf3 does not say what arrived")?;
    if sum.seconds <= 0.0 {
        bail!("iperf3 took no time");
    }
    let per_s = (sum.packets - sum.lost_packets) / sum.seconds;
    Ok(Arrived { per_s, lost_percent: sum.lost_percent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_iperf3_says_is_understood() {
        let said = br#"{"start":{},"end":{"sum":{"seconds":2.0,"packets":1000,"lost_packets":100,"lost_percent":10.0}}}"#;
        let arrived = understood(said).expect("it is what iperf3 says");
        assert_eq!((arrived.per_s, arrived.lost_percent), (450.0, 10.0));
        for said in [&br#"{"end":{},"error":"the server is busy"}"#[..], br#"{"end":{}}"#, b"iperf3"] {
            assert!(understood(said).is_err());
        }
    }
}
