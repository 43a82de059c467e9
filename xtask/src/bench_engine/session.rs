//! One system being measured in one round.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::bench_engine::axis::Axis;
use crate::bench_engine::launch::Launch;
use crate::bench_engine::network::Network;
use crate::bench_engine::quiet::Awake;
use crate::bench_engine::running::Running;
use crate::bench_engine::samples::{Measure, Samples, Unit};
use crate::bench_engine::sampling::Session;
use crate::bench_engine::system::{Maker, System};
use crate::bench_engine::usage::Usage;
use crate::load::{self, Answer, Flood, Order, Pace, Way};

const STREAMS: [usize; 3] = [1, 4, 64];
const CLIENTS: [usize; 3] = [1, 8, 64];
const ROUND_TRIPS: usize = 5_000;
/// Fewer: a round trip beside a download may take long.
const LOADED_ROUND_TRIPS: usize = 1_000;
const QUESTIONS: usize = 5_000;
const DATAGRAMS: [(Way, usize); 4] = [(Way::Up, 64), (Way::Up, 1400), (Way::Down, 64), (Way::Down, 1400)];
const IDLE_FLOWS: [usize; 5] = [10, 100, 1_000, 10_000, 50_000];
const CLIENTS_BESIDE_IDLE: usize = 8;
const DESCRIPTORS_BESIDE_IDLE: usize = 1_000;
const PACES_MB_PER_S: [u64; 5] = [1, 5, 20, 50, 200];
const PACED_SECONDS: f64 = 3.0;
/// Milliseconds of quiet before the end, and how often.
const FINS: [(u64, usize); 3] = [(20, 200), (100, 100), (1_000, 20)];
/// Samples of throughput that a flood lasts.
const FLOOD_SAMPLES: f64 = 5.0;
const CHURN: (usize, usize) = (1_000_000, 8);

impl<'s> Session<'s, System> {
    /// Starts the system, by `launch`.
    pub(crate) fn start(
        network: &'s Network,
        system: System,
        launch: &Launch,
        samples: &'s mut Samples,
        label: String,
        seconds: f64,
    ) -> Result<Self> {
        eprintln!("{label}  starts");
        let running = Running::start(network, network.serve()?, launch)?;
        Ok(Self { network, system, running, samples, label, seconds })
    }

    /// Takes the samples of every axis on which systems are compared. A failure is remarked and
    /// the next sample tried.
    pub(crate) fn compare(&mut self, axes: &[Axis]) {
        self.attempt("memory", |session| session.memory("start"));
        for axis in axes {
            match axis {
                Axis::Up => self.bulk("up", |streams, seconds| Order::Up { streams, seconds }),
                Axis::Down => self.bulk("down", |streams, seconds| Order::Down { streams, seconds }),
                Axis::Rtt => self.attempt("rtt", Self::rtt_awake),
                Axis::RttIdle => self.attempt("rtt_idle", Self::rtt_idle),
                Axis::RttLoaded => self.attempt("rtt_loaded", Self::rtt_loaded),
                Axis::Connect => {
                    for clients in CLIENTS {
                        self.attempt("connect", |session| session.connect(clients));
                    }
                }
                Axis::Dns => self.attempt("dns", Self::dns),
                Axis::Udp => {
                    for (way, bytes) in DATAGRAMS {
                        self.attempt("udp", |session| session.datagrams(way, bytes));
                    }
                    self.attempt("udp_rtt", Self::datagram_round_trips);
                }
                Axis::Publish => self.attempt("publish", Self::published),
                Axis::Idle
                | Axis::Paced
                | Axis::Fin
                | Axis::Churn
                | Axis::Flood
                | Axis::Guests
                | Axis::TlsHandshake
                | Axis::TlsRequest
                | Axis::TlsBulk
                | Axis::TlsSecrets
                | Axis::TlsH2
                | Axis::TlsFlood => {}
            }
        }
        self.attempt("memory", |session| session.memory("end"));
    }

