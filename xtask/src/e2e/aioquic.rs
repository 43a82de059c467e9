//! A QUIC stack in Python, for both ends of the tests over QUIC: nothing that distributions ship speaks it
//! from the command line.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::e2e::scratch::Scratch;
use crate::space::clean;
use crate::workspace::Workspace;
use crate::{process, programs};

/// Its directory in the scratch directory.
pub(crate) const DIRECTORY: &str = "aioquic";

/// The library and all it needs, each in the version it was tried with.
const PACKAGES: &str = include_str!("aioquic.txt");

const NOT_RUN: &str = "end-to-end tests over QUIC did NOT run: ";

/// Puts the library where servers and guests find it; `Some` says why it is not there.
///
/// It is installed below the target directory, once.
pub(crate) fn provide(workspace: &Workspace, scratch: &Scratch) -> Result<Option<String>> {
    let tools = workspace.target.join("tools/aioquic");
    let (list, library) = (tools.join("packages.txt"), tools.join("library"));
    if fs::read_to_string(&list).ok().as_deref() != Some(PACKAGES) {
        if let [(program, package), ..] = programs::ensure(programs::PIP)?[..] {
            return Ok(Some(format!("{NOT_RUN}missing {program} ({package})")));
        }
        let wanted = tools.join("wanted.txt");
        let _ = fs::remove_dir_all(&tools);
        fs::create_dir_all(&tools)?;
        fs::write(&wanted, PACKAGES)?;
        // With our own environment: it may name another index. But the system's Python, as the tests.
        let mut pip = Command::new("python3");
        pip.env("PATH", programs::PATH);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
        pip.args(["--root-user-action", "ignore", "--only-binary", ":all:", "--no-deps"]);
        pip.arg("--target").arg(&library).arg("--requirement").arg(&wanted);
        if let Err(error) = process::run(&mut pip) {
            return Ok(Some(format!("{NOT_RUN}{error:#}")));
        }
        // Last: what is not whole is installed again.
        fs::rename(&wanted, &list)?;
    }
    let copy = scratch.path(DIRECTORY);
    process::run(clean("cp").arg("-r").arg(&library).arg(&copy))?;
    process::run(clean("chmod").args(["-R", "a+rX"]).arg(&copy))?;
    Ok(None)
}
