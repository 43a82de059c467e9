//! Reading what secrets come from. Values are never part of an error.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use net_secrets::{SecretSource, SecretValue};
use zeroize::Zeroizing;

/// A larger value is a mistake.
const MAX_VALUE_BYTES: usize = 64 << 10;

/// Reads a source; one trailing line break is dropped, as shells do.
pub(super) fn read(source: &SecretSource) -> Result<SecretValue> {
    let mut bytes = Zeroizing::new(match source {
        SecretSource::Env(name) => {
            let value =
                std::env::var_os(name).with_context(|| format!("env:{name}: the variable is not set"))?;
            std::os::unix::ffi::OsStringExt::into_vec(value)
        }
        SecretSource::File(path) => {
            fs::read(path).with_context(|| format!("file:{}: cannot be read", path.display()))?
        }
        SecretSource::Command(command) => run(command)?,
        _ => bail!("this kind of source is not supported here"),
    });
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        bail!("the value is empty");
    }
    if bytes.len() > MAX_VALUE_BYTES {
        bail!("the value is larger than 64 KiB");
    }
    Ok(SecretValue::new(std::mem::take(&mut *bytes)))
}

fn run(command: &str) -> Result<Vec<u8>> {
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cmd: no shell")?;
    if !output.status.success() {
        bail!("cmd: the command failed ({})", output.status);
    }
    Ok(output.stdout)
}
