//! The direction of dependencies: what each part may know, and which part alone may know an
//! outside crate.

use super::graph::{Edges, declared, metadata, reach, resolved, way};

/// A crate may use these crates of the workspace and no other.
const ONLY: &[(&str, &[&str], &str)] = &[
    ("tributary-secagg", &[], "the protocol is proved and reviewed by itself"),
    ("tributary-ledger", &[], "an auditor reads a record without knowing what it is about"),
    ("tributary-dp", &[], "the privacy argument must not depend on who calls it"),
    (
        "tributary-job",
        &["tributary-secagg", "tributary-ledger", "tributary-dp"],
        "node, aggregator, simulator and auditor derive one plan: it may rest on nothing of theirs",
    ),
    (
        "tributary-model",
        &["tributary-job"],
        "a released model is read where nothing else is installed",
    ),
    (
        "tributary-transport",
        &["tributary-wire", "tributary-secagg"],
        "TLS carries frames; no claim of the protocol may rest on it, nor it on a job",
    ),
    (
        "tributary-training",
        &["tributary-job", "tributary-model", "tributary-dp"],
        "a trainer sees records: it must have no way to anybody who could send them",
    ),
    (
        "tributary-torch",
        &["tributary-training", "tributary-job", "tributary-model"],
        "libtorch is behind one trait, so that everything else builds without it",
    ),
    (
        "tributary-round",
        &["tributary-secagg", "tributary-job", "tributary-ledger", "tributary-dp"],
        "the coordinator is free of IO, so that the simulator drives the very same one",
    ),
    ("tributary-store", &[], "the store keeps opaque bytes: it must not know what a round is"),
    ("xtask", &[], "set-up and demo use the command lines that operators use, and no code"),
];

/// A crate must not reach these crates of the workspace, not even through others.
const NEVER: &[(&str, &[&str], &str)] = &[
    (
        "tributary-wire",
        &["tributary-transport", "tributary-round", "tributary-node", "tributary-server"],
        "what is said on the wire is the same whoever carries it",
    ),
    ("tributary-node", AGGREGATOR, "an agency installs none of the aggregator's code"),
    ("tributary-server", AGENCY, "the aggregator holds no code that touches records"),
];

/// Everything below `aggregator/`.
const AGGREGATOR: &[&str] = &["tributary-round", "tributary-store", "tributary-server"];

/// Everything below `agency-node/`.
const AGENCY: &[&str] = &["tributary-training", "tributary-torch", "tributary-node"];

/// The crates that may use both sides.
const BOTH: &[&str] = &["simulate", "tributary-tests"];

/// An outside crate that only these crates of the workspace may name.
const SOLE: &[(&str, &[&str], &str)] = &[
    ("tch", &["tributary-torch"], "whoever links libtorch cannot be built without it"),
    ("torch-sys", &["tributary-torch"], "whoever links libtorch cannot be built without it"),
    ("prost", &["tributary-wire"], "messages are parsed once, at the edge"),
    ("tonic-prost", &["tributary-wire"], "messages are parsed once, at the edge"),
    ("opendp", &["tributary-dp"], "one crate answers for noise and accounting"),
    ("rustls", &["tributary-transport"], "one crate decides who is let in"),
    ("sqlx", &["tributary-node", "tributary-store"], "state has two owners"),
    ("parquet", &["tributary-training"], "one crate reads records, whatever their format"),
];

/// A crate must not be built with these outside crates, not even through others.
const FREE_OF: &[(&[&str], &[&str], &str)] = &[
    (
        &[
            "tributary-secagg",
            "tributary-ledger",
            "tributary-dp",
            "tributary-job",
            "tributary-round",
        ],
        &["tokio", "sqlx", "tonic", "hyper", "rustls"],
        "it is free of IO: events in, effects out",
    ),
    (
        &["tributary-training", "tributary-torch"],
        &["tokio", "tonic", "hyper", "rustls", "socket2"],
        "it sees records and must have no way to a network",
    ),
];

/// Outside crates that nothing may be built with.
const NOWHERE: &[(&str, &str)] = &[
    ("ring", "one provider of cryptography: with two in one program rustls panics at its start"),
    ("openssl", "TLS is rustls with aws-lc; no second stack to patch"),
    ("openssl-sys", "TLS is rustls with aws-lc; no system library to match"),
    ("native-tls", "it would bring OpenSSL"),
];

