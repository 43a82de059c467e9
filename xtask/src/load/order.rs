//! What the agent is told to do: a line of words.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::load::datagrams::Way;

/// One order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// Try until a server answers.
    Reach,
    /// Upload over so many connections for so many seconds.
    Up { streams: usize, seconds: f64 },
    /// Download likewise.
    Down { streams: usize, seconds: f64 },
    /// Exchange single bytes.
    Rtt { count: usize },
    /// The same beside a download.
    RttLoaded { count: usize },
    /// Exchange a byte now and then for so many seconds.
    Ask { seconds: f64 },
    /// Open short connections, so many at a time, for so many seconds.
    Connect { clients: usize, seconds: f64 },
    /// Open so many short connections.
    Churn { count: usize, clients: usize },
    /// Have so many idle connections open in all.
    Idle { count: usize },
    /// See how many of them are still open.
    Alive,
    /// Upload to a server that reads so many bytes a second.
    Paced { rate: u64, seconds: f64 },
    /// Have the server end after this much silence, and see how late that arrives.
    Fin { quiet_ms: u64, count: usize },
    /// Ask for a name so often in a row, and then as often as goes for so many seconds.
    Dns { count: usize, seconds: f64 },
    /// Send or receive datagrams of so many bytes, as many as go for so many seconds, and then half as many.
    Udp { way: Way, bytes: usize, seconds: f64 },
    /// Exchange single bytes in datagrams.
    UdpRtt { count: usize },
    /// Be a server too, on every address of one's own, until the end.
    Serve,
    /// Try until a server answers over TLS.
    TlsReach,
    /// Open TLS connections for one short request each, so many at a time, for so many seconds; with the
    /// sessions of those before, or with none.
    TlsHandshake { clients: usize, seconds: f64, resumes: bool },
    /// Exchange so many requests over one TLS connection.
    TlsRequest { count: usize },
    /// Upload over TLS for so many seconds.
    TlsUp { seconds: f64 },
    /// Likewise, in chunks.
    TlsUpChunked { seconds: f64 },
    /// Download likewise.
    TlsDown { seconds: f64 },
    /// Exchange requests of HTTP/2, on so many streams at a time, for so many seconds.
    Http2 { streams: usize, seconds: f64 },
    /// Open TLS connections for so many seconds, and then beside others for so many names.
    TlsFlood { names: usize, seconds: f64 },
    /// End.
    Quit,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reach => f.write_str("reach"),
            Self::Up { streams, seconds } => write!(f, "up {streams} {seconds}"),
            Self::Down { streams, seconds } => write!(f, "down {streams} {seconds}"),
            Self::Rtt { count } => write!(f, "rtt {count}"),
            Self::RttLoaded { count } => write!(f, "rtt_loaded {count}"),
            Self::Ask { seconds } => write!(f, "ask {seconds}"),
            Self::Connect { clients, seconds } => write!(f, "connect {clients} {seconds}"),
            Self::Churn { count, clients } => write!(f, "churn {count} {clients}"),
            Self::Idle { count } => write!(f, "idle {count}"),
            Self::Alive => f.write_str("alive"),
            Self::Paced { rate, seconds } => write!(f, "paced {rate} {seconds}"),
            Self::Fin { quiet_ms, count } => write!(f, "fin {quiet_ms} {count}"),
            Self::Dns { count, seconds } => write!(f, "dns {count} {seconds}"),
            Self::Udp { way, bytes, seconds } => write!(f, "udp {way} {bytes} {seconds}"),
            Self::UdpRtt { count } => write!(f, "udp_rtt {count}"),
            Self::Serve => f.write_str("serve"),
            Self::TlsReach => f.write_str("tls_reach"),
            Self::TlsHandshake { clients, seconds, resumes } => {
                write!(f, "tls_handshake {clients} {seconds} {resumes}")
            }
            Self::TlsRequest { count } => write!(f, "tls_request {count}"),
            Self::TlsUp { seconds } => write!(f, "tls_up {seconds}"),
            Self::TlsUpChunked { seconds } => write!(f, "tls_up_chunked {seconds}"),
            Self::TlsDown { seconds } => write!(f, "tls_down {seconds}"),
            Self::Http2 { streams, seconds } => write!(f, "h2 {streams} {seconds}"),
            Self::TlsFlood { names, seconds } => write!(f, "tls_flood {names} {seconds}"),
            Self::Quit => f.write_str("quit"),
        }
    }
}

