//! Tiny Shakespeare (Karpathy 2015) as tables of agencies that each have their own speakers.
//!
//! From `input.txt` (blocks of a speaker's name, a colon and lines, between empty lines) to rows of
//! speaker and text; every tenth speech measures. Knows no job.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::DataDir;
use crate::error::{SimulationError, make_folder, read_text, write_file};

/// The raw file.
const FILE: &str = "input.txt";
/// Every tenth speech is held out.
const TEST_ONE_IN: usize = 10;
/// Fewest speeches that a file must have for its tables to make sense.
const LEAST: usize = 100;

/// A speech.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Speech {
    speaker: String,
    text: String,
}

/// Reads the raw file of `dir` and writes tables for the agencies into `root`: speakers are shared
/// out, the largest first, so that the agencies are of about equal size.
///
/// # Errors
/// A file that is missing or not of this form, or the file system.
pub fn prepare(dir: &Path, agencies: &[String], root: DataDir) -> Result<DataDir, SimulationError> {
    let path = dir.join(FILE);
    let speeches = speeches(&read_text(&path)?);
    if speeches.len() < LEAST {
        let text = format!(
            "{}: {} speeches (a line \"NAME:\" and the lines below it) found, at least {LEAST} are \
             needed",
            path.display(),
            speeches.len()
        );
        return Err(SimulationError::Data(text));
    }
    let share = shared_out(&speeches, agencies.len());
    let mut tables = vec!["speaker,text\n".to_owned(); agencies.len() + 1];
    for (number, speech) in speeches.iter().enumerate() {
        let held_out = number % TEST_ONE_IN == TEST_ONE_IN - 1;
        let own = share.get(&speech.speaker).copied().unwrap_or_default();
        let at = if held_out { agencies.len() } else { own };
        if let Some(table) = tables.get_mut(at) {
            let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
            *table += &format!("{},{}\n", quoted(&speech.speaker), quoted(&speech.text));
        }
    }
    for (agency, table) in agencies.iter().zip(&tables) {
        let path = root.train(agency);
        make_folder(path.parent().unwrap_or(root.root()))?;
        write_file(&path, table.as_bytes())?;
    }
    write_file(&root.test(), tables.last().map_or(&b""[..], |table| table.as_bytes()))?;
    Ok(root)
}

fn speeches(text: &str) -> Vec<Speech> {
    let text = text.replace('\r', "");
    let block = |block: &str| {
        let (name, lines) = block.trim_matches('\n').split_once(":\n")?;
        let named = !name.contains('\n') && !lines.trim().is_empty();
        named.then(|| Speech { speaker: name.to_owned(), text: lines.to_owned() })
    };
    text.split("\n\n").filter_map(block).collect()
}

/// The agency of each speaker.
fn shared_out(speeches: &[Speech], agencies: usize) -> BTreeMap<String, usize> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for speech in speeches {
        *sizes.entry(&speech.speaker).or_default() += speech.text.len();
    }
    let mut order: Vec<_> = sizes.into_iter().collect();
    order.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), *name));
    let mut filled = vec![0; agencies];
    let mut share = BTreeMap::new();
    for (name, size) in order {
        let least = filled.iter().enumerate().min_by_key(|(at, filled)| (**filled, *at));
        let at = least.map_or(0, |(at, _)| at);
        filled[at] += size;
        share.insert(name.to_owned(), at);
    }
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeches_go_to_their_speakers_agency_and_every_tenth_is_held_out() {
        let text: String = (0..200)
            .map(|i| format!("Speaker {}:\nline {i}, \"so\"\nand more\n\n", i % 7))
            .collect();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), &text).unwrap();
        let names = ["a", "b", "c"].map(str::to_owned);
        let root = DataDir::new(dir.path().join("tables"));
        let data = prepare(dir.path(), &names, root).unwrap();
        data.check(&names).unwrap();
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
        let tables: Vec<String> = names.iter().map(|name| read(data.train(name))).collect();
        for speaker in 0..7 {
            let name = format!("\"Speaker {speaker}\"");
            let with = tables.iter().filter(|table| table.contains(&name)).count();
            assert_eq!(with, 1, "{name}");
        }
        assert_eq!(read(data.test()).matches("Speaker").count(), 20);
        assert!(tables[0].contains("\"\"so\"\"\nand more\"\n"));
    }

    #[test]
    fn a_file_of_another_form_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "no speakers here\n\nat all\n").unwrap();
        let root = DataDir::new(dir.path().join("tables"));
        let error = prepare(dir.path(), &["a".to_owned()], root).unwrap_err().to_string();
        assert!(error.contains("0 speeches"), "{error}");
        assert_eq!(speeches("A:\nx\r\ny\n\nB C:\nz\n\nnothing\n\nD:\n\n").len(), 2);
    }
}