/// Every rule that a workspace breaks, in words.
fn broken(declared: &Edges, resolved: &Edges) -> Vec<String> {
    let mut found = Vec::new();
    let inside = |name: &str| declared.contains_key(name);
    for (user, allowed, why) in ONLY {
        let uses = declared.get(*user).into_iter().flatten();
        for used in uses.filter(|u| inside(u) && !allowed.contains(&u.as_str())) {
            found.push(format!("{user} must not use {used}: {why}"));
        }
    }
    for (user, forbidden, why) in NEVER {
        let reached = reach(declared, user);
        for used in forbidden.iter().filter(|f| reached.contains_key(**f)) {
            found.push(format!("{user} must not use {used} ({}): {why}", way(&reached, used)));
        }
    }
    for user in declared.keys().filter(|u| !BOTH.contains(&u.as_str())) {
        let reached = reach(declared, user);
        let touches = |side: &[&str]| side.iter().any(|s| s == user || reached.contains_key(*s));
        if touches(AGGREGATOR) && touches(AGENCY) {
            found.push(format!("{user} uses both sides: only simulations and tests may"));
        }
    }
    for (used, users, why) in SOLE {
        let others = declared.iter().filter(|(u, _)| !users.contains(&u.as_str()));
        for (user, _) in others.filter(|(_, uses)| uses.contains(*used)) {
            found.push(format!("only {} may name {used}, not {user}: {why}", users.join(", ")));
        }
    }
    for (users, forbidden, why) in FREE_OF {
        for user in *users {
            let reached = reach(resolved, user);
            for used in forbidden.iter().filter(|f| reached.contains_key(**f)) {
                found.push(format!(
                    "{user} must do without {used} ({}): {why}",
                    way(&reached, used)
                ));
            }
        }
    }
    for user in declared.keys() {
        let reached = reach(resolved, user);
        for (used, why) in NOWHERE.iter().filter(|(n, _)| reached.contains_key(*n)) {
            found.push(format!("{used} is banned ({}): {why}", way(&reached, used)));
        }
    }
    found
}

#[test]
fn dependencies_point_the_right_way() {
    let metadata = metadata();
    let (declared, resolved) = (declared(&metadata), resolved(&metadata));
    let found = broken(&declared, &resolved);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    // A rule about a crate that was renamed would hold for ever.
    let ruled = ONLY.iter().map(|r| r.0).chain(NEVER.iter().map(|r| r.0));
    let ruled = ruled.chain(AGGREGATOR.iter().chain(AGENCY).chain(BOTH).copied());
    for name in ruled {
        assert!(declared.contains_key(name), "a rule names {name}, which is no crate any more");
    }
    for used in ["prost", "tch", "rustls"] {
        assert!(resolved.contains_key(used), "{used} is not in the tree: was it looked at?");
    }
}

#[test]
fn every_crate_is_ruled() {
    let free = ["simulate", "tributary-tests"];
    for name in declared(&metadata()).keys() {
        let ruled = ONLY.iter().any(|r| r.0 == name) || NEVER.iter().any(|r| r.0 == name);
        assert!(ruled || free.contains(&name.as_str()), "{name}: say here what it may use");
    }
}

/// Each kind of rule is broken once, to see that it is noticed.
#[test]
fn a_broken_rule_is_noticed() {
    let metadata = metadata();
    let (declared, resolved) = (declared(&metadata), resolved(&metadata));
    for (user, used, in_tree, expected) in [
        ("tributary-secagg", "tributary-dp", false, "must not use tributary-dp"),
        ("tributary-node", "tributary-store", false, "must not use tributary-store"),
        // Through another crate, which by itself could not know.
        (
            "tributary-transport",
            "tributary-round",
            false,
            "-> tributary-transport -> tributary-round",
        ),
        ("tributary-training", "tributary-store", false, "only simulations and tests may"),
        ("tributary-server", "tch", false, "only tributary-torch may name tch"),
        ("tributary-job", "tokio", true, "tributary-round -> tributary-job -> tokio"),
        ("rustls", "ring", true, "rustls -> ring"),
    ] {
        let (mut declared, mut resolved) = (declared.clone(), resolved.clone());
        let edges = if in_tree { &mut resolved } else { &mut declared };
        edges.entry(user.to_owned()).or_default().insert(used.to_owned());
        let found = broken(&declared, &resolved);
        assert!(found.iter().any(|f| f.contains(expected)), "{user} -> {used}: {found:?}");
    }
}
