//! One system being measured in one round.

use anyhow::{Context, Result, bail};

use crate::bench_engine::axis::Axis;
use crate::bench_engine::network::Network;
use crate::bench_engine::quiet::Awake;
use crate::bench_engine::running::Running;
use crate::bench_engine::samples::{Measure, Samples, Unit};
use crate::bench_engine::sampling::Session;
use crate::bench_engine::tls::system::System;
use crate::load::{Answer, Order};

const CLIENTS: [usize; 2] = [1, 8];
const REQUESTS: usize = 2_000;
const STREAMS: usize = 100;
const FLOOD_NAMES: usize = 100_000;

/// The way up, where secrets are looked for.
const SECRETS: &str = "up_secrets";
const CHUNKED_SECRETS: &str = "up_chunked_secrets";

impl<'s> Session<'s, System> {
    /// Says which one it is, and goes on once its guest has reached a server over TLS.
    pub(super) fn new(
        network: &'s Network,
        system: System,
        mut running: Running,
        samples: &'s mut Samples<System>,
        label: String,
        seconds: f64,
    ) -> Result<Self> {
        let answer = running.ask(Order::TlsReach).with_context(|| running.said())?;
        let Answer::TlsReached { is_own } = answer else { bail!("{answer:?}") };
        if is_own == system.opens() {
            bail!("the certificate is {}the server's own", if is_own { "" } else { "not " });
        }
        Ok(Self { network, system, running, samples, label, seconds })
    }

    /// Takes the samples of every axis on which systems are compared. A failure is remarked and the
    /// next sample tried.
    pub(super) fn compare(&mut self, axes: &[Axis]) {
        self.memory("start");
        for axis in axes {
            match axis {
                Axis::TlsHandshake => {
                    for clients in CLIENTS {
                        for resumes in [false, true] {
                            self.attempt("handshake", |session| session.handshake(clients, resumes));
                        }
                    }
                }
                Axis::TlsRequest => self.attempt("request", Self::request),
                Axis::TlsBulk => {
                    let seconds = self.seconds;
                    self.attempt("up", |session| session.bulk("up", Order::TlsUp { seconds }));
                    self.attempt("down", |session| session.bulk("down", Order::TlsDown { seconds }));
                }
                Axis::TlsSecrets => {
                    let seconds = self.seconds;
                    if self.system.takes_large_bodies() {
                        self.attempt(SECRETS, |session| session.bulk(SECRETS, Order::TlsUp { seconds }));
                    }
                    let order = Order::TlsUpChunked { seconds };
                    self.attempt(CHUNKED_SECRETS, |session| session.bulk(CHUNKED_SECRETS, order));
                }
                Axis::TlsH2 => self.attempt("h2", Self::http2),
                Axis::TlsFlood
                | Axis::Up
                | Axis::Down
                | Axis::Rtt
                | Axis::RttIdle
                | Axis::Connect
                | Axis::Dns
                | Axis::Udp
                | Axis::Publish
                | Axis::Idle
                | Axis::Paced
                | Axis::Fin
                | Axis::Churn
                | Axis::Flood
                | Axis::Guests
                | Axis::RttLoaded => {}
            }
        }
        self.memory("end");
    }

    /// Takes the samples of a flood of names.
    pub(super) fn flood(&mut self) {
        self.attempt("flood", |session| {
            session.wait_for_quiet()?;
            let path = format!("tls/flood/{FLOOD_NAMES}");
            session.resident(&format!("{path}/memory_before"))?;
            let order = Order::TlsFlood { names: FLOOD_NAMES, seconds: session.seconds };
            let answer = session.running.ask(order)?;
            let Answer::Flooded { per_s, carried, errors, idle_p99_ms, p99_ms } = answer else {
                bail!("{answer:?}")
            };
            session.resident(&format!("{path}/memory_after"))?;
            session.whole(&format!("{path}/rate"), Unit::PerS, per_s);
            session.whole(&format!("{path}/carried"), Unit::Count, carried as f64);
            session.whole(&format!("{path}/others_errors"), Unit::Count, errors as f64);
            session.whole(&format!("{path}/others_idle_p99"), Unit::Ms, idle_p99_ms);
            session.whole(&format!("{path}/others_p99"), Unit::Ms, p99_ms);
            session.whole(&format!("{path}/others_p99_over_idle"), Unit::Times, p99_ms / idle_p99_ms);
            Ok(())
        });
    }

