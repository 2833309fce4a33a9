//! What the cells came to: as JSON, as a Markdown table, and as a picture of how they learned.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::SimulationError;
use crate::report::svg::{Scale, Svg, spread};

/// One training and its measurements on the held-out text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// `pooled`, `federated` or `person`.
    pub name: String,
    /// Seed of the initial model, of samples and of noise.
    pub seed: u32,
    /// Privacy mode.
    pub mode: String,
    /// Epsilon of the plan: what the agencies' books reserve. Absent without privacy.
    pub epsilon: Option<f64>,
    /// Delta of the job.
    pub delta: f64,
    /// Bits per character after the last round.
    pub bits: f64,
    /// Share of the characters that the model held for the most probable.
    pub accuracy: f64,
    /// Rounds; passes of the pooled model.
    pub rounds: u32,
    /// Parameters of the model.
    pub parameters: u64,
    /// Bits per character after so many rounds.
    pub curve: Vec<(u32, f64)>,
    /// Wall-clock seconds, measurements included.
    pub seconds: f64,
    /// Hash of all that the cell depends on.
    pub key: String,
}

/// All cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// By seed, then by kind.
    pub cells: Vec<Cell>,
    /// Mean bits per character of the federation over that of the pooled model.
    pub federated_over_pooled: Option<f64>,
}

/// Kinds of cells, with how they are called.
const KINDS: [(&str, &str); 3] = [
    ("pooled", "all text in one place"),
    ("federated", "five agencies, no differential privacy"),
    ("person", "five agencies, speakers hidden"),
];

const SIZE: (f64, f64) = (760.0, 400.0);
const X: (f64, f64) = (64.0, 520.0);
const Y: (f64, f64) = (340.0, 44.0);

/// The page around a stand-alone picture may be light or dark: it brings its own ground.
const STYLE: &str = "\
svg{background:#fff;font:13px system-ui,sans-serif}text{fill:#5a6675}.grid{stroke:#e8ecf0}\
.axis{stroke:#5a6675}.curve{fill:none;stroke-width:2.6}.pooled{stroke:#4a5563}\
.federated{stroke:#1f5fd0}.person{stroke:#8a6fd1}circle{stroke:none!important}\
.f-pooled{fill:#4a5563}.f-federated{fill:#1f5fd0}.f-person{fill:#8a6fd1}\
text.title{font-size:15px;font-weight:600;fill:#16202c}";

impl Document {
    /// Of these cells.
    pub fn of(cells: Vec<Cell>) -> Self {
        let mut out = Self { cells, federated_over_pooled: None };
        let mean = |kind| out.bits(kind).map(|(mean, _)| mean);
        out.federated_over_pooled = mean("federated").zip(mean("pooled")).map(|(f, p)| f / p);
        out
    }

