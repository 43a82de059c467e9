//! A QUIC stack in Python, for both ends of the tests over QUIC: nothing that distributions ship speaks it
//! from the command line.

use anyhow::Result;

use crate::e2e::scratch::Scratch;
use crate::space::clean;
use crate::workspace::Workspace;
use crate::{process, python};

/// Its directory in the scratch directory.
pub(crate) const DIRECTORY: &str = "aioquic";

/// The library and all it needs, each in the version it was tried with.
const PACKAGES: &str = include_str!("aioquic.txt");

const NOT_RUN: &str = "end-to-end tests over QUIC did NOT run: ";

/// Puts the library where servers and guests find it; `Some` says why it is not there.
///
/// It is installed below the target directory, once.
pub(crate) fn provide(workspace: &Workspace, scratch: &Scratch) -> Result<Option<String>> {
    let library = match python::provide(workspace, "aioquic", PACKAGES)? {
        Ok(library) => library,
        Err(why) => return Ok(Some(format!("{NOT_RUN}{why}"))),
    };
    let copy = scratch.path(DIRECTORY);
    process::run(clean("cp").arg("-r").arg(&library).arg(&copy))?;
    process::run(clean("chmod").args(["-R", "a+rX"]).arg(&copy))?;
    Ok(None)
}