    fn handshake(&mut self, clients: usize, resumes: bool) -> Result<()> {
        self.wait_for_quiet()?;
        let order = Order::TlsHandshake { clients, seconds: self.seconds, resumes };
        let before = self.running.cpu_time()?;
        let answer = self.running.ask(order)?;
        let after = self.running.cpu_time()?;
        let Answer::Short { per_s, errors, p99_ms, .. } = answer else { bail!("{answer:?}") };
        let path = format!("{clients}{}", if resumes { "/resumed" } else { "" });
        self.whole(&format!("tls/handshake/{path}"), Unit::PerS, per_s);
        self.whole(&format!("tls/handshake_p99/{path}"), Unit::Ms, p99_ms);
        self.whole(&format!("tls/handshake_errors/{path}"), Unit::Count, errors as f64);
        let used = before.zip(after).map(|(before, after)| after.saturating_sub(before).as_secs_f64());
        if let Some(used) = used.filter(|_| per_s > 0.0) {
            let each = used * 1e6 / (per_s * self.seconds);
            self.whole(&format!("tls/handshake_cpu/{path}"), Unit::Us, each);
        }
        Ok(())
    }

    /// The CPUs are kept awake: what is asked for is what the way costs, not what waking up does.
    fn request(&mut self) -> Result<()> {
        self.wait_for_quiet()?;
        let awake = Awake::new(self.network)?;
        let answer = self.running.ask(Order::TlsRequest { count: REQUESTS });
        drop(awake);
        let answer = answer?;
        let Answer::Rtt { p50_us, p99_us } = answer else { bail!("{answer:?}") };
        self.whole("tls/request/p50", Unit::Us, p50_us);
        self.whole("tls/request/p99", Unit::Us, p99_us);
        Ok(())
    }

    fn bulk(&mut self, way: &str, order: Order) -> Result<()> {
        self.wait_for_quiet()?;
        let before = self.running.cpu_time()?;
        let answer = self.running.ask(order)?;
        let after = self.running.cpu_time()?;
        let Answer::Moved { gbit_per_s, total_bytes, broken } = answer else { bail!("{answer:?}") };
        if broken > 0 {
            self.remark(&order.to_string(), &anyhow::anyhow!("the connection broke"));
        }
        self.whole(&format!("tls/bulk/{way}"), Unit::GbitPerS, gbit_per_s);
        let used = before.zip(after).map(|(before, after)| after.saturating_sub(before).as_secs_f64());
        if let Some(used) = used.filter(|_| total_bytes > 0) {
            let gib = total_bytes as f64 / f64::from(1 << 30);
            self.whole(&format!("tls/cpu/{way}"), Unit::SPerGib, used / gib);
        }
        Ok(())
    }

    fn http2(&mut self) -> Result<()> {
        self.wait_for_quiet()?;
        let answer = self.running.ask(Order::Http2 { streams: STREAMS, seconds: self.seconds })?;
        let Answer::Requests { per_s, errors } = answer else { bail!("{answer:?}") };
        self.whole(&format!("tls/h2/{STREAMS}"), Unit::PerS, per_s);
        self.whole(&format!("tls/h2_errors/{STREAMS}"), Unit::Count, errors as f64);
        Ok(())
    }

    fn memory(&mut self, when: &str) {
        self.attempt("memory", |session| session.resident(&format!("tls/memory/{when}")));
    }

    fn resident(&mut self, path: &str) -> Result<()> {
        let Some(usage) = self.running.usage()? else { return Ok(()) };
        self.whole(path, Unit::Kib, usage.rss_kib);
        Ok(())
    }

    fn whole(&mut self, path: &str, unit: Unit, value: f64) {
        self.add(Measure::Whole(path.to_owned()), path, unit, value);
    }
}
