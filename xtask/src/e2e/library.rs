//! What Python does not bring, for both ends of the tests: protocols that nothing in a distribution speaks
//! from the command line, and clients as their users install them.

use anyhow::Result;

use crate::e2e::scratch::Scratch;
use crate::space::clean;
use crate::workspace::Workspace;
use crate::{process, python};

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

/// An echo server that nobody here wrote.
pub(crate) const HTTPBIN: Library =
    Library { directory: "httpbin", packages: include_str!("library/httpbin.txt") };

impl Library {
    /// Puts the library where servers and guests find it; `Some` says why it is not there.
    ///
    /// It is installed below the target directory, once.
    pub(crate) fn provide(&self, workspace: &Workspace, scratch: &Scratch) -> Result<Option<String>> {
        let library = match python::provide(workspace, self.directory, self.packages)? {
            Ok(library) => library,
            Err(why) => return Ok(Some(why)),
        };
        let copy = scratch.path(self.directory);
        process::run(clean("cp").arg("-r").arg(&library).arg(&copy))?;
        process::run(clean("chmod").args(["-R", "a+rX"]).arg(&copy))?;
        Ok(None)
    }
}
