use std::fmt;

/// What a placeholder did where it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The environment variable the guest knows the secret by.
    pub env: String,
    /// What is wrong.
    pub kind: ViolationKind,
}

/// Why a placeholder ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ViolationKind {
    /// It was on its way to a host it is not bound to.
    Host,
    /// It stood where it is not replaced: a target, a body, an encoded form.
    Place,
    /// Upstream has not proved who it is.
    Identity,
    /// The real value cannot stand there: it holds a control byte.
    Value,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            ViolationKind::Host => "was on its way to a host it is not bound to",
            ViolationKind::Place => "stood in a place it is not bound to",
            ViolationKind::Identity => "was on its way to a server that has not proved its identity",
            ViolationKind::Value => "has a value that cannot stand in a header",
        };
        write!(f, "secret {} {why}", self.env)
    }
}

impl std::error::Error for Violation {}
