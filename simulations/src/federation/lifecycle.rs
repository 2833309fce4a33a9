//! Which process dies when, and when it starts again: a scenario's faults, carried out.
//!
//! Knows round numbers and counts of frames; nothing of what is in them.

use crate::scenario::Fault;

/// Faults in progress.
#[derive(Debug)]
pub struct Lifecycle {
    faults: Vec<Scheduled>,
    /// Protocol frames that each node sent in the running round.
    sent: Vec<usize>,
    round: Option<u32>,
}

#[derive(Debug)]
struct Scheduled {
    node: usize,
    from: u32,
    to: Option<u32>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ahead,
    Down,
    Over,
}

impl Lifecycle {
    /// For checked faults; those of unknown agencies never happen.
    pub fn new(faults: &[Fault], agencies: &[String]) -> Self {
        let scheduled = |fault: &Fault| {
            let node = agencies.iter().position(|a| *a == fault.agency)?;
            Some(Scheduled {
                node,
                from: fault.from_round,
                to: fault.to_round,
                stage: Stage::Ahead,
            })
        };
        Self {
            faults: faults.iter().filter_map(scheduled).collect(),
            sent: vec![0; agencies.len()],
            round: None,
        }
    }

    /// A node sent so many protocol frames in an exchange of the running round.
    pub fn sent(&mut self, node: usize, round: u32, running: bool, frames: usize) {
        self.enter(round, running);
        if let (true, Some(count)) = (running, self.sent.get_mut(node)) {
            *count += frames;
        }
    }

    /// Nodes that die now: their round runs, they have committed to it and are asked for more.
    pub fn dying(
        &mut self,
        round: u32,
        running: bool,
        has_mail: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        self.enter(round, running);
        let mut out = Vec::new();
        for fault in &mut self.faults {
            let committed = self.sent.get(fault.node).is_some_and(|count| *count > 0);
            let due = fault.stage == Stage::Ahead && running && round >= fault.from;
            if due && committed && has_mail(fault.node) {
                fault.stage = Stage::Down;
                out.push(fault.node);
            }
        }
        out
    }

    /// Nodes that start again now: early enough to be asked for their round.
    pub fn returning(&mut self, round: u32) -> Vec<usize> {
        let mut out = Vec::new();
        for fault in &mut self.faults {
            let due = fault.to.is_some_and(|to| round + 1 >= to);
            if fault.stage == Stage::Down && due {
                fault.stage = Stage::Over;
                out.push(fault.node);
            }
        }
        out
    }

    fn enter(&mut self, round: u32, running: bool) {
        let now = running.then_some(round);
        if self.round != now {
            self.round = now;
            self.sent.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_dies_in_its_round_after_committing_and_returns_in_time() {
        let fault = Fault { agency: "b".into(), from_round: 2, to_round: Some(4) };
        let mut life = Lifecycle::new(&[fault], &["a".to_owned(), "b".to_owned()]);
        let mail = |_| true;
        life.sent(1, 1, true, 3);
        assert!(life.dying(1, true, mail).is_empty(), "too early");
        assert!(life.dying(2, true, mail).is_empty(), "has not committed to this round yet");
        life.sent(1, 2, true, 1);
        assert!(life.dying(2, true, |_| false).is_empty(), "is not asked for anything");
        assert_eq!(life.dying(2, true, mail), [1]);
        assert!(life.dying(2, true, mail).is_empty(), "dies once");
        assert!(life.returning(2).is_empty());
        assert_eq!(life.returning(3), [1]);
        assert!(life.returning(4).is_empty());
    }

    #[test]
    fn without_a_last_round_it_never_returns() {
        let fault = Fault { agency: "a".into(), from_round: 0, to_round: None };
        let mut life = Lifecycle::new(&[fault], &["a".to_owned()]);
        life.sent(0, 0, true, 1);
        assert_eq!(life.dying(0, true, |_| true), [0]);
        assert!(life.returning(99).is_empty());
    }
}