    /// Takes the samples of one axis on which only ours is measured.
    pub(crate) fn alone(&mut self, axis: Axis) {
        match axis {
            Axis::Idle => self.attempt("idle", Self::idle),
            Axis::Paced => {
                for rate in PACES_MB_PER_S {
                    self.attempt("paced", |session| session.paced(rate));
                }
            }
            Axis::Fin => {
                for (quiet_ms, count) in FINS {
                    self.attempt("fin", |session| session.fin(quiet_ms, count));
                }
            }
            Axis::Churn => self.attempt("churn", Self::churn),
            Axis::Flood => {
                for kind in Flood::ALL {
                    self.attempt("flood", |session| session.flood(kind));
                }
            }
            Axis::Up
            | Axis::Down
            | Axis::Rtt
            | Axis::RttIdle
            | Axis::RttLoaded
            | Axis::Connect
            | Axis::Dns
            | Axis::Guests
            | Axis::Udp
            | Axis::Publish
            | Axis::TlsHandshake
            | Axis::TlsRequest
            | Axis::TlsBulk
            | Axis::TlsSecrets
            | Axis::TlsH2
            | Axis::TlsFlood => {}
        }
    }

    fn bulk(&mut self, way: &str, order: impl Fn(usize, f64) -> Order) {
        for streams in STREAMS {
            let path = format!("tcp/{way}/{streams}");
            match self.throughput(order(streams, self.seconds)) {
                Ok(Throughput { gbit_per_s, cpu_s_per_gib }) => {
                    self.compared(&path, Unit::GbitPerS, gbit_per_s);
                    if let Some(cost) = cpu_s_per_gib.filter(|_| streams == 1) {
                        self.compared(&format!("cpu/{way}"), Unit::SPerGib, cost);
                    }
                }
                Err(error) => {
                    self.remark(&path, &error);
                    self.compared(&path, Unit::GbitPerS, 0.0);
                }
            }
        }
    }

    fn throughput(&mut self, order: Order) -> Result<Throughput> {
        self.wait_for_quiet()?;
        let before = self.running.cpu_time()?;
        let answer = self.running.ask(order)?;
        let after = self.running.cpu_time()?;
        let Answer::Moved { gbit_per_s, total_bytes, broken } = answer else { bail!("{answer:?}") };
        if broken > 0 {
            self.remark(&order.to_string(), &anyhow::anyhow!("{broken} connections broke"));
        }
        let used = before.zip(after).map(|(before, after)| after.saturating_sub(before).as_secs_f64());
        let gib = total_bytes as f64 / f64::from(1 << 30);
        Ok(Throughput { gbit_per_s, cpu_s_per_gib: used.filter(|_| gib > 0.0).map(|used| used / gib) })
    }

    fn rtt_awake(&mut self) -> Result<()> {
        self.wait_for_quiet()?;
        let awake = Awake::new(self.network)?;
        let done = self.round_trips("rtt", Order::Rtt { count: ROUND_TRIPS });
        drop(awake);
        done
    }

    fn rtt_idle(&mut self) -> Result<()> {
        self.wait_for_quiet()?;
        self.round_trips("rtt_idle", Order::Rtt { count: ROUND_TRIPS })
    }

    fn rtt_loaded(&mut self) -> Result<()> {
        self.wait_for_quiet()?;
        self.round_trips("rtt_loaded", Order::RttLoaded { count: LOADED_ROUND_TRIPS })
    }

    fn round_trips(&mut self, path: &str, order: Order) -> Result<()> {
        let answer = self.running.ask(order)?;
        let Answer::Rtt { p50_us, p99_us } = answer else { bail!("{answer:?}") };
        self.compared(path, Unit::Us, p50_us);
        self.compared(&format!("{path}_p99"), Unit::Us, p99_us);
        Ok(())
    }

    fn connect(&mut self, clients: usize) -> Result<()> {
        let Connections { per_s, errors, p99_ms, s_per_100k } = self.connections(clients)?;
        if let Some(cost) = s_per_100k {
            self.compared(&format!("cpu/connect/{clients}"), Unit::SPer100k, cost);
        }
        self.compared(&format!("connect/{clients}"), Unit::PerS, per_s);
        self.compared(&format!("connect_p99/{clients}"), Unit::Ms, p99_ms);
        self.compared(&format!("connect_errors/{clients}"), Unit::Count, errors as f64);
        Ok(())
    }

