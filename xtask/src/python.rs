//! Libraries of Python that distributions do not ship.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{process, programs};

/// Installs `packages`, each with its version, below the target directory, once; where they are, or why
/// they are not.
pub(crate) fn provide(workspace: &Workspace, name: &str, packages: &str) -> Result<Result<PathBuf, String>> {
    let tools = workspace.target.join("tools").join(name);
    let (list, library) = (tools.join("packages.txt"), tools.join("library"));
    if fs::read_to_string(&list).ok().as_deref() == Some(packages) {
        return Ok(Ok(library));
    }
    if let [(program, package), ..] = programs::ensure(programs::PIP)?[..] {
        return Ok(Err(format!("missing {program} ({package})")));
    }
    let wanted = tools.join("wanted.txt");
    let _ = fs::remove_dir_all(&tools);
    fs::create_dir_all(&tools)?;
    fs::write(&wanted, packages)?;
    // With our own environment: it may name another index. But the system's Python, as whoever runs it.
    let mut pip = Command::new("python3");
    pip.env("PATH", programs::PATH);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(["--root-user-action", "ignore", "--only-binary", ":all:", "--no-deps"]);
    pip.arg("--target").arg(&library).arg("--requirement").arg(&wanted);
    if let Err(error) = process::run(&mut pip) {
        return Ok(Err(format!("{error:#}")));
    }
    // Last: what is not whole is installed again.
    fs::rename(&wanted, &list)?;
    Ok(Ok(library))
}
