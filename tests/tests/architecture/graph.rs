//! Who depends on whom, from `cargo metadata`. Knows no rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

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
    let mut edges = Edges::new();
    for node in &metadata.resolve.as_ref().unwrap().nodes {
        let user = &metadata[&node.id];
        let active: BTreeSet<&str> = node.features.iter().map(|f| f.as_ref()).collect();
        let built = node.deps.iter().filter(|dep| {
            dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
        });
        let names = built.map(|dep| metadata[&dep.pkg].name.to_string());
        // Two versions of one package count as one: a rule names a package.
        let uses: &mut BTreeSet<_> = edges.entry(user.name.to_string()).or_default();
        uses.extend(names.filter(|name| is_switched_on(user, name, &active)));
    }
    edges
}

/// Whether a dependency that is listed is really built: cargo also lists an optional one that is
/// only named weakly (`name?/feature`) by a feature that is on.
fn is_switched_on(user: &Package, used: &str, active: &BTreeSet<&str>) -> bool {
    let declared: Vec<_> = user.dependencies.iter().filter(|d| d.name == used).collect();
    declared.iter().any(|dependency| {
        let name = dependency.rename.as_deref().unwrap_or(used);
        let (whole, part) = (format!("dep:{name}"), format!("{name}/"));
        let switches = |what: &String| *what == name || *what == whole || what.starts_with(&part);
        let features = user.features.iter().filter(|(f, _)| active.contains(f.as_str()));
        !dependency.optional || features.flat_map(|(_, on)| on).any(switches)
    })
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
