//! What Python does not bring, for both ends of the tests: protocols that nothing in a distribution speaks
//! from the command line, and clients as their users install them.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::e2e::scratch::Scratch;
use crate::space::clean;
use crate::workspace::Workspace;
use crate::{process, programs};

/// Packages that are found in a directory of their own.
pub(crate) struct Library {
    /// The directory's name in the scratch directory.
    pub(crate) directory: &'static str,
    /// The packages and all they need, each in the version it was tried with.
    packages: &'static str,
}

/// A QUIC stack.
pub(crate) const AIOQUIC: Library =
    Library { directory: "aioquic", packages: include_str!("library/aioquic.txt") };

/// Clients of HTTP, gRPC and WebSocket, and servers of the last two.
pub(crate) const CLIENTS: Library =
    Library { directory: "clients", packages: include_str!("library/clients.txt") };

impl Library {
    /// Puts the library where servers and guests find it; `Some` says why it is not there.
    ///
    /// It is installed below the target directory, once.
    pub(crate) fn provide(&self, workspace: &Workspace, scratch: &Scratch) -> Result<Option<String>> {
        let tools = workspace.target.join("tools").join(self.directory);
        let (list, library) = (tools.join("packages.txt"), tools.join("library"));
        if fs::read_to_string(&list).ok().as_deref() != Some(self.packages) {
            if let [(program, package), ..] = programs::ensure(programs::PIP)?[..] {
                return Ok(Some(format!("missing {program} ({package})")));
            }
            let wanted = tools.join("wanted.txt");
            let _ = fs::remove_dir_all(&tools);
            fs::create_dir_all(&tools)?;
            fs::write(&wanted, self.packages)?;
            // With our own environment: it may name another index. But the system's Python, as the tests.
            let mut pip = Command::new("python3");
            pip.env("PATH", programs::PATH);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
            pip.args(["--root-user-action", "ignore", "--only-binary", ":all:", "--no-deps"]);
            pip.arg("--target").arg(&library).arg("--requirement").arg(&wanted);
            if let Err(error) = process::run(&mut pip) {
                return Ok(Some(format!("{error:#}")));
            }
            // Last: what is not whole is installed again.
            fs::rename(&wanted, &list)?;
        }
        let copy = scratch.path(self.directory);
        process::run(clean("cp").arg("-r").arg(&library).arg(&copy))?;
        process::run(clean("chmod").args(["-R", "a+rX"]).arg(&copy))?;
        Ok(None)
    }
}
