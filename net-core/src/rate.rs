use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use thiserror::Error;

/// How much in the long run, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Bytes or packets a second.
    pub per_second: NonZeroU64,
    /// Bytes or packets at once, after a pause.
    pub burst: NonZeroU64,
}

impl Rate {
    /// What a tenth of a second brings at once, at least `least`.
    fn with_usual_burst(per_second: NonZeroU64, least: NonZeroU64) -> Self {
        let tenth = NonZeroU64::new(per_second.get() / 10).unwrap_or(NonZeroU64::MIN);
        Self { per_second, burst: tenth.max(least) }
    }
}

/// Bytes a second, written `10 MB/s` or `80 Mbit/s`, and with `10 MB/s burst 2 MB` how many at once: by default
/// those of a tenth of a second, at least 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bandwidth(pub Rate);

/// Packets a second, written `5000/s`, and with `5000/s burst 100` how many at once: by default those of a tenth
/// of a second, at least 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketRate(pub Rate);

const LEAST_BURST_BYTES: NonZeroU64 = NonZeroU64::new(64 << 10).unwrap();
const LEAST_BURST_PACKETS: NonZeroU64 = NonZeroU64::new(32).unwrap();

/// Why text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RateError {
    /// No bandwidth has this shape.
    #[error("not a bandwidth: write it as in `10 MB/s`, `80 Mbit/s` or `10 MB/s burst 2 MB`")]
    Bandwidth,
    /// No rate of packets has this shape.
    #[error("not a rate of packets: write it as in `5000/s` or `5000/s burst 100`")]
    Packets,
    /// Bits or bytes: `Mb` is taken for both.
    #[error("`b` is taken for bits and for bytes: write `Mbit/s` or `MB/s`")]
    Ambiguous,
    /// A rate or a burst of nothing.
    #[error("with 0 nothing would ever pass: leave it out for no bound, or deny by a rule")]
    Zero,
    /// More than 64 bits hold.
    #[error("too large: leave it out for no bound")]
    TooLarge,
}

/// Splits `RATE/s [burst AMOUNT]`.
fn parts(text: &str) -> Option<(&str, Option<&str>)> {
    let (rate, burst) = match text.split_once("burst") {
        Some((rate, burst)) => (rate.trim_end().trim_end_matches(','), Some(burst.trim())),
        None => (text, None),
    };
    Some((rate.trim().strip_suffix("/s")?.trim(), burst))
}

/// A decimal number, at most six digits behind the point, times `unit` over `divisor`.
fn scaled(number: &str, unit: u64, divisor: u64) -> Option<Result<NonZeroU64, RateError>> {
    const DIGITS: usize = 6;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > DIGITS {
        return None;
    }
    let Ok(millionths) = format!("{whole}{fraction:0<DIGITS$}").parse::<u128>() else {
        return Some(Err(RateError::TooLarge));
    };
    let Some(product) = millionths.checked_mul(unit.into()) else { return Some(Err(RateError::TooLarge)) };
    let value = product / 1_000_000 / u128::from(divisor);
    Some(match u64::try_from(value).map(NonZeroU64::new) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(RateError::Zero),
        Err(_) => Err(RateError::TooLarge),
    })
}

/// Bytes: a number and a unit.
fn bytes(text: &str) -> Result<NonZeroU64, RateError> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (unit, divisor) = match unit.trim_start() {
        "B" => (1, 1),
        "kB" | "KB" => (1_000, 1),
        "MB" => (1_000_000, 1),
        "GB" => (1_000_000_000, 1),
        "KiB" => (1 << 10, 1),
        "MiB" => (1 << 20, 1),
        "GiB" => (1 << 30, 1),
        "bit" => (1, 8),
        "kbit" | "Kbit" => (1_000, 8),
        "Mbit" => (1_000_000, 8),
        "Gbit" => (1_000_000_000, 8),
        "b" | "kb" | "Kb" | "Mb" | "Gb" => return Err(RateError::Ambiguous),
        _ => return Err(RateError::Bandwidth),
    };
    scaled(number, unit, divisor).ok_or(RateError::Bandwidth)?
}

impl FromStr for Bandwidth {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (rate, burst) = parts(text).ok_or(RateError::Bandwidth)?;
        let rate = Rate::with_usual_burst(bytes(rate)?, LEAST_BURST_BYTES);
        let burst = burst.map(bytes).transpose()?;
        Ok(Self(Rate { burst: burst.unwrap_or(rate.burst), ..rate }))
    }
}

