//! `deploy/docs/configuration.md` says every setting of every file, and is what the programs say of
//! themselves. `TRIBUTARY_UPDATE_DOCS=1 cargo test --test configuration` writes it anew.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::process::Command;

use tributary_tests::binaries::{self, Program};
use tributary_tests::call::call;

const HEAD: &str = "\
# Settings

Every file with settings, every setting, its default and what it means: made from the types that the
programs parse the files into, by `agency-node reference FILE` and `aggregator reference FILE`. Unknown
settings are refused by all of them. Where nothing is set if a setting is left out, or the text says what
then holds, there is a dash. Samples with comments are in [deploy/config](../config/).
";

const FILES: [(&str, Program, &str, &str); 6] = [
    (
        "node.toml",
        Program::AgencyNode,
        "node",
        "In the node's data directory; `agency-node enrol` makes it.",
    ),
    (
        "policy.toml",
        Program::AgencyNode,
        "policy",
        "What may run at the agency; `agency-node policy example` prints one to start from. Where there \
         is none, nothing runs. A setting that is refused if left out has to be named: there is no \
         default for what an agency allows.",
    ),
    (
        "A mapping",
        Program::AgencyNode,
        "mapping",
        "`agency-node dataset add --mapping FILE`: how a file's columns become those of a job.",
    ),
    (
        "A PostgreSQL query",
        Program::AgencyNode,
        "postgres",
        "`agency-node dataset add --postgres FILE`: a query as a dataset.",
    ),
    (
        "aggregator.toml",
        Program::Aggregator,
        "aggregator",
        "In the aggregator's data directory; `aggregator init` makes it.",
    ),
    (
        "A job",
        Program::Aggregator,
        "job",
        "What a researcher submits, simulates, and agencies approve.",
    ),
];

#[test]
fn the_page_of_settings_is_what_the_programs_say() {
    let mut page = HEAD.to_owned();
    for (title, program, file, what) in FILES {
        let said = call(Command::new(binaries::path(program)).args(["reference", file])).ok();
        page.push_str(&format!("\n## {title}\n\n{what}\n\n{}\n", said.trim()));
    }
    let path = tributary_tests::root().join("deploy/docs/configuration.md");
    if std::env::var_os("TRIBUTARY_UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "{} is not what the programs say: TRIBUTARY_UPDATE_DOCS=1 cargo test --test configuration",
        path.display()
    );
}
