//! The report as a document.

use std::fmt::Write as _;

use crate::bench_engine::{Absent, Figure, Findings, Machine, number};
use crate::bench_report::bounds::BOUNDS;
use crate::bench_report::sections::{SECTIONS, Section};
use crate::bench_report::table::{OURS, Row, Table};

/// The whole text.
pub(super) fn markdown(runs: &[Findings], table: &Table<'_>) -> String {
    let mut text = String::from(
        "# Measured\n\nWritten by `cargo xtask bench report`. Medians, with min–max over the rounds; systems take \
         turns within a run. What a component takes by itself is criterion's median, with the least and the most of its \
         samples. A ratio above 1 means that the engine is ahead, whatever the unit.\n",
    );
    for run in runs {
        text += &described(run);
    }
    text += "\n## What should hold\n\n| | bound | found | |\n|---|---|---|---|\n";
    for bound in BOUNDS {
        let [what, limit, found, verdict] = bound.line(table);
        // A string takes everything.
        let _ = writeln!(text, "| {what} | {limit} | {found} | {verdict} |");
    }
    for section in SECTIONS {
        text += &shown(section, table);
    }
    text += &noted(runs);
    text
}

/// What a run was: where, when, of what.
fn described(run: &Findings) -> String {
    let Machine { processor, processors, memory_gib, kernel, congestion_control, programs } = &run.machine;
    format!(
        "\n{}, {}, commit {}: {processors} processors ({processor}), {memory_gib:.0} GiB, \
         Linux {kernel}, {congestion_control}; {}.\n",
        run.how,
        run.at,
        run.commit,
        programs.join(", "),
    )
}

fn shown(section: &Section, table: &Table<'_>) -> String {
    let rows = table.of_section(section);
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("\n## {}\n\n", section.title);
    if !table.beside_others(section).is_empty() {
        let _ = writeln!(text, "![{}]({})\n", section.title, section.picture());
    }
    let mut systems = vec![OURS];
    for (name, _) in rows.iter().flat_map(|row| &row.cells) {
        if !systems.contains(name) {
            systems.push(name);
        }
    }
    let _ = writeln!(text, "| | unit | {} | ahead of the best peer |", systems.join(" | "));
    let _ = writeln!(text, "|---|---|{}---|", "---|".repeat(systems.len()));
    for row in rows {
        let cells: Vec<_> = systems.iter().map(|system| row.of(system).map_or_else(dash, cell)).collect();
        let lead = table
            .ratio(&row.id, "best_peer")
            .filter(|ratio| ratio.is_finite())
            .map_or_else(dash, |ratio| format!("{ratio:.2}"));
        let Row { id, .. } = row;
        let _ = writeln!(text, "| `{id}` | {} | {} | {lead} |", row.unit(), cells.join(" | "));
    }
    text
}

fn dash() -> String {
    "–".to_owned()
}

fn cell(figure: &Figure) -> String {
    let Figure { median, min, max, .. } = figure;
    if min.total_cmp(max).is_eq() {
        return number(*median);
    }
    format!("{} ({}–{})", number(*median), number(*min), number(*max))
}

/// What is missing and what went wrong.
fn noted(runs: &[Findings]) -> String {
    let mut notes: Vec<String> = Vec::new();
    for run in runs {
        for Absent { system, why } in &run.absent {
            notes.push(format!("absent {system}: {why}"));
        }
        notes.extend(run.remarks.iter().cloned());
        if run.disturbed_samples > 0 {
            notes.push(format!("{} samples were taken on a busy machine", run.disturbed_samples));
        }
    }
    let mut text = String::from("\n## Notes\n\n");
    for note in notes {
        let _ = writeln!(text, "- {}", note.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_report::table::findings;

    #[test]
    fn a_report_says_on_what_what_and_what_not() {
        let mut run = findings(
            &[("connect/1/1500", &[5.0, 6.0, 7.0]), ("connect/1/1500/peer:pasta", &[5.0])],
            &[("connect/1/1500", "best_peer", 1.2)],
        );
        run.remarks = vec!["it\nbroke".to_owned()];
        let runs = [run];
        let text = markdown(&runs, &Table::of(&runs));
        for line in [
            "3 rounds, samples of 1.00 s, 2020-02-02T02:02:02Z, commit abc: 2 processors (Tested), 4 GiB, Linux 6.1.0, \
             cubic; .",
            "| `connect/1/1500` beside best_peer | ≥ 0.850 | 1.20 | holds |",
            "| `tls/h2/100` | ≥ 20000 | – | not measured |",
            "![Short connections](connect.svg)",
            "| | unit | ours | pasta | ahead of the best peer |",
            "| `connect/1/1500` | 1/s | 6.00 (5.00–7.00) | 5.00 | 1.20 |",
            "- it broke",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(!text.contains("## Datagrams"), "{text}");
    }
}
