//! The charts over rounds: learning curve and privacy spent.

use super::svg::{Scale, Svg, spread};
use crate::summary::Summary;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 52.0;
/// Room for labels at the right.
const RIGHT: f64 = 725.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 282.0;

/// AUC on the test table by round, with pooled and best agency alone as lines.
pub fn learning_curve(s: &Summary) -> String {
    let mut lines = vec![("pooled", "pooled, no privacy".to_owned(), s.pooled_test_auc)];
    if let Some((name, auc)) = s.best_silo() {
        lines.push(("silo", format!("best alone ({})", shortened(name)), auc));
    }
    let points = s.learning_curve.iter().map(|p| p.test_auc);
    let all: Vec<f64> = points.chain(lines.iter().map(|l| l.2)).chain([s.test_auc]).collect();
    let low = all.iter().copied().fold(f64::INFINITY, f64::min);
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let pad = (high - low).max(0.01) * 0.08;
    let x = Scale::new((0.0, f64::from(s.rounds)), (LEFT, RIGHT));
    let y = Scale::new((low - pad, high + pad), (BOTTOM, TOP));
    let mut svg = frame(&x, &y, |v| format!("{v:.2}"));
    let curve: Vec<_> =
        s.learning_curve.iter().map(|p| (x.at(f64::from(p.round)), y.at(p.test_auc))).collect();
    for (class, _, auc) in &lines {
        svg.line(&format!("ref s-{class}"), (LEFT, y.at(*auc)), (RIGHT, y.at(*auc)));
    }
    svg.curve("curve", &curve);
    for (point, at) in s.learning_curve.iter().zip(&curve) {
        let tip = format!("after round {}: AUC {:.4}", point.round, point.test_auc);
        svg.dot("f-fed", *at, 3.2, &tip);
    }
    lines.push(("fed", "this federation".to_owned(), s.test_auc));
    labels(&mut svg, &y, &lines, |v| format!("{v:.3}"));
    let description = format!(
        "AUC on held-out records rises from {:.3} to {:.3} in {} rounds; pooled data without \
         privacy give {:.3}.",
        s.learning_curve.first().map_or(s.test_auc, |p| p.test_auc),
        s.test_auc,
        s.rounds,
        s.pooled_test_auc
    );
    svg.finish("learning", "Test AUC by round", &description)
}

/// Epsilon in the book by round against the plan; empty without noise.
pub fn privacy_spent(s: &Summary) -> String {
    let (Some(spent), Some(plan)) = (s.epsilon, s.planned_epsilon) else { return String::new() };
    let x = Scale::new((0.0, f64::from(s.rounds)), (LEFT, RIGHT));
    let y = Scale::new((0.0, spent.max(plan) * 1.12), (BOTTOM, TOP));
    let mut svg = frame(&x, &y, |v| format!("{v:.1}"));
    let at = |(i, e): (usize, &f64)| (x.at((i + 1) as f64), y.at(*e));
    let curve: Vec<_> = s.epsilon_by_round.iter().enumerate().map(at).collect();
    svg.area("area", &curve, BOTTOM);
    svg.line("ref s-pooled", (LEFT, y.at(plan)), (RIGHT, y.at(plan)));
    svg.curve("curve", &curve);
    if let Some(end) = curve.last() {
        svg.dot("f-fed", *end, 4.0, &format!("epsilon {spent:.3} in the book"));
    }
    let lines =
        [("pooled", "allowed by the plan".to_owned(), plan), ("fed", "spent".to_owned(), spent)];
    labels(&mut svg, &y, &lines, |v| format!("{v:.2}"));
    let description = format!(
        "Epsilon in the book grows round by round to {spent:.3}; the plan allowed {plan:.3}."
    );
    svg.finish("privacy", "Privacy spent by round", &description)
}

/// A name that fits into the margin.
fn shortened(name: &str) -> String {
    if name.chars().count() <= 12 {
        return name.to_owned();
    }
    name.chars().take(11).chain(['\u{2026}']).collect()
}

/// Grid, axes and tick labels.
fn frame(x: &Scale, y: &Scale, show: impl Fn(f64) -> String) -> Svg {
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
