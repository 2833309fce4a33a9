//! Source files: small, and each says at its beginning what it is.

use std::path::{Path, PathBuf};

/// Longest source file, lines.
const MAX_LINES: usize = 800;

/// Folders that hold no source of ours.
const NOT_OURS: [&str; 4] = ["target", ".git", ".cache", "gen"];

#[test]
fn files_are_small_and_say_what_they_are() {
    let root = tributary_tests::root();
    let files = rust_files(&root);
    assert!(files.len() > 100, "only {} files below {}", files.len(), root.display());
    let found: Vec<_> = files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            problems(&text).into_iter().map(move |problem| format!("{name}: {problem}"))
        })
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn problems(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        found.push(format!("{lines} lines: more than {MAX_LINES} are too many ideas for one file"));
    }
    if !text.starts_with("//!") {
        found
            .push("does not begin with a module documentation (`//!`) that says what it is".into());
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        // Followed also through links, but never into what is not ours.
        if path.is_dir() {
            if !NOT_OURS.iter().any(|n| name == *n) {
                found.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_large_or_silent_file_is_noticed() {
    assert!(problems("//! Words.\n").is_empty());
    assert_eq!(problems("fn main() {}\n").len(), 1);
    assert_eq!(problems(&format!("//! Words.\n{}", "\n".repeat(MAX_LINES))).len(), 1);
}
