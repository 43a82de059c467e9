//! The agent: runs as the guest's command and carries out orders.

use std::io::{self, BufRead, Write};
use std::net::{IpAddr, TcpStream};
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::socket::{getsockopt, sockopt};

use crate::load::answer::Answer;
use crate::load::habit::Habit;
use crate::load::order::Order;
use crate::load::servers::{PATIENCE, Servers};
use crate::load::short::Until;
use crate::load::{
    asking, bulk, datagrams, fin, idle, names, paced, ping, raise_descriptor_limit, serve, short, tls,
};

/// Carries out the orders on standard input until `quit` or the end of input.
///
/// # Errors
/// When nobody reads the answers.
pub(crate) fn agent(servers: Vec<IpAddr>) -> Result<()> {
    raise_descriptor_limit();
    let mut agent = Agent { servers: Servers::new(servers), held: Vec::new() };
    let (sender, orders) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
        // Whoever gives the orders is gone, perhaps in the middle of one.
        process::exit(0);
    });
    for line in orders {
        let answer = match line.parse() {
            Ok(Order::Quit) => break,
            Ok(order) => agent.carry_out(order),
            Err(error) => Err(error),
        };
        let answer = answer.unwrap_or_else(|error| Answer::Failed { reason: format!("{error:#}") });
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(&answer)?)?;
        stdout.flush()?;
    }
    Ok(())
}

struct Agent {
    servers: Servers,
    held: Vec<TcpStream>,
}

impl Agent {
    fn carry_out(&mut self, order: Order) -> Result<Answer> {
        let servers = &self.servers;
        Ok(match order {
            Order::Reach => reach(servers)?,
            Order::Up { streams, seconds } => bulk::run(servers, Habit::Sink, streams, seconds)?,
            Order::Down { streams, seconds } => bulk::run(servers, Habit::Source, streams, seconds)?,
            Order::Rtt { count } => ping::run(servers, count)?,
            Order::RttLoaded { count } => bulk::beside(servers, || ping::run(servers, count))?,
            Order::Ask { seconds } => asking::run(servers, seconds)?,
            Order::Connect { clients, seconds } => short::run(servers, clients, Until::Elapsed(seconds))?,
            Order::Churn { count, clients } => short::run(servers, clients, Until::Opened(count))?,
            Order::Idle { count } => {
                idle::open(servers, &mut self.held, count)?;
                Answer::Held { total: self.held.len() }
            }
            Order::Alive => Answer::Held { total: idle::alive(&self.held)? },
            Order::Paced { rate, seconds } => paced::run(servers, rate, seconds)?,
            Order::Fin { quiet_ms, count } => fin::run(servers, quiet_ms, count)?,
            Order::Dns { count, seconds } => names::run(servers.first()?, count, seconds)?,
            Order::Udp { way, bytes, seconds } => datagrams::run(servers.first()?, way, bytes, seconds)?,
            Order::UdpRtt { count } => datagrams::round_trips(servers.first()?, count)?,
            Order::Serve => {
                serve::start(&[IpAddr::from([0, 0, 0, 0])])?;
                Answer::Serving
            }
            Order::TlsReach => tls::reach(servers)?,
            Order::TlsHandshake { clients, seconds, resumes } => {
                tls::handshake(servers, clients, seconds, resumes)?
            }
            Order::TlsRequest { count } => tls::request(servers, count)?,
            Order::TlsUp { seconds } => tls::up(servers, seconds)?,
            Order::TlsUpChunked { seconds } => tls::up_chunked(servers, seconds)?,
            Order::TlsDown { seconds } => tls::down(servers, seconds)?,
            Order::Http2 { streams, seconds } => tls::h2(servers, streams, seconds)?,
            Order::TlsFlood { names, seconds } => tls::flood(servers, names, seconds)?,
            Order::Quit => bail!("an agent that quits does not answer"),
        })
    }
}

/// The network may still be coming up.
fn reach(servers: &Servers) -> Result<Answer> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ping::run(servers, 1).and_then(|_| congestion_control(servers)) {
            Ok(congestion_control) => return Ok(Answer::Reached { congestion_control }),
            Err(error) if Instant::now() > deadline => bail!("no server can be reached: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The one that connections to the servers get.
fn congestion_control(servers: &Servers) -> io::Result<String> {
    let name = getsockopt(&servers.connect(Habit::Echo)?, sockopt::TcpCongestion)?;
    // The kernel fills the name up with NUL bytes.
    Ok(name.to_string_lossy().trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_answered_over_loopback() {
        // An address of its own, should this test run twice at a time.
        let [.., high, low] = process::id().to_be_bytes();
        let loopback = IpAddr::from([127, high, low, 77]);
        serve::start(&[loopback]).expect("the ports are free");
        let mut agent = Agent { servers: Servers::new(vec![loopback]), held: Vec::new() };
        let mut answer = |order: &str| {
            let order = order.parse().expect("it is an order");
            agent.carry_out(order).unwrap_or_else(|error| panic!("{order}: {error:#}"))
        };
        assert!(matches!(answer("reach"), Answer::Reached { .. }));
        for order in ["up 2 0.1", "down 2 0.1"] {
            let Answer::Moved { total_bytes, broken: 0, .. } = answer(order) else { panic!("{order}") };
            assert!(total_bytes > 0, "{order}");
        }
        assert!(matches!(answer("rtt 10"), Answer::Rtt { .. }));
        assert!(matches!(answer("rtt_loaded 10"), Answer::Rtt { .. }));
        assert!(matches!(answer("connect 2 0.1"), Answer::Short { errors: 0, .. }));
        assert!(matches!(answer("churn 50 4"), Answer::Short { errors: 0, .. }));
        assert_eq!(answer("idle 5"), Answer::Held { total: 5 });
        assert_eq!(answer("idle 7"), Answer::Held { total: 7 });
        assert_eq!(answer("alive"), Answer::Held { total: 7 });
        let Answer::Paced(pace) = answer("paced 20000000 0.1") else { panic!("paced") };
        assert!(pace.bytes > 0 && pace.seconds > 0.0);
        assert!(matches!(answer("fin 1 3"), Answer::Late { .. }));
        assert!(matches!(answer("udp_rtt 10"), Answer::Rtt { .. }));
    }
}
