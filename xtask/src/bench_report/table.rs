//! Figures of several runs, by what was measured and on whom.

use crate::bench_engine::{Figure, Findings, Ratio};
use crate::bench_report::sections::Section;
use crate::figures::split_peer;

/// What figures without a peer are of.
pub(super) const OURS: &str = "ours";

/// One measure on everybody it was taken on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row<'f> {
    pub(super) id: String,
    /// Names and figures; ours first where it is there. Never empty.
    pub(super) cells: Vec<(&'f str, &'f Figure)>,
}

impl<'f> Row<'f> {
    pub(super) fn of(&self, system: &str) -> Option<&'f Figure> {
        self.cells.iter().find(|(name, _)| *name == system).map(|(_, figure)| *figure)
    }

    pub(super) fn unit(&self) -> &'f str {
        self.cells.first().map_or("", |(_, figure)| &figure.unit)
    }
}

/// Everything that was measured; of what two runs measured, what the later one found.
#[derive(Clone, Debug, Default)]
pub(super) struct Table<'f> {
    rows: Vec<Row<'f>>,
    ratios: Vec<&'f Ratio>,
}

impl<'f> Table<'f> {
    pub(super) fn of(runs: &'f [Findings]) -> Self {
        let mut table = Self::default();
        for run in runs {
            run.figures.iter().for_each(|figure| table.put(figure));
            for ratio in &run.ratios {
                table.ratios.retain(|old| (&old.id, &old.peer) != (&ratio.id, &ratio.peer));
                table.ratios.push(ratio);
            }
        }
        table
    }

    fn put(&mut self, figure: &'f Figure) {
        let (id, system) = split_peer(&figure.id).unwrap_or_else(|| (figure.id.clone(), OURS));
        let known = self.rows.iter().position(|row| row.id == id);
        let at = known.unwrap_or_else(|| {
            self.rows.push(Row { id, cells: Vec::new() });
            self.rows.len() - 1
        });
        let cells = &mut self.rows[at].cells;
        cells.retain(|(name, _)| *name != system);
        if system == OURS { cells.insert(0, (system, figure)) } else { cells.push((system, figure)) }
    }

    pub(super) fn row(&self, id: &str) -> Option<&Row<'f>> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// How far ahead of `peer` we are; above 1 we are.
    pub(super) fn ratio(&self, id: &str, peer: &str) -> Option<f64> {
        self.ratios.iter().find(|ratio| ratio.id == id && ratio.peer == peer).map(|ratio| ratio.ratio)
    }

    /// The rows of a section.
    pub(super) fn of_section(&self, section: &Section) -> Vec<&Row<'f>> {
        self.rows.iter().filter(|row| section.has(&row.id)).collect()
    }

    /// Those where ours stands beside somebody, and something was more than nothing.
    pub(super) fn beside_others(&self, section: &Section) -> Vec<&Row<'f>> {
        let mut rows = self.of_section(section);
        rows.retain(|row| {
            row.cells.len() > 1
                && row.of(OURS).is_some()
                && row.cells.iter().any(|(_, figure)| figure.median > 0.0)
        });
        rows
    }
}

/// Findings with figures (id, values) and ratios (id, peer, ratio) alone.
#[cfg(test)]
pub(super) fn findings(figures: &[(&str, &[f64])], ratios: &[(&str, &str, f64)]) -> Findings {
    use crate::bench_engine::Machine;

    let figure = |(id, values): &(&str, &[f64])| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Figure {
            id: (*id).to_owned(),
            unit: "1/s".to_owned(),
            median: sorted[sorted.len() / 2],
            min: sorted[0],
            max: sorted[sorted.len() - 1],
            values: values.to_vec(),
        }
    };
    let ratio = |(id, peer, ratio): &(&str, &str, f64)| Ratio {
        id: (*id).to_owned(),
        peer: (*peer).to_owned(),
        ratio: *ratio,
    };
    Findings {
        machine: Machine {
            processor: "Tested".to_owned(),
            processors: 2,
            memory_gib: 4.0,
            kernel: "6.1.0".to_owned(),
            congestion_control: "cubic".to_owned(),
            programs: Vec::new(),
        },
        commit: "abc".to_owned(),
        at: "2020-02-02T02:02:02Z".to_owned(),
        how: "3 rounds, samples of 1.00 s".to_owned(),
        figures: figures.iter().map(figure).collect(),
        ratios: ratios.iter().map(ratio).collect(),
        absent: Vec::new(),
        remarks: Vec::new(),
        disturbed_samples: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_report::sections::SECTIONS;

    #[test]
    fn the_later_run_is_believed_and_ours_stands_first() {
        let runs = [
            findings(
                &[("connect/1/1500/peer:pasta", &[5.0]), ("connect/1/1500", &[6.0])],
                &[("connect/1/1500", "pasta", 1.2)],
            ),
            findings(&[("connect/1/1500", &[10.0])], &[("connect/1/1500", "pasta", 2.0)]),
        ];
        let table = Table::of(&runs);
        let row = table.row("connect/1/1500").expect("it was measured");
        let cells: Vec<_> = row.cells.iter().map(|(name, figure)| (*name, figure.median)).collect();
        assert_eq!(cells, [("ours", 10.0), ("pasta", 5.0)]);
        assert_eq!(table.ratio("connect/1/1500", "pasta"), Some(2.0));
    }

    #[test]
    fn a_picture_has_what_stands_beside_others() {
        let runs = [findings(
            &[
                ("connect/1/1500", &[6.0]),
                ("connect/1/1500/peer:pasta", &[5.0]),
                ("connect_errors/1/1500", &[0.0]),
                ("connect_errors/1/1500/peer:pasta", &[0.0]),
                ("connect/8/1500", &[9.0]),
            ],
            &[],
        )];
        let table = Table::of(&runs);
        let connect = SECTIONS.iter().find(|section| section.has("connect")).expect("it is there");
        let ids: Vec<_> = table.beside_others(connect).iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["connect/1/1500"]);
        assert_eq!(table.of_section(connect).len(), 3);
    }
}
