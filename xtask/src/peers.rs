//! What others made, built in a workspace of its own: `xtask/peers`.

use std::path::PathBuf;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Builds one of them, in the versions of its lockfile; where it is.
pub(crate) fn build(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let target = workspace.target.join("peers");
    let mut cargo = workspace.cargo();
    cargo.current_dir(workspace.root.join("xtask/peers")).env("CARGO_TARGET_DIR", &target);
    process::run(cargo.args(["build", "--release", "--locked", "--package", package]))?;
    Ok(target.join("release").join(package))
}
