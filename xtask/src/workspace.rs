//! The workspace as cargo describes it, and its crates as their directories show them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;

/// The workspace this xtask was built from.
pub(crate) struct Workspace {
    /// Its top directory; every command runs there.
    pub(crate) root: PathBuf,
    /// Where cargo builds; tools, fuzz builds and corpora live below it.
    pub(crate) target: PathBuf,
    /// The members, in the order of the workspace's `members`.
    pub(crate) crates: Vec<Crate>,
}

/// One member of the workspace.
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        // `cargo run` says where this crate is now; where it was built is only the fallback.
        let here = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let here = here.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        let root = here.parent().context("xtask lies in the workspace's top directory")?.to_owned();
        let metadata = Metadata::read(&root, &["--no-deps"])?;
        let crates = metadata
            .packages
            .into_iter()
            .filter_map(|package| {
                let dir = package.manifest_path.parent()?.to_owned();
                Some(Crate { name: package.name, dir })
            })
            .collect();
        Ok(Self { root, target: metadata.target_directory, crates })
    }

    /// The members called `name`, or all of them.
    ///
    /// # Errors
    /// When no member has that name; the message lists those there are.
    pub(crate) fn select(&self, name: Option<&str>) -> Result<Vec<&Crate>> {
        let Some(name) = name else { return Ok(self.crates.iter().collect()) };
        let chosen: Vec<_> = self.crates.iter().filter(|member| member.name == name).collect();
        if chosen.is_empty() {
            let names: Vec<_> = self.crates.iter().map(|member| member.name.as_str()).collect();
            bail!("no crate `{name}` here; there are {}", names.join(", "));
        }
        Ok(chosen)
    }

    /// The commit of the sources, as git tells it, with `-dirty` where files differ from it.
    pub(crate) fn commit(&self) -> String {
        let args = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
        let output = Command::new("git").args(args).current_dir(&self.root).output();
        let said = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
        said.map_or_else(|| "unknown".to_owned(), |said| String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// `cargo` in the top directory, with the toolchain that runs this xtask.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        command
    }
}

impl Crate {
    /// Whether it has a `fuzz/` crate of its own.
    pub(crate) fn has_fuzz(&self) -> bool {
        self.fuzz_manifest().is_file()
    }

    /// The manifest of its fuzz crate, there or not.
    pub(crate) fn fuzz_manifest(&self) -> PathBuf {
        self.dir.join("fuzz/Cargo.toml")
    }

    /// The fuzz targets: one a file in `fuzz/fuzz_targets`.
    pub(crate) fn fuzz_targets(&self) -> Result<Vec<String>> {
        if !self.has_fuzz() {
            return Ok(Vec::new());
        }
        stems(&self.dir.join("fuzz/fuzz_targets"))
    }

    /// Whether it is more than programs.
    pub(crate) fn has_library(&self) -> bool {
        self.dir.join("src/lib.rs").is_file()
    }

    /// Whether it has bench files.
    pub(crate) fn has_benches(&self) -> bool {
        stems(&self.dir.join("benches")).is_ok_and(|benches| !benches.is_empty())
    }
}

/// The names of the Rust files in `dir`, without extension, sorted.
fn stems(dir: &Path) -> Result<Vec<String>> {
    let entries = dir.read_dir().with_context(|| format!("cannot list {}", dir.display()))?;
    let mut stems = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            stems.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    stems.sort();
    Ok(stems)
}

/// The part of `cargo metadata` that is used here.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    #[serde(default)]
    pub(crate) workspace_members: Vec<String>,
    pub(crate) target_directory: PathBuf,
    pub(crate) resolve: Option<Resolve>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    #[serde(default)]
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(crate) features: std::collections::BTreeMap<String, Vec<String>>,
}

/// A dependency as the manifest declares it.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` is a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    pub(crate) optional: bool,
}

#[derive(Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

/// One package and what it was resolved to depend on.
#[derive(Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Edge>,
}

#[derive(Deserialize)]
pub(crate) struct Edge {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
pub(crate) struct Kind {
    pub(crate) kind: Option<String>,
}

impl Metadata {
    /// Runs `cargo metadata` in `root`.
    pub(crate) fn read(root: &Path, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(root).args(["metadata", "--format-version", "1"]).args(args);
        let json = process::output(&mut command)?;
        serde_json::from_str(&json).context("cargo metadata answered in an unexpected form")
    }
}
