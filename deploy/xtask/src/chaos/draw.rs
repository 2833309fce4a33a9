//! What is killed next and when things happen, from a seed (splitmix64, Steele et al. 2014). Decides
//! and touches no process.

use std::time::Duration;

/// A deterministic source of decisions.
#[derive(Debug, Clone)]
pub struct Draw(u64);

/// Whom the next SIGKILL hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The aggregator.
    Aggregator,
    /// A node, by its position.
    Node(usize),
    /// Every process at once.
    All,
}

impl Draw {
    /// A source that follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// One in ten hits all, three in ten the aggregator, the rest a node.
    pub fn victim(&mut self, nodes: usize) -> Victim {
        match self.below(10) {
            0 => Victim::All,
            1..=3 => Victim::Aggregator,
            _ => Victim::Node(self.below(nodes as u64) as usize),
        }
    }

    /// Up to so many milliseconds.
    pub fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_kills_and_hits_everybody() {
        let draw = |seed| {
            let mut draw = Draw::new(seed);
            (0..400).map(|_| draw.victim(5)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let of = |victim| draw(7).iter().filter(|v| **v == victim).count();
        assert!((20..70).contains(&of(Victim::All)), "{}", of(Victim::All));
        assert!((80..160).contains(&of(Victim::Aggregator)), "{}", of(Victim::Aggregator));
        assert!((0..5).all(|i| of(Victim::Node(i)) > 20));
    }
}
