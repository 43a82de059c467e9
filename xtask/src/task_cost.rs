//! `cargo xtask cost`

use anyhow::Result;
use clap::Args;

use crate::cost;
use crate::workspace::Workspace;

/// Count what the data path costs, and hold it against what is committed
///
/// Instructions, allocations and system calls of the engine's worker thread per MiB, per flow and
/// per packet, between an in-process guest and loopback. No clock is involved: a busy machine gives the
/// same figures within the band. Lines: `figure cost/<scenario>/<what> <value> /<unit> <least>..<most>`,
/// `ratio cost/<scenario>/<what> committed <x.xxx>` (above 1: cheaper than what is committed), and `calls
/// cost/<scenario>` with the system calls by name. A figure more than 10 % above the committed one fails,
/// and so does one more than 10 % below, until it is accepted. Figures below one may differ by a tenth of a
/// unit.
///
/// Needs valgrind and strace. Root on a Debian-like system gets them installed; elsewhere the last
/// lines say what was not counted and why.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask cost              count and compare\n  \
                        cargo xtask cost --accept     commit to the figures of this checkout\n  \
                        cargo xtask cost --require    fail where something cannot be counted\n  \
                        cargo xtask cost | grep ^figure")]
pub(crate) struct Cost {
    /// Write the figures to net-engine/examples/cost/committed.toml
    #[arg(long)]
    accept: bool,
    /// Fail where something cannot be counted
    #[arg(long)]
    require: bool,
}

impl Cost {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let compared = cost::compare(workspace, self.accept)?;
        let remarks = compared.remarks(self.require)?;
        for remark in &remarks {
            eprintln!("note: {remark}");
        }
        if remarks.is_empty() {
            eprintln!("every figure is within 10 % of the committed one");
        }
        Ok(())
    }
}