    fn connections(&mut self, clients: usize) -> Result<Connections> {
        self.wait_for_quiet()?;
        let before = self.running.cpu_time()?;
        let answer = self.running.ask(Order::Connect { clients, seconds: self.seconds })?;
        let after = self.running.cpu_time()?;
        let Answer::Short { total, per_s, errors, p99_ms, .. } = answer else { bail!("{answer:?}") };
        let used = before.zip(after).map(|(before, after)| after.saturating_sub(before).as_secs_f64());
        let s_per_100k = used.filter(|_| total > 0).map(|used| used / total as f64 * 1e5);
        Ok(Connections { per_s, errors, p99_ms, s_per_100k })
    }

    /// The CPUs are kept awake while one question waits for the other, and are busy by themselves after.
    fn dns(&mut self) -> Result<()> {
        self.wait_for_quiet()?;
        let awake = Awake::new(self.network)?;
        let answer = self.running.ask(Order::Dns { count: QUESTIONS, seconds: self.seconds });
        drop(awake);
        let answer = answer?;
        let Answer::Named { p50_us, p99_us, per_s, lost } = answer else { bail!("{answer:?}") };
        self.compared("dns/rtt", Unit::Us, p50_us);
        self.compared("dns/rtt_p99", Unit::Us, p99_us);
        self.compared("dns/rate", Unit::PerS, per_s);
        self.compared("dns/lost", Unit::Count, lost as f64);
        Ok(())
    }

    fn datagrams(&mut self, way: Way, bytes: usize) -> Result<()> {
        self.wait_for_quiet()?;
        let answer = self.running.ask(Order::Udp { way, bytes, seconds: self.seconds })?;
        let Answer::Datagrams { per_s, lost_percent, half_lost_percent } = answer else {
            bail!("{answer:?}")
        };
        self.compared(&format!("udp/{way}/{bytes}"), Unit::PerS, per_s);
        self.compared(&format!("udp_lost/{way}/{bytes}"), Unit::Percent, lost_percent);
        self.compared(&format!("udp_half_lost/{way}/{bytes}"), Unit::Percent, half_lost_percent);
        Ok(())
    }

    fn datagram_round_trips(&mut self) -> Result<()> {
        self.wait_for_quiet()?;
        let awake = Awake::new(self.network)?;
        let answer = self.running.ask(Order::UdpRtt { count: ROUND_TRIPS });
        drop(awake);
        let answer = answer?;
        let Answer::Rtt { p50_us, p99_us } = answer else { bail!("{answer:?}") };
        self.compared("udp_rtt", Unit::Us, p50_us);
        self.compared("udp_rtt_p99", Unit::Us, p99_us);
        Ok(())
    }

    /// The agent serves, and a client outside connects to the ports of the host that lead to it; then one on the host
    /// itself, for whom pasta needs no packets.
    fn published(&mut self) -> Result<()> {
        if self.system.maker() == Maker::Slirp {
            // It publishes by requests to a socket of its own.
            return Ok(());
        }
        let answer = self.running.ask(Order::Serve)?;
        if answer != Answer::Serving {
            bail!("{answer:?}");
        }
        self.published_to("publish", Running::outside(self.network)?)?;
        self.published_to("publish_local", Running::beside(self.network)?)
    }

    fn published_to(&mut self, path: &str, mut client: Running) -> Result<()> {
        for clients in CLIENTS {
            self.wait_for_quiet()?;
            let answer = client.ask(Order::Connect { clients, seconds: self.seconds })?;
            let Answer::Short { per_s, errors, .. } = answer else { bail!("{answer:?}") };
            self.compared(&format!("{path}/connect/{clients}"), Unit::PerS, per_s);
            self.compared(&format!("{path}/connect_errors/{clients}"), Unit::Count, errors as f64);
        }
        let orders = [
            ("in", Order::Up { streams: 1, seconds: self.seconds }),
            ("out", Order::Down { streams: 1, seconds: self.seconds }),
        ];
        for (way, order) in orders {
            self.wait_for_quiet()?;
            let answer = client.ask(order)?;
            let Answer::Moved { gbit_per_s, .. } = answer else { bail!("{answer:?}") };
            self.compared(&format!("{path}/{way}"), Unit::GbitPerS, gbit_per_s);
        }
        Ok(())
    }

