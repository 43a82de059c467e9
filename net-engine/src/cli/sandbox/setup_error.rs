use std::fmt;
use std::io;

/// Why a sandbox could not be set up: the step, what the system said, and what helps, in one line.
#[derive(Debug)]
pub(crate) struct SetupError(String);

impl SetupError {
    pub(super) fn new(step: impl fmt::Display, error: impl fmt::Display, remedy: &'static str) -> Self {
        Self(format!("{step}: {error} ({remedy})"))
    }

    /// An error another process has written.
    pub(super) fn from_text(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds the step and the remedy to an error of the system.
pub(super) trait Step<T> {
    fn step(self, step: impl fmt::Display, remedy: &'static str) -> Result<T, SetupError>;
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, step: impl fmt::Display, remedy: &'static str) -> Result<T, SetupError> {
        self.map_err(|error| SetupError::new(step, error, remedy))
    }
}

impl<T> Step<T> for nix::Result<T> {
    fn step(self, step: impl fmt::Display, remedy: &'static str) -> Result<T, SetupError> {
        self.map_err(|error| SetupError::new(step, io::Error::from(error), remedy))
    }
}
