//! The order of net-engine's modules: each names only those before it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The lowest first; modules of one line do not know each other. What is not in the table is above all.
const ORDER: &[&[&str]] = &[
    &["sys"],
    &["buffer_pool", "link", "proxy"],
    &["core"],
    &["guest"],
    &["http"],
    &["tls", "dns"],
    &["shell"],
    &["engine"],
    &["cli"],
];

/// Every place of `crate_dir` that names a module above its own, one sentence each.
pub(crate) fn violations(crate_dir: &Path) -> Result<Vec<String>> {
    let sources = crate_dir.join("src");
    let mut files = Vec::new();
    collect(&sources, &mut files)?;
    let mut violations = Vec::new();
    for file in files {
        let path = file.strip_prefix(&sources).unwrap_or(&file);
        let module = path.iter().next().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let named = above(module.trim_end_matches(".rs"), &text);
        violations.extend(named.map(|other| format!("{} must not name {other}", path.display())));
    }
    Ok(violations)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("no {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The modules `text` names that are not below `module`, nor it itself.
fn above<'t>(module: &'t str, text: &'t str) -> impl Iterator<Item = &'t str> {
    let rank = |name: &str| ORDER.iter().position(|layer| layer.contains(&name));
    let own = rank(module);
    let named = text.split("crate::").skip(1).filter_map(|rest| {
        rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next()
    });
    named.filter(move |name| {
        own.is_some_and(|own| *name != module && rank(name).is_some_and(|other| other >= own))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_down() {
        const CASES: &[(&str, &str, &[&str])] = &[
            ("shell", "use crate::tls::intercept;\nuse crate::http;\nuse crate::core::FlowId;", &[]),
            ("http", "use crate::guest::Context;\nuse crate::http::body;\nlet x = crate::Event;", &[]),
            ("http", "use crate::tls::intercept;", &["tls"]),
            ("guest", "crate::shell::now()", &["shell"]),
            ("dns", "use crate::tls::intercept;", &["tls"]),
            ("core", "use crate::guest::Context; use crate::link::Link;", &["guest"]),
            ("fuzzing", "use crate::core::Gateway;", &[]),
        ];
        for (module, text, expected) in CASES {
            assert_eq!(above(module, text).collect::<Vec<_>>(), *expected, "{module}: {text}");
        }
    }
}
