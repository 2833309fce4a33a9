//! The charts over rounds: learning curve and privacy spent.

use super::svg::{Scale, Svg, spread};
use crate::summary::Summary;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 330.0;
pub(super) const LEFT: f64 = 52.0;
/// How far below the lines that matter the quality axis reaches: what lies lower, an untrained model,
/// would only flatten the rest.
const DEPTH: f64 = 0.09;
/// Room for labels at the right.
pub(super) const RIGHT: f64 = 725.0;
pub(super) const TOP: f64 = 18.0;
pub(super) const BOTTOM: f64 = 282.0;

/// Quality on the test table by round, with pooled and best agency alone as lines.
pub fn learning_curve(s: &Summary) -> String {
    let mut lines = vec![("pooled", "pooled, no privacy".to_owned(), s.pooled_quality())];
    if let Some((name, auc)) = s.best_silo() {
        lines.push(("silo", format!("best alone ({})", shortened(name)), auc));
    }
    let points = s.learning_curve.iter().map(|p| p.quality());
    let all: Vec<f64> = points.chain(lines.iter().map(|l| l.2)).chain([s.quality()]).collect();
    let lowest = all.iter().copied().fold(f64::INFINITY, f64::min);
    let matters = lines.iter().map(|l| l.2).fold(s.quality(), f64::min);
    let low = lowest.max(matters - DEPTH);
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let pad = (high - low).max(0.01) * 0.08;
    let x = Scale::new((0.0, f64::from(s.rounds)), (LEFT, RIGHT));
    let y = Scale::new((low - pad, high + pad), (BOTTOM, TOP));
    let mut svg = frame(&x, &y, |v| format!("{v:.2}"));
    for (class, _, auc) in &lines {
        svg.line(&format!("ref s-{class}"), (LEFT, y.at(*auc)), (RIGHT, y.at(*auc)));
    }
    let values: Vec<_> =
        s.learning_curve.iter().map(|p| (f64::from(p.round), p.quality())).collect();
    for piece in above(&values, low - pad) {
        let piece: Vec<_> = piece.iter().map(|(r, auc)| (x.at(*r), y.at(*auc))).collect();
        svg.curve("curve", &piece);
    }
    for (round, auc) in values.into_iter().filter(|(_, auc)| *auc >= low - pad) {
        let tip = format!("after round {round}: {} {auc:.4}", s.measure());
        svg.dot("f-fed", (x.at(round), y.at(auc)), 3.2, &tip);
    }
    lines.push(("fed", "this federation".to_owned(), s.quality()));
    labels(&mut svg, &y, &lines, |v| format!("{v:.3}"));
    let description = format!(
        "Test {} on held-out records rises from {:.3} to {:.3} in {} rounds; pooled data without \
         privacy give {:.3}.",
        s.measure(),
        s.learning_curve.first().map_or(s.quality(), |p| p.quality()),
        s.quality(),
        s.rounds,
        s.pooled_quality()
    );
    svg.finish("learning", &format!("Test {} by round", s.measure()), &description)
}

/// Epsilon in the book by round against the plan; empty without noise.
pub fn privacy_spent(s: &Summary) -> String {
    let (Some(spent), Some(plan)) = (s.epsilon_by_round.last().copied(), s.planned_epsilon) else {
        return String::new();
    };
    let x = Scale::new((0.0, f64::from(s.rounds)), (LEFT, RIGHT));
    let y = Scale::new((0.0, spent.max(plan) * 1.12), (BOTTOM, TOP));
    let mut svg = frame(&x, &y, |v| format!("{v:.1}"));
    let at = |(i, e): (usize, &f64)| (x.at((i + 1) as f64), y.at(*e));
    let curve: Vec<_> = s.epsilon_by_round.iter().enumerate().map(at).collect();
    svg.area("area", &curve, BOTTOM);
    svg.line("ref s-pooled", (LEFT, y.at(plan)), (RIGHT, y.at(plan)));
    svg.curve("curve", &curve);
    if let Some(end) = curve.last() {
        svg.dot("f-fed", *end, 4.0, &format!("epsilon {spent:.3} by the record"));
    }
    let lines = [("pooled", "reserved".to_owned(), plan), ("fed", "shown".to_owned(), spent)];
    labels(&mut svg, &y, &lines, |v| format!("{v:.2}"));
    let description = format!(
        "Epsilon by the record grows round by round to {spent:.3}; {plan:.3} was reserved."
    );
    svg.finish("privacy", "Privacy spent by round", &description)
}

/// The parts of a line that lie above `floor`, cut where it crosses.
fn above(points: &[(f64, f64)], floor: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut open = false;
    for (i, point) in points.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| points.get(i));
        let crossing = before.filter(|b| (b.1 < floor) != (point.1 < floor)).map(|b| {
            let share = (floor - b.1) / (point.1 - b.1);
            (b.0 + share * (point.0 - b.0), floor)
        });
        if point.1 >= floor {
            if !open {
                pieces.push(crossing.into_iter().collect());
            }
            open = true;
            pieces.last_mut().into_iter().for_each(|piece| piece.push(*point));
        } else if let Some(end) = crossing {
            pieces.last_mut().into_iter().for_each(|piece| piece.push(end));
            open = false;
        }
    }
    pieces
}

/// A name that fits into the margin.
fn shortened(name: &str) -> String {
    if name.chars().count() <= 12 {
        return name.to_owned();
    }
    name.chars().take(11).chain(['\u{2026}']).collect()
}

/// Grid, axes and tick labels.
pub(super) fn frame(x: &Scale, y: &Scale, show: impl Fn(f64) -> String) -> Svg {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    for tick in y.ticks(5) {
        svg.line("grid", (LEFT, y.at(tick)), (RIGHT, y.at(tick)));
        svg.text("", (LEFT - 10.0, y.at(tick) + 4.5), "end", &show(tick));
    }
    svg.line("axis", (LEFT, BOTTOM), (RIGHT, BOTTOM));
    for tick in x.ticks(8) {
        svg.text("", (x.at(tick), BOTTOM + 22.0), "middle", &format!("{tick:.0}"));
    }
    svg.text("", (f64::midpoint(LEFT, RIGHT), BOTTOM + 42.0), "middle", "secure rounds");
    svg
}

/// Labels of lines in the right margin, moved apart.
fn labels(svg: &mut Svg, y: &Scale, lines: &[(&str, String, f64)], show: impl Fn(f64) -> String) {
    let wished: Vec<f64> = lines.iter().map(|(_, _, v)| y.at(*v)).collect();
    for ((class, name, value), at) in lines.iter().zip(spread(&wished, 19.0)) {
        let text = format!("{} {name}", show(*value));
        svg.text(&format!("t-{class}"), (RIGHT + 12.0, at + 4.5), "start", &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_it_crosses_the_floor() {
        let points = [(0.0, 0.0), (1.0, 2.0), (2.0, 2.0), (3.0, 0.0), (4.0, 0.0), (5.0, 4.0)];
        let pieces = above(&points, 1.0);
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[0], [(0.5, 1.0), (1.0, 2.0), (2.0, 2.0), (2.5, 1.0)]);
        assert_eq!(pieces[1], [(4.25, 1.0), (5.0, 4.0)]);
        assert_eq!(above(&points, -1.0), [points.to_vec()]);
        assert!(above(&points, 9.0).is_empty());
    }

    #[test]
    fn long_names_are_shortened() {
        assert_eq!(shortened("ua"), "ua");
        assert_eq!(shortened("department-of-flights"), "department-\u{2026}");
    }
}
