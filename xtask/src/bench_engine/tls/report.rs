//! What was found of TLS.

use anyhow::Result;

use crate::bench_engine::ratio::{self, BEST, Ratio};
use crate::bench_engine::report::{self, Figure, Findings};
use crate::bench_engine::samples::{Measure, Samples, Unit};
use crate::bench_engine::schedule::Plan;
use crate::bench_engine::tls::system::System;
use crate::workspace::Workspace;

/// How an id says that secrets are looked for.
const SECRETS: &str = "secrets";

/// Keeps what was found so far as `bench/engine-tls.json` below the target directory.
pub(super) fn keep(workspace: &Workspace, plan: &Plan, samples: &Samples<System>) -> Result<Findings> {
    let mut findings =
        Findings::new(workspace, report::how(plan)).with_notes(samples, |system| system.name().to_owned());
    findings.figures = figures(samples);
    findings.ratios = ratios(samples);
    findings.keep(workspace, "engine-tls")?;
    Ok(findings)
}

/// Keeps everything and prints it.
pub(super) fn print(workspace: &Workspace, plan: &Plan, samples: &mut Samples<System>) -> Result<()> {
    add_added(samples);
    keep(workspace, plan, samples)?.print(&table(samples));
    Ok(())
}

/// What a request takes longer than one that is spliced, round by round.
fn add_added(samples: &mut Samples<System>) {
    for rank in ["p50", "p99"] {
        let measure = Measure::Whole(format!("tls/request/{rank}"));
        let values = |system| samples.of(&measure, system).map(|series| series.values.clone());
        let Some(splice) = values(System::Splice) else { continue };
        let added = [System::Ours, System::OursHttp, System::Reference, System::Mitmproxy]
            .map(|system| (system, values(system).unwrap_or_default()));
        for (system, own) in added {
            for (own, splice) in own.iter().zip(&splice) {
                let path = Measure::Whole(format!("tls/added/{rank}"));
                samples.add(path, system, Unit::Us, own - splice);
            }
        }
    }
}

/// The id of ours, where HTTP is parsed or not, and secrets are looked for or not.
fn id(measure: &Measure, ours: System) -> String {
    let Measure::Whole(path) = measure else { return measure.id(0) };
    if ours == System::OursHttp {
        return format!("{path}/http");
    }
    let says_so = path.ends_with(SECRETS);
    if ours == System::OursSecrets && !says_so { format!("{path}/{SECRETS}") } else { path.clone() }
}

/// Those of ours whose figures of `measure` have an id of their own: without secrets it is a peer where they are
/// looked for.
fn ours_of(measure: &Measure) -> impl Iterator<Item = System> {
    let is_of_secrets = matches!(measure, Measure::Whole(path) if path.ends_with(SECRETS));
    System::OURS.into_iter().filter(move |ours| !is_of_secrets || *ours == System::OursSecrets)
}

fn figures(samples: &Samples<System>) -> Vec<Figure> {
    let mut figures = Vec::new();
    for measure in samples.measures() {
        for ours in ours_of(measure) {
            figures.extend(samples.of(measure, ours).map(|series| Figure::new(id(measure, ours), series)));
        }
        let peers = System::ALL.into_iter().filter(|system| ours_of(measure).all(|ours| ours != *system));
        for peer in peers {
            let id = format!("{}/peer:{}", id(measure, System::Ours), peer.name());
            figures.extend(samples.of(measure, peer).map(|series| Figure::new(id, series)));
        }
    }
    figures
}

