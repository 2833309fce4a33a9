//! Drawing primitives: scales, ticks, escaped text, an SVG with a title for those who cannot see it.
//!
//! Knows nothing of runs. Colours come from the page's style sheet by class, so that light and dark
//! need no second drawing.

use std::fmt::Write as _;

/// Maps values to coordinates, linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    values: (f64, f64),
    pixels: (f64, f64),
}

impl Scale {
    /// From a range of values (made non-empty if need be) to a range of coordinates.
    pub fn new(values: (f64, f64), pixels: (f64, f64)) -> Self {
        let (low, high) = values;
        let high = if high > low { high } else { low + 1.0 };
        Self { values: (low, high), pixels }
    }

    /// Where a value lies; values outside lie on the edge.
    pub fn at(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    /// About `count` round values within the range.
    pub fn ticks(&self, count: usize) -> Vec<f64> {
        let (low, high) = self.values;
        let step = nice_step((high - low) / count.max(1) as f64);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

/// A drawing in progress.
#[derive(Debug)]
pub struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    /// An empty drawing of so many units.
    pub fn new(width: f64, height: f64) -> Self {
        Self { body: String::new(), width, height }
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let _ = write!(
            self.body,
            r#"<line class="{class}" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    /// A rectangle with round corners and a tooltip.
    pub fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64), radius: f64, tip: &str) {
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{:.2}" y="{:.2}" width="{:.2}" height="{:.2}" rx="{radius}">"#,
            at.0,
            at.1,
            size.0.max(0.0),
            size.1.max(0.0)
        );
        if !tip.is_empty() {
            let _ = write!(self.body, "<title>{}</title>", escape(tip));
        }
        self.body += "</rect>";
    }

    /// A dot.
    pub fn dot(&mut self, class: &str, at: (f64, f64), radius: f64, tip: &str) {
        let _ = write!(
            self.body,
            r#"<circle class="{class}" cx="{:.1}" cy="{:.1}" r="{radius}"><title>{}</title></circle>"#,
            at.0,
            at.1,
            escape(tip)
        );
    }

    /// A line through points.
    pub fn curve(&mut self, class: &str, points: &[(f64, f64)]) {
        let _ = write!(self.body, r#"<path class="{class}" d="{}"/>"#, path(points));
    }

    /// The area between points and a base line.
    pub fn area(&mut self, class: &str, points: &[(f64, f64)], base: f64) {
        if let (Some(first), Some(last)) = (points.first(), points.last()) {
            let (d, end, start) = (path(points), last.0, first.0);
            let _ = write!(
                self.body,
                r#"<path class="{class}" d="{d}L{end:.1} {base:.1}L{start:.1} {base:.1}Z"/>"#
            );
        }
    }

    /// Text; `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, class: &str, at: (f64, f64), anchor: &str, text: &str) {
        let _ = write!(
            self.body,
            r#"<text class="{class}" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            at.0,
            at.1,
            escape(text)
        );
    }

    /// The drawing, with a title and a description that are read aloud. `id` must be unique on the
    /// page.
    pub fn finish(self, id: &str, title: &str, description: &str) -> String {
        format!(
            r#"<div class="chart"><svg viewBox="0 0 {} {}" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{}</title><desc id="{id}-d">{}</desc>{}</svg></div>"#,
            self.width,
            self.height,
            escape(title),
            escape(description),
            self.body
        )
    }
}

impl Svg {
    /// The drawing as a file of its own, with its style sheet.
    pub fn standalone(self, title: &str, description: &str, style: &str) -> String {
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img"><title>{}</title><desc>{}</desc><style>{style}</style>{}</svg>
"#,
            self.width,
            self.height,
            escape(title),
            escape(description),
            self.body.replace("><", ">\n<")
        )
    }
}

/// Text that is safe in HTML, in attributes too.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Moves positions apart until neighbours are at least `gap` from each other, keeping their order.
pub fn spread(positions: &[f64], gap: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by(|a, b| positions[*a].total_cmp(&positions[*b]));
    let mut out = positions.to_vec();
    // Pairs that are too close share the correction; a few rounds settle small lists.
    for _ in 0..100 {
        for pair in order.windows(2) {
            let short = gap - (out[pair[1]] - out[pair[0]]);
            if short > 1e-9 {
                out[pair[0]] -= short / 2.0;
                out[pair[1]] += short / 2.0;
            }
        }
    }
    out
}

/// 1, 2, 2.5 or 5 times a power of ten, not below `raw`.
fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let nice = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = nice.into_iter().map(|m| m * power).find(|step| *step >= raw * 0.999);
    step.unwrap_or(power * 10.0)
}

fn path(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let scale = Scale::new((0.48, 0.77), (300.0, 0.0));
        let ticks = scale.ticks(5);
        assert_eq!(ticks.len(), 3);
        assert!((ticks[0] - 0.5).abs() < 1e-12 && (ticks[2] - 0.7).abs() < 1e-12);
        assert_eq!(Scale::new((0.0, 201.0), (0.0, 1.0)).ticks(5), [0.0, 50.0, 100.0, 150.0, 200.0]);
        assert_eq!(Scale::new((3.0, 3.0), (0.0, 10.0)).at(3.5), 5.0);
    }

    #[test]
    fn labels_move_apart_and_keep_their_order() {
        let out = spread(&[10.0, 11.0, 50.0, 9.0], 16.0);
        assert!(out[3] + 15.9 < out[0] && out[0] + 15.9 < out[1] && out[1] < out[2]);
        assert_eq!(spread(&[1.0, 100.0], 16.0), [1.0, 100.0]);
    }

    #[test]
    fn text_cannot_leave_its_element() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text("a", (0.0, 0.0), "start", "<script>&\"'");
        let out = svg.finish("x", "<t>", "d");
        assert!(out.contains("&lt;script&gt;&amp;&quot;&#39;") && !out.contains("<script>"));
        assert!(out.contains("<title id=\"x-t\">&lt;t&gt;</title>"));
    }
}
