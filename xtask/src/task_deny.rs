//! `cargo xtask deny`

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::workspace::Workspace;
use crate::{process, tool};

/// Check the dependency tree: bans, licences, sources, advisories
///
/// Rules are in deny.toml. Advisories need the RustSec database, which is fetched from the
/// network; where that cannot be reached the other checks still run, and it says so.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask deny\n  cargo xtask deny --require-advisories   \
                  fail where the advisory database cannot be reached")]
pub(crate) struct Deny {
    /// Fail when advisories could not be checked
    #[arg(long)]
    require_advisories: bool,
}

impl Deny {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let unchecked = check(workspace)?;
        match unchecked {
            None => eprintln!("bans, licences, sources and advisories hold"),
            Some(note) if self.require_advisories => bail!("{note}"),
            Some(note) => eprintln!("bans, licences and sources hold\nnote: {note}"),
        }
        Ok(())
    }
}

/// Runs every check that can be run here; returns why advisories were not among them.
pub(crate) fn check(workspace: &Workspace) -> Result<Option<String>> {
    let program = tool::CARGO_DENY.ensure(workspace)?;
    let deny = || {
        let mut command = Command::new(&program);
        command.current_dir(&workspace.root);
        command
    };
    // Duplicate versions are only warned of, and each graph would fill a screen.
    let check = ["--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    process::run(deny().args(check))
        .context("`cargo tree -e normal,build -i <crate>` shows who brings it")?;
    let fetched = deny().args(["--color", "never", "fetch", "db"]).output()?;
    if !fetched.status.success() {
        let said = String::from_utf8_lossy(&fetched.stderr);
        let why = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given");
        return Ok(Some(format!(
            "advisories were NOT checked: the RustSec database cannot be fetched here ({why})"
        )));
    }
    process::run(deny().args(["--all-features", "check", "--disable-fetch", "advisories"]))?;
    Ok(None)
}
