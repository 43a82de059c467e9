//! `cargo xtask limits`

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use net_core::Limits;
use toml::{Table, Value};

use crate::workspace::Workspace;

/// What holds the fields and what they mean.
const SOURCE: &str = "net-core/src/limits.rs";

/// What shows them.
const SHOWN_IN: &[&str] = &["net-core/README.md", "SECURITY.md"];

const BEGIN: &str = "<!-- limits: written by `cargo xtask limits` -->\n";
const END: &str = "<!-- end of limits -->\n";

/// Write the table of all bounds from the code into the documents that show it
///
/// The documents are net-core/README.md and SECURITY.md.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask limits            write the table\n  \
                        cargo xtask limits --check    fail where a document shows another one")]
pub(crate) struct LimitsTable {
    /// Write nothing; fail where a document differs
    #[arg(long)]
    check: bool,
}

impl LimitsTable {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        if self.check {
            return check(workspace);
        }
        for (path, text) in documents(&workspace.root)? {
            let path = workspace.root.join(path);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Whether every document shows the table as it is now.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    for (path, text) in documents(&workspace.root)? {
        if fs::read_to_string(workspace.root.join(path))? != text {
            bail!("{path} shows other bounds than the code has: run `cargo xtask limits`");
        }
    }
    Ok(())
}

/// The documents as they ought to be.
fn documents(root: &Path) -> Result<Vec<(&'static str, String)>> {
    let read =
        |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"));
    let table = table(&read(SOURCE)?)?;
    let document = |path| Ok((path, replaced(&read(path)?, &table).with_context(|| path.to_owned())?));
    SHOWN_IN.iter().copied().map(document).collect()
}

/// The document with the table between its marks.
fn replaced(document: &str, table: &str) -> Result<String> {
    let (before, rest) = document.split_once(BEGIN).context("there is no mark where the table begins")?;
    let (_, after) = rest.split_once(END).context("there is no mark where the table ends")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

/// A row a field: its name, its default, and what its comment says.
fn table(source: &str) -> Result<String> {
    let meanings = meanings(source);
    let defaults = Table::try_from(Limits::default())?;
    if meanings.len() != defaults.len() {
        bail!("{SOURCE} has {} fields with a comment, Limits has {}", meanings.len(), defaults.len());
    }
    let mut rows = String::from("| bound | default | what it bounds |\n|---|---|---|\n");
    for (name, meaning) in meanings {
        let default = defaults.get(name).with_context(|| format!("{name} is no field of Limits"))?;
        rows += &format!("| `{name}` | {} | {meaning} |\n", shown(name, default)?);
    }
    Ok(rows)
}

/// The comment of each public field, on one line, in their order.
fn meanings(source: &str) -> Vec<(&str, String)> {
    let mut fields = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim());
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
            fields.push((name, comment.join(" ")));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    fields
}

fn shown(name: &str, default: &Value) -> Result<String> {
    if default.is_table() {
        let time: Duration = default.clone().try_into()?;
        return Ok(humantime::format_duration(time).to_string());
    }
    let number = default.as_integer().with_context(|| format!("{name} is neither a number nor a time"))?;
    let units = BTreeMap::from([(30, "GiB"), (20, "MiB"), (10, "KiB")]);
    let unit = units.iter().rev().find(|(shift, _)| number > 0 && number % (1 << *shift) == 0);
    Ok(match unit.filter(|_| name.ends_with("_bytes")) {
        Some((shift, unit)) => format!("{} {unit}", number >> shift),
        None => grouped(number),
    })
}

/// With a comma between thousands.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_the_comment_above_it() {
        let source = "/// All.\npub struct Limits {\n    /// Flows; the\n    /// oldest yields.\n    pub max_flows: usize,\n\n    \
                      /// How long.\n    pub quiet: Duration,\n}\n";
        let expected = [("max_flows", "Flows; the oldest yields."), ("quiet", "How long.")];
        assert_eq!(meanings(source), expected.map(|(name, meaning)| (name, meaning.to_owned())));
    }

    #[test]
    fn values_are_shown_as_people_write_them() {
        for (name, value, expected) in [
            ("max_flows", Value::Integer(16_384), "16,384"),
            ("max_flows", Value::Integer(64), "64"),
            ("ring_bytes", Value::Integer(256 << 10), "256 KiB"),
            ("ring_bytes", Value::Integer(1 << 30), "1 GiB"),
            ("ring_bytes", Value::Integer(1_500), "1,500"),
            ("quiet", Value::try_from(Duration::from_secs(7_200)).expect("a time"), "2h"),
        ] {
            assert_eq!(shown(name, &value).expect(name), expected);
        }
    }

    #[test]
    fn the_table_goes_between_the_marks() {
        let document = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(replaced(&document, "new\n").expect("marks"), format!("a\n{BEGIN}new\n{END}b\n"));
        assert!(replaced("no marks", "new\n").is_err());
    }
}
