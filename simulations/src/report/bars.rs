//! Bars: each agency alone against the federation against pooled data; and where the time went.

use super::svg::{Scale, Svg};
use crate::summary::Summary;

const WIDTH: f64 = 960.0;
const ROW: f64 = 27.0;

/// Test quality of every model; bars start at a coin toss, or at nothing for more than two classes.
pub fn comparison(s: &Summary) -> String {
    let mut rows = vec![
        ("f-pooled", "all data pooled, no privacy".to_owned(), s.pooled_quality()),
        ("f-fed", "this federation".to_owned(), s.quality()),
    ];
    let mut silos: Vec<_> = s.silo_quality().iter().collect();
    silos.sort_by(|a, b| b.1.total_cmp(a.1));
    rows.extend(silos.into_iter().map(|(name, auc)| ("f-silo", format!("{name} alone"), *auc)));
    let base = if s.test_auc.is_some() { 0.5 } else { 0.0 };
    let low = rows.iter().map(|r| r.2).fold(base, f64::min);
    let high = rows.iter().map(|r| r.2).fold(base + 0.05, f64::max);
    let (left, right, top) = (210.0, 880.0, 8.0);
    let x = Scale::new((low, high), (left, right));
    let bottom = top + ROW * rows.len() as f64 + 4.0;
    let mut svg = Svg::new(WIDTH, bottom + 46.0);
    for tick in x.ticks(6) {
        svg.line("grid", (x.at(tick), top), (x.at(tick), bottom));
        svg.text("", (x.at(tick), bottom + 19.0), "middle", &format!("{tick:.2}"));
    }
    for (i, (class, name, auc)) in rows.iter().enumerate() {
        let y = top + ROW * i as f64;
        let strong = if *class == "f-silo" { "" } else { "strong" };
        svg.text(strong, (left - 12.0, y + 17.5), "end", name);
        let (from, to) = (x.at(base).min(x.at(*auc)), x.at(base).max(x.at(*auc)));
        let tip = format!("{name}: {} {auc:.4}", s.measure());
        svg.rect(class, (from, y + 4.0), ((to - from).max(1.5), ROW - 9.0), 3.0, &tip);
        svg.text("strong", (to + 8.0, y + 17.5), "start", &format!("{auc:.3}"));
    }
    svg.line("axis", (x.at(base), top), (x.at(base), bottom));
    let axis = match s.test_auc {
        Some(_) if s.times_to_event => "test concordance (0.5 is a coin toss, 1 is perfect)",
        Some(_) => "test AUC (0.5 is a coin toss, 1 is perfect)",
        None => "test accuracy (1 is perfect)",
    };
    svg.text("", (f64::midpoint(left, right), bottom + 40.0), "middle", axis);
    let description = format!(
        "Pooled {:.3}, federation {:.3}, agencies alone from {:.3} to {:.3}.",
        s.pooled_quality(),
        s.quality(),
        s.silo_quality().values().copied().fold(f64::INFINITY, f64::min),
        s.best_silo().map_or(0.0, |(_, auc)| auc)
    );
    svg.finish("comparison", "Each agency alone, the federation, and pooled data", &description)
}

/// One bar cut into phases.
pub fn time(s: &Summary) -> String {
    let phases = phases(s);
    let total: f64 = phases.iter().map(|(_, seconds)| seconds).sum();
    let x = Scale::new((0.0, total), (0.0, WIDTH));
    let mut svg = Svg::new(WIDTH, 34.0);
    let mut start = 0.0;
    for (i, (name, seconds)) in phases.iter().enumerate() {
        let (from, to) = (x.at(start), x.at(start + seconds));
        let tip = format!("{name}: {}", seconds_in_words(*seconds));
        let class = format!("p{}", i % 6);
        svg.rect(&class, (from, 2.0), (to - from - 2.0, 30.0), 4.0, &tip);
        start += seconds;
    }
    let parts = phases.iter().map(|(name, s)| format!("{name} {}", seconds_in_words(*s)));
    let description = parts.collect::<Vec<_>>().join(", ");
    svg.finish("time", "Where the time went", &description)
}

/// Phases in the order in which they happen, without the total.
pub fn phases(s: &Summary) -> Vec<(&str, f64)> {
    const ORDER: [&str; 6] = ["setup", "build", "data", "enrol", "train", "finish"];
    let place = |name: &str| ORDER.iter().position(|o| *o == name).unwrap_or(ORDER.len());
    let phases = s.seconds.iter().filter(|(name, _)| *name != "total");
    let mut phases: Vec<_> = phases.map(|(name, seconds)| (name.as_str(), *seconds)).collect();
    phases.sort_by_key(|(name, _)| place(name));
    phases
}

/// `75 s` as `1 min 15 s`.
pub fn seconds_in_words(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_carried() {
        assert_eq!(seconds_in_words(0.04), "0.0 s");
        assert_eq!(seconds_in_words(75.0), "1 min 15 s");
        assert_eq!(seconds_in_words(119.7), "2 min 00 s");
    }
}
