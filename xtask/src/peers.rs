//! What others made, built in a workspace of its own: `xtask/peers`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// The crates of ours beside which benches of a peer are put, and that peer's package.
pub(crate) const BESIDE: &[(&str, &str)] = &[("net-secrets", "secrets"), ("net-tls", "authority")];

/// Builds one of them, in the versions of its lockfile; where it is.
pub(crate) fn build(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let mut cargo = cargo(workspace);
    process::run(cargo.args(["build", "--release", "--locked", "--package", package]))?;
    Ok(target(workspace).join("release").join(package))
}

/// Runs the benches of one of them that the filter names; criterion's figures go to `home`.
pub(crate) fn bench(workspace: &Workspace, package: &str, filter: Option<&str>, home: &Path) -> Result<()> {
    let mut cargo = cargo(workspace);
    cargo.args(["bench", "--locked", "--package", package, "--benches", "--"]).args(filter);
    process::run(cargo.env("CRITERION_HOME", home))
}

fn cargo(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.current_dir(workspace.root.join("xtask/peers")).env("CARGO_TARGET_DIR", target(workspace));
    cargo
}

fn target(workspace: &Workspace) -> PathBuf {
    workspace.target.join("peers")
}
