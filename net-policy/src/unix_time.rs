use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// A moment of the wall clock, in whole seconds since 1970 and before the year 10000.
///
/// The caller reads the clock; what lies before 1970 is taken for its first second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixTime(u64);

/// Why text is no [`UnixTime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a time: write it in UTC, as in `2026-12-31T23:59:59Z`")]
pub struct UnixTimeError;

impl UnixTime {
    /// The last second of the year 9999, the last that RFC 3339 can write.
    const LAST: u64 = 253_402_300_799;

    /// That many seconds after the start of 1970; the last second of 9999 where that is later.
    pub const fn from_secs(secs: u64) -> Self {
        Self(if secs > Self::LAST { Self::LAST } else { secs })
    }

    /// Seconds since the start of 1970.
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        Self::from_secs(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

impl FromStr for UnixTime {
    type Err = UnixTimeError;

    /// Parses RFC 3339, in UTC.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_rfc3339(text).map(Self::from).map_err(|_| UnixTimeError)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0)).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_themselves() {
        for (text, secs) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-12-31T23:59:59Z", 1_798_761_599),
            ("9999-12-31T23:59:59Z", UnixTime::LAST),
        ] {
            assert_eq!(text.parse(), Ok(UnixTime::from_secs(secs)), "{text}");
            assert_eq!(UnixTime::from_secs(secs).to_string(), text);
        }
        for text in ["", "tomorrow", "2026-12-31", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+02:00"] {
            assert_eq!(text.parse::<UnixTime>(), Err(UnixTimeError), "{text}");
        }
        assert_eq!(UnixTime::from(UNIX_EPOCH - Duration::from_secs(5)), UnixTime::from_secs(0));
        assert_eq!(UnixTime::from_secs(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
    }
}
