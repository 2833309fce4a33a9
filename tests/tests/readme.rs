//! What the documents tell people to type is what the programs understand.
//!
//! For every command line in a code fence: the program has this subcommand, and its help has every
//! `--option` that is used. Nothing is run but `--help`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tributary_tests::binaries::{self, Program};
use tributary_tests::call::call;

/// How a command line begins, and which program that is.
const PROGRAMS: [(&[&str], Program); 4] = [
    (&["cargo", "xtask"], Program::Xtask),
    (&["aggregator"], Program::Aggregator),
    (&["agency-node"], Program::AgencyNode),
    (&["simulate"], Program::Simulate),
];

/// A command line of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    program: Program,
    /// Subcommands and what else stands before the first option.
    words: Vec<String>,
    options: BTreeSet<String>,
}

#[test]
fn every_command_in_the_readme_exists() {
    let text = fs::read_to_string(tributary_tests::root().join("README.md")).unwrap();
    let lines = command_lines(&text);
    // The two commands that a stranger types first.
    for task in ["demo", "test"] {
        let wanted = |line: &Line| line.program == Program::Xtask && line.words == [task];
        assert!(lines.iter().any(wanted), "README.md does not show `cargo xtask {task}`");
    }
    check(lines.into_iter().map(|line| ("README.md".to_owned(), line)));
}

#[test]
fn every_command_in_the_guides_exists() {
    let root = tributary_tests::root();
    let mut files = vec![root.join("ARCHITECTURE.md"), root.join("CONTRIBUTING.md")];
    let guides = fs::read_dir(root.join("deploy/docs")).into_iter().flatten().flatten();
    files.extend(guides.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "md")));
    let mut found = Vec::new();
    for path in files.iter().filter(|p| p.is_file()) {
        let lines = command_lines(&fs::read_to_string(path).unwrap());
        found.extend(lines.into_iter().map(|line| (path.display().to_string(), line)));
    }
    check(found);
}

#[test]
fn every_link_in_the_readme_leads_to_a_file() {
    let root = tributary_tests::root();
    let text = fs::read_to_string(root.join("README.md")).unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local: Vec<PathBuf> = links
        .map(|link| link.split('#').next().unwrap())
        .filter(|link| !link.is_empty() && !link.contains("://"))
        .map(|link| root.join(link))
        .collect();
    assert!(!local.is_empty());
    let missing: Vec<_> = local.iter().filter(|path| !path.exists()).collect();
    assert!(missing.is_empty(), "README.md leads to {missing:?}");
}

#[test]
fn every_test_in_the_threat_model_exists() {
    let root = tributary_tests::root();
    let text = fs::read_to_string(root.join("deploy/docs/threat-model.md")).unwrap();
    // The last cell of a line of a table whose heading says "tests".
    let mut named = BTreeSet::new();
    let mut heading = true;
    let mut names_tests = false;
    for line in text.lines().map(str::trim) {
        let Some(row) = line.strip_prefix('|').and_then(|l| l.strip_suffix('|')) else {
            heading = true;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        if heading {
            names_tests = last == "tests";
            heading = false;
        } else if names_tests {
            let quoted = last.split('`').skip(1).step_by(2);
            named.extend(quoted.filter(|name| name.contains('_')).map(str::to_owned));
        }
    }
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let mut functions = BTreeSet::new();
    for file in rust_files(&root) {
        let code = fs::read_to_string(&file).unwrap();
        let starts = code.split("fn ").skip(1);
        functions
            .extend(starts.filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned));
    }
    let missing: Vec<_> = named.difference(&functions).collect();
    assert!(missing.is_empty(), "the threat model names tests that do not exist: {missing:?}");
}

/// Everything ending in `.rs` but what was built.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    files
}

/// Holds each line against the program's help; asks each program once for each subcommand.
fn check(lines: impl IntoIterator<Item = (String, Line)>) {
    let mut helps: BTreeMap<(Program, Vec<String>), Result<String, String>> = BTreeMap::new();
    let mut found = Vec::new();
    for (file, line) in lines {
        let key = (line.program, line.words.clone());
        let help = helps.entry(key).or_insert_with(|| help(line.program, &line.words));
        let shown = format!("{} {}", line.program.name(), line.words.join(" "));
        match help {
            Err(problem) => found.push(format!("{file}: `{shown}`: {problem}")),
            Ok(help) => {
                let unknown = line.options.iter().filter(|option| !has_option(help, option));
                found.extend(unknown.map(|option| format!("{file}: `{shown}` has no {option}")));
            }
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn help(program: Program, words: &[String]) -> Result<String, String> {
    let mut command = Command::new(binaries::path(program));
    let outcome = call(command.args(words).arg("--help"));
    match outcome.code {
        Some(0) => Ok(outcome.stdout),
        _ => Err(outcome.stderr),
    }
}

fn has_option(help: &str, option: &str) -> bool {
    help.split_whitespace().any(|word| word.trim_end_matches([',', '.']) == option)
}

/// The command lines of our programs in a document's code fences.
fn command_lines(text: &str) -> BTreeSet<Line> {
    let mut inside = false;
    let mut code = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            code.push_str(line);
            code.push('\n');
        }
    }
    code.replace("\\\n", " ").lines().filter_map(command_line).collect()
}

fn command_line(text: &str) -> Option<Line> {
    // A comment, a redirection or a pipe ends what our program sees.
    let end = [" #", " >", " |", " <"].iter().filter_map(|stop| text.find(stop)).min();
    let text = text.get(..end.unwrap_or(text.len()))?;
    let words: Vec<&str> = text.trim().trim_start_matches("$ ").split_whitespace().collect();
    let (start, program) = PROGRAMS.into_iter().find(|(start, _)| words.starts_with(start))?;
    let rest = &words[start.len()..];
    let before = rest.iter().take_while(|w| !w.starts_with('-')).map(|w| (*w).to_owned());
    let options = rest.iter().filter(|w| w.starts_with("--") && w.len() > 2);
    let options = options.map(|w| w.split('=').next().unwrap().to_owned());
    Some(Line { program, words: before.collect(), options: options.collect() })
}

#[test]
fn command_lines_are_found_and_taken_apart() {
    let text = "aggregator outside\n```sh\n$ aggregator job submit \\\n  --data-dir X job.toml\n\
                cargo xtask demo --rounds=8   # a --comment\n\
                agency-node policy example > policy.toml\ncat --nothing\n```\n";
    let found: Vec<_> = command_lines(text).into_iter().collect();
    let line = |program, words: &[&str], options: &[&str]| Line {
        program,
        words: words.iter().map(|w| (*w).to_owned()).collect(),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
    };
    let expected = [
        line(Program::Aggregator, &["job", "submit"], &["--data-dir"]),
        line(Program::AgencyNode, &["policy", "example"], &[]),
        line(Program::Xtask, &["demo"], &["--rounds"]),
    ];
    assert_eq!(found, expected);
}

#[test]
#[should_panic(expected = "has no --data-dri")]
fn a_mistyped_option_is_noticed() {
    check(
        command_lines("```\naggregator serve --data-dri X\n```")
            .into_iter()
            .map(|l| (String::new(), l)),
    );
}

#[test]
#[should_panic(expected = "aggregator enroll")]
fn a_mistyped_command_is_noticed() {
    check(
        command_lines("```\naggregator enroll token\n```").into_iter().map(|l| (String::new(), l)),
    );
}
