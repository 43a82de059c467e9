//! Cargo's add-on tools, installed below the target directory and nowhere else.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

/// A program that `cargo install` provides.
pub(crate) struct Tool {
    package: &'static str,
}

/// Licences, bans, sources and advisories of the dependency tree.
pub(crate) const CARGO_DENY: Tool = Tool { package: "cargo-deny" };
/// Builds and runs fuzz targets.
pub(crate) const CARGO_FUZZ: Tool = Tool { package: "cargo-fuzz" };

impl Tool {
    /// Installs the tool if it is not there yet, which takes minutes, and returns its path.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> Result<PathBuf> {
        let root = workspace.target.join("tools");
        let program = root.join("bin").join(self.package);
        if !program.is_file() {
            eprintln!("{} is missing: building it into {}, once", self.package, root.display());
            let mut cargo = workspace.cargo();
            cargo.args(["install", "--locked", self.package, "--root"]).arg(&root);
            cargo.arg("--target-dir").arg(root.join("build"));
            process::run(&mut cargo)?;
        }
        Ok(program)
    }
}

/// Puts the installed tools before everything else in the search path of `command`.
pub(crate) fn on_path(workspace: &Workspace, command: &mut Command) -> Result<()> {
    let mut path: Vec<PathBuf> = vec![workspace.target.join("tools/bin")];
    let inherited: OsString = env::var_os("PATH").unwrap_or_default();
    path.extend(env::split_paths(&inherited));
    command.env("PATH", env::join_paths(path).context("the search path holds a colon")?);
    Ok(())
}
