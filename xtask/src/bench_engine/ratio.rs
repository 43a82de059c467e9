//! How far ahead of the others we are.

use serde::{Deserialize, Deserializer, Serialize};

use crate::bench_engine::samples::{Better, Samples};
use crate::bench_engine::system::{Maker, System};

/// The best of the competitors; what is direct is a limit, not one of them.
pub(super) const BEST: &str = "best_peer";

/// Ours beside another's on one measure, at one MTU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) id: String,
    pub(crate) peer: String,
    /// Above 1 we are ahead, whatever the unit.
    #[serde(deserialize_with = "or_infinite")]
    pub(crate) ratio: f64,
}

/// JSON has no infinity: it is written as null.
fn or_infinite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

/// Every ratio the samples allow. MTUs are not mixed: what is direct has none and is a limit to
/// both.
pub(crate) fn all(samples: &Samples) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    for measure in samples.measures() {
        for (ours, mtu) in System::OURS {
            let Some(own) = samples.of(measure, ours) else { continue };
            let mut push = |peer: &str, ratio: f64| {
                ratios.push(Ratio { id: measure.id(mtu), peer: peer.to_owned(), ratio });
            };
            let mut smallest: Option<f64> = None;
            for other in System::peers(mtu) {
                let Some(series) = samples.of(measure, other) else { continue };
                let Some(ratio) = ratio(own.unit.better(), own.median(), series.median()) else { continue };
                push(other.maker().name(), ratio);
                if other.maker() != Maker::Direct {
                    // Against the best of them our lead is the smallest.
                    smallest = Some(smallest.map_or(ratio, |smallest| smallest.min(ratio)));
                }
            }
            if let Some(smallest) = smallest {
                push(BEST, smallest);
            }
        }
    }
    ratios
}

pub(super) fn ratio(better: Better, ours: f64, theirs: f64) -> Option<f64> {
    let (ahead, behind) = match better {
        Better::More => (ours, theirs),
        Better::Less => (theirs, ours),
        Better::Neither => return None,
    };
    if ahead < 0.0 || behind < 0.0 {
        // What is below nothing is no multiple of anything.
        return None;
    }
    // Nothing beside nothing is even.
    Some(if ahead == behind { 1.0 } else { ahead / behind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_engine::samples::{Measure, Unit};

    #[test]
    fn above_one_is_ahead_whatever_the_unit() {
        const CASES: &[(Better, f64, f64, f64)] = &[
            (Better::More, 20.0, 10.0, 2.0),
            (Better::Less, 20.0, 10.0, 0.5),
            (Better::Less, 10.0, 20.0, 2.0),
            (Better::More, 0.0, 10.0, 0.0),
            (Better::Less, 0.0, 0.0, 1.0),
            (Better::More, 1.0, 0.0, f64::INFINITY),
        ];
        assert_eq!(ratio(Better::Neither, 1.0, 2.0), None);
        for (better, ours, theirs, expected) in CASES {
            assert_eq!(ratio(*better, *ours, *theirs), Some(*expected), "{better:?} {ours} {theirs}");
        }
    }

    #[test]
    fn mtus_are_not_mixed_and_what_is_direct_is_no_competitor() {
        let mut samples = Samples::default();
        let measure = Measure::PerMtu("rtt".to_owned());
        for (system, value) in [
            (System::Ours1500, 50.0),
            (System::Ours65520, 40.0),
            (System::Pasta1500, 75.0),
            (System::Slirp1500, 60.0),
            (System::Pasta65520, 20.0),
            (System::Direct, 10.0),
        ] {
            samples.add(measure.clone(), system, Unit::Us, value);
        }
        let found: Vec<_> = all(&samples)
            .into_iter()
            .map(|Ratio { id, peer, ratio }| format!("{id} {peer} {ratio:.2}"))
            .collect();
        assert_eq!(
            found,
            [
                "rtt/1500 pasta 1.50",
                "rtt/1500 slirp4netns 1.20",
                "rtt/1500 direct 0.20",
                "rtt/1500 best_peer 1.20",
                "rtt/65520 pasta 0.50",
                "rtt/65520 direct 0.25",
                "rtt/65520 best_peer 0.50",
            ]
        );
    }
}
