//! Runs the cells one after the other and checks that each said what it was asked for.
//!
//! A cell that fails is remembered and the next one runs. Only Ctrl-C ends the whole.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::cells::{Cell, Work};
use super::child;
use super::lines::Line;
use crate::support::command::describe;
use crate::support::interrupt::Interrupted;
use crate::support::ui;

/// Longer than any cell takes on a slow machine: beyond it, it hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// A program with what always goes before its arguments and into its environment.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Arguments before all others: a script, for an interpreter.
    pub before: Vec<OsString>,
    /// Variables that are set.
    pub env: Vec<(&'static str, OsString)>,
}

impl Program {
    fn command(&self, work: &Work) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.before).args(work.arguments()).envs(self.env.iter().cloned());
        command
    }
}

/// The programs that cells call.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `secagg-bench`.
    pub ours: Program,
    /// `flower_node.py` and `flower_round.py`, if peers are measured.
    pub flower: Option<(Program, Program)>,
}

impl Programs {
    fn of(&self, work: &Work) -> Result<&Program> {
        let flower = || self.flower.as_ref().context("peers are not set up: add --peers");
        match work {
            Work::Kernel | Work::Round { .. } | Work::Virtual { .. } => Ok(&self.ours),
            Work::FlowerNode { .. } => Ok(&flower()?.0),
            Work::FlowerRound { .. } => Ok(&flower()?.1),
        }
    }
}

/// A cell that has no result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// The cell's name.
    pub cell: String,
    /// What happened, with the end of what the program said.
    pub error: String,
}

/// What a run brought.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Lines of our own program.
    pub ours: Vec<Line>,
    /// Lines of Flower's scripts.
    pub flower: Vec<Line>,
    /// Cells without a result.
    pub failed: Vec<Failure>,
}

/// Runs all cells; logs go to `logs`.
pub fn run(programs: &Programs, cells: &[Cell], logs: &Path) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for (index, cell) in cells.iter().enumerate() {
        let start = Instant::now();
        println!("  [{}/{}] {}", index + 1, cells.len(), cell.name);
        match measure(programs, cell, logs) {
            Ok(lines) => {
                println!("        done in {}", ui::seconds(start.elapsed()));
                match cell.work {
                    Work::FlowerNode { .. } | Work::FlowerRound { .. } => {
                        outcome.flower.extend(lines);
                    }
                    _ => outcome.ours.extend(lines),
                }
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                println!("        FAILED after {}", ui::seconds(start.elapsed()));
                outcome
                    .failed
                    .push(Failure { cell: cell.name.clone(), error: format!("{error:#}") });
            }
        }
    }
    Ok(outcome)
}

fn measure(programs: &Programs, cell: &Cell, logs: &Path) -> Result<Vec<Line>> {
    let mut command = programs.of(&cell.work)?.command(&cell.work);
    println!("        {}", shown(&command));
    let output = child::run(&mut command, logs, &cell.name, LIMIT)?;
    let lines = Line::parse_all(&output)?;
    check(&cell.work, &lines).with_context(|| format!("`{}` ended well", describe(&command)))?;
    Ok(lines)
}

/// Fails unless the lines hold the result that the work is for, and a correct one.
fn check(work: &Work, lines: &[Line]) -> Result<()> {
    let find = |bench: &str, fits: &dyn Fn(&Line) -> bool| {
        let line = lines.iter().find(|line| line.is(bench) && fits(line));
        line.with_context(|| format!("but printed no fitting line with \"bench\":\"{bench}\""))
    };
    match *work {
        Work::Kernel => {
            for bits in [16, 32] {
                let field = "ns_per_parameter_and_mask";
                find("mask", &|l| l.count("bits") == Some(bits) && l.seconds(field).is_some())?;
            }
            find("node", &|l| l.count("d").is_some() && l.seconds("total_s").is_some())?;
        }
        Work::Round { nodes, dim, .. } => {
            find("round", &|l| of(l, nodes, dim) && l.seconds("round_s").is_some())?;
        }
        Work::Virtual { nodes, dim, .. } => {
            match find("virtual", &|l| of(l, nodes, dim))?.flag("exact") {
                Some(true) => {}
                Some(false) => bail!("but the sum was wrong (\"exact\":false)"),
                None => bail!("but did not say whether the sum was right (no field \"exact\")"),
            }
        }
        Work::FlowerNode { dim, .. } => {
            find("flower_node", &|l| l.count("d") == Some(dim) && l.seconds("total_s").is_some())?;
        }
        Work::FlowerRound { dim, secagg, .. } => {
            let line =
                find("flower_round", &|l| of(l, 10, dim) && l.flag("secagg") == Some(secagg))?;
            ensure!(line.seconds("round_s").is_some(), "but its line has no time \"round_s\"");
        }
    }
    Ok(())
}

