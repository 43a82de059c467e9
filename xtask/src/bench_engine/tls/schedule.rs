//! Whose turn it is: rounds, in each of which every system is started afresh and measured.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::bench_engine::axis::Axis;
use crate::bench_engine::mitmproxy;
use crate::bench_engine::network::Network;
use crate::bench_engine::running::Running;
use crate::bench_engine::samples::Samples;
use crate::bench_engine::sampling::Session;
use crate::bench_engine::schedule::{self, Plan};
use crate::bench_engine::tls::system::System;
use crate::bench_engine::tls::{certificates, report};
use crate::programs;
use crate::workspace::Workspace;

/// What the load is made with, besides what every load is.
const NEEDED: &[(&str, &str)] =
    &[("openssl", "openssl"), ("nginx", "nginx-light"), ("h2load", "nghttp2-client")];

/// Carries out what of the plan is about TLS, and prints what was found.
pub(crate) fn run(workspace: &Workspace, plan: &Plan) -> Result<()> {
    schedule::require(&programs::ensure(NEEDED)?)?;
    let mut samples = Samples::default();
    let mut bench = Bench::new(workspace, plan, &mut samples)?;
    let axes = Axis::tls_compared(&plan.axes);
    if !axes.is_empty() {
        for round in 1..=plan.rounds {
            for system in bench.systems.clone() {
                let axes: Vec<Axis> = axes.iter().copied().filter(|axis| system.takes_part(*axis)).collect();
                if !axes.is_empty() {
                    bench.compare(round, system, &axes, &mut samples);
                }
            }
            report::keep(workspace, plan, &samples)?;
        }
    }
    if plan.axes.contains(&Axis::TlsFlood) {
        for system in [System::Ours, System::Direct] {
            if bench.systems.contains(&system) {
                bench.flood(system, &mut samples);
            }
        }
    }
    report::print(workspace, plan, &mut samples)
}

/// Where the systems run, and those that do.
struct Bench<'b> {
    plan: &'b Plan,
    network: Network,
    systems: Vec<System>,
    /// Where Python finds it.
    mitmproxy: Option<PathBuf>,
}

impl<'b> Bench<'b> {
    /// Builds and installs what is to be measured; what cannot be had is absent.
    fn new(workspace: &Workspace, plan: &'b Plan, samples: &mut Samples<System>) -> Result<Self> {
        // What plays no part is not built.
        let plays = |system: &System| plan.axes.iter().any(|axis| axis.is_tls() && system.takes_part(*axis));
        let chosen = |system: &System| {
            plays(system) && (plan.tls_systems.is_empty() || plan.tls_systems.contains(system))
        };
        let mut systems: Vec<System> = System::ALL.into_iter().filter(chosen).collect();
        let network = schedule::network(workspace)?;
        certificates::make(&network)?;
        let mut mitmproxy = None;
        systems.retain(|system| {
            let ready = match system {
                System::Reference | System::ReferenceSecret | System::ReferenceBodySecret => {
                    network.put_reference(workspace)
                }
                System::Mitmproxy => provide_mitmproxy(workspace, &network).map(|at| mitmproxy = Some(at)),
                System::Ours | System::OursHttp | System::OursSecrets | System::Splice | System::Direct => {
                    Ok(())
                }
            };
            if let Err(error) = &ready {
                absent(*system, format!("{error:#}"), samples);
            }
            ready.is_ok()
        });
        Ok(Self { plan, network, systems, mitmproxy })
    }

    fn compare(&mut self, round: usize, system: System, axes: &[Axis], samples: &mut Samples<System>) {
        let label = format!("{round}/{} {}", self.plan.rounds, system.name());
        match self.start(system, samples, &label) {
            Ok(mut session) => session.compare(axes),
            Err(error) if round == 1 => {
                self.systems.retain(|other| *other != system);
                absent(system, format!("does not start: {error:#}"), samples);
            }
            Err(error) => remark(format!("{label} does not start: {error:#}"), samples),
        }
    }

    /// Once: it takes as long as a round of all the others. Without an engine it tells what the machine itself
    /// does under as many handshakes.
    fn flood(&self, system: System, samples: &mut Samples<System>) {
        let label = format!("1/1 {}", system.name());
        match self.start(system, samples, &label) {
            Ok(mut session) => session.flood(),
            Err(error) => remark(format!("{label} does not start: {error:#}"), samples),
        }
    }

    fn start<'s>(
        &'s self,
        system: System,
        samples: &'s mut Samples<System>,
        label: &str,
    ) -> Result<Session<'s, System>> {
        eprintln!("{label}  starts");
        let launch = system.launch(self.mitmproxy.as_ref());
        let running = Running::start(&self.network, self.network.serve_tls()?, &launch)?;
        Session::new(&self.network, system, running, samples, label.to_owned(), self.plan.seconds)
    }
}

fn absent(system: System, why: String, samples: &mut Samples<System>) {
    eprintln!("{} is absent: {why}", system.name());
    samples.absent.push((system, why));
}

fn remark(remark: String, samples: &mut Samples<System>) {
    eprintln!("{remark}");
    samples.remarks.push(remark);
}

fn provide_mitmproxy(workspace: &Workspace, network: &Network) -> Result<PathBuf> {
    match mitmproxy::provide(workspace)? {
        Ok(library) => {
            mitmproxy::make_authority(network, &library)?;
            Ok(library)
        }
        Err(why) => bail!("{why}"),
    }
}
