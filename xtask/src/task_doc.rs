//! `cargo xtask doc`

use anyhow::Result;
use clap::Args;

use crate::process;
use crate::workspace::Workspace;

/// Build the documentation; a warning is an error
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask doc\n  cargo xtask doc net-policy --open")]
pub(crate) struct Doc {
    /// Only this crate
    #[arg(value_name = "CRATE")]
    name: Option<String>,
    /// Show it in the browser
    #[arg(long)]
    open: bool,
}

impl Doc {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        workspace.select(self.name.as_deref())?;
        build(workspace, self.name.as_deref(), self.open)
    }
}

/// Builds the documentation of one crate or all.
pub(crate) fn build(workspace: &Workspace, name: Option<&str>, open: bool) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["doc", "--quiet", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "-D warnings");
    match name {
        Some(name) => cargo.args(["-p", name]),
        None => cargo.arg("--workspace"),
    };
    if open {
        cargo.arg("--open");
    }
    process::run(&mut cargo)
}
