//! Which secure round computes what: statistics first, then training with evaluations in between.
//!
//! Fixed by the job before its first round. Whether a job stops earlier is not known here: a job that
//! stops has gone through the first rounds of its schedule and no others.

use serde::Serialize;

use crate::plan::Operation;
use crate::spec::JobSpec;

/// The rounds of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// Whether a statistics round comes first.
    pub statistics: bool,
    /// Training rounds.
    pub training: u32,
    /// Training rounds between two evaluations; `None`: one evaluation at the end, if there is any.
    pub every: Option<u32>,
    /// Evaluation rounds.
    pub evaluations: u32,
}

impl Schedule {
    /// Of a job.
    #[must_use]
    pub fn of(spec: &JobSpec) -> Self {
        let (training, every) = (spec.training.rounds, spec.evaluation.and_then(|e| e.every));
        let evaluations = match (spec.evaluation, every) {
            (None, _) => 0,
            (Some(_), None) => 1,
            (Some(_), Some(every)) => training.div_ceil(every.max(1)),
        };
        Self { statistics: spec.data.numeric_count() > 0, training, every, evaluations }
    }

    /// Secure rounds in all.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        u32::from(self.statistics) + self.training + self.evaluations
    }

    /// What a round (counted from 0) computes; `None` past the last.
    #[must_use]
    pub fn operation(&self, round: u32) -> Option<Operation> {
        if round >= self.rounds() {
            return None;
        }
        let Some(at) = round.checked_sub(u32::from(self.statistics)) else {
            return Some(Operation::Statistics);
        };
        let last = round + 1 == self.rounds();
        let due = self.every.is_some_and(|every| (at + 1).is_multiple_of(every.saturating_add(1)));
        let evaluates = self.evaluations > 0 && (last || due);
        Some(if evaluates { Operation::Evaluation } else { Operation::Training })
    }

    /// Evaluations among the first so many rounds.
    #[must_use]
    pub fn evaluations_in(&self, rounds: u32) -> u32 {
        if rounds >= self.rounds() {
            return self.evaluations;
        }
        let past = rounds.saturating_sub(u32::from(self.statistics));
        self.every.map_or(0, |every| past / every.saturating_add(1))
    }

    /// Training rounds among the first so many rounds.
    #[must_use]
    pub fn trained_in(&self, rounds: u32) -> u32 {
        let rounds = rounds.min(self.rounds());
        let past = rounds.saturating_sub(u32::from(self.statistics));
        past.saturating_sub(self.evaluations_in(rounds))
    }

    /// Training rounds before an evaluation (counted from 0).
    #[must_use]
    pub fn trained_before(&self, evaluation: u32) -> u32 {
        match self.every {
            Some(every) => every.saturating_mul(evaluation.saturating_add(1)).min(self.training),
            None => self.training,
        }
    }

    /// Attempts of evaluation rounds that are charged in advance, where a round may take up to
    /// `max_attempts` and the job as a whole `spare` beyond one a round. A single evaluation has all of
    /// its attempts; several share the spare ones.
    #[must_use]
    pub fn evaluation_attempts(&self, max_attempts: u16, spare: u32) -> u32 {
        let most = self.evaluations.saturating_mul(u32::from(max_attempts));
        let shared = spare.max(u32::from(max_attempts).saturating_sub(1));
        if self.evaluations == 0 { 0 } else { most.min(self.evaluations.saturating_add(shared)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(statistics: bool, training: u32, every: Option<u32>) -> Schedule {
        let evaluations = every.map_or(1, |every| training.div_ceil(every));
        Schedule { statistics, training, every, evaluations }
    }

    #[test]
    fn ten_rounds_by_hand() {
        use Operation::{Evaluation as E, Statistics as S, Training as T};
        let s = schedule(true, 10, Some(4));
        let all: Vec<_> = (0..s.rounds()).filter_map(|r| s.operation(r)).collect();
        assert_eq!(all, [S, T, T, T, T, E, T, T, T, T, E, T, T, E]);
        assert_eq!((s.trained_before(0), s.trained_before(1), s.trained_before(2)), (4, 8, 10));
        let end = schedule(false, 2, None);
        assert_eq!(
            (0..4).map(|r| end.operation(r)).collect::<Vec<_>>(),
            [Some(T), Some(T), Some(E), None]
        );
    }

    #[test]
    fn one_evaluation_has_all_its_attempts_and_several_share_the_spare_ones() {
        assert_eq!(schedule(true, 10, None).evaluation_attempts(3, 0), 3);
        assert_eq!(schedule(true, 10, None).evaluation_attempts(3, 10), 3);
        let five = schedule(true, 10, Some(2));
        assert_eq!(five.evaluation_attempts(3, 4), 9);
        assert_eq!(five.evaluation_attempts(3, 0), 7);
        assert_eq!(five.evaluation_attempts(1, 40), 5);
        assert_eq!(Schedule { evaluations: 0, ..five }.evaluation_attempts(3, 4), 0);
    }

    proptest! {
        /// Counting round by round says what the formulas say, and the last round measures.
        #[test]
        fn counts_are_those_of_the_rounds(
            statistics in any::<bool>(),
            training in 1u32..60,
            every in proptest::option::of(1u32..70),
        ) {
            let s = schedule(statistics, training, every);
            let (mut trained, mut evaluated) = (0, 0);
            for round in 0..s.rounds() {
                prop_assert_eq!(s.trained_in(round), trained);
                prop_assert_eq!(s.evaluations_in(round), evaluated);
                match s.operation(round).unwrap() {
                    Operation::Statistics => prop_assert_eq!(round, 0),
                    Operation::Training => trained += 1,
                    Operation::Evaluation => {
                        prop_assert_eq!(s.trained_before(evaluated), trained);
                        evaluated += 1;
                    }
                }
            }
            prop_assert_eq!((trained, evaluated), (training, s.evaluations));
            prop_assert_eq!(s.evaluations_in(s.rounds()), s.evaluations);
            prop_assert_eq!(s.operation(s.rounds() - 1), Some(Operation::Evaluation));
            prop_assert_eq!(s.operation(s.rounds()), None);
        }
    }
}
