//! Who depends on whom, from `cargo metadata`. Knows no rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Users and what they use, by package name.
pub type Edges = BTreeMap<String, BTreeSet<String>>;

/// The platform whose dependencies are looked at: those of others need not even be downloaded.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The workspace as `cargo metadata` sees it, with every default feature.
pub fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(tributary_tests::root().join("Cargo.toml"));
    command.other_options(["--filter-platform".to_owned(), PLATFORM.to_owned()]);
    command.exec().unwrap()
}

/// What each crate of the workspace declares, optional dependencies included, without those of
/// tests.
pub fn declared(metadata: &Metadata) -> Edges {
    let packages = metadata.workspace_packages();
    let uses = packages.iter().map(|package| {
        let normal = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
        (package.name.to_string(), normal.map(|d| d.name.clone()).collect())
    });
    uses.collect()
}

/// What is really built for each package, tests left out.
pub fn resolved(metadata: &Metadata) -> Edges {
    let name = |id: &PackageId| metadata[id].name.to_string();
    let mut edges = Edges::new();
    for node in &metadata.resolve.as_ref().unwrap().nodes {
        let normal = node.deps.iter().filter(|dep| {
            dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
        });
        // Two versions of one package count as one: a rule names a package.
        edges.entry(name(&node.id)).or_default().extend(normal.map(|dep| name(&dep.pkg)));
    }
    edges
}

/// Everything that a package uses, directly or not, each with the one through which it was found.
pub fn reach(edges: &Edges, from: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = VecDeque::from([from.to_owned()]);
    while let Some(user) = open.pop_front() {
        for used in edges.get(&user).into_iter().flatten() {
            if used != from && !found.contains_key(used) {
                found.insert(used.clone(), user.clone());
                open.push_back(used.clone());
            }
        }
    }
    found
}

/// The way from a package to one that it reaches, for people.
pub fn way(reached: &BTreeMap<String, String>, to: &str) -> String {
    let mut steps = vec![to];
    while let Some(user) = reached.get(*steps.last().unwrap()) {
        steps.push(user);
    }
    steps.reverse();
    steps.join(" -> ")
}

#[test]
fn reaching_is_transitive_and_says_how() {
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    let edges: Edges = [("a", set(&["b"])), ("b", set(&["c", "a"])), ("d", set(&["a"]))]
        .map(|(user, uses)| (user.to_owned(), uses))
        .into();
    let reached = reach(&edges, "a");
    assert_eq!(reached.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(way(&reached, "c"), "a -> b -> c");
}
