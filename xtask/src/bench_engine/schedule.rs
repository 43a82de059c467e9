//! Whose turn it is: rounds, in each of which every system is started afresh and measured.

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::bench_engine::axis::Axis;
use crate::bench_engine::guests;
use crate::bench_engine::network::Network;
use crate::bench_engine::report;
use crate::bench_engine::samples::Samples;
use crate::bench_engine::sampling::Session;
use crate::bench_engine::system::{Maker, System};
use crate::bench_engine::tls::{self, System as TlsSystem};
use crate::workspace::Workspace;
use crate::{load, process, programs};

/// What the network and the load are made with.
const NEEDED: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("chrt", "util-linux"),
    ("taskset", "util-linux"),
    ("dnsmasq", "dnsmasq-base"),
    ("dnsperf", "dnsperf"),
    ("iperf3", "iperf3"),
];

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// None chosen means all.
    pub(crate) systems: Vec<System>,
    /// None chosen means all of those that are not about TLS.
    pub(crate) axes: Vec<Axis>,
    /// None chosen means all; on the axes of TLS.
    pub(crate) tls_systems: Vec<TlsSystem>,
    /// How long a sample of throughput takes.
    pub(crate) seconds: f64,
}

impl Plan {
    /// Everybody on every axis.
    pub(crate) fn whole() -> Self {
        let axes = Axis::value_variants().to_vec();
        Self { rounds: 5, systems: Vec::new(), axes, tls_systems: Vec::new(), seconds: 1.0 }
    }
}

/// Carries the plan out and prints what was found.
pub(crate) fn run(workspace: &Workspace, plan: &Plan) -> Result<()> {
    let has_tls = plan.axes.iter().any(|axis| axis.is_tls());
    if plan.axes.is_empty() || plan.axes.iter().any(|axis| !axis.is_tls()) {
        run_plain(workspace, plan)?;
    }
    if has_tls { tls::run(workspace, plan) } else { Ok(()) }
}

/// Builds the engine and makes the network with the programs inside.
pub(super) fn network(workspace: &Workspace) -> Result<Network> {
    require(&programs::ensure(NEEDED)?)?;
    // One at a time: built together the engine would have the features xtask asks for.
    for package in ["net-engine", "xtask"] {
        process::run(workspace.cargo().args(["build", "--release", "-p", package]))?;
    }
    load::raise_descriptor_limit();
    let built = workspace.target.join("release");
    Network::new(&built.join("xtask"), &built.join("net-engine"))
}

/// Programs without which nothing is measured must not be absent.
pub(super) fn require(absent: &[(&str, &str)]) -> Result<()> {
    let absent: Vec<_> = absent.iter().map(|(program, package)| format!("{program} ({package})")).collect();
    if !absent.is_empty() {
        bail!("missing {}", absent.join(", "));
    }
    Ok(())
}

fn run_plain(workspace: &Workspace, plan: &Plan) -> Result<()> {
    let mut systems: Vec<System> = System::ALL
        .into_iter()
        .filter(|system| plan.systems.is_empty() || plan.systems.contains(system))
        .collect();
    let mut samples = Samples::default();
    install(&mut systems, &mut samples)?;
    let network = network(workspace)?;
    if systems.contains(&System::Reference1500)
        && let Err(error) = network.put_reference(workspace)
    {
        eprintln!("{} is absent: {error:#}", System::Reference1500.name());
        samples.absent.push((System::Reference1500, format!("{error:#}")));
        systems.retain(|system| *system != System::Reference1500);
    }
    let compared = Axis::compared(&plan.axes);
    if !compared.is_empty() {
        for round in 1..=plan.rounds {
            systems.retain(|system| compare(&network, plan, round, *system, &compared, &mut samples));
            report::keep(workspace, plan, &samples)?;
        }
    }
    let is_ours = systems.contains(&System::Ours1500);
    for round in 1..=plan.rounds {
        for axis in Axis::alone(&plan.axes) {
            // Once: a million connections take minutes, and are before and after by themselves.
            if axis == Axis::Churn && round > 1 {
                continue;
            }
            if axis == Axis::Flood {
                flood(&network, plan, round, &systems, &mut samples);
            } else if is_ours && axis == Axis::Guests {
                guests::measure(workspace, round, &mut samples);
            } else if is_ours {
                alone(&network, plan, round, (axis, System::Ours1500), &mut samples);
            }
            report::keep(workspace, plan, &samples)?;
        }
    }
    report::print(workspace, plan, &samples)
}

/// Installs what is missing; drops the systems whose program cannot be had.
fn install(systems: &mut Vec<System>, samples: &mut Samples) -> Result<()> {
    let peers: Vec<_> = [Maker::Pasta, Maker::Slirp]
        .into_iter()
        .filter(|maker| systems.iter().any(|system| system.maker() == *maker))
        .filter_map(Maker::program)
        .collect();
    let absent = programs::ensure(&peers)?;
    systems.retain(|system| {
        let program = system.maker().program().filter(|program| absent.contains(program));
        if let Some((program, package)) = program {
            let why = format!("{program} (package {package}) is not installed");
            eprintln!("{} is absent: {why}", system.name());
            samples.absent.push((*system, why));
        }
        program.is_none()
    });
    Ok(())
}

/// Whether the system goes on to the next round: one that never started does not.
fn compare(
    network: &Network,
    plan: &Plan,
    round: usize,
    system: System,
    axes: &[Axis],
    samples: &mut Samples,
) -> bool {
    let label = format!("{round}/{} {}", plan.rounds, system.name());
    match Session::start(network, system, &system.launch(), samples, label.clone(), plan.seconds) {
        Ok(mut session) => {
            session.compare(axes);
            true
        }
        Err(error) if round == 1 => {
            eprintln!("{} is absent: {error:#}", system.name());
            samples.absent.push((system, format!("does not start: {error:#}")));
            false
        }
        Err(error) => {
            eprintln!("{label} does not start: {error:#}");
            samples.remarks.push(format!("{label} does not start: {error:#}"));
            true
        }
    }
}

/// The same floods with us and with no engine at all, one behind the other.
fn flood(network: &Network, plan: &Plan, round: usize, systems: &[System], samples: &mut Samples) {
    for system in [System::Ours1500, System::Direct] {
        if systems.contains(&system) {
            alone(network, plan, round, (Axis::Flood, system), samples);
        }
    }
}

fn alone(
    network: &Network,
    plan: &Plan,
    round: usize,
    (axis, system): (Axis, System),
    samples: &mut Samples,
) {
    let label = format!("{round}/{} {}", plan.rounds, system.name());
    // A flood meets the bounds that everybody has.
    let has_defaults = axis == Axis::Flood && system.maker() == Maker::Ours;
    let launch = if has_defaults { system.launch_with_defaults() } else { system.launch() };
    match Session::start(network, system, &launch, samples, label.clone(), plan.seconds) {
        Ok(mut session) => session.alone(axis),
        Err(error) => {
            eprintln!("{label} does not start: {error:#}");
            samples.remarks.push(format!("{label} does not start: {error:#}"));
        }
    }
}