    fn memory(&mut self, when: &str) -> Result<()> {
        let Some(usage) = self.running.usage()? else { return Ok(()) };
        self.compared(&format!("memory/{when}"), Unit::Kib, usage.rss_kib);
        if let Some(pss) = usage.pss_kib.filter(|_| self.system.maker() == Maker::Ours) {
            self.compared(&format!("memory/{when}_pss"), Unit::Kib, pss);
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        let mut resident = Vec::new();
        // Each takes a descriptor of the engine, of the agent and of the servers.
        let most = load::raise_descriptor_limit().saturating_sub(DESCRIPTORS_BESIDE_IDLE);
        for count in IDLE_FLOWS.map(|count| count.min(most)) {
            let answer = self.running.ask(Order::Idle { count })?;
            if answer != (Answer::Held { total: count }) {
                bail!("{answer:?}");
            }
            let Throughput { gbit_per_s, .. } =
                self.throughput(Order::Down { streams: 1, seconds: self.seconds })?;
            self.own(format!("idle/{count}"), Unit::GbitPerS, gbit_per_s);
            let Connections { per_s, errors, s_per_100k, .. } = self.connections(CLIENTS_BESIDE_IDLE)?;
            self.own(format!("idle/{count}/connect"), Unit::PerS, per_s);
            self.own(format!("idle/{count}/connect_errors"), Unit::Count, errors as f64);
            if let Some(cost) = s_per_100k {
                self.own(format!("idle/{count}/cpu"), Unit::SPer100k, cost);
            }
            // After the download, so that its buffers are in each of the samples.
            let rss_kib = self.own_usage()?.rss_kib;
            self.own(format!("memory/idle/{count}"), Unit::Kib, rss_kib);
            resident.push((count, rss_kib));
        }
        // None was dropped: they are counted by who holds them.
        let answer = self.running.ask(Order::Alive)?;
        let Answer::Held { total } = answer else { bail!("{answer:?}") };
        self.own("idle/alive".to_owned(), Unit::Count, total as f64);
        if let [(few, small), .., (many, large)] = resident[..] {
            let bytes = (large - small) * 1024.0 / (many - few) as f64;
            self.own("memory/idle_flow".to_owned(), Unit::Bytes, bytes);
        }
        Ok(())
    }

    fn paced(&mut self, mb_per_s: u64) -> Result<()> {
        self.wait_for_quiet()?;
        let rate = mb_per_s * 1_000_000;
        let answer = self.running.ask(Order::Paced { rate, seconds: PACED_SECONDS })?;
        let Answer::Paced(Pace { bytes, seconds, longest_gap_ms }) = answer else { bail!("{answer:?}") };
        self.own(format!("paced/{mb_per_s}"), Unit::Share, bytes as f64 / seconds / rate as f64);
        self.own(format!("gap/{mb_per_s}"), Unit::Ms, longest_gap_ms);
        Ok(())
    }

    fn fin(&mut self, quiet_ms: u64, count: usize) -> Result<()> {
        self.wait_for_quiet()?;
        let answer = self.running.ask(Order::Fin { quiet_ms, count })?;
        let Answer::Late { p99_ms, .. } = answer else { bail!("{answer:?}") };
        self.own(format!("fin/{quiet_ms}"), Unit::Ms, p99_ms);
        Ok(())
    }

    fn churn(&mut self) -> Result<()> {
        let (count, clients) = CHURN;
        self.churn_state("before")?;
        let answer = self.running.ask(Order::Churn { count, clients })?;
        let Answer::Short { per_s, errors, .. } = answer else { bail!("{answer:?}") };
        self.own("churn/connections".to_owned(), Unit::PerS, per_s);
        self.own("churn/errors".to_owned(), Unit::Count, errors as f64);
        self.churn_state("after")
    }

    fn churn_state(&mut self, when: &str) -> Result<()> {
        let Throughput { gbit_per_s, .. } =
            self.throughput(Order::Down { streams: 1, seconds: self.seconds })?;
        let Usage { rss_kib, descriptors, .. } = self.own_usage()?;
        self.own(format!("churn/down_{when}"), Unit::GbitPerS, gbit_per_s);
        self.own(format!("churn/memory_{when}"), Unit::Kib, rss_kib);
        if let Some(descriptors) = descriptors {
            self.own(format!("churn/descriptors_{when}"), Unit::Count, descriptors as f64);
        }
        Ok(())
    }

    /// Requests on one connection, alone and beside a flood. Without an engine it tells what the machine itself
    /// does while a program of the guest takes all of a processor.
    fn flood(&mut self, kind: Flood) -> Result<()> {
        let (name, seconds) = (kind.name(), self.seconds * FLOOD_SAMPLES);
        self.wait_for_quiet()?;
        let idle = self.asked(seconds)?;
        self.memory_of_flood(name, "before")?;
        let (used, began) = (self.running.cpu_time()?, Instant::now());
        let flood = self.running.flood(self.network, kind, seconds)?;
        let beside = self.asked(seconds);
        let sent_per_s = flood.end()?;
        let beside = beside?;
        let used = used.zip(self.running.cpu_time()?).map(|(before, after)| after.saturating_sub(before));
        if let Some(used) = used {
            let share = used.as_secs_f64() / began.elapsed().as_secs_f64();
            self.compared(&format!("flood/{name}/cpu"), Unit::Percent, share * 100.0);
        }
        self.memory_of_flood(name, "after")?;
        self.compared(&format!("flood/{name}/sent"), Unit::PerS, sent_per_s);
        self.compared(&format!("flood/{name}/idle_p99"), Unit::Us, idle.p99_us);
        self.compared(&format!("flood/{name}/beside_p99"), Unit::Us, beside.p99_us);
        self.compared(&format!("flood/{name}/p50"), Unit::Times, beside.p50_us / idle.p50_us);
        self.compared(&format!("flood/{name}/p99"), Unit::Times, beside.p99_us / idle.p99_us);
        self.compared(&format!("flood/{name}/errors"), Unit::Count, (idle.errors + beside.errors) as f64);
        Ok(())
    }

    fn memory_of_flood(&mut self, name: &str, when: &str) -> Result<()> {
        if let Some(usage) = self.running.usage()? {
            self.compared(&format!("flood/{name}/memory_{when}"), Unit::Kib, usage.rss_kib);
        }
        Ok(())
    }

    fn asked(&mut self, seconds: f64) -> Result<Asked> {
        let answer = self.running.ask(Order::Ask { seconds })?;
        let Answer::Asked { total, errors, p50_us, p99_us } = answer else { bail!("{answer:?}") };
        if total == 0 {
            bail!("none of {errors} requests was answered");
        }
        Ok(Asked { p50_us, p99_us, errors })
    }

    fn own_usage(&self) -> Result<Usage> {
        self.running.usage()?.ok_or_else(|| anyhow::anyhow!("{} is no process", self.system.name()))
    }

    fn compared(&mut self, path: &str, unit: Unit, value: f64) {
        self.add(Measure::PerMtu(path.to_owned()), path, unit, value);
    }

    fn own(&mut self, id: String, unit: Unit, value: f64) {
        self.add(Measure::Whole(id.clone()), &id, unit, value);
    }
}

/// What became of requests.
struct Asked {
    p50_us: f64,
    p99_us: f64,
    errors: usize,
}

struct Connections {
    per_s: f64,
    errors: usize,
    p99_ms: f64,
    /// CPU time of the system for 100,000; there is none where nothing moved or nothing runs.
    s_per_100k: Option<f64>,
}

struct Throughput {
    gbit_per_s: f64,
    /// Of the system; there is none where nothing moved or nothing runs.
    cpu_s_per_gib: Option<f64>,
}
