//! `cargo xtask layers`

use anyhow::{Result, bail};
use clap::Args;

use crate::layers::Graph;
use crate::module_order;
use crate::workspace::{Metadata, Workspace};

/// Check that every crate depends only on what its layer allows
///
/// The allowed edges are one table, in xtask/src/layers.rs. Normal and build dependencies count,
/// with all features; dev-dependencies do not. The modules of net-engine have an order of their own, in
/// xtask/src/module_order.rs.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask layers")]
pub(crate) struct Layers {}

impl Layers {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        check(workspace)?;
        eprintln!("layers hold");
        Ok(())
    }
}

/// Checks the resolved graph of `workspace`, and the modules of net-engine.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let metadata = Metadata::read(&workspace.root, &["--all-features"])?;
    let mut violations = Graph::of(&metadata).violations();
    violations.extend(module_order::violations(&workspace.root.join("net-engine"))?);
    if !violations.is_empty() {
        bail!("layers are broken:\n  {}", violations.join("\n  "));
    }
    Ok(())
}
