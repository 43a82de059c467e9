//! Namespaces without names: each lives as long as the process that holds it, and that one ends
//! when our end of its pipe closes, however this program ends. Nothing is left to clean up.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::programs;

/// The ids that own nothing on any system.
pub(crate) const NOBODY: &str = "65534";

/// A network and mount namespace, in a user namespace of its own where root is not available.
pub(crate) struct Space {
    holder: Child,
    owner: Owner,
}

/// Whose namespaces these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Root's: no user namespace is needed.
    Root,
    /// An ordinary user's, in a user namespace.
    User,
}

impl Space {
    /// Makes the first namespace of a network.
    pub(crate) fn new(owner: Owner) -> Result<Self> {
        let mut words = vec!["unshare"];
        if owner != Owner::Root {
            words.extend(["--user", "--map-root-user"]);
        }
        Self::hold(owner, &words)
    }

    /// Makes another one that the first may be joined to.
    pub(crate) fn sibling(&self) -> Result<Self> {
        let words = self.entry();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push("unshare");
        Self::hold(self.owner, &words)
    }

    fn hold(owner: Owner, words: &[&str]) -> Result<Self> {
        let mut command = clean(words[0]);
        command.args(&words[1..]).args(["--net", "--mount", "sh", "-c", "echo held; exec cat"]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = holder.stdout.take().context("stdout is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() != "held" {
            let _ = holder.wait();
            bail!("namespaces cannot be made here (`{}`)", words.join(" "));
        }
        Ok(Self { holder, owner })
    }

    /// The process whose namespaces these are.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// The words that put a command into these namespaces.
    pub(crate) fn entry(&self) -> Vec<String> {
        let mut words = vec!["nsenter"];
        if self.owner != Owner::Root {
            words.extend(["--user", "--preserve-credentials"]);
        }
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        words.extend(["--net", "--mount", "--target"].map(str::to_owned));
        words.extend([self.pid().to_string(), "--".to_owned()]);
        words
    }

    /// A command inside, that ends with the thread that starts it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let words = self.entry();
        let mut command = clean(&words[0]);
        command.args(&words[1..]).args(["setpriv", "--pdeathsig", "KILL", "--", program]);
        command
    }

    /// Runs a shell script inside, stopping at its first failure.
    pub(crate) fn script(&self, script: &str) -> Result<()> {
        let mut shell =
            self.command("sh").arg("-eux").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        shell.stdin.take().context("stdin is piped")?.write_all(script.as_bytes())?;
        let output = shell.wait_with_output()?;
        if !output.status.success() {
            let trace = String::from_utf8_lossy(&output.stderr);
            bail!("cannot set up the network ({}):\n{trace}", output.status);
        }
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// A command with nothing of our own environment but what every program needs.
pub(crate) fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs([("PATH", programs::PATH), ("LANG", "C.UTF-8"), ("HOME", "/tmp")]);
    command.current_dir("/tmp");
    command
}
