//! `cargo xtask e2e`

use anyhow::Result;
use clap::Args;

use crate::e2e::{self, Choice, Link, User};
use crate::workspace::Workspace;

/// The end-to-end tests alone
///
/// curl, openssl, dig, Python, clients of DHCP and ordinary clients up to Chromium under `net-engine run`, nginx and
/// others behind it, in network namespaces that end with this command. Tests run over each link, as
/// root and as an ordinary user, those whose outcome does not depend on it once; what cannot run here
/// is named at the end.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask e2e                        all of them\n  \
                        cargo xtask e2e secret                 those with `secret` in their name\n  \
                        cargo xtask e2e isolation              those of rows/isolation.rs\n  \
                        cargo xtask e2e clients                git, pip, npm, gRPC, Java, a browser…\n  \
                        cargo xtask e2e --link tap --user root\n  \
                        cargo xtask e2e --captures             all of them, each frame judged by tshark\n  \
                        cargo xtask e2e dig --keep             keep servers' logs and outputs")]
pub(crate) struct E2e {
    /// Only tests whose name contains this, or those of a table in xtask/src/e2e/rows
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Only over this link
    #[arg(long, value_enum)]
    link: Option<Link>,
    /// Only as this user
    #[arg(long, value_enum)]
    user: Option<User>,
    /// Capture each test on the guest's side of the link, offloads off, and have tshark judge every frame
    #[arg(long)]
    captures: bool,
    /// Keep the directory with logs and outputs
    #[arg(long)]
    keep: bool,
}

impl E2e {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        let Self { filter, link, user, captures, keep } = self;
        let choice = Choice { filter, link, user, captures, keep, require_all: false };
        for remark in e2e::play(workspace, &choice)? {
            eprintln!("note: {remark}");
        }
        Ok(())
    }
}
