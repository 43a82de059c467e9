//! `cargo xtask fuzz`

use std::fs;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::workspace::{Crate, Workspace};
use crate::{nightly, process, tool};

/// How long each target runs in a smoke test.
pub(crate) const SMOKE_SECS: u64 = 5;

/// Run one fuzz target, or all of them briefly
///
/// Starts from the committed corpus, `net-x/fuzz/corpus/<target>`. What it finds goes to
/// `target/fuzz/corpus/<crate>/<target>`, so the checkout stays clean; a crash goes to
/// net-x/fuzz/artifacts. Needs the nightly toolchain.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask fuzz net-sni sniff              one target for a minute\n  \
                  cargo xtask fuzz net-sni sniff --secs 3600  for an hour\n  \
                  cargo xtask fuzz --smoke                    every target for 5 s"
)]
pub(crate) struct Fuzz {
    /// The crate whose parser is fuzzed
    #[arg(value_name = "CRATE", required_unless_present = "smoke")]
    name: Option<String>,
    /// One of its targets: a file in net-x/fuzz/fuzz_targets
    #[arg(required_unless_present = "smoke")]
    target: Option<String>,
    /// How long
    #[arg(long, value_name = "N", default_value_t = 60, conflicts_with = "smoke")]
    secs: u64,
    /// Every target of every crate, 5 s each
    #[arg(long, conflicts_with_all = ["name", "target"])]
    smoke: bool,
}

impl Fuzz {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        if !nightly::installed() {
            bail!("{}", nightly::MISSING);
        }
        let (Some(name), Some(target)) = (&self.name, &self.target) else {
            return smoke(workspace);
        };
        let member = workspace.select(Some(name))?.remove(0);
        let targets = member.fuzz_targets()?;
        if !targets.contains(target) {
            bail!("{name} has no fuzz target `{target}`; there are: {}", targets.join(", "));
        }
        tool::CARGO_FUZZ.ensure(workspace)?;
        fuzz(workspace, member, target, self.secs)
    }
}

/// Runs every target of every crate for [`SMOKE_SECS`], then names those that failed.
pub(crate) fn smoke(workspace: &Workspace) -> Result<()> {
    let mut failed = Vec::new();
    let mut count = 0;
    for member in workspace.crates.iter().filter(|member| member.has_fuzz()) {
        for target in member.fuzz_targets()? {
            tool::CARGO_FUZZ.ensure(workspace)?;
            eprintln!("fuzz {} {target}", member.name);
            count += 1;
            if let Err(error) = fuzz(workspace, member, &target, SMOKE_SECS) {
                failed.push(format!("{} {target}: {error:#}", member.name));
            }
        }
    }
    if !failed.is_empty() {
        bail!("{} of {count} fuzz targets failed:\n  {}", failed.len(), failed.join("\n  "));
    }
    eprintln!("{count} fuzz targets ran {SMOKE_SECS} s each without a finding");
    Ok(())
}

fn fuzz(workspace: &Workspace, member: &Crate, target: &str, secs: u64) -> Result<()> {
    let builds = workspace.target.join("fuzz");
    let finds = builds.join("corpus").join(&member.name).join(target);
    fs::create_dir_all(&finds).with_context(|| format!("cannot create {}", finds.display()))?;
    let mut cargo = nightly::cargo(workspace);
    tool::on_path(workspace, &mut cargo)?;
    cargo.current_dir(&member.dir).args(["fuzz", "run", target, "--target-dir"]).arg(&builds);
    // libFuzzer writes to the first corpus only.
    cargo.arg(finds);
    let committed = member.dir.join("fuzz/corpus").join(target);
    if committed.is_dir() {
        cargo.arg(committed);
    }
    cargo.args(["--", &format!("-max_total_time={secs}"), "-verbosity=0", "-print_final_stats=1"]);
    process::run(&mut cargo)
}
