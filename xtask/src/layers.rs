//! The layers, as one table, and the check of a dependency graph against it.
//!
//! Only normal and build dependencies count: a test may use what it needs, and so may xtask.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::Metadata;

/// Which crates of the workspace each crate may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("net-core", &[]),
    ("net-sni", &["net-core"]),
    ("net-policy", &["net-core"]),
    ("net-tls", &["net-core"]),
    ("net-secrets", &["net-core"]),
    ("net-engine", &["net-core", "net-sni", "net-policy", "net-tls", "net-secrets"]),
];

/// Foreign crates with one home: every other crate reaches them through that home or not at all.
/// No home means nobody.
const CONFINED: &[(&str, Option<&str>)] = &[
    ("tokio", Some("net-engine")),
    ("smoltcp", Some("net-engine")),
    ("rcgen", Some("net-tls")),
    ("openssl", None),
    ("openssl-sys", None),
    ("native-tls", None),
];

/// Crates that work with no dependency at all unless a feature is asked for.
const BARE: &[&str] = &["net-sni"];

/// The tool is no layer.
const EXEMPT: &[&str] = &["xtask"];

/// A dependency graph: names only, dev-dependencies left out.
#[derive(Default)]
pub(crate) struct Graph {
    /// The workspace's own crates.
    members: BTreeSet<String>,
    /// What each crate depends on, optional dependencies included.
    edges: BTreeMap<String, BTreeSet<String>>,
    /// What each member depends on with its default features.
    by_default: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads the graph out of `cargo metadata --all-features`.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let names: BTreeMap<&str, &str> =
            metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
        let mut graph = Self::default();
        for package in &metadata.packages {
            if !metadata.workspace_members.contains(&package.id) {
                continue;
            }
            graph.members.insert(package.name.clone());
            let enabled = default_features(&package.features);
            for dependency in package.dependencies.iter().filter(|dep| dep.kind.as_deref() != Some("dev")) {
                graph.depend(&package.name, &dependency.name);
                if !dependency.optional || enabled.contains(&dependency.name) {
                    let bare = graph.by_default.entry(package.name.clone()).or_default();
                    bare.insert(dependency.name.clone());
                }
            }
        }
        for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
            for edge in &node.deps {
                if edge.dep_kinds.iter().all(|kind| kind.kind.as_deref() == Some("dev")) {
                    continue;
                }
                if let (Some(from), Some(to)) = (names.get(&*node.id), names.get(&*edge.pkg)) {
                    graph.depend(from, to);
                }
            }
        }
        graph
    }

    fn depend(&mut self, from: &str, to: &str) {
        self.edges.entry(from.to_owned()).or_default().insert(to.to_owned());
    }

    /// Everything in the graph that the tables forbid, one sentence each.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for member in self.members.iter().filter(|member| !EXEMPT.contains(&member.as_str())) {
            let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == member) else {
                violations.push(format!("{member} is not in the table of layers"));
                continue;
            };
            let direct = self.edges.get(member).into_iter().flatten();
            for other in direct.filter(|other| self.members.contains(*other)) {
                if !allowed.contains(&other.as_str()) {
                    violations.push(format!("{member} must not depend on {other}"));
                }
            }
            for (confined, home) in CONFINED {
                if *home != Some(member)
                    && let Some(path) = self.path(member, confined, *home)
                {
                    let home = home.unwrap_or("nobody");
                    violations.push(format!("{member} reaches {confined} ({path}), which {home} may use"));
                }
            }
        }
        for bare in BARE {
            if let Some(dependencies) = self.by_default.get(*bare) {
                let list: Vec<_> = dependencies.iter().map(String::as_str).collect();
                violations.push(format!("{bare} by default depends on {}", list.join(", ")));
            }
        }
        violations
    }

    /// A chain of dependencies from `from` to `to` that does not lead through `home`.
    fn path(&self, from: &str, to: &str, home: Option<&str>) -> Option<String> {
        let mut seen = BTreeSet::from([from]);
        let mut paths = vec![vec![from]];
        while let Some(path) = paths.pop() {
            for next in self.edges.get(*path.last()?).into_iter().flatten() {
                let next = next.as_str();
                let longer: Vec<_> = path.iter().copied().chain([next]).collect();
                if next == to {
                    return Some(longer.join(" → "));
                }
                if Some(next) != home && seen.insert(next) {
                    paths.push(longer);
                }
            }
        }
        None
    }
}