    fn kind(&self, kind: &str) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.name == kind)
    }

    /// Mean and standard deviation over seeds.
    fn bits(&self, kind: &str) -> Option<(f64, f64)> {
        let bits: Vec<f64> = self.kind(kind).map(|cell| cell.bits).collect();
        let count = bits.len() as f64;
        let mean = bits.iter().sum::<f64>() / count;
        let squares = bits.iter().map(|b| (b - mean).powi(2)).sum::<f64>();
        let deviation = if bits.len() > 1 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
        (!bits.is_empty()).then_some((mean, deviation))
    }

    /// As JSON.
    ///
    /// # Errors
    /// If a figure cannot be written.
    pub fn json(&self) -> Result<String, SimulationError> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|e| SimulationError::Settings(e.to_string()))
    }

    /// As a table.
    pub fn markdown(&self) -> String {
        let mut out = String::from(
            "| trained on | epsilon | rounds | bits per character | right characters | seeds |\n\
             |---|---|---|---|---|---|\n",
        );
        for (kind, words) in KINDS {
            let Some((mean, deviation)) = self.bits(kind) else { continue };
            let cells: Vec<&Cell> = self.kind(kind).collect();
            let count = cells.len();
            let accuracy = cells.iter().map(|c| c.accuracy).sum::<f64>() / count as f64;
            let epsilon = cells.iter().filter_map(|c| c.epsilon).next();
            let epsilon = epsilon.map_or("-".to_owned(), |e| format!("{e:.2}"));
            let rounds = cells.first().map_or(0, |c| c.rounds);
            let _ = writeln!(
                out,
                "| {words} | {epsilon} | {rounds} | {mean:.3} ± {deviation:.3} | {:.1} % | {count} |",
                accuracy * 100.0
            );
        }
        if let Some(ratio) = self.federated_over_pooled {
            let _ = writeln!(
                out,
                "\nFederated without differential privacy: {:+.2} % against pooled.",
                (ratio - 1.0) * 100.0
            );
        }
        out
    }

    /// How the first seed's models learned.
    pub fn picture(&self) -> String {
        let first = |kind| self.kind(kind).next();
        let curves: Vec<_> = KINDS.iter().filter_map(|(kind, _)| first(kind)).collect();
        let points = || curves.iter().flat_map(|cell| cell.curve.iter());
        let last = points().map(|(round, _)| *round).max().unwrap_or(1);
        let low = points().map(|(_, bits)| *bits).fold(f64::INFINITY, f64::min);
        let high = points().map(|(_, bits)| *bits).fold(0.0, f64::max);
        let x = Scale::new((0.0, f64::from(last)), X);
        let y = Scale::new((low - 0.05 * (high - low), high), Y);
        let mut svg = Svg::new(SIZE.0, SIZE.1);
        svg.text("title", (X.0, 24.0), "start", "Shakespeare: bits per character");
        for tick in y.ticks(6) {
            svg.line("grid", (X.0, y.at(tick)), (X.1, y.at(tick)));
            svg.text("", (X.0 - 8.0, y.at(tick) + 4.5), "end", &format!("{tick:.1}"));
        }
        svg.line("axis", (X.0, Y.0), (X.1, Y.0));
        for tick in x.ticks(6) {
            svg.text("", (x.at(tick), Y.0 + 20.0), "middle", &format!("{tick:.0}"));
        }
        let middle = f64::midpoint(X.0, X.1);
        svg.text("", (middle, Y.0 + 42.0), "middle", "rounds (passes of the pooled model)");
        let wished: Vec<f64> = curves.iter().map(|cell| y.at(cell.bits)).collect();
        for (cell, at) in curves.iter().zip(spread(&wished, 18.0)) {
            let points: Vec<_> =
                cell.curve.iter().map(|(r, bits)| (x.at(f64::from(*r)), y.at(*bits))).collect();
            svg.curve(&format!("curve {}", cell.name), &points);
            for (point, (round, bits)) in points.iter().zip(&cell.curve) {
                let tip = format!("{}: {bits:.3} after {round}", cell.name);
                svg.dot(&format!("f-{}", cell.name), *point, 3.2, &tip);
            }
            let epsilon = cell.epsilon.map(|e| format!(", epsilon {e:.1}")).unwrap_or_default();
            let text = format!("{:.3} {}{epsilon}", cell.bits, cell.name);
            svg.text(&format!("f-{}", cell.name), (X.1 + 12.0, at + 4.5), "start", &text);
        }
        let description = "Bits per held-out character after so many rounds; less is better.";
        svg.standalone("Shakespeare: bits per character", description, STYLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str, seed: u32, bits: f64) -> Cell {
        Cell {
            name: name.into(),
            seed,
            mode: "none".into(),
            epsilon: (name == "person").then_some(8.0),
            delta: 1e-5,
            bits,
            accuracy: 0.5,
            rounds: 3,
            parameters: 10,
            curve: vec![(1, bits + 1.0), (3, bits)],
            seconds: 1.0,
            key: "k".into(),
        }
    }

    #[test]
    fn the_table_has_means_over_seeds_and_the_comparison() {
        let cells = vec![
            cell("pooled", 0, 2.0),
            cell("pooled", 1, 2.2),
            cell("federated", 0, 2.1),
            cell("federated", 1, 2.184),
            cell("person", 0, 4.0),
        ];
        let document = Document::of(cells);
        let table = document.markdown();
        assert!(table.contains("| 2.100 ± 0.141 |"), "{table}");
        assert!(table.contains("+2.00 % against pooled"), "{table}");
        assert!(table.contains("| 8.00 | 3 | 4.000 ± 0.000 |"), "{table}");
        let read: Document = serde_json::from_str(&document.json().unwrap()).unwrap();
        assert_eq!(read, document);
        let picture = document.picture();
        assert!(picture.contains("4.000 person, epsilon 8.0") && picture.contains("<svg"));
        assert_eq!(Document::of(Vec::new()).federated_over_pooled, None);
    }
}
