//! What was found: a table for people, lines for programs, and the same as JSON.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::bench_engine::machine::Machine;
use crate::bench_engine::ratio::{self, Ratio};
use crate::bench_engine::samples::{Samples, Series};
use crate::bench_engine::schedule::Plan;
use crate::bench_engine::system::{Maker, System};
use crate::workspace::Workspace;

/// One measure on one system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// A peer's has a last segment `peer:<name>`.
    pub(crate) id: String,
    pub(crate) unit: String,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// What was found each time; none where criterion sums that up.
    pub(crate) values: Vec<f64>,
}

impl Figure {
    pub(super) fn new<S>(id: String, series: &Series<S>) -> Self {
        Self {
            id,
            unit: series.unit.label().to_owned(),
            median: series.median(),
            min: series.min(),
            max: series.max(),
            values: series.values.clone(),
        }
    }
}

/// All that is said in the end, and kept for a report of several runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Findings {
    pub(crate) machine: Machine,
    /// Of the sources, where git tells; `-dirty` where they differ from it.
    pub(crate) commit: String,
    /// When they were kept, as RFC 3339 has it.
    pub(crate) at: String,
    /// How they were taken: how often, and how long each time.
    pub(crate) how: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) ratios: Vec<Ratio>,
    /// Systems, and why they are absent.
    pub(crate) absent: Vec<Absent>,
    pub(crate) remarks: Vec<String>,
    /// Samples taken although the machine did not become quiet.
    pub(crate) disturbed_samples: usize,
}

/// A system that was not measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Absent {
    pub(crate) system: String,
    pub(crate) why: String,
}

impl Findings {
    /// Findings without any figure, of what this machine and these sources are.
    pub(crate) fn new(workspace: &Workspace, how: String) -> Self {
        Self {
            machine: Machine::describe(),
            commit: workspace.commit(),
            at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            how,
            figures: Vec::new(),
            ratios: Vec::new(),
            absent: Vec::new(),
            remarks: Vec::new(),
            disturbed_samples: 0,
        }
    }

    /// Takes over what samples have beside their figures.
    pub(super) fn with_notes<S: Copy>(mut self, samples: &Samples<S>, name: impl Fn(S) -> String) -> Self {
        let absent = |(system, why): &(S, String)| Absent { system: name(*system), why: why.clone() };
        self.absent = samples.absent.iter().map(absent).collect();
        self.remarks.clone_from(&samples.remarks);
        self.disturbed_samples = samples.disturbed;
        self
    }

    /// Where findings called `name` are kept.
    pub(crate) fn path(workspace: &Workspace, name: &str) -> PathBuf {
        workspace.target.join(format!("bench/{name}.json"))
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{} holds no findings of `cargo xtask bench`, or those of another version",
                path.display()
            )
        })
    }

    /// Keeps them below the target directory.
    pub(crate) fn keep(&self, workspace: &Workspace, name: &str) -> Result<()> {
        let path = Self::path(workspace, name);
        let dir = path.parent().context("a file is in a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Prints `table` for people and everything else for programs.
    pub(super) fn print(&self, table: &[String]) {
        for line in table {
            println!("{line}");
        }
        println!();
        for Absent { system, why } in &self.absent {
            println!("absent {system}: {why}");
        }
        for remark in &self.remarks {
            println!("remark {remark}");
        }
        if self.disturbed_samples > 0 {
            println!("remark {} samples were taken on a busy machine", self.disturbed_samples);
        }
        for Figure { id, unit, median, min, max, .. } in &self.figures {
            println!("figure {id} {} {unit} {}..{}", number(*median), number(*min), number(*max));
        }
        for Ratio { id, peer, ratio } in &self.ratios {
            println!("ratio {id} {peer} {ratio:.2}");
        }
    }
}

pub(super) fn how(plan: &Plan) -> String {
    format!("{} rounds, samples of {} s", plan.rounds, number(plan.seconds))
}

/// Keeps what was found so far as `bench/engine.json` below the target directory.
pub(super) fn keep(workspace: &Workspace, plan: &Plan, samples: &Samples) -> Result<Findings> {
    let mut findings = Findings::new(workspace, how(plan)).with_notes(samples, System::name);
    findings.figures = figures(samples);
    findings.ratios = ratio::all(samples);
    if plan.systems.is_empty() {
        let why = "it is not among the peers that can be driven".to_owned();
        findings.absent.push(Absent { system: "gvproxy".to_owned(), why });
    }
    findings.keep(workspace, "engine")?;
    Ok(findings)
}

/// Keeps everything and prints it.
pub(super) fn print(workspace: &Workspace, plan: &Plan, samples: &Samples) -> Result<()> {
    keep(workspace, plan, samples)?.print(&table(samples));
    Ok(())
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
pub(crate) fn number(value: f64) -> String {
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
