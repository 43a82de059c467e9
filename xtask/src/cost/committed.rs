//! The figures of the repository, and how far from them is too far.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::process::Command;

use anyhow::Result;
use serde::Deserialize;

use super::figure::{Figure, Scenario};
use crate::process;

/// Where they are, below the workspace's top directory.
pub(crate) const PATH: &str = "net-engine/examples/cost/committed.toml";

/// How far a figure may be from the committed one, as a part of it.
const BAND: f64 = 0.10;

/// And how far in any case, for figures near zero: one call in ten units.
const SLACK: f64 = 0.1;

const HEAD: &str = "\
# What one unit (MiB, flow, packet, datagram and its answer) costs the engine's worker thread: `cargo
# xtask cost` holds a change against these figures, `cargo xtask cost --accept` writes them. With another
# toolchain than this one the instructions are not held against anything: it is what writes them.
";

/// What is in the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Committed {
    pub(crate) toolchain: Toolchain,
    #[serde(flatten)]
    scenarios: BTreeMap<String, BTreeMap<String, f64>>,
}

/// What instruction figures depend on besides our code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Toolchain {
    rustc: String,
    libc: String,
    arch: String,
}

impl Toolchain {
    pub(crate) fn here() -> Result<Self> {
        let say = |program: &str, arg: &str| {
            process::output(Command::new(program).arg(arg)).map(|said| said.trim().to_owned())
        };
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        // Where there is no such question there is no such library.
        let libc = say("getconf", "GNU_LIBC_VERSION").unwrap_or_else(|_| "unknown".to_owned());
        Ok(Self { rustc: say(&rustc, "--version")?, libc, arch: std::env::consts::ARCH.to_owned() })
    }

    /// In what `here` differs, to be read by people.
    pub(crate) fn difference(&self, here: &Self) -> Option<String> {
        let pairs = [(&self.rustc, &here.rustc), (&self.libc, &here.libc), (&self.arch, &here.arch)];
        let differing: Vec<_> = pairs
            .iter()
            .filter(|(committed, here)| committed != here)
            .map(|(committed, here)| format!("this is {here}, the figure is of {committed}"))
            .collect();
        (!differing.is_empty()).then(|| differing.join("; "))
    }
}

/// What a figure is next to the committed one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    figure: Figure,
    committed: Option<f64>,
}

impl Verdict {
    /// Whether the figure is within the band: [`BAND`] of the committed one, at least [`SLACK`].
    pub(crate) fn holds(self) -> bool {
        self.standing() == Standing::Within
    }

    fn standing(self) -> Standing {
        let Some(committed) = self.committed else { return Standing::New };
        let room = (committed * BAND).max(SLACK);
        if self.figure.value > committed + room {
            Standing::Above
        } else if self.figure.value < committed - room {
            Standing::Below
        } else {
            Standing::Within
        }
    }
}

/// Where a figure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Within,
    Above,
    Below,
    /// There is no committed one.
    New,
}

/// The figure's line, and the line of what it is next to the committed one: above 1 it has become cheaper.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figure { scenario, measure, value } = self.figure;
        writeln!(f, "{}", self.figure)?;
        let Some(committed) = self.committed else { return write!(f, "no figure is committed for it") };
        // Nothing next to nothing is the same.
        let ratio = if measure.round(value) == committed { 1.0 } else { committed / value };
        write!(f, "ratio cost/{}/{} committed {ratio:.3}", scenario.name(), measure.name())?;
        match self.standing() {
            Standing::Within | Standing::New => Ok(()),
            Standing::Above => write!(f, " (ABOVE the band around {})", measure.show(committed)),
            Standing::Below => write!(f, " (BELOW the band around {})", measure.show(committed)),
        }
    }
}

impl Committed {
    pub(crate) fn of(toolchain: Toolchain, figures: &[Figure]) -> Self {
        let mut scenarios: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
        for Figure { scenario, measure, value } in figures {
            // As it is printed: what differs below that is noise.
            let of_scenario = scenarios.entry(scenario.name().to_owned()).or_default();
            of_scenario.insert(measure.name().to_owned(), measure.round(*value));
        }
        Self { toolchain, scenarios }
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    pub(crate) fn judge(&self, figure: Figure) -> Verdict {
        let values = self.scenarios.get(figure.scenario.name());
        let committed = values.and_then(|values| values.get(figure.measure.name())).copied();
        Verdict { figure, committed }
    }
}

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Toolchain { rustc, libc, arch } = &self.toolchain;
        let mut text = HEAD.to_owned();
        write!(text, "\n[toolchain]\nrustc = {rustc:?}\nlibc = {libc:?}\narch = {arch:?}\n")?;
        for scenario in Scenario::ALL {
            let Some(values) = self.scenarios.get(scenario.name()) else { continue };
            write!(text, "\n# per {}\n[{}]\n", scenario.unit(), scenario.name())?;
            for (measure, value) in values {
                writeln!(text, "{measure} = {value:?}")?;
            }
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::figure::Measure;

    fn toolchain() -> Toolchain {
        Toolchain {
            rustc: "rustc 1.95.0".to_owned(),
            libc: "glibc 2.36".to_owned(),
            arch: "x86_64".to_owned(),
        }
    }

    fn figure(measure: Measure, value: f64) -> Figure {
        Figure { scenario: Scenario::Up, measure, value }
    }

    #[test]
    fn the_band() {
        let committed =
            Committed::of(toolchain(), &[figure(Measure::Syscalls, 40.0), figure(Measure::Allocations, 0.0)]);
        const CASES: &[(Measure, f64, Standing, &str)] = &[
            (Measure::Syscalls, 40.0, Standing::Within, "committed 1.000"),
            (Measure::Syscalls, 43.9, Standing::Within, "committed 0.911"),
            (Measure::Syscalls, 36.1, Standing::Within, "committed 1.108"),
            (Measure::Syscalls, 44.1, Standing::Above, "(ABOVE the band around 40.00)"),
            (Measure::Syscalls, 35.9, Standing::Below, "(BELOW the band around 40.00)"),
            (Measure::Allocations, 0.0, Standing::Within, "committed 1.000"),
            (Measure::Allocations, 0.09, Standing::Within, "committed 0.000"),
            (Measure::Allocations, 0.11, Standing::Above, "(ABOVE the band around 0.00)"),
            (Measure::Instructions, 1.0, Standing::New, "no figure is committed for it"),
        ];
        for (measure, value, standing, end) in CASES {
            let verdict = committed.judge(figure(*measure, *value));
            let shown = verdict.to_string();
            assert_eq!(verdict.standing(), *standing, "{shown}");
            assert!(shown.starts_with("figure cost/up/") && shown.ends_with(end), "{shown}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let figures = [figure(Measure::Instructions, 123_456.0), figure(Measure::Syscalls, 8.0)];
        let committed = Committed::of(toolchain(), &figures);
        assert_eq!(Committed::parse(&committed.to_string()).unwrap(), committed);
    }

    #[test]
    fn a_toolchain_says_in_what_it_differs() {
        assert_eq!(toolchain().difference(&toolchain()), None);
        let newer = Toolchain { rustc: "rustc 1.96.0".to_owned(), ..toolchain() };
        let said = toolchain().difference(&newer);
        assert_eq!(said.as_deref(), Some("this is rustc 1.96.0, the figure is of rustc 1.95.0"));
    }
}