impl FromStr for Order {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        let verb = words.next().context("an empty order")?;
        let order = match verb {
            "reach" => Self::Reach,
            "up" => Self::Up { streams: next(&mut words)?, seconds: seconds(&mut words)? },
            "down" => Self::Down { streams: next(&mut words)?, seconds: seconds(&mut words)? },
            "rtt" => Self::Rtt { count: next(&mut words)? },
            "rtt_loaded" => Self::RttLoaded { count: next(&mut words)? },
            "ask" => Self::Ask { seconds: seconds(&mut words)? },
            "connect" => Self::Connect { clients: next(&mut words)?, seconds: seconds(&mut words)? },
            "churn" => Self::Churn { count: next(&mut words)?, clients: next(&mut words)? },
            "alive" => Self::Alive,
            "idle" => Self::Idle { count: next(&mut words)? },
            "paced" => Self::Paced { rate: next(&mut words)?, seconds: seconds(&mut words)? },
            "fin" => Self::Fin { quiet_ms: next(&mut words)?, count: next(&mut words)? },
            "dns" => Self::Dns { count: next(&mut words)?, seconds: seconds(&mut words)? },
            "udp" => {
                Self::Udp { way: next(&mut words)?, bytes: next(&mut words)?, seconds: seconds(&mut words)? }
            }
            "udp_rtt" => Self::UdpRtt { count: next(&mut words)? },
            "serve" => Self::Serve,
            "tls_reach" => Self::TlsReach,
            "tls_handshake" => Self::TlsHandshake {
                clients: next(&mut words)?,
                seconds: seconds(&mut words)?,
                resumes: next(&mut words)?,
            },
            "tls_request" => Self::TlsRequest { count: next(&mut words)? },
            "tls_up" => Self::TlsUp { seconds: seconds(&mut words)? },
            "tls_up_chunked" => Self::TlsUpChunked { seconds: seconds(&mut words)? },
            "tls_down" => Self::TlsDown { seconds: seconds(&mut words)? },
            "h2" => Self::Http2 { streams: next(&mut words)?, seconds: seconds(&mut words)? },
            "tls_flood" => Self::TlsFlood { names: next(&mut words)?, seconds: seconds(&mut words)? },
            "quit" => Self::Quit,
            unknown => bail!("no such order: {unknown}"),
        };
        if let Some(word) = words.next() {
            bail!("one word too many: {word}");
        }
        Ok(order)
    }
}

fn next<'w, T: FromStr>(words: &mut impl Iterator<Item = &'w str>) -> Result<T> {
    let word = words.next().context("a word is missing")?;
    word.parse().ok().with_context(|| format!("not a value that fits: {word}"))
}

/// A time that can be slept.
fn seconds<'w>(words: &mut impl Iterator<Item = &'w str>) -> Result<f64> {
    let seconds = next(words)?;
    if !(0.0..=3600.0).contains(&seconds) {
        bail!("not a number of seconds: {seconds}");
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reads_as_it_was_written() {
        for order in [
            Order::Reach,
            Order::Up { streams: 4, seconds: 2.0 },
            Order::Down { streams: 1, seconds: 0.5 },
            Order::Rtt { count: 100 },
            Order::RttLoaded { count: 100 },
            Order::Ask { seconds: 2.0 },
            Order::Connect { clients: 8, seconds: 2.0 },
            Order::Churn { count: 100_000, clients: 8 },
            Order::Idle { count: 10_000 },
            Order::Alive,
            Order::Paced { rate: 20_000_000, seconds: 3.0 },
            Order::Fin { quiet_ms: 20, count: 200 },
            Order::Dns { count: 1_000, seconds: 2.0 },
            Order::Udp { way: Way::Down, bytes: 64, seconds: 2.0 },
            Order::UdpRtt { count: 100 },
            Order::Serve,
            Order::TlsReach,
            Order::TlsHandshake { clients: 8, seconds: 2.0, resumes: true },
            Order::TlsRequest { count: 3_000 },
            Order::TlsUp { seconds: 2.0 },
            Order::TlsUpChunked { seconds: 2.0 },
            Order::TlsDown { seconds: 0.5 },
            Order::Http2 { streams: 100, seconds: 2.0 },
            Order::TlsFlood { names: 100_000, seconds: 2.0 },
            Order::Quit,
        ] {
            assert_eq!(order.to_string().parse::<Order>().expect("it is an order"), order);
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for line in ["", "upp 1 1", "up", "up 1", "up one 1", "up 1 -1", "up 1 inf", "up 1 1 1", "quit now"] {
            assert!(line.parse::<Order>().is_err(), "{line}");
        }
    }
}
