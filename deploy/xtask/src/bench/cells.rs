//! What is measured: the cells, in the order in which they run.
//!
//! A cell is one call of one program. Flower's cells follow the cell of ours that they are
//! compared with, so that both see the machine in the same state.

use anyhow::{Result, bail};

use super::keys::{cohort, dimension};

/// Pairwise masks of a node among ten.
pub const MASKS: u64 = 9;
/// Nodes of a round that Flower repeats.
const NODES: u64 = 10;
/// Dimensions at which Flower repeats our node's computation.
const NODE_DIMS: [u64; 2] = [1_000_000, 10_000_000];

/// One call of one program.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Unique name, as `--cells` and errors spell it.
    pub name: String,
    /// Name of the cell of ours that it belongs to: its own name, except for Flower's cells.
    pub group: String,
    /// What to run.
    pub work: Work,
}

/// What a cell runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Our mask kernel and one node's computation.
    Kernel,
    /// Our rounds over real connections.
    Round { nodes: u64, dim: u64, rounds: u32 },
    /// Our protocol with many nodes inside one process.
    Virtual { nodes: u64, dim: u64, dropout: f64 },
    /// One node's computation in Flower's functions.
    FlowerNode { dim: u64, repeats: u32 },
    /// Rounds of Flower's simulation, with SecAgg+ or plain.
    FlowerRound { dim: u64, secagg: bool, rounds: u32 },
}

impl Work {
    /// Arguments of the program, without its name or the script's.
    pub fn arguments(&self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        match *self {
            Self::Kernel => words(&["kernel"]),
            Self::Round { nodes, dim, rounds } => words(&[
                "round",
                "--nodes",
                &nodes.to_string(),
                "--dim",
                &dim.to_string(),
                "--rounds",
                &rounds.to_string(),
            ]),
            Self::Virtual { nodes, dim, dropout } => words(&[
                "virtual",
                "--nodes",
                &nodes.to_string(),
                "--dim",
                &dim.to_string(),
                "--dropout",
                &dropout.to_string(),
            ]),
            Self::FlowerNode { dim, repeats } => {
                words(&[&dim.to_string(), &MASKS.to_string(), &repeats.to_string()])
            }
            Self::FlowerRound { dim, secagg, rounds } => {
                words(&[&dim.to_string(), if secagg { "1" } else { "0" }, &rounds.to_string()])
            }
        }
    }
}

/// All cells of a run.
///
/// `rounds` replaces every cell's own number of timed rounds.
pub fn plan(quick: bool, peers: bool, rounds: Option<u32>) -> Vec<Cell> {
    let usual = |full, short| rounds.unwrap_or(if quick { short } else { full });
    let mut cells = vec![own("kernel".to_owned(), Work::Kernel)];
    if peers {
        cells.extend(NODE_DIMS.map(flower_node));
    }
    let compared: &[u64] = if quick { &[1_000_000] } else { &[1_000_000, 10_000_000] };
    for &dim in compared {
        let cell = round(NODES, dim, usual(5, 3));
        let group = cell.name.clone();
        cells.push(cell);
        if peers {
            let flower_rounds = usual(3, 2);
            cells.extend(
                [true, false].map(|secagg| flower_round(&group, dim, secagg, flower_rounds)),
            );
        }
    }
    if !quick {
        // For the memory; one round is enough to see it.
        cells.push(round(50, 10_000_000, usual(2, 1)));
        cells.push(round(100, 10_000_000, usual(1, 1)));
    }
    // One parameter each: what a round costs apart from its vectors.
    cells.push(round(100, 1, usual(5, 2)));
    let (nodes, dim) = if quick { (200, 10_000) } else { (1000, 100_000) };
    let work = Work::Virtual { nodes, dim, dropout: 0.05 };
    cells.push(own(format!("virtual-{}", cohort(nodes, dim)), work));
    cells
}

