//! `cargo xtask test`

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::e2e::{self, Choice};
use crate::steps::Steps;
use crate::workspace::{Crate, Workspace};
use crate::{process, programs, task_doc, task_layers, task_limits};

/// Everything a change must pass
///
/// Formatting, clippy, each crate on its own, unit and doc tests (which replay the fuzz corpora),
/// benches as tests, fuzz crates, layers, documentation, end to end. All steps run; what failed
/// is listed at the end.
///
/// The end-to-end tests need programs such as curl and nginx. Root on a Debian-like system gets
/// them installed; elsewhere the last lines say which tests were skipped and why.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask test                  everything\n  \
                        cargo xtask test net-policy       one crate\n  \
                        cargo xtask test --require-e2e    a skipped end-to-end test is a failure")]
pub(crate) struct Test {
    /// Only this crate
    #[arg(value_name = "CRATE")]
    name: Option<String>,
    /// Fail if an end-to-end test cannot run here
    #[arg(long)]
    require_e2e: bool,
}

impl Test {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let members = workspace.select(self.name.as_deref())?;
        let name = self.name.as_deref();
        let has_library = members.iter().any(|member| member.has_library());
        let mut steps = Steps::default();
        steps.add("formatting", || formatting(workspace, name, &members));
        steps.add("layers", || task_layers::check(workspace));
        steps.add("clippy", || {
            let mut cargo = on(workspace, name, &["clippy", "--quiet", "--all-targets", "--all-features"]);
            process::run(cargo.args(["--", "-D", "warnings"]))
        });
        steps.add("each crate on its own", || alone(workspace, &members));
        steps.add("unit tests", || {
            if let [(program, package), ..] = *programs::ensure(programs::JUDGES)? {
                bail!("certificates cannot be judged without `{program}` (Debian package {package})");
            }
            // Of a program alone cargo will not be asked for a library.
            let kinds =
                ["--lib", "--bins", "--tests", "--examples"].into_iter().skip(usize::from(!has_library));
            process::run(on(workspace, name, &["test", "--quiet", "--all-features"]).args(kinds))
        });
        if has_library {
            steps.add("doc tests", || {
                process::run(&mut on(workspace, name, &["test", "--quiet", "--all-features", "--doc"]))
            });
        }
        if members.iter().any(|member| member.has_benches()) {
            // Of the whole workspace at once: one crate's features alone would build its libraries anew.
            let benches = ["test", "--quiet", "--all-features", "--benches"];
            steps.add("benches as tests", move || process::run(&mut on(workspace, name, &benches)));
        }
        steps.add("fuzz crates", || fuzz_crates(workspace, &members));
        steps.add("documentation", || {
            task_limits::check(workspace)?;
            task_doc::build(workspace, name, false)
        });
        if name.is_none_or(|name| name == "net-engine") {
            let choice = Choice { require_all: self.require_e2e, ..Choice::default() };
            steps.add_with_remarks("end to end", move || e2e::play(workspace, &choice));
        }
        steps.run()
    }
}

/// `cargo <args>` for one crate or all.
fn on(workspace: &Workspace, name: Option<&str>, args: &[&str]) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(args);
    match name {
        Some(name) => cargo.args(["-p", name]),
        None => cargo.arg("--workspace"),
    };
    cargo
}

fn formatting(workspace: &Workspace, name: Option<&str>, members: &[&Crate]) -> Result<()> {
    let mut cargo = workspace.cargo();
    match name {
        Some(name) => cargo.args(["fmt", "--check", "-p", name]),
        None => cargo.args(["fmt", "--check", "--all"]),
    };
    process::run(&mut cargo)?;
    for member in members.iter().filter(|member| member.has_fuzz()) {
        let mut cargo = workspace.cargo();
        process::run(cargo.args(["fmt", "--check", "--manifest-path"]).arg(member.fuzz_manifest()))?;
    }
    Ok(())
}

/// A workspace build gives a crate the features its siblings asked for; this one does not.
fn alone(workspace: &Workspace, members: &[&Crate]) -> Result<()> {
    for member in members {
        let check = ["check", "--quiet", "-p", &member.name, "--no-default-features"];
        process::run(workspace.cargo().args(check))?;
        if let Some((_, features)) = BARE_METAL.iter().find(|(name, _)| *name == member.name)
            && installed(BARE_METAL_TARGET)?
        {
            process::run(workspace.cargo().args(check).args(["--target", BARE_METAL_TARGET]))?;
            let features = ["--features", features, "--target", BARE_METAL_TARGET];
            process::run(workspace.cargo().args(check).args(features))?;
        }
    }
    Ok(())
}

/// Crates that need no operating system, with the features that do not either.
const BARE_METAL: &[(&str, &str)] = &[("net-sni", "fingerprint,quic")];

/// A target without std: what compiles for it uses none, on any machine that has the target.
const BARE_METAL_TARGET: &str = "thumbv7em-none-eabi";

fn installed(target: &str) -> Result<bool> {
    let Ok(sysroot) = Command::new("rustc").args(["--print", "sysroot"]).output() else { return Ok(false) };
    let sysroot = String::from_utf8(sysroot.stdout)?;
    Ok(Path::new(sysroot.trim_end()).join("lib/rustlib").join(target).is_dir())
}

/// On stable: whether they compile, not what they find.
fn fuzz_crates(workspace: &Workspace, members: &[&Crate]) -> Result<()> {
    let members: Vec<_> = members.iter().filter(|member| member.has_fuzz()).collect();
    if members.is_empty() {
        return Ok(());
    }
    if let [(program, package), ..] = *programs::ensure(programs::FUZZ)? {
        bail!("libFuzzer cannot be compiled without `{program}` (Debian package {package})");
    }
    for member in members {
        let mut cargo = workspace.cargo();
        cargo.args(["check", "--quiet", "--locked", "--manifest-path"]).arg(member.fuzz_manifest());
        cargo.arg("--target-dir").arg(workspace.target.join("fuzz"));
        process::run(cargo.env("RUSTFLAGS", "--cfg fuzzing"))?;
    }
    Ok(())
}
