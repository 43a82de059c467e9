//! Tests that need a network of their own, and run again in one.

use std::io;
use std::process::{Command, Output};

/// Runs the ignored test of this name in a network namespace of its own, behind `setup`, a line of a shell.
///
/// Where not even `needed` runs in such a namespace it says that nothing is tested.
///
/// # Panics
/// When the set-up or the test fails, or there is no test of that name.
#[allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
pub(crate) fn test_in_own_network(name: &str, needed: &str, setup: &str) {
    if !in_namespaces(&["sh", "-c", needed]).is_ok_and(|output| output.status.success()) {
        eprintln!("NOT TESTED: a network namespace in which `{needed}` runs is not to be had here");
        return;
    }
    let script = format!("{setup} && exec \"$0\" --exact {name} --ignored");
    let own = std::env::current_exe().unwrap();
    let output = in_namespaces(&["sh", "-c", &script, own.to_str().unwrap()]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn in_namespaces(words: &[&str]) -> io::Result<Output> {
    Command::new("unshare").args(["--user", "--map-root-user", "--net", "--"]).args(words).output()
}
