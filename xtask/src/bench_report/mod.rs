//! `bench report`: what one or several runs of `bench` found, as one document.
//!
//! Findings are read from the files the runs kept, put together (`table`), held against what should hold
//! (`bounds`), drawn (`plot`) and written down (`document`): `report.md`, an SVG a section, and `report.json`,
//! which is the findings themselves. A run that was cut short is reported as far as it came.

mod bounds;
mod document;
mod plot;
mod sections;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::bench_engine::Findings;
use crate::bench_report::sections::SECTIONS;
use crate::bench_report::table::Table;
use crate::workspace::Workspace;

/// What the runs of `bench engine` are called; those of a crate's benches are called like the crate.
const WHOLE: [&str; 2] = ["engine", "engine-tls"];

/// Writes the report of `files`, or of what the last runs kept, into `into`, or below the target directory.
///
/// # Errors
/// When there are no findings, one cannot be read, or the report cannot be written.
pub(crate) fn write(workspace: &Workspace, files: &[PathBuf], into: Option<&Path>) -> Result<()> {
    let kept: Vec<PathBuf> = if files.is_empty() {
        let crates = workspace.crates.iter().map(|member| member.name.as_str());
        let paths = WHOLE.into_iter().chain(crates).map(|name| Findings::path(workspace, name));
        paths.filter(|path| path.is_file()).collect()
    } else {
        files.to_vec()
    };
    if kept.is_empty() {
        bail!(
            "there is nothing to report: run `cargo xtask bench` or `cargo xtask bench engine` first, or name a file of findings"
        );
    }
    let runs = kept.iter().map(|path| Findings::read(path)).collect::<Result<Vec<_>>>()?;
    let into = into.map_or_else(|| workspace.target.join("bench"), Path::to_owned);
    fs::create_dir_all(&into).with_context(|| format!("cannot create {}", into.display()))?;
    let table = Table::of(&runs);
    for section in SECTIONS {
        let rows = table.beside_others(section);
        let path = into.join(section.picture());
        if rows.is_empty() {
            // One of an earlier report would belong to other figures.
            if path.is_file() {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        } else {
            plot::draw(&path, section.title, &rows)?;
        }
    }
    let keep = |name: &str, text: String| {
        let path = into.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    keep("report.json", serde_json::to_string(&runs)? + "\n")?;
    keep("report.md", document::markdown(&runs, &table))?;
    println!("report {}", into.join("report.md").display());
    Ok(())
}
