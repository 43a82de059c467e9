//! `[limits]` and `--limit`: bounds of the command's network that its owner sets.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytesize::ByteSize;
use net_core::Limits;
use toml::{Table, Value};

/// The longest time: what is added to a clock must not overflow it.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const SHORTEST: Duration = Duration::from_millis(1);

/// What may be counted where [`BOUNDS`] has nothing else.
const COUNT: RangeInclusive<i64> = 1..=1 << 30;

/// Those below or above which something would not work.
const BOUNDS: &[(&str, RangeInclusive<i64>)] = &[
    ("max_tcp_flows", 2..=1 << 20),
    ("max_queued_frames", 4..=1 << 12),
    // A window has no more (RFC 7323 section 2.3).
    ("tcp_rx_buffer_bytes", 16 << 10..=1 << 30),
    ("tcp_tx_buffer_bytes", 16 << 10..=1 << 30),
    ("max_ring_bytes", 1 << 20..=1 << 40),
    ("max_hello_bytes", 4 << 10..=1 << 20),
    ("max_header_bytes", 8 << 10..=16 << 20),
    // RFC 9113 section 6.9.1.
    ("http2_stream_window_bytes", 16 << 10..=(1 << 31) - 1),
    ("http2_window_bytes", 16 << 10..=(1 << 31) - 1),
    // A datagram is put together from its fragments whole.
    ("max_fragment_bytes", 64 << 10..=1 << 30),
];

/// A bound as it was written.
#[derive(Clone, Debug)]
pub(super) struct LimitSetting {
    /// The file and the line, or the flag.
    pub(super) place: String,
    pub(super) name: String,
    pub(super) value: Value,
}

impl LimitSetting {
    /// The value of `--limit`.
    pub(super) fn on_command_line(text: &str) -> Result<Self> {
        let place = format!("--limit \"{text}\"");
        let (name, value) = text.split_once('=').ok_or_else(|| anyhow!("{place}: write it NAME=VALUE"))?;
        let value = value.parse().map_or_else(|_| Value::String(value.to_owned()), Value::Integer);
        Ok(Self { place, name: name.to_owned(), value })
    }
}

/// The defaults with `settings` over them, later ones over earlier ones.
///
/// # Errors
/// One line that names where a bound was written, the bound, and what it may be.
pub(super) fn limits(settings: &[LimitSetting]) -> Result<Limits> {
    let defaults = Table::try_from(Limits::default())?;
    let mut table = defaults.clone();
    for LimitSetting { place, name, value } in settings {
        let default = defaults.get(name).with_context(|| {
            let names: Vec<&str> = defaults.keys().map(String::as_str).collect();
            format!("{place}: there is no limit `{name}`; there are {}", names.join(", "))
        })?;
        let value = if default.is_table() { time(value) } else { count(name, value) };
        table.insert(name.clone(), value.with_context(|| format!("{place}: {name}"))?);
    }
    Ok(table.try_into()?)
}

fn time(value: &Value) -> Result<Value> {
    let text = value.as_str().context("write a time, as in \"30s\" or \"2h\"")?;
    let time = humantime::parse_duration(text)
        .map_err(|error| anyhow!("\"{text}\" is not a time such as \"30s\" or \"2h\": {error}"))?;
    if !(SHORTEST..=LONGEST).contains(&time) {
        bail!("\"{text}\" is not between {} and 365days", humantime::format_duration(SHORTEST));
    }
    Ok(Value::try_from(time)?)
}

fn count(name: &str, value: &Value) -> Result<Value> {
    let is_size = name.ends_with("_bytes");
    let number = match value {
        Value::Integer(number) => *number,
        Value::String(text) if is_size => {
            let size: ByteSize =
                text.parse().map_err(|_| anyhow!("\"{text}\" is not a size such as \"256 KiB\""))?;
            i64::try_from(size.as_u64()).unwrap_or(i64::MAX)
        }
        Value::String(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => {
            bail!("write {}", if is_size { "a size, as in \"256 KiB\"" } else { "a whole number" })
        }
    };
    let bounds = BOUNDS.iter().find(|(bounded, _)| *bounded == name).map_or(&COUNT, |(_, bounds)| bounds);
    if !bounds.contains(&number) {
        let (least, most) = (bounds.start(), bounds.end());
        bail!("{number} is not between {least} and {most}");
    }
    Ok(Value::Integer(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[&str]) -> Result<Limits> {
        let settings = pairs.iter().map(|pair| LimitSetting::on_command_line(pair));
        limits(&settings.collect::<Result<Vec<_>>>()?)
    }

    #[test]
    fn what_is_set_is_set_and_nothing_else() {
        let expected = Limits {
            max_tcp_flows: 60_000,
            max_ring_bytes: 256 << 20,
            connect_timeout: Duration::from_secs(3),
            ..Limits::default()
        };
        let pairs =
            ["max_tcp_flows=9", "connect_timeout=3s", "max_ring_bytes=256 MiB", "max_tcp_flows=60000"];
        assert_eq!(set(&pairs).expect("they are limits"), expected);
        assert_eq!(set(&[]).expect("nothing"), Limits::default());
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        const CASES: &[(&str, &str)] = &[
            ("max_tcp_flows", "write it NAME=VALUE"),
            ("max_flows=1", "there is no limit `max_flows`"),
            ("max_tcp_flows=1", "1 is not between 2 and 1048576"),
            ("max_tcp_flows=many", "write a whole number"),
            ("max_tcp_flows=1 KiB", "write a whole number"),
            ("max_tcp_flows=-5", "-5 is not between"),
            ("tcp_rx_buffer_bytes=2 GiB", "is not between 16384 and 1073741824"),
            ("tcp_rx_buffer_bytes=big", "is not a size such as"),
            ("connect_timeout=3", "write a time"),
            ("connect_timeout=soon", "is not a time such as"),
            ("connect_timeout=0s", "is not between 1ms and 365days"),
            ("connect_timeout=5000years", "is not between 1ms and 365days"),
            ("max_http2_streams=4294967296", "is not between 1 and"),
        ];
        for (pair, expected) in CASES {
            let error = format!("{:#}", set(&[pair]).expect_err(pair));
            assert!(error.contains(expected) && error.starts_with(&format!("--limit \"{pair}\"")), "{error}");
        }
    }

    /// So that nobody is kept from writing what holds anyway.
    #[test]
    fn every_default_may_be_written() {
        let defaults = Table::try_from(Limits::default()).expect("a table");
        for (name, default) in &defaults {
            let written = if default.is_table() {
                let time: Duration = default.clone().try_into().expect("a time");
                Value::String(humantime::format_duration(time).to_string())
            } else {
                default.clone()
            };
            let setting = LimitSetting { place: String::new(), name: name.clone(), value: written };
            assert_eq!(limits(&[setting]).expect(name), Limits::default(), "{name}");
        }
        for (name, _) in BOUNDS {
            assert!(defaults.contains_key(*name), "{name}");
        }
    }
}