/// The command line without variables, which errors show.
fn shown(command: &Command) -> String {
    let mut plain = Command::new(command.get_program());
    plain.args(command.get_args());
    describe(&plain)
}

fn of(line: &Line, nodes: u64, dim: u64) -> bool {
    line.count("nodes") == Some(nodes) && line.count("dim") == Some(dim)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::bench::cells::plan;

    /// A stand-in for both programs: a shell script called with their arguments.
    fn script(dir: &Path, text: &str) -> Program {
        let path = dir.join("fake.sh");
        fs::write(&path, text).unwrap();
        Program {
            path: "sh".into(),
            before: vec![path.into()],
            env: vec![("GREETING", "hi".into())],
        }
    }

    const FAKE: &str = r#"
        echo "some talk, $GREETING"
        case "$1" in
        kernel)
            echo '{"bench":"mask","kernel":"x","bits":16,"d":10,"ns_per_parameter_and_mask":0.2}'
            echo '{"bench":"mask","kernel":"x","bits":32,"d":10,"ns_per_parameter_and_mask":0.4}'
            echo '{"bench":"node","d":10,"masks":9,"bits":32,"total_s":0.1}' ;;
        round)
            if [ "$3" = 100 ]; then echo "no file descriptors left" >&2; exit 3; fi
            echo "{\"bench\":\"round\",\"nodes\":$3,\"dim\":$5,\"round_s\":{\"median\":0.5}}" ;;
        virtual)
            echo "{\"bench\":\"virtual\",\"nodes\":$3,\"dim\":$5,\"exact\":false}" ;;
        esac
    "#;

    #[test]
    fn a_failed_cell_does_not_stop_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let programs = Programs { ours: script(dir.path(), FAKE), flower: None };
        let outcome = run(&programs, &plan(true, false, None), dir.path()).unwrap();
        assert_eq!(outcome.ours.len(), 4);
        let failed: Vec<_> = outcome.failed.iter().map(|f| f.cell.as_str()).collect();
        assert_eq!(failed, ["100x1", "virtual-200x1e4"]);
        assert!(outcome.failed[0].error.contains("no file descriptors left"));
        assert!(outcome.failed[1].error.contains("the sum was wrong"));
    }

    #[test]
    fn flower_is_kept_apart() {
        let dir = tempfile::tempdir().unwrap();
        let fake = r#"if [ "$2" = 9 ]; then
                echo "{\"bench\":\"flower_node\",\"d\":$1,\"total_s\":{\"median\":1.5}}"
            else
                secagg=$([ "$2" = 1 ] && echo true || echo false)
                echo "{\"bench\":\"flower_round\",\"nodes\":10,\"dim\":$1,\"secagg\":$secagg,\"round_s\":{\"median\":2}}"
            fi"#;
        let flower = script(dir.path(), fake);
        let mut cells = plan(true, true, None);
        cells.retain(|cell| cell.name.starts_with("flower"));
        let mut programs =
            Programs { ours: Program::default(), flower: Some((flower.clone(), flower)) };
        let outcome = run(&programs, &cells, dir.path()).unwrap();
        assert_eq!(outcome.failed, []);
        assert_eq!((outcome.ours.len(), outcome.flower.len()), (0, 4));
        programs.flower = None;
        let outcome = run(&programs, &cells, dir.path()).unwrap();
        assert!(outcome.failed.iter().all(|f| f.error.contains("--peers")));
        assert_eq!(outcome.failed.len(), 4);
    }

    #[test]
    fn another_cells_line_is_no_result() {
        let line = r#"{"bench":"round","nodes":10,"dim":5,"round_s":{"median":0.5}}"#;
        let lines = [Line::parse(line).unwrap()];
        let round = |nodes, dim| Work::Round { nodes, dim, rounds: 1 };
        check(&round(10, 5), &lines).unwrap();
        for work in [round(11, 5), round(10, 6), Work::Kernel] {
            assert!(check(&work, &lines).unwrap_err().to_string().contains("no fitting line"));
        }
    }
}
