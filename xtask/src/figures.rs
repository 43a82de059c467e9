//! What criterion measured, as machine-readable lines.
//!
//! An id is a path: `sniff/client_hello/517B`. A segment `peer:<name>` anywhere in it marks the
//! same measurement of somebody else's code: `sniff/client_hello/peer:rustls/517B` and
//! `sniff/client_hello/517B/peer:rustls` are both peers of the id without that segment, and give
//! a `ratio` line. A ratio above 1 means we are ahead.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::bench_engine::{self, Absent, Findings, Ratio};
use crate::workspace::Workspace;

/// The peer that is a physical limit rather than a competitor.
const LIMIT: &str = "direct";

/// One result: time for one iteration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    id: String,
    median_ns: f64,
    min_ns: f64,
    max_ns: f64,
}

impl Figure {
    fn as_finding(&self) -> bench_engine::Figure {
        let Self { id, median_ns, min_ns, max_ns } = self;
        bench_engine::Figure {
            id: id.clone(),
            unit: "ns".to_owned(),
            median: *median_ns,
            min: *min_ns,
            max: *max_ns,
            values: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

#[derive(Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// Reads every result below criterion's directory that was written at or after `since`, sorted
/// by id.
pub(crate) fn read(dir: &Path, since: SystemTime) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    if dir.is_dir() {
        walk(dir, since, &mut figures)?;
    }
    figures.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(figures)
}

fn walk(dir: &Path, since: SystemTime, figures: &mut Vec<Figure>) -> Result<()> {
    let sample = dir.join("sample.json");
    if dir.ends_with("new") && sample.is_file() {
        if fs::metadata(&sample)?.modified()? >= since {
            figures.push(figure(dir)?);
        }
        return Ok(());
    }
    for entry in dir.read_dir().with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, since, figures)?;
        }
    }
    Ok(())
}

fn figure(dir: &Path) -> Result<Figure> {
    let benchmark: Benchmark = json(&dir.join("benchmark.json"))?;
    let estimates: Estimates = json(&dir.join("estimates.json"))?;
    let sample: Sample = json(&dir.join("sample.json"))?;
    let per_iteration = || sample.times.iter().zip(&sample.iters).map(|(time, iters)| time / iters);
    Ok(Figure {
        id: benchmark.full_id,
        median_ns: estimates.median.point_estimate,
        min_ns: per_iteration().fold(f64::INFINITY, f64::min),
        max_ns: per_iteration().fold(0.0, f64::max),
    })
}

fn json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} has an unexpected form", path.display()))
}

/// `figure <id> <median> ns <min>..<max>` for each, then `ratio <id> <peer> <x.xx>` for each
/// peer, and for `best_peer` where there is one.
pub(crate) fn lines(figures: &[Figure]) -> Vec<String> {
    let mut lines: Vec<String> = figures
        .iter()
        .map(|figure| {
            format!(
                "figure {} {:.1} ns {:.1}..{:.1}",
                figure.id, figure.median_ns, figure.min_ns, figure.max_ns
            )
        })
        .collect();
    let ratios = ratios(figures).into_iter();
    lines.extend(ratios.map(|Ratio { id, peer, ratio }| format!("ratio {id} {peer} {ratio:.2}")));
    lines
}

/// The same as findings of the crate that was benched, beside whom it was not.
pub(crate) fn findings(workspace: &Workspace, figures: &[Figure], absent: Vec<Absent>) -> Findings {
    let mut findings = Findings::new(workspace, "criterion's samples".to_owned());
    findings.absent = absent;
    findings.ratios = ratios(figures);
    findings.figures = figures.iter().map(Figure::as_finding).collect();
    findings
}

/// Theirs over ours for each peer, and for `best_peer` where there is one.
fn ratios(figures: &[Figure]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    let ours: BTreeMap<&str, f64> =
        figures.iter().map(|figure| (figure.id.as_str(), figure.median_ns)).collect();
    let mut peers: BTreeMap<String, BTreeMap<&str, f64>> = BTreeMap::new();
    for figure in figures {
        if let Some((base, peer)) = split_peer(&figure.id) {
            peers.entry(base).or_default().insert(peer, figure.median_ns);
        }
    }
    for (id, peers) in &peers {
        let Some(own) = ours.get(id.as_str()) else { continue };
        let mut ratio = |peer: &str, theirs: f64| {
            ratios.push(Ratio { id: id.clone(), peer: peer.to_owned(), ratio: theirs / own });
        };
        for (peer, theirs) in peers {
            ratio(peer, *theirs);
        }
        let competitors = peers.iter().filter(|(peer, _)| **peer != LIMIT);
        if let Some(best) = competitors.map(|(_, theirs)| *theirs).reduce(f64::min) {
            ratio("best_peer", best);
        }
    }
    ratios
}

/// The id without its `peer:` segment, and the peer's name.
pub(crate) fn split_peer(id: &str) -> Option<(String, &str)> {
    let peer = id.split('/').find_map(|segment| segment.strip_prefix("peer:"))?;
    let rest: Vec<_> = id.split('/').filter(|segment| !segment.starts_with("peer:")).collect();
    Some((rest.join("/"), peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(id: &str, median_ns: f64) -> Figure {
        Figure { id: id.to_owned(), median_ns, min_ns: median_ns - 1.0, max_ns: median_ns + 2.0 }
    }

    #[test]
    fn a_peer_is_any_segment_of_an_id() {
        const CASES: &[(&str, Option<(&str, &str)>)] = &[
            ("sniff/client_hello/517B", None),
            ("sniff/client_hello/517B/peer:rustls", Some(("sniff/client_hello/517B", "rustls"))),
            ("sniff/client_hello/peer:rustls/517B", Some(("sniff/client_hello/517B", "rustls"))),
            ("sniff/peerless/517B", None),
        ];
        for (id, expected) in CASES {
            let expected = expected.map(|(base, peer)| (base.to_owned(), peer));
            assert_eq!(split_peer(id), expected, "{id}");
        }
    }

    #[test]
    fn ratios_are_theirs_over_ours_and_the_best_peer_is_the_fastest() {
        let figures = [
            figure("sniff/hello", 100.0),
            figure("sniff/hello/peer:a", 250.0),
            figure("sniff/hello/peer:b", 150.0),
            figure("sniff/hello/peer:direct", 50.0),
            figure("alone/peer:a", 1.0),
        ];
        assert_eq!(
            lines(&figures),
            [
                "figure sniff/hello 100.0 ns 99.0..102.0",
                "figure sniff/hello/peer:a 250.0 ns 249.0..252.0",
                "figure sniff/hello/peer:b 150.0 ns 149.0..152.0",
                "figure sniff/hello/peer:direct 50.0 ns 49.0..52.0",
                "figure alone/peer:a 1.0 ns 0.0..3.0",
                "ratio sniff/hello a 2.50",
                "ratio sniff/hello b 1.50",
                "ratio sniff/hello direct 0.50",
                "ratio sniff/hello best_peer 1.50",
            ]
        );
    }
}
