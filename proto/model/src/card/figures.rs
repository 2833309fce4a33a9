//! The figures of a card with their intervals, units and the way they are computed.
//!
//! From the evaluation that measured the released parameters. Knows no files.

use serde::{Deserialize, Serialize};
use tributary_job::evaluation::{Interval, Keep, Measured, Metric, Rules, optimism};
use tributary_job::plan::{Choice, EvaluationPoint};
use tributary_job::{Manifest, Plan};

/// How good a model is on the agencies' held-out records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Training rounds of the parameters that were measured.
    pub measured_after: u32,
    /// Whether those are the released ones. If not, the job ended between two evaluations.
    pub of_released: bool,
    /// Held-out records, about: noise moves the count.
    pub records: f64,
    /// Standard deviation of the noise in each count, in records.
    pub noise: f64,
    /// Evaluations that may have had a say in what is released.
    pub readings: u32,
    /// The figures.
    pub figures: Vec<Figure>,
    /// How much better than it is the chosen model may look because it was chosen, at most and on average:
    /// metric and amount in its unit. Absent if nothing was chosen by a reading.
    pub optimism: Option<(String, f64)>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Its name: `accuracy`, `log_loss`, `auc` or `calibration_error`.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The figure, with a 95 % interval for it alone.
    pub interval: Interval,
    /// The same with an interval that holds at once for all evaluations, and so whichever was chosen.
    pub among_all: Interval,
    /// Where the interval comes from.
    pub method: String,
}

/// The figures of the released parameters; of the newest evaluation if none measured them.
pub(super) fn quality(
    plan: &Plan,
    manifest: &Manifest,
    choice: &Choice,
    evaluations: &[EvaluationPoint],
) -> Option<Quality> {
    let chosen = choice.evaluation.and_then(|e| evaluations.get(e as usize));
    let point = chosen.or(evaluations.last())?;
    let (alone, among) = (point.measured?, point.among_all?);
    let figure =
        |name: &str, unit: &str, method: &str, of: &dyn Fn(&Measured) -> Interval| Figure {
            name: name.into(),
            unit: unit.into(),
            interval: of(&alone),
            among_all: of(&among),
            method: method.into(),
        };
    let mut figures = vec![
        figure(
            "accuracy",
            "share of records",
            "binomial with two records added each way (Agresti and Coull 1998), and the noise",
            &|m| m.accuracy,
        ),
        figure(
            "log_loss",
            "nats a record, each counted up to 8",
            "largest variance of a loss between 0 and 8 with this mean (Bhatia and Davis 2000), and the \
             noise: wide",
            &|m| m.log_loss,
        ),
    ];
    if let Some((auc, auc_among)) = alone.auc.zip(among.auc) {
        figures.push(Figure {
            interval: auc,
            among_all: auc_among,
            ..figure(
                "auc",
                "probability",
                "Hanley and McNeil 1982, and the noise by first order; from binned scores",
                &|m| m.accuracy,
            )
        });
    }
    figures.push(figure(
        "calibration_error",
        "probability",
        "all that noise and the choice of records can do to it (triangle inequality); a lower end of 0 \
         means that nothing but noise may be seen",
        &|m| m.calibration_error,
    ));
    let source = plan.evaluation_source(manifest)?;
    Some(Quality {
        measured_after: point.trained,
        of_released: chosen.is_some(),
        records: alone.records,
        noise: source.sigma,
        readings: choice.readings,
        figures,
        optimism: plan.rules.filter(|rules| decides(rules, choice)).and_then(|rules| {
            let interval = match rules.metric {
                Metric::LogLoss => alone.log_loss,
                Metric::Accuracy => alone.accuracy,
                Metric::Auc => alone.auc?,
            };
            // Half the interval is 1.96 deviations, unless it was cut at an end.
            let half = (interval.high - interval.value).max(interval.value - interval.low);
            Some((rules.metric.name().to_owned(), optimism(half / 1.96, choice.readings)))
        }),
    })
}

/// Whether readings had a say in what is released, or in when training ended.
fn decides(rules: &Rules, choice: &Choice) -> bool {
    choice.readings > 1 && (rules.keep == Keep::Best || rules.patience.is_some())
}
