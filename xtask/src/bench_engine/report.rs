//! What was found: a table for people, lines for programs, and the same as JSON.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bench_engine::ratio::{self, Ratio};
use crate::bench_engine::samples::{Samples, Series};
use crate::bench_engine::schedule::Plan;
use crate::bench_engine::system::{Maker, System};
use crate::workspace::Workspace;

/// One measure on one system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    /// A peer's has a last segment `peer:<name>`.
    pub(super) id: String,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    values: Vec<f64>,
}

impl Figure {
    pub(super) fn new<S>(id: String, series: &Series<S>) -> Self {
        Self {
            id,
            unit: series.unit.label(),
            median: series.median(),
            min: series.min(),
            max: series.max(),
            values: series.values.clone(),
        }
    }
}

/// All that is said in the end.
pub(super) struct Findings<'f> {
    /// For people.
    pub(super) table: Vec<String>,
    pub(super) figures: Vec<Figure>,
    pub(super) ratios: Vec<Ratio>,
    /// Systems, and why they are absent.
    pub(super) absent: Vec<(String, String)>,
    pub(super) remarks: &'f [String],
    /// Samples taken although the machine did not become quiet.
    pub(super) disturbed: usize,
}

#[derive(Serialize)]
struct Report<'r> {
    rounds: usize,
    seconds: f64,
    figures: &'r [Figure],
    ratios: &'r [Ratio],
    absent: Vec<Absent<'r>>,
    remarks: &'r [String],
    disturbed_samples: usize,
}

#[derive(Serialize)]
struct Absent<'r> {
    system: &'r str,
    why: &'r str,
}

/// Prints everything, and writes `bench/engine.json` below the target directory.
pub(crate) fn print(workspace: &Workspace, plan: &Plan, samples: &Samples) -> Result<()> {
    let findings = Findings {
        table: table(samples),
        figures: figures(samples),
        ratios: ratio::all(samples),
        absent: samples.absent.iter().map(|(system, why)| (system.name(), why.clone())).collect(),
        remarks: &samples.remarks,
        disturbed: samples.disturbed,
    };
    emit(workspace, "engine", plan, &findings)
}

/// Prints findings, and writes them to `bench/<name>.json` below the target directory.
pub(super) fn emit(workspace: &Workspace, name: &str, plan: &Plan, findings: &Findings<'_>) -> Result<()> {
    let report = Report {
        rounds: plan.rounds,
        seconds: plan.seconds,
        figures: &findings.figures,
        ratios: &findings.ratios,
        absent: findings.absent.iter().map(|(system, why)| Absent { system, why }).collect(),
        remarks: findings.remarks,
        disturbed_samples: findings.disturbed,
    };
    for line in &findings.table {
        println!("{line}");
    }
    println!();
    for Absent { system, why } in &report.absent {
        println!("absent {system}: {why}");
    }
    for remark in report.remarks {
        println!("remark {remark}");
    }
    if report.disturbed_samples > 0 {
        println!("remark {} samples were taken on a busy machine", report.disturbed_samples);
    }
    for Figure { id, unit, median, min, max, .. } in report.figures {
        println!("figure {id} {} {unit} {}..{}", number(*median), number(*min), number(*max));
    }
    for Ratio { id, peer, ratio } in report.ratios {
        println!("ratio {id} {peer} {ratio:.2}");
    }
    let path = workspace.target.join(format!("bench/{name}.json"));
    let dir = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    fs::write(&path, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn figures(samples: &Samples) -> Vec<Figure> {
    let mut figures = Vec::new();
    for measure in samples.measures() {
        for (ours, mtu) in System::OURS {
            for system in [ours].into_iter().chain(System::peers(mtu)) {
                let Some(series) = samples.of(measure, system) else { continue };
                let id = match system.maker() {
                    Maker::Ours => measure.id(mtu),
                    peer @ (Maker::Pasta | Maker::Slirp | Maker::Reference | Maker::Direct) => {
                        format!("{}/peer:{}", measure.id(mtu), peer.name())
                    }
                };
                figures.push(Figure::new(id, series));
            }
        }
    }
    figures
}

/// A line for each measure and MTU, a column for each maker.
fn table(samples: &Samples) -> Vec<String> {
    let mut rows = vec![
        ["measure", "unit", "ours", "pasta", "slirp4netns", "reference", "direct"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for measure in samples.measures() {
        for (ours, mtu) in System::OURS {
            let systems: Vec<System> = [ours].into_iter().chain(System::peers(mtu)).collect();
            // The direct way alone would fill lines that say the same twice.
            let has_own = systems.iter().any(|system| {
                samples.of(measure, *system).is_some() && (system.mtu().is_some() || mtu == 1500)
            });
            let unit =
                systems.iter().find_map(|system| samples.of(measure, *system)).map(|series| series.unit);
            let Some(unit) = unit.filter(|_| has_own) else { continue };
            let cell = |maker: Maker| {
                let system = systems.iter().find(|system| system.maker() == maker);
                let series = system.and_then(|system| samples.of(measure, *system));
                series.map_or_else(|| "-".to_owned(), cell)
            };
            rows.push(vec![
                measure.id(mtu),
                unit.label().to_owned(),
                cell(Maker::Ours),
                cell(Maker::Pasta),
                cell(Maker::Slirp),
                cell(Maker::Reference),
                cell(Maker::Direct),
            ]);
        }
    }
    aligned(&rows)
}

pub(super) fn cell<S>(series: &Series<S>) -> String {
    format!("{} ({}–{})", number(series.median()), number(series.min()), number(series.max()))
}

/// Rows that are equally long, their columns below each other.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map(Vec::len).unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// About three significant digits.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_engine::samples::{Measure, Unit};

    fn samples() -> Samples {
        let mut samples = Samples::default();
        let up = Measure::PerMtu("tcp/up/1".to_owned());
        for (system, values) in [
            (System::Ours1500, [20.0, 22.0, 21.0]),
            (System::Pasta1500, [7.0, 0.0, 7.5]),
            (System::Direct, [40.0, 41.0, 42.0]),
        ] {
            for value in values {
                samples.add(up.clone(), system, Unit::GbitPerS, value);
            }
        }
        samples.add(Measure::Whole("idle/10".to_owned()), System::Ours1500, Unit::GbitPerS, 12.345);
        samples
    }

    #[test]
    fn figures_name_ours_plainly_and_peers_as_peers() {
        let lines: Vec<_> = figures(&samples())
            .iter()
            .map(|figure| format!("{} {} {}..{}", figure.id, figure.median, figure.min, figure.max))
            .collect();
        assert_eq!(
            lines,
            [
                "tcp/up/1/1500 21 20..22",
                "tcp/up/1/1500/peer:pasta 7 0..7.5",
                "tcp/up/1/1500/peer:direct 41 40..42",
                "tcp/up/1/65520/peer:direct 41 40..42",
                "idle/10 12.345 12.345..12.345",
            ]
        );
    }

    #[test]
    fn the_table_has_a_line_for_each_measure_and_mtu() {
        let lines = table(&samples());
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>().join(" "),
            "tcp/up/1/1500 Gbit/s 21.0 (20.0–22.0) 7.00 (0–7.50) - - 41.0 (40.0–42.0)"
        );
    }
}
