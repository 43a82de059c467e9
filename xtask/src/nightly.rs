//! The nightly toolchain, which fuzzing needs and nothing else does.

use std::process::Command;

use crate::workspace::Workspace;

/// Said wherever fuzzing is left out.
pub(crate) const MISSING: &str = "no nightly toolchain: `rustup toolchain install nightly` provides one";

/// Whether rustup has a nightly toolchain.
pub(crate) fn installed() -> bool {
    let output = Command::new("rustup").args(["toolchain", "list"]).output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("nightly"))
    })
}

/// `cargo` of the nightly toolchain, in the workspace's top directory.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).current_dir(&workspace.root);
    // The outer cargo left its own toolchain here; cargo-fuzz would follow it.
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC"] {
        command.env_remove(name);
    }
    command
}
