//! `cargo xtask demo`

use anyhow::Result;
use clap::Args;

use crate::process;
use crate::workspace::Workspace;

/// See the engine work: a guest, an upstream and what happens between them
///
/// Needs neither root nor a network: upstream and DNS server are on loopback, the guest is in
/// this process. Fails if a scene does not show what it promises.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask demo")]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let mut cargo = workspace.cargo();
        cargo.args(["run", "--quiet", "-p", "net-engine", "--example", "demo"]);
        process::run(&mut cargo)
    }
}
