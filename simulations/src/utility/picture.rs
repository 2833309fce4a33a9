//! Quality against epsilon, a curve for each mode: one SVG file for each problem.

use super::document::{Document, Row, What};
use crate::report::svg::{Scale, Svg, spread};

const SIZE: (f64, f64) = (760.0, 400.0);
const X: (f64, f64) = (64.0, 560.0);
const Y: (f64, f64) = (340.0, 44.0);

/// Modes in the order of the legend.
const MODES: [&str; 4] = ["central", "record", "record-local", "person"];

/// The page around a stand-alone picture may be light or dark: it brings its own ground.
const STYLE: &str = "\
svg{background:#fff;font:13px system-ui,sans-serif}text{fill:#5a6675}\
.grid{stroke:#e8ecf0}.axis{stroke:#5a6675}.ref{stroke-dasharray:6 5;stroke-width:1.6;stroke:#4a5563}\
.curve{fill:none;stroke-width:2.6}.bar{stroke-width:1.4}\
.central{stroke:#7a8796}.record{stroke:#1f5fd0}.record-local{stroke:#d98a1f}.person{stroke:#8a6fd1}\
circle{stroke:none!important}.f-central{fill:#7a8796}.f-record{fill:#1f5fd0}\
.f-record-local{fill:#d98a1f}.f-person{fill:#8a6fd1}text.title{font-size:15px;font-weight:600;fill:#16202c}";

/// Name and SVG of every problem.
pub fn all(document: &Document) -> Vec<(&str, String)> {
    let draw = |problem| {
        let rows: Vec<&Row> = document.rows.iter().filter(|r| r.problem == problem).collect();
        (problem, picture(problem, &rows))
    };
    document.problems().into_iter().map(draw).collect()
}

fn picture(problem: &str, rows: &[&Row]) -> String {
    let private = || rows.iter().filter(|row| row.target.is_some());
    let epsilons: Vec<f64> = private().filter_map(|row| row.target).collect();
    let (first, last) = (least(&epsilons), most(&epsilons));
    let all: Vec<f64> = rows.iter().map(|row| row.quality().0).collect();
    let (low, high) = (least(&all), most(&all));
    let pad = (high - low).max(0.02) * 0.08;
    let x = Scale::new((first.ln() - 0.1, last.ln() + 0.1), X);
    let y = Scale::new((low - pad, high + pad), Y);
    let mut svg = Svg::new(SIZE.0, SIZE.1);
    let measure = rows.first().map_or("accuracy", |row| row.measure());
    svg.text("title", (X.0, 24.0), "start", &format!("{problem}: {measure} against epsilon"));
    for tick in y.ticks(6) {
        svg.line("grid", (X.0, y.at(tick)), (X.1, y.at(tick)));
        svg.text("", (X.0 - 8.0, y.at(tick) + 4.5), "end", &format!("{tick:.3}"));
    }
    svg.line("axis", (X.0, Y.0), (X.1, Y.0));
    let mut shown: Vec<f64> = epsilons.clone();
    shown.sort_by(f64::total_cmp);
    shown.dedup();
    for epsilon in shown {
        svg.text("", (x.at(epsilon.ln()), Y.0 + 20.0), "middle", &epsilon.to_string());
    }
    let middle = f64::midpoint(X.0, X.1);
    svg.text("", (middle, Y.0 + 42.0), "middle", "epsilon of the whole job (logarithmic)");
    let mut labels: Vec<(String, f64)> = Vec::new();
    let compared = |row: &&&Row| row.what != What::Federated || row.mode == "none";
    for row in rows.iter().filter(|row| row.target.is_none()).filter(compared) {
        let (value, _) = row.quality();
        svg.line("ref", (X.0, y.at(value)), (X.1, y.at(value)));
        let name = if row.what == What::Federated { "federated, no privacy" } else { row.label() };
        labels.push((name.to_owned(), value));
    }
    for mode in MODES {
        let rows: Vec<_> = private().filter(|row| row.mode == mode).collect();
        let at = |row: &Row, v: f64| (x.at(row.target.unwrap_or(1.0).ln()), y.at(v));
        let points: Vec<_> = rows.iter().map(|row| at(row, row.quality().0)).collect();
        svg.curve(&format!("curve {mode}"), &points);
        for row in &rows {
            let (mean, deviation) = row.quality();
            let bar = (at(row, mean - deviation), at(row, mean + deviation));
            svg.line(&format!("bar {mode}"), bar.0, bar.1);
            let tip = format!("{mode}, epsilon {}: {mean:.4}", row.target.unwrap_or_default());
            svg.dot(&format!("f-{mode}"), at(row, mean), 4.0, &tip);
        }
        if let Some(row) = rows.last() {
            labels.push((mode.to_owned(), row.quality().0));
        }
    }
    let wished: Vec<f64> = labels.iter().map(|(_, v)| y.at(*v)).collect();
    for ((name, value), at) in labels.iter().zip(spread(&wished, 18.0)) {
        let class = format!("f-{name}");
        svg.text(&class, (X.1 + 12.0, at + 4.5), "start", &format!("{value:.3} {name}"));
    }
    let description = "A curve for each privacy mode; dashed lines are without privacy.";
    svg.standalone(&format!("{problem}: {measure} against epsilon"), description, STYLE)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::min).unwrap_or(1.0)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::max).unwrap_or(1.0)
}
