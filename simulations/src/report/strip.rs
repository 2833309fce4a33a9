//! Agencies by rounds: who was in which sum.

use super::svg::{Scale, Svg};
use crate::summary::Summary;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 860.0;

/// Whether an agency's vector is in a round's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    In,
    /// It was asked and did not finish.
    Lost,
    /// It was not asked.
    Away,
}

/// Rounds `[from, to)` in one presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// What.
    pub presence: Presence,
    /// First round.
    pub from: u32,
    /// One past the last round.
    pub to: u32,
}

/// The strip.
pub fn strip(s: &Summary) -> String {
    let row = (560.0 / s.agencies.len().max(1) as f64).clamp(7.0, 24.0);
    let x = Scale::new((0.0, f64::from(s.rounds)), (LEFT, RIGHT));
    let bottom = row * s.agencies.len() as f64 + 4.0;
    let mut svg = Svg::new(WIDTH, bottom + 46.0);
    for (i, agency) in s.agencies.iter().enumerate() {
        let y = 4.0 + row * i as f64;
        for Stretch { presence, from, to } in stretches(s, agency) {
            let (class, words) = match presence {
                Presence::In => ("f-in", "in the sum"),
                Presence::Lost => ("f-lost", "lost during the round"),
                Presence::Away => ("f-away", "away"),
            };
            let rounds = if to == from + 1 {
                format!("round {from}")
            } else {
                format!("rounds {from} to {}", to - 1)
            };
            let (left, right) = (x.at(f64::from(from)), x.at(f64::from(to)));
            // A single lost round among hundreds must still be seen.
            let width =
                if presence == Presence::Lost { (right - left).max(4.0) } else { right - left };
            let tip = format!("{agency}, {rounds}: {words}");
            svg.rect(class, (left, y + 1.5), (width, row - 3.0), 1.5, &tip);
        }
        if row >= 11.0 {
            svg.text("strong", (LEFT - 12.0, y + row / 2.0 + 4.5), "end", agency);
            let count = format!("{} of {}", s.rounds_survived(agency), s.rounds);
            svg.text("", (RIGHT + 12.0, y + row / 2.0 + 4.5), "start", &count);
        }
    }
    for tick in x.ticks(8) {
        svg.text("", (x.at(tick), bottom + 20.0), "middle", &format!("{tick:.0}"));
    }
    svg.text("", (f64::midpoint(LEFT, RIGHT), bottom + 40.0), "middle", "secure rounds");
    let full = s.survivors.iter().filter(|round| round.len() == s.agencies.len()).count();
    let description = format!(
        "{full} of {} rounds went on with every agency; incidents are listed below.",
        s.rounds
    );
    svg.finish("strip", "Agencies in each round's sum", &description)
}

/// An agency's rounds, neighbouring equal ones joined.
pub fn stretches(s: &Summary, agency: &str) -> Vec<Stretch> {
    let mut out: Vec<Stretch> = Vec::new();
    for (round, survivors) in s.survivors.iter().enumerate() {
        let round = round as u32;
        let dropped = s.dropped.get(&round).is_some_and(|names| names.iter().any(|n| n == agency));
        let presence = match (survivors.iter().any(|n| n == agency), dropped) {
            (true, _) => Presence::In,
            (false, true) => Presence::Lost,
            (false, false) => Presence::Away,
        };
        match out.last_mut() {
            Some(last) if last.presence == presence => last.to = round + 1,
            _ => out.push(Stretch { presence, from: round, to: round + 1 }),
        }
    }
    out
}