/// The optional dependencies that the default features switch on.
fn default_features(features: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut enabled = BTreeSet::new();
    let mut open = vec!["default"];
    let mut seen = BTreeSet::new();
    while let Some(feature) = open.pop() {
        for item in features.get(feature).into_iter().flatten() {
            let name = item.strip_prefix("dep:").unwrap_or(item);
            // `name/feature` switches the dependency on, `name?/feature` does not.
            match name.split_once('/') {
                Some((name, _)) if !name.ends_with('?') => enabled.extend([name.to_owned()]),
                Some(_) => {}
                None if item.starts_with("dep:") => enabled.extend([name.to_owned()]),
                None if seen.insert(name) => open.push(name),
                None => {}
            }
        }
    }
    enabled
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The workspace as it should be, with the foreign crates that matter.
    fn sound() -> Graph {
        let mut graph = Graph::default();
        for (member, allowed) in ALLOWED {
            graph.members.insert((*member).to_owned());
            for other in *allowed {
                graph.depend(member, other);
            }
        }
        graph.members.insert("xtask".to_owned());
        for (from, to) in [
            ("net-engine", "tokio"),
            ("net-engine", "smoltcp"),
            ("net-engine", "hyper"),
            ("hyper", "tokio"),
            ("net-tls", "rcgen"),
            ("xtask", "tokio"),
        ] {
            graph.depend(from, to);
        }
        graph
    }

    #[test]
    fn the_intended_shape_passes() {
        assert_eq!(sound().violations(), Vec::<String>::new());
    }

    #[test]
    fn a_bad_edge_is_rejected() {
        const CASES: &[(&str, &str, &str)] = &[
            ("net-core", "net-sni", "net-core must not depend on net-sni"),
            ("net-policy", "net-sni", "net-policy must not depend on net-sni"),
            ("net-secrets", "net-tls", "net-secrets must not depend on net-tls"),
            ("net-tls", "net-engine", "net-tls must not depend on net-engine"),
            ("net-engine", "xtask", "net-engine must not depend on xtask"),
            ("net-policy", "tokio", "net-policy reaches tokio (net-policy → tokio)"),
            ("net-policy", "hyper", "net-policy reaches tokio (net-policy → hyper → tokio)"),
            ("net-secrets", "smoltcp", "net-secrets reaches smoltcp"),
            ("net-core", "rcgen", "net-core reaches rcgen"),
            ("net-engine", "rcgen", "net-engine reaches rcgen (net-engine → rcgen), which net-tls may use"),
            ("net-engine", "openssl", "net-engine reaches openssl (net-engine → openssl), which nobody"),
            ("hyper", "openssl-sys", "net-engine reaches openssl-sys (net-engine → hyper → openssl-sys)"),
        ];
        for (from, to, expected) in CASES {
            let mut graph = sound();
            graph.depend(from, to);
            let violations = graph.violations();
            assert!(
                violations.iter().any(|violation| violation.contains(expected)),
                "{from} → {to}: {violations:?}"
            );
        }
    }

    #[test]
    fn an_unknown_member_and_a_default_dependency_are_rejected() {
        let mut graph = sound();
        graph.members.insert("net-new".to_owned());
        graph.by_default.insert("net-sni".to_owned(), BTreeSet::from(["memchr".to_owned()]));
        assert_eq!(
            graph.violations(),
            ["net-new is not in the table of layers", "net-sni by default depends on memchr"]
        );
    }

    #[test]
    fn default_features_are_followed() {
        let features = |list: &[(&str, &[&str])]| {
            let own = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
            list.iter().map(|(name, items)| ((*name).to_owned(), own(items))).collect()
        };
        let switched_on =
            features(&[("default", &["full", "weak?/std"]), ("full", &["dep:core", "serde/derive"])]);
        assert_eq!(default_features(&switched_on), BTreeSet::from(["core".to_owned(), "serde".to_owned()]));
        assert!(default_features(&features(&[("core", &["dep:net-core"])])).is_empty());
    }
}
