//! What was measured, by measure and system.

use crate::bench_engine::system::System;
use crate::load::quantile;

/// A unit, which also says what is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    GbitPerS,
    PerS,
    /// Of a machine that has nothing to do.
    WakeupsPerS,
    Us,
    Ms,
    /// CPU time for what was moved.
    SPerGib,
    /// CPU time for 100,000 of what was done.
    SPer100k,
    Kib,
    Bytes,
    /// Of what was asked for.
    Share,
    /// So many times what it is without.
    Times,
    Count,
}

/// Which of two values is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
    /// It must be what it must be; there is no ahead.
    Neither,
}

impl Unit {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::GbitPerS => "Gbit/s",
            Self::PerS | Self::WakeupsPerS => "1/s",
            Self::Us => "us",
            Self::Ms => "ms",
            Self::SPerGib => "s/GiB",
            Self::SPer100k => "s/100k",
            Self::Kib => "KiB",
            Self::Bytes => "B",
            Self::Share => "share",
            Self::Times => "times",
            Self::Count => "count",
        }
    }

    pub(crate) fn better(self) -> Better {
        match self {
            Self::GbitPerS | Self::PerS | Self::Share => Better::More,
            Self::WakeupsPerS
            | Self::Us
            | Self::Ms
            | Self::SPerGib
            | Self::SPer100k
            | Self::Kib
            | Self::Bytes
            | Self::Times => Better::Less,
            Self::Count => Better::Neither,
        }
    }
}

/// What is measured, as a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The MTU completes the id: `tcp/up/1`.
    PerMtu(String),
    /// The id is complete: `idle/1000`.
    Whole(String),
}

impl Measure {
    /// The id for a system with this MTU.
    pub(crate) fn id(&self, mtu: u16) -> String {
        match self {
            Self::PerMtu(path) => format!("{path}/{mtu}"),
            Self::Whole(id) => id.clone(),
        }
    }
}

/// The samples of one measure on one system, one a round.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series<S = System> {
    pub(crate) measure: Measure,
    pub(crate) system: S,
    pub(crate) unit: Unit,
    /// Never empty.
    pub(crate) values: Vec<f64>,
}

impl<S> Series<S> {
    pub(crate) fn median(&self) -> f64 {
        median(&self.values)
    }

    pub(crate) fn min(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn max(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let lower = quantile(values, 0.5).unwrap_or_default();
    let mirrored: Vec<f64> = values.iter().map(|value| -value).collect();
    let upper = -quantile(&mirrored, 0.5).unwrap_or_default();
    f64::midpoint(lower, upper)
}

/// Everything measured so far, in the order it was first measured.
pub(crate) struct Samples<S = System> {
    series: Vec<Series<S>>,
    /// What went wrong, in words.
    pub(crate) remarks: Vec<String>,
    /// Systems that did not start, and why.
    pub(crate) absent: Vec<(S, String)>,
    /// Samples taken although the machine did not become quiet.
    pub(crate) disturbed: usize,
}

impl<S> Default for Samples<S> {
    fn default() -> Self {
        Self { series: Vec::new(), remarks: Vec::new(), absent: Vec::new(), disturbed: 0 }
    }
}

impl<S: Copy + PartialEq> Samples<S> {
    pub(crate) fn add(&mut self, measure: Measure, system: S, unit: Unit, value: f64) {
        let known =
            self.series.iter_mut().find(|series| series.measure == measure && series.system == system);
        match known {
            Some(series) => series.values.push(value),
            None => self.series.push(Series { measure, system, unit, values: vec![value] }),
        }
    }

    /// The measures, in the order they were first taken.
    pub(crate) fn measures(&self) -> Vec<&Measure> {
        let mut measures: Vec<&Measure> = Vec::new();
        for series in &self.series {
            if !measures.contains(&&series.measure) {
                measures.push(&series.measure);
            }
        }
        measures
    }

    pub(crate) fn of(&self, measure: &Measure, system: S) -> Option<&Series<S>> {
        self.series.iter().find(|series| series.measure == *measure && series.system == system)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_there() {
        const CASES: &[(&[f64], f64)] =
            &[(&[3.0], 3.0), (&[3.0, 1.0], 2.0), (&[9.0, 1.0, 2.0], 2.0), (&[4.0, 1.0, 3.0, 100.0], 3.5)];
        for (values, expected) in CASES {
            assert!((median(values) - expected).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    fn a_sample_joins_its_series_and_zero_counts() {
        let (up, rtt) = (Measure::PerMtu("tcp/up/1".to_owned()), Measure::PerMtu("rtt".to_owned()));
        let mut samples = Samples::<System>::default();
        for value in [2.0, 0.0, 1.0] {
            samples.add(up.clone(), System::Direct, Unit::GbitPerS, value);
        }
        samples.add(rtt.clone(), System::Direct, Unit::Us, 7.0);
        let series = samples.of(&up, System::Direct).expect("it was added");
        assert_eq!((series.median(), series.min(), series.max()), (1.0, 0.0, 2.0));
        assert_eq!(samples.measures(), [&up, &rtt]);
    }

    #[test]
    fn only_what_is_compared_has_an_mtu_in_its_id() {
        assert_eq!(Measure::PerMtu("tcp/up/1".to_owned()).id(1500), "tcp/up/1/1500");
        assert_eq!(Measure::Whole("idle/10".to_owned()).id(1500), "idle/10");
    }
}
