//! When to kill which node, and when to bring it back. Decides and touches no process.

/// The plan: one node dies at about 40 % of the rounds and returns 15 % later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chaos {
    victim: String,
    kill_at: u32,
    restart_at: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Away,
    Back,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL the victim.
    Kill,
    /// Start it again.
    Restart,
}

impl Chaos {
    /// A plan for these agencies (largest first) and rounds; none if a round could not survive
    /// the loss of one agency, or if there are too few rounds to see it leave and return.
    ///
    /// The victim is the smallest but one agency of at least five, so that the largest share of
    /// the data keeps flowing.
    pub fn plan(agencies: &[String], rounds: u32) -> Option<Self> {
        if agencies.len() < 5 || rounds < 8 {
            return None;
        }
        let victim = agencies.iter().rev().nth(1)?.clone();
        let kill_at = rounds * 2 / 5;
        let restart_at = kill_at + (rounds * 3 / 20).max(1);
        Some(Self { victim, kill_at, restart_at, stage: Stage::Before })
    }

    /// The agency whose node is killed.
    pub fn victim(&self) -> &str {
        &self.victim
    }

    /// What is due after this many finished rounds; moves the plan on.
    pub fn due(&mut self, finished: u32) -> Option<Action> {
        match self.stage {
            Stage::Before if finished >= self.kill_at => {
                self.stage = Stage::Away;
                Some(Action::Kill)
            }
            Stage::Away if finished >= self.restart_at => {
                self.stage = Stage::Back;
                Some(Action::Restart)
            }
            _ => None,
        }
    }

    /// Whether the victim has been killed and is back.
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agencies(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("a{i}")).collect()
    }

    #[test]
    fn kills_once_and_restarts_once() {
        let mut chaos = Chaos::plan(&agencies(10), 200).unwrap();
        assert_eq!(chaos.victim(), "a8");
        let actions: Vec<_> =
            (0..=200).filter_map(|round| Some((round, chaos.due(round)?))).collect();
        assert_eq!(actions, [(80, Action::Kill), (110, Action::Restart)]);
        assert!(chaos.is_complete());
    }

    #[test]
    fn skipped_rounds_do_not_skip_actions() {
        let mut chaos = Chaos::plan(&agencies(5), 20).unwrap();
        assert_eq!(chaos.due(1), None);
        assert_eq!(chaos.due(19), Some(Action::Kill));
        assert!(!chaos.is_complete());
        assert_eq!(chaos.due(19), Some(Action::Restart));
        assert_eq!(chaos.due(20), None);
    }

    #[test]
    fn too_few_agencies_or_rounds_mean_no_chaos() {
        assert_eq!(Chaos::plan(&agencies(4), 200), None);
        assert_eq!(Chaos::plan(&agencies(10), 7), None);
        let plan = Chaos::plan(&agencies(10), 8).unwrap();
        assert!(plan.kill_at < plan.restart_at && plan.restart_at < 8);
    }
}