impl FromStr for PacketRate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (rate, burst) = parts(text).ok_or(RateError::Packets)?;
        let packets = |text: &str| scaled(text, 1, 1).ok_or(RateError::Packets)?;
        let rate = rate.strip_suffix("packets").map_or(rate, str::trim_end);
        let rate = Rate::with_usual_burst(packets(rate)?, LEAST_BURST_PACKETS);
        let burst = burst.map(packets).transpose()?;
        Ok(Self(Rate { burst: burst.unwrap_or(rate.burst), ..rate }))
    }
}

/// The largest unit that says it exactly.
fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: NonZeroU64) -> fmt::Result {
    const UNITS: [(u64, &str); 6] = [
        (1_000_000_000, "GB"),
        (1 << 30, "GiB"),
        (1_000_000, "MB"),
        (1 << 20, "MiB"),
        (1_000, "kB"),
        (1 << 10, "KiB"),
    ];
    let exact = UNITS.into_iter().find(|(unit, _)| bytes.get().is_multiple_of(*unit));
    let (unit, name) = exact.unwrap_or((1, "B"));
    write!(f, "{} {name}", bytes.get() / unit)
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(f, self.0.per_second)?;
        f.write_str("/s")?;
        if self.0 != Rate::with_usual_burst(self.0.per_second, LEAST_BURST_BYTES) {
            f.write_str(" burst ")?;
            write_bytes(f, self.0.burst)?;
        }
        Ok(())
    }
}

impl fmt::Display for PacketRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0.per_second)?;
        if self.0 != Rate::with_usual_burst(self.0.per_second, LEAST_BURST_PACKETS) {
            write!(f, " burst {}", self.0.burst)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cases = [(&'static str, Result<(u64, u64), RateError>)];

    #[test]
    fn people_write_rates_in_several_ways() {
        const CASES: &Cases = &[
            ("10 MB/s", Ok((10_000_000, 1_000_000))),
            ("10MB/s", Ok((10_000_000, 1_000_000))),
            ("80 Mbit/s", Ok((10_000_000, 1_000_000))),
            ("1.5 MB/s", Ok((1_500_000, 150_000))),
            ("1 Gbit/s", Ok((125_000_000, 12_500_000))),
            ("1 MiB/s burst 2 MiB", Ok((1 << 20, 2 << 20))),
            ("1 MB/s, burst 100 kB", Ok((1_000_000, 100_000))),
            ("100 B/s", Ok((100, 64 << 10))),
            ("10 Mb/s", Err(RateError::Ambiguous)),
            ("10 MB", Err(RateError::Bandwidth)),
            ("10 MB/h", Err(RateError::Bandwidth)),
            ("MB/s", Err(RateError::Bandwidth)),
            ("-1 MB/s", Err(RateError::Bandwidth)),
            ("1e3 MB/s", Err(RateError::Bandwidth)),
            ("1.0000001 MB/s", Err(RateError::Bandwidth)),
            ("10 MB/s burst", Err(RateError::Bandwidth)),
            ("10 MB/s burst 1", Err(RateError::Bandwidth)),
            ("", Err(RateError::Bandwidth)),
            ("0 MB/s", Err(RateError::Zero)),
            ("1 bit/s", Err(RateError::Zero)),
            ("1 MB/s burst 0 B", Err(RateError::Zero)),
            ("99999999999 GB/s", Err(RateError::TooLarge)),
            ("999999999999999999999999999999999999999999 GB/s", Err(RateError::TooLarge)),
        ];
        for (text, expected) in CASES {
            let parsed = text.parse::<Bandwidth>();
            let shown = parsed.map(|Bandwidth(rate)| (rate.per_second.get(), rate.burst.get()));
            assert_eq!(shown, *expected, "{text}");
            if let Ok(parsed) = parsed {
                assert_eq!(parsed.to_string().parse(), Ok(parsed), "{text}");
            }
        }
    }

    #[test]
    fn packets_are_counted_without_a_unit() {
        const CASES: &Cases = &[
            ("5000/s", Ok((5_000, 500))),
            ("5000 packets/s", Ok((5_000, 500))),
            ("10/s burst 3", Ok((10, 3))),
            ("10/s", Ok((10, 32))),
            ("0/s", Err(RateError::Zero)),
            ("5k/s", Err(RateError::Packets)),
            ("5000", Err(RateError::Packets)),
        ];
        for (text, expected) in CASES {
            let parsed = text.parse::<PacketRate>();
            let shown = parsed.map(|PacketRate(rate)| (rate.per_second.get(), rate.burst.get()));
            assert_eq!(shown, *expected, "{text}");
            if let Ok(parsed) = parsed {
                assert_eq!(parsed.to_string().parse(), Ok(parsed), "{text}");
            }
        }
    }
}
