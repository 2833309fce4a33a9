//! The section on evaluations on the way: what the agencies' own held-out records said, when, how surely,
//! and what followed from it.

use std::fmt::Write as _;

use tributary_job::evaluation::{Interval, Measured};
use tributary_job::plan::EvaluationPoint;

use super::charts::{BOTTOM, LEFT, RIGHT, TOP, frame};
use super::svg::{Scale, escape};
use crate::summary::Summary;

/// The section; empty unless there are several evaluations.
pub fn section(s: &Summary) -> String {
    if s.evaluations.len() < 2 {
        return String::new();
    }
    let rows = s.evaluations.iter().fold(String::new(), |mut rows, point| {
        let cells = match &point.measured {
            Some(m) => [
                format!("{:.0}", m.records),
                m.auc.as_ref().map(within).unwrap_or_default(),
                within(&m.accuracy),
                within(&m.log_loss),
            ],
            None => ["drowned in noise".to_owned(), String::new(), String::new(), String::new()],
        };
        let _ = write!(rows, "<tr><td class=\"n\">{}</td>", point.trained);
        cells.iter().for_each(|cell| {
            let _ = write!(rows, "<td class=\"n\">{cell}</td>");
        });
        rows + "</tr>"
    });
    format!(
        "<section id=\"evaluations\"><h2>What the agencies' held-out records said</h2>\
         <p class=\"note\">Measured under secure aggregation on records that no round trains on; each \
         evaluation is charged like a round. Bars are 95 % intervals of each evaluation alone: records and \
         noise. {}</p>{}<details><summary>The same as a table</summary><div class=\"scroll\"><table><tr>\
         <th class=\"n\">after training round</th><th class=\"n\">records</th><th class=\"n\">AUC</th>\
         <th class=\"n\">accuracy</th><th class=\"n\">log loss, nats</th></tr>{rows}</table></div>\
         </details></section>",
        escape(&outcome(s)),
        chart(s)
    )
}

/// What followed from the evaluations.
fn outcome(s: &Summary) -> String {
    let Some(released) = &s.released else { return String::new() };
    let which = match (released.best, released.evaluation) {
        (true, Some(_)) => format!(
            "The released model is that of the best evaluation by {}, after {} training rounds; the best of \
             {} noisy readings looks better than it is, and the model card has the wider interval.",
            released.metric,
            released.trained,
            s.evaluations.len()
        ),
        _ => format!(
            "The released model is the last one, after {} training rounds.",
            released.trained
        ),
    };
    let stopped = format!(" The job ended early, because {} stopped improving.", released.metric);
    which + if released.stopped_early { &stopped } else { "" }
}

/// Evaluations by secure round with their intervals: the AUC of a binary model, otherwise the accuracy.
fn chart(s: &Summary) -> String {
    let figure = |m: &Measured| if s.test_auc.is_some() { m.auc } else { Some(m.accuracy) };
    let value = |p: &EvaluationPoint| Some((f64::from(p.round + 1), figure(p.measured.as_ref()?)?));
    let points: Vec<_> = s.evaluations.iter().filter_map(value).collect();
    let low = points.iter().map(|(_, i)| i.low).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|(_, i)| i.high).fold(f64::NEG_INFINITY, f64::max);
    if points.is_empty() {
        return String::new();
    }
    let pad = (high - low).max(0.01) * 0.08;
    let x = Scale::new((0.0, f64::from(s.rounds)), (LEFT, RIGHT));
    let y = Scale::new((low - pad, high + pad), (BOTTOM, TOP));
    let mut svg = frame(&x, &y, |v| format!("{v:.2}"));
    for (round, interval) in &points {
        let at = x.at(*round);
        svg.line("axis", (at, y.at(interval.low)), (at, y.at(interval.high)));
    }
    let curve: Vec<_> = points.iter().map(|(round, i)| (x.at(*round), y.at(i.value))).collect();
    svg.curve("curve", &curve);
    let chosen = s.released.as_ref().filter(|r| r.best).and_then(|r| r.evaluation);
    let chosen = chosen.and_then(|e| s.evaluations.get(e as usize)).map(|p| f64::from(p.round + 1));
    for (round, interval) in &points {
        let is = chosen == Some(*round);
        let released = if is { ", released" } else { "" };
        let tip = format!("after round {round}: {} {}{released}", s.measure(), within(interval));
        let (class, radius) = if is { ("f-silo", 5.5) } else { ("f-fed", 3.2) };
        svg.dot(class, (x.at(*round), y.at(interval.value)), radius, &tip);
    }
    let (first, last) = (points.first(), points.last());
    let of = |point: Option<&(f64, Interval)>| point.map_or(0.0, |(_, i)| i.value);
    let description = format!(
        "{} on the agencies' held-out records from {:.3} at the first evaluation to {:.3} at the last.",
        s.measure(),
        of(first),
        of(last)
    );
    svg.finish("held-out", &format!("Held-out {} by round", s.measure()), &description)
}

fn within(interval: &Interval) -> String {
    let half = (interval.high - interval.value).max(interval.value - interval.low);
    format!("{:.4} \u{b1} {half:.4}", interval.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;
    use crate::summary::Released;

    fn point(round: u32, auc: f64) -> EvaluationPoint {
        let interval = |value: f64| Interval { value, low: value - 0.02, high: value + 0.02 };
        let measured = Measured {
            records: 412.3,
            accuracy: interval(0.7),
            log_loss: interval(0.5),
            auc: Some(interval(auc)),
            calibration_error: interval(0.03),
        };
        EvaluationPoint { round, trained: round, measured: Some(measured), among_all: None }
    }

    #[test]
    fn the_section_shows_intervals_the_chosen_one_and_what_drowned() {
        let mut s = example();
        assert_eq!(section(&s), "");
        s.evaluations = vec![point(2, 0.61), point(4, 0.64), point(5, 0.63)];
        s.evaluations[2].measured = None;
        s.released = Some(Released {
            trained: 4,
            evaluation: Some(1),
            metric: "log_loss".into(),
            best: true,
            stopped_early: true,
        });
        let page = section(&s);
        for part in [
            "0.6400 \u{b1} 0.0200, released",
            "drowned in noise",
            "best evaluation by log_loss, after 4 training rounds",
            "The job ended early",
            "412",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(page.matches("released</title>").count(), 1);
    }
}
