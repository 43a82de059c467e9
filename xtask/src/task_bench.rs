//! `cargo xtask bench`

use std::time::SystemTime;

use anyhow::{Result, bail};
use clap::Args;

use crate::workspace::Workspace;
use crate::{figures, process};

/// Run benches and print their figures, machine-readable, at the end
///
/// `figure <id> <median> <unit> <min>..<max>`, one a result, and `ratio <id> <peer> <x.xx>`, one
/// a peer: above 1 we are ahead. A bench names a peer by a segment `peer:<name>` in its id.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask bench                     every crate\n  \
                        cargo xtask bench net-sni             one crate\n  \
                        cargo xtask bench net-sni classify    the ids that contain `classify`\n  \
                        cargo xtask bench net-sni | grep ^ratio")]
pub(crate) struct Bench {
    /// Only this crate
    #[arg(value_name = "CRATE")]
    name: Option<String>,
    /// Only the ids that contain this
    filter: Option<String>,
}

impl Bench {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let mut members = workspace.select(self.name.as_deref())?;
        members.retain(|member| member.has_benches());
        if members.is_empty() {
            bail!("there is no bench in {}", self.name.as_deref().unwrap_or("any crate"));
        }
        let dir = workspace.target.join("criterion");
        let began = SystemTime::now();
        for member in members {
            let mut cargo = workspace.cargo();
            cargo.args(["bench", "-p", &member.name, "--all-features", "--benches", "--"]);
            cargo.args(&self.filter).env("CRITERION_HOME", &dir);
            process::run(&mut cargo)?;
        }
        for line in figures::lines(&figures::read(&dir, began)?) {
            println!("{line}");
        }
        Ok(())
    }
}
