//! `cargo xtask ci`

use anyhow::Result;
use clap::Args;

use crate::steps::Steps;
use crate::workspace::Workspace;
use crate::{cost, nightly, task_deny, task_fuzz};

/// What continuous integration runs after the tests: deny, a fuzz smoke test, the cost of the data path
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask ci\n  \
                  cargo xtask test --require-e2e && cargo xtask ci --require-cost   what .ci/run does")]
pub(crate) struct Ci {
    /// Fail where the cost of the data path cannot be counted
    #[arg(long)]
    require_cost: bool,
}

impl Ci {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let mut steps = Steps::default();
        steps.add_with_remarks("deny", || Ok(task_deny::check(workspace)?.into_iter().collect()));
        steps.add_with_remarks("fuzz smoke", || {
            if !nightly::installed() {
                return Ok(vec![format!("fuzz targets were NOT run: {}", nightly::MISSING)]);
            }
            task_fuzz::smoke(workspace).map(|()| Vec::new())
        });
        steps.add_with_remarks("cost", || cost::compare(workspace, false)?.remarks(self.require_cost));
        steps.run()
    }
}