/// The cells that carry one of the names, or belong to one that does; all if no name is given.
pub fn select(cells: Vec<Cell>, names: &[String]) -> Result<Vec<Cell>> {
    let known = |name: &String| cells.iter().any(|cell| cell.name == *name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = cells.iter().map(|cell| cell.name.as_str()).collect();
        bail!(
            "there is no cell `{unknown}` in this run; --cells takes some of: {}",
            all.join(", ")
        );
    }
    let wanted = |cell: &Cell| names.contains(&cell.name) || names.contains(&cell.group);
    Ok(cells.into_iter().filter(|cell| names.is_empty() || wanted(cell)).collect())
}

fn own(name: String, work: Work) -> Cell {
    Cell { group: name.clone(), name, work }
}

fn round(nodes: u64, dim: u64, rounds: u32) -> Cell {
    own(cohort(nodes, dim), Work::Round { nodes, dim, rounds })
}

fn flower_node(dim: u64) -> Cell {
    Cell {
        name: format!("flower-node-{}", dimension(dim)),
        group: "kernel".to_owned(),
        work: Work::FlowerNode { dim, repeats: 5 },
    }
}

fn flower_round(group: &str, dim: u64, secagg: bool, rounds: u32) -> Cell {
    Cell {
        name: format!("flower-{}-{group}", if secagg { "secagg" } else { "plain" }),
        group: group.to_owned(),
        work: Work::FlowerRound { dim, secagg, rounds },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(cells: &[Cell]) -> Vec<&str> {
        cells.iter().map(|cell| cell.name.as_str()).collect()
    }

    #[test]
    fn the_full_plan_has_flower_beside_ours() {
        assert_eq!(
            names(&plan(false, true, None)),
            [
                "kernel",
                "flower-node-1e6",
                "flower-node-1e7",
                "10x1e6",
                "flower-secagg-10x1e6",
                "flower-plain-10x1e6",
                "10x1e7",
                "flower-secagg-10x1e7",
                "flower-plain-10x1e7",
                "50x1e7",
                "100x1e7",
                "100x1",
                "virtual-1000x1e5",
            ]
        );
    }

    #[test]
    fn the_quick_plan_is_ours_and_small() {
        let cells = plan(true, false, None);
        assert_eq!(names(&cells), ["kernel", "10x1e6", "100x1", "virtual-200x1e4"]);
    }

    #[test]
    fn rounds_apply_to_every_round() {
        for cell in plan(false, true, Some(7)) {
            match cell.work {
                Work::Round { rounds, .. } | Work::FlowerRound { rounds, .. } => {
                    assert_eq!(rounds, 7)
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_chosen_cell_brings_flowers_beside_it() {
        let chosen = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
            select(plan(false, true, None), &wanted)
        };
        assert_eq!(
            names(&chosen(&["10x1e6"]).unwrap()),
            ["10x1e6", "flower-secagg-10x1e6", "flower-plain-10x1e6"]
        );
        assert_eq!(names(&chosen(&["flower-node-1e6"]).unwrap()), ["flower-node-1e6"]);
        assert_eq!(chosen(&[]).unwrap().len(), 13);
        let error = chosen(&["10x1e9"]).unwrap_err().to_string();
        assert!(error.contains("10x1e9") && error.contains("virtual-1000x1e5"), "{error}");
    }

    #[test]
    fn arguments_are_those_of_the_programs() {
        let line = |work: Work| work.arguments().join(" ");
        let round = Work::Round { nodes: 10, dim: 1_000_000, rounds: 5 };
        assert_eq!(line(round), "round --nodes 10 --dim 1000000 --rounds 5");
        let many = Work::Virtual { nodes: 1000, dim: 100_000, dropout: 0.05 };
        assert_eq!(line(many), "virtual --nodes 1000 --dim 100000 --dropout 0.05");
        assert_eq!(line(Work::FlowerNode { dim: 5, repeats: 2 }), "5 9 2");
        assert_eq!(line(Work::FlowerRound { dim: 5, secagg: false, rounds: 2 }), "5 0 2");
    }
}
