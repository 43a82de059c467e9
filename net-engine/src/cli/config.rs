//! The configuration file: every flag of `run` as a key. `docs/config.md` describes it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;

use super::sources;

/// What a file says; every key may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) struct Config {
    #[serde(default)]
    pub(super) deny: Vec<String>,
    #[serde(default)]
    pub(super) allow: Vec<String>,
    #[serde(default)]
    pub(super) rules: Vec<RuleConfig>,
    pub(super) intercept: Option<Vec<u16>>,
    #[serde(default)]
    pub(super) bypass: Vec<String>,
    #[serde(default)]
    pub(super) secrets: Vec<SecretConfig>,
    #[serde(default)]
    pub(super) nameservers: Vec<String>,
    #[serde(default)]
    pub(super) upstream_ca: Vec<PathBuf>,
    pub(super) link: Option<LinkConfig>,
    pub(super) mtu: Option<u16>,
    pub(super) host_alias: Option<String>,
}

/// A rule with a place in the order and a name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) struct RuleConfig {
    pub(super) name: Option<String>,
    pub(super) action: ActionConfig,
    pub(super) to: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ActionConfig {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) struct SecretConfig {
    pub(super) env: String,
    pub(super) source: String,
    pub(super) hosts: Vec<String>,
    pub(super) placeholder: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LinkConfig {
    Auto,
    Tap,
    Packet,
}

impl Config {
    /// Reads a file; also where it is, see [`sources::read_file`].
    ///
    /// # Errors
    /// One line that names the file, the line and the key.
    pub(super) fn read(path: &Path) -> Result<(Self, Option<PathBuf>)> {
        let field = || format!("--config {}", path.display());
        let (bytes, place) = sources::read_file(path).with_context(field)?;
        let text = String::from_utf8(bytes).map_err(|_| anyhow!("{}: is not UTF-8", field()))?;
        Ok((Self::parse(&text).with_context(field)?, place))
    }

    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let message = error.message().replace('\n', " ");
            anyhow!("line {line}: {message}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_line_and_key() {
        const CASES: &[(&str, &str)] = &[
            ("allow = []\nalow = []\n", "line 2: unknown field `alow`"),
            ("[[rules]]\naction = \"maybe\"\nto = \"any\"\n", "line 2: unknown variant `maybe`"),
            ("mtu = \"big\"\n", "line 1: invalid type"),
            ("[[secrets]]\nenv = \"A\"\n", "line 1: missing field `source`"),
            ("allow = [\n", "line 1"),
        ];
        for (text, expected) in CASES {
            let error = Config::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected) || error.starts_with("line"), "{text}: {error}");
            assert!(!error.contains('\n'), "{text}: {error}");
        }
        for (text, expected) in &CASES[..2] {
            assert!(Config::parse(text).expect_err(text).to_string().starts_with(expected), "{text}");
        }
    }

    #[test]
    fn the_documented_example_is_valid() {
        let documentation = include_str!("../../../docs/config.md");
        let example = documentation.split("```toml").nth(1).and_then(|rest| rest.split("```").next());
        let config = Config::parse(example.expect("docs/config.md has an example")).expect("it is valid");
        assert!(!config.rules.is_empty() && !config.secrets.is_empty());
    }
}
