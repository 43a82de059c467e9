//! A picture of a section: a panel a measure, a bar a system, a line from its least to its greatest sample.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::bench_report::table::{OURS, Row};

/// In pixels.
const WIDTH: u32 = 860;
const HEAD: u32 = 36;
const PANEL: u32 = 58;
const BAR: u32 = 20;
const NAMES: u32 = 150;

const OWN: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const OTHERS: RGBColor = RGBColor(0xb4, 0xb4, 0xb4);

/// Draws `rows`, none of which may be empty, into the file at `path`.
pub(super) fn draw(path: &Path, title: &str, rows: &[&Row<'_>]) -> Result<()> {
    draw_all(path, title, rows).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

/// Plotters' errors borrow the backend, which ends here.
fn draw_all(path: &Path, title: &str, rows: &[&Row<'_>]) -> Result<(), String> {
    let heights: Vec<u32> = rows.iter().map(|row| PANEL + BAR * count(row)).collect();
    let size = (WIDTH, HEAD + heights.iter().sum::<u32>());
    let root = SVGBackend::new(path, size).into_drawing_area();
    let said = |error: DrawingAreaErrorKind<_>| error.to_string();
    root.fill(&WHITE).map_err(said)?;
    let body = root.titled(title, ("sans-serif", 20)).map_err(said)?;
    let mut rest = body;
    for (row, height) in rows.iter().zip(heights) {
        let (panel, below) = rest.split_vertically(height);
        panel_of(&panel, row).map_err(said)?;
        rest = below;
    }
    root.present().map_err(said)
}

fn count(row: &Row<'_>) -> u32 {
    u32::try_from(row.cells.len()).unwrap_or(u32::MAX)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn panel_of<'a>(panel: &Area<'a>, row: &Row<'_>) -> Result<(), Failure<'a>> {
    let most = row.cells.iter().map(|(_, figure)| figure.max).fold(0.0, f64::max);
    let bars = count(row);
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("{}, {}", row.id, row.unit()), ("sans-serif", 13))
        .x_label_area_size(22)
        .y_label_area_size(NAMES)
        .margin_right(24)
        // The end of a range of segments is the last of them.
        .build_cartesian_2d(0.0..most * 1.02, (0..bars.saturating_sub(1)).into_segmented())?;
    let name = |at: &SegmentValue<u32>| match at {
        SegmentValue::CenterOf(at) => {
            // From above: ours is first.
            let from_top = bars.saturating_sub(at + 1) as usize;
            row.cells.get(from_top).map_or_else(String::new, |(name, _)| (*name).to_owned())
        }
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(WHITE)
        .x_labels(6)
        .y_labels(row.cells.len())
        .y_label_formatter(&name)
        .draw()?;
    for (at, (name, figure)) in (0..bars).rev().zip(&row.cells) {
        let colour = if *name == OURS { OWN } else { OTHERS };
        let corners = [(0.0, SegmentValue::Exact(at)), (figure.median, SegmentValue::Exact(at + 1))];
        let mut bar = Rectangle::new(corners, colour.filled());
        bar.set_margin(3, 3, 0, 0);
        let range = [figure.min, figure.max].map(|end| (end, SegmentValue::CenterOf(at)));
        chart.draw_series([bar])?;
        chart.draw_series([PathElement::new(range, BLACK.stroke_width(1))])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_report::table::{Table, findings};

    #[test]
    fn a_picture_names_measures_and_systems() {
        let runs = [findings(
            &[
                ("connect/1/1500", &[5.0, 6.0, 7.0]),
                ("connect/1/1500/peer:pasta", &[5.0]),
                ("connect/1/1500/peer:direct", &[0.0]),
            ],
            &[],
        )];
        let table = Table::of(&runs);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("connect.svg");
        draw(&path, "Short <connections>", &[table.row("connect/1/1500").expect("it is there")])
            .expect("drawn");
        let text = std::fs::read_to_string(&path).expect("it is written");
        for word in ["Short &lt;connections&gt;", "connect/1/1500, 1/s", "ours", "pasta", "direct", "</svg>"]
        {
            assert!(text.contains(word), "{word}\n{text}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let runs = [findings(&[("connect/1/1500", &[5.0])], &[])];
        let table = Table::of(&runs);
        let row = table.row("connect/1/1500").expect("it is there");
        assert!(draw(Path::new("/nowhere/at/all.svg"), "Title", &[row]).is_err());
    }
}
