use std::fmt;

/// Whose fault an error is: the one source for its metric label and its reply on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// The sandboxed side sent something wrong, or asked for something it may not have.
    Guest,
    /// The network side refused, broke a protocol, or could not prove who it is.
    Upstream,
    /// The machine we run on, or its owner's configuration: permissions, descriptors, files.
    Host,
    /// A bug of ours.
    Internal,
}

impl Fault {
    /// The label used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Upstream => "upstream",
            Self::Host => "host",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