fn ratios(samples: &Samples<System>) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    for measure in samples.measures() {
        for ours in ours_of(measure) {
            let Some(own) = samples.of(measure, ours) else { continue };
            let mut smallest: Option<f64> = None;
            let mut push = |peer: &str, ratio| {
                ratios.push(Ratio { id: id(measure, ours), peer: peer.to_owned(), ratio });
            };
            for peer in ours.peers().iter().copied() {
                let Some(series) = samples.of(measure, peer) else { continue };
                let Some(ratio) = ratio::ratio(own.unit.better(), own.median(), series.median()) else {
                    continue;
                };
                push(peer.name(), ratio);
                if peer.competes() {
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

/// A line for each measure, a column for each system.
fn table(samples: &Samples<System>) -> Vec<String> {
    let mut rows = vec![["measure", "unit"].map(str::to_owned).to_vec()];
    rows[0].extend(System::ALL.map(|system| system.name().to_owned()));
    for measure in samples.measures() {
        let unit = System::ALL.into_iter().find_map(|system| samples.of(measure, system));
        let Some(unit) = unit.map(|series| series.unit) else { continue };
        let mut row = vec![id(measure, System::Ours), unit.label().to_owned()];
        row.extend(
            System::ALL
                .map(|system| samples.of(measure, system).map_or_else(|| "-".to_owned(), report::cell)),
        );
        rows.push(row);
    }
    report::aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples<System> {
        let mut samples = Samples::default();
        let mut add = |path: &str, system, unit, value| {
            samples.add(Measure::Whole(path.to_owned()), system, unit, value);
        };
        for (system, down, p50) in [
            (System::Ours, 5.0, 150.0),
            (System::OursHttp, 4.0, 180.0),
            (System::Splice, 8.0, 100.0),
            (System::Reference, 2.0, 400.0),
            (System::Direct, 16.0, 50.0),
        ] {
            add("tls/bulk/down", system, Unit::GbitPerS, down);
            add("tls/request/p50", system, Unit::Us, p50);
        }
        samples
    }

    #[test]
    fn what_parses_has_ids_of_its_own_and_the_same_peers() {
        let ratios: Vec<_> = ratios(&samples())
            .into_iter()
            .filter(|ratio| ratio.id.starts_with("tls/bulk"))
            .map(|Ratio { id, peer, ratio }| format!("{id} {peer} {ratio}"))
            .collect();
        assert_eq!(
            ratios,
            [
                "tls/bulk/down splice 0.625",
                "tls/bulk/down reference 2.5",
                "tls/bulk/down direct 0.3125",
                "tls/bulk/down best_peer 2.5",
                "tls/bulk/down/http splice 0.5",
                "tls/bulk/down/http reference 2",
                "tls/bulk/down/http direct 0.25",
                "tls/bulk/down/http best_peer 2",
            ]
        );
    }

    #[test]
    fn with_secrets_ours_without_is_a_peer() {
        let mut samples = Samples::default();
        for (system, up) in [
            (System::OursHttp, 4.0),
            (System::OursSecrets, 3.0),
            (System::ReferenceSecret, 0.5),
            (System::Direct, 12.0),
        ] {
            samples.add(Measure::Whole("tls/bulk/up_secrets".to_owned()), system, Unit::GbitPerS, up);
            samples.add(Measure::Whole("tls/memory/end".to_owned()), system, Unit::Kib, up);
        }
        let ratios: Vec<_> = ratios(&samples)
            .into_iter()
            .filter(|ratio| ratio.id.starts_with("tls/bulk"))
            .map(|Ratio { id, peer, ratio }| format!("{id} {peer} {ratio}"))
            .collect();
        assert_eq!(
            ratios,
            [
                "tls/bulk/up_secrets ours-http 0.75",
                "tls/bulk/up_secrets reference-secret 6",
                "tls/bulk/up_secrets direct 0.25",
                "tls/bulk/up_secrets best_peer 6",
            ]
        );
        let ids: Vec<_> = figures(&samples).into_iter().map(|figure| figure.id).collect();
        assert_eq!(
            ids,
            [
                "tls/bulk/up_secrets",
                "tls/bulk/up_secrets/peer:ours-http",
                "tls/bulk/up_secrets/peer:reference-secret",
                "tls/bulk/up_secrets/peer:direct",
                "tls/memory/end/http",
                "tls/memory/end/secrets",
                "tls/memory/end/peer:reference-secret",
                "tls/memory/end/peer:direct",
            ]
        );
    }

    #[test]
    fn added_is_what_is_over_splice() {
        let mut samples = samples();
        add_added(&mut samples);
        let added = Measure::Whole("tls/added/p50".to_owned());
        let of = |system| samples.of(&added, system).map(|series| series.median());
        assert_eq!(of(System::Ours), Some(50.0));
        assert_eq!(of(System::OursHttp), Some(80.0));
        assert_eq!(of(System::Reference), Some(300.0));
        assert_eq!((of(System::Splice), of(System::Direct)), (None, None));
    }
}
