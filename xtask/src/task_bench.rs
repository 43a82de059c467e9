//! `cargo xtask bench`

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::bench_engine::{self, Absent, Axis, Plan, System, TlsSystem};
use crate::workspace::Workspace;
use crate::{bench_report, figures, peers, process};

/// Run benches and print their figures, machine-readable, at the end
///
/// `figure <id> <median> <unit> <min>..<max>`, one a result, and `ratio <id> <peer> <x.xx>`, one
/// a peer: above 1 we are ahead. A bench names a peer by a segment `peer:<name>` in its id. What was
/// found is also written to `bench/<crate>.json` in the target directory, unless a filter left some out.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  cargo xtask bench                     every crate\n  \
                        cargo xtask bench net-sni             one crate\n  \
                        cargo xtask bench net-sni classify    the ids that contain `classify`\n  \
                        cargo xtask bench net-sni | grep ^ratio\n  \
                        cargo xtask bench engine --help       the engine beside its peers\n  \
                        cargo xtask bench --peers             all of that, and a report, about an hour\n  \
                        cargo xtask bench report              a report of what was measured last")]
pub(crate) struct Bench {
    #[command(subcommand)]
    whole: Option<Whole>,
    /// The engine beside its peers on every axis, and a report with plots (`bench/report.md` in the target directory)
    #[arg(long, conflicts_with = "name")]
    peers: bool,
    /// Only this crate
    #[arg(value_name = "CRATE")]
    name: Option<String>,
    /// Only the ids that contain this
    filter: Option<String>,
}

/// What is measured from outside, not by a crate's own benches.
#[derive(Subcommand)]
enum Whole {
    Engine(EngineBench),
    Report(Report),
}

/// One document of what runs of `bench engine` and of crates' benches found
///
/// Tables, what should hold and whether it does, a plot for each section, and the findings as JSON.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask bench report                        of the last runs\n  \
                        cargo xtask bench report --into docs/bench      kept beside the documents\n  \
                        cargo xtask bench report a.json b.json          of b, and of a what b has not")]
struct Report {
    /// Findings that were kept, a later one before an earlier one [default: those of the last runs]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where it is written [default: `bench` in the target directory]
    #[arg(long, value_name = "DIRECTORY")]
    into: Option<PathBuf>,
}

/// The engine beside pasta, slirp4netns and no engine at all
///
/// A guest puts the same load on each, in namespaces that end with this command; the systems take
/// turns. Root on a Debian-like system gets missing peers installed; one that is absent or does
/// not start is named. The figures are also written to `bench/engine.json` in the target
/// directory.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench engine               everything, about 35 minutes\n  \
                        cargo xtask bench engine --axes up --systems ours-1500,direct --rounds 1\n  \
                        cargo xtask bench engine --axes rtt,connect --rounds 11\n  \
                        cargo xtask bench engine --axes udp,publish\n  \
                        cargo xtask bench engine --axes churn | grep ^figure\n  \
                        cargo xtask bench engine --axes flood          beside floods of 10 s each\n  \
                        cargo xtask bench engine --tls         TLS, about 13 minutes\n  \
                        cargo xtask bench engine --axes tls_secrets\n  \
                        cargo xtask bench engine --axes tls_bulk --tls-systems ours,splice --rounds 1"
)]
struct EngineBench {
    /// How often each system is started and measured
    #[arg(long, value_name = "N", default_value = "5", value_parser = positive)]
    rounds: usize,
    /// Only these systems
    #[arg(long, value_enum, value_name = "SYSTEM", value_delimiter = ',')]
    systems: Vec<System>,
    /// Only what is measured on these axes
    #[arg(long, value_enum, value_name = "AXIS", value_delimiter = ',')]
    axes: Vec<Axis>,
    /// TLS beside the reference and mitmproxy, on all of its axes
    #[arg(long, conflicts_with = "axes")]
    tls: bool,
    /// Only these systems, on the axes of TLS
    #[arg(long, value_enum, value_name = "SYSTEM", value_delimiter = ',')]
    tls_systems: Vec<TlsSystem>,
    /// How long a sample of throughput or connections takes
    #[arg(long = "secs", value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    seconds: f64,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "give a whole number from 1".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds.ok_or_else(|| "give seconds from 0.1 to 60".to_owned())
}

impl Bench {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        match self.whole {
            Some(Whole::Engine(EngineBench { rounds, systems, axes, tls, tls_systems, seconds })) => {
                let axes = if tls { Axis::TLS.to_vec() } else { axes };
                return bench_engine::run(workspace, &Plan { rounds, systems, axes, tls_systems, seconds });
            }
            Some(Whole::Report(Report { files, into })) => {
                return bench_report::write(workspace, &files, into.as_deref());
            }
            None if self.peers => {
                bench_engine::run(workspace, &Plan::whole())?;
                return bench_report::write(workspace, &[], None);
            }
            None => {}
        }
        let mut members = workspace.select(self.name.as_deref())?;
        members.retain(|member| member.has_benches());
        if members.is_empty() {
            bail!("there is no bench in {}", self.name.as_deref().unwrap_or("any crate"));
        }
        let dir = workspace.target.join("criterion");
        let (mut found, mut absent_peers) = (Vec::new(), Vec::new());
        for member in members {
            let (began, mut absent) = (SystemTime::now(), Vec::new());
            let mut cargo = workspace.cargo();
            cargo.args(["bench", "-p", &member.name, "--all-features", "--benches", "--"]);
            cargo.args(&self.filter).env("CRITERION_HOME", &dir);
            process::run(&mut cargo)?;
            for (_, peer) in peers::BESIDE.iter().filter(|(name, _)| *name == member.name) {
                // It is built from a registry that need not be within reach.
                if let Err(error) = peers::bench(workspace, peer, self.filter.as_deref(), &dir) {
                    absent.push(Absent { system: (*peer).to_owned(), why: format!("{error:#}") });
                }
            }
            let figures = figures::read(&dir, began)?;
            if self.filter.is_none() {
                figures::findings(workspace, &figures, absent.clone()).keep(workspace, &member.name)?;
            }
            found.extend(figures);
            absent_peers.extend(absent);
        }
        for Absent { system, why } in absent_peers {
            println!("absent {system}: {why}");
        }
        for line in figures::lines(&found) {
            println!("{line}");
        }
        Ok(())
    }
}
