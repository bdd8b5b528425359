//! Who may use whom: the arrows of the architecture, held against what `cargo tree` says.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{cargo, output};

/// The crates of the workspace, and which of each other they may use. Nobody uses a program, the mailbox's library aside.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("petmail-proto", &[]),
    ("petmail-store", &[]),
    ("petmail-net", &[]),
    ("petmail-rendezvous", &["petmail-net", "petmail-proto", "petmail-store"]),
    ("petmail-objects", &["petmail-net", "petmail-proto"]),
    ("petmail-mailbox", &["petmail-net", "petmail-objects", "petmail-proto", "petmail-store"]),
    (
        "petmail-node",
        &["petmail-mailbox", "petmail-net", "petmail-objects", "petmail-proto", "petmail-store"],
    ),
    ("petmail-integration-tests", &["petmail-proto"]),
    ("xtask", &[]),
];

/// What would give the pure protocol a network, a disk, a clock or randomness of its own.
const IMPURE: [&str; 16] = [
    "async-std",
    "axum",
    "chrono",
    "futures-util",
    "getrandom",
    "hyper",
    "jiff",
    "mio",
    "rand",
    "redb",
    "reqwest",
    "rustix",
    "rustls",
    "sled",
    "socket2",
    "tokio",
];

/// The engines, which one crate hides from all others.
const ENGINES: [&str; 2] = ["redb", "sled"];

/// A second TLS, with another's vulnerabilities.
const BANNED: [&str; 4] = ["native-tls", "openssl", "openssl-sys", "ring"];

/// All cryptography uses one curve: two copies would be two sets of incompatible types.
const SINGLE: &str = "curve25519-dalek";

/// Checks every arrow.
///
/// # Errors
/// All that are wrong.
pub(crate) fn check() -> Result<()> {
    let trees = members()?.into_iter().map(|member| Tree::of(&member)).collect::<Result<Vec<_>>>()?;
    let violations: Vec<_> = trees.iter().flat_map(violations).chain(copies(&trees)).collect();
    ensure!(violations.is_empty(), "the architecture does not allow this:\n  {}", violations.join("\n  "));
    println!("{} crates use what they may", trees.len());
    Ok(())
}

/// Returns the names of the workspace's crates.
fn members() -> Result<Vec<String>> {
    let metadata = output(&mut cargo(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages =
        metadata.get("packages").and_then(|packages| packages.as_array()).context("no packages")?;
    let names = packages.iter().filter_map(|package| package.get("name")?.as_str().map(str::to_owned));
    Ok(names.collect())
}

/// A crate with everything that it uses, directly or not.
#[derive(Debug)]
struct Tree {
    root: String,
    edges: BTreeSet<Edge>,
}

/// One crate uses another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    user: String,
    used: String,
    version: String,
}

impl Tree {
    fn of(root: &str) -> Result<Self> {
        let tree = ["tree", "--locked", "--edges", "normal", "--prefix", "depth", "--package", root];
        Self::parse(root, &output(&mut cargo(tree))?)
    }

    /// Reads lines of a depth, a name and a version, such as `2tokio v1.54.1`.
    fn parse(root: &str, text: &str) -> Result<Self> {
        let mut edges = BTreeSet::new();
        let mut path: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let name_start = line.find(|c: char| !c.is_ascii_digit()).context("a line without a name")?;
            let (depth, rest) = line.split_at(name_start);
            let mut words = rest.split_whitespace();
            let (Some(name), Some(version)) = (words.next(), words.next()) else {
                bail!("cargo tree wrote {line:?}");
            };
            path.truncate(depth.parse()?);
            if let Some(user) = path.last() {
                edges.insert(Edge { user: user.clone(), used: name.to_owned(), version: version.to_owned() });
            }
            path.push(name.to_owned());
        }
        Ok(Self { root: root.to_owned(), edges })
    }
}

/// Returns what is wrong with one crate's tree.
fn violations(tree: &Tree) -> Vec<String> {
    let root = tree.root.as_str();
    let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == root) else {
        return vec![format!("{root}: nobody has said whom it may use")];
    };
    let wrong = |edge: &&Edge| {
        let used = edge.used.as_str();
        let is_ours = MAY_USE.iter().any(|(name, _)| *name == used);
        (is_ours && !may_use.contains(&used))
            || (root == "petmail-proto" && IMPURE.contains(&used))
            || (ENGINES.contains(&used) && edge.user != "petmail-store")
            || BANNED.contains(&used)
    };
    let describe = |edge: &Edge| format!("{root}: {} uses {} {}", edge.user, edge.used, edge.version);
    tree.edges.iter().filter(wrong).map(describe).collect()
}

/// Returns the versions of what there may be only one of, if there are several.
fn copies(trees: &[Tree]) -> Option<String> {
    let edges = trees.iter().flat_map(|tree| &tree.edges);
    let versions: BTreeSet<_> =
        edges.filter(|edge| edge.used == SINGLE).map(|edge| edge.version.as_str()).collect();
    (versions.len() != 1).then(|| format!("there must be one {SINGLE}, not {versions:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(root: &str, text: &str) -> Vec<String> {
        violations(&Tree::parse(root, text).unwrap())
    }

    #[test]
    fn a_tree_is_read_edge_by_edge() {
        let text =
            "0petmail-store v0.1.0 (/p)\n1tokio v1.54.1\n2mio v1.2.0\n1sled v0.34.7\n2fxhash v0.2.1\n\n";
        let tree = Tree::parse("petmail-store", text).unwrap();
        let edges: Vec<_> = tree.edges.iter().map(|edge| (edge.user.as_str(), edge.used.as_str())).collect();
        let expected =
            [("petmail-store", "sled"), ("petmail-store", "tokio"), ("sled", "fxhash"), ("tokio", "mio")];
        assert_eq!(edges, expected);
        assert!(violations(&tree).is_empty());
    }

    #[test]
    fn every_forbidden_arrow_is_found() {
        let forbidden = [
            ("petmail-proto", "0petmail-proto v0\n1spake2 v0\n2getrandom v0.4.3"),
            ("petmail-proto", "0petmail-proto v0\n1petmail-store v0"),
            ("petmail-store", "0petmail-store v0\n1petmail-proto v0"),
            ("petmail-net", "0petmail-net v0\n1sled v0"),
            ("petmail-net", "0petmail-net v0\n1reqwest v0\n2native-tls v0"),
            ("petmail-rendezvous", "0petmail-rendezvous v0\n1petmail-mailbox v0"),
            ("petmail-mailbox", "0petmail-mailbox v0\n1petmail-node v0"),
            ("petmail-node", "0petmail-node v0\n1petmail-store v0\n1redb v0"),
            ("petmail-new", "0petmail-new v0"),
        ];
        for (root, text) in forbidden {
            assert_eq!(wrong(root, text).len(), 1, "{text}");
        }
        assert!(
            wrong("petmail-node", "0petmail-node v0\n1petmail-mailbox v0\n2petmail-store v0\n3redb v0")
                .is_empty()
        );
    }

    #[test]
    fn two_curves_are_one_too_many() {
        let tree = |text| Tree::parse("petmail-node", text).unwrap();
        let one = tree("0petmail-node v0\n1curve25519-dalek v4.1.3");
        let other = tree("0petmail-node v0\n1spake2 v0\n2curve25519-dalek v5.0.0");
        assert!(copies(&[one]).is_none());
        let both = [tree("0petmail-node v0\n1curve25519-dalek v4.1.3"), other];
        assert!(copies(&both).unwrap().contains("v5.0.0"));
    }
}
