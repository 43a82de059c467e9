//! What a server does with a connection, and on which port.

/// Where each byte is returned.
pub(crate) const ECHO_PORT: u16 = 7103;

/// A server's habit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Reads as fast as it can.
    Sink,
    /// Writes as fast as it can.
    Source,
    /// Returns each byte.
    Echo,
    /// Reads a byte, writes a KiB, closes first.
    Short,
    /// Exchanges a byte and keeps the connection.
    Idle,
    /// Reads at a given pace and tells how it went.
    Paced,
    /// Ends its half at a moment it tells beforehand.
    Fin,
}

impl Habit {
    /// Every habit.
    pub(crate) const ALL: [Self; 7] =
        [Self::Sink, Self::Source, Self::Echo, Self::Short, Self::Idle, Self::Paced, Self::Fin];

    /// The port it is found on: none that an engine looks into.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Sink => 7101,
            Self::Source => 7102,
            Self::Echo => ECHO_PORT,
            Self::Short => 7104,
            Self::Idle => 7105,
            Self::Paced => 7106,
            Self::Fin => 7107,
        }
    }
}
