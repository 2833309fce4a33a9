//! The card as a page of Markdown.

use std::fmt;

use tributary_job::Plan;
use tributary_job::evaluation::{Interval, Keep};
use tributary_job::plan::Choice;

use super::{ModelCard, Quality};

/// How the released parameters were chosen.
pub(super) fn choice(plan: &Plan, choice: &Choice) -> String {
    let keeps = plan.rules.filter(|rules| rules.keep == Keep::Best);
    match (keeps, choice.evaluation) {
        (Some(rules), Some(evaluation)) => format!(
            "the best of the evaluations by {}, the {}; by noisy readings, so another may be as good",
            rules.metric.name(),
            ordinal(evaluation + 1)
        ),
        (Some(_), None) => "the last state: no evaluation could be read".to_owned(),
        (None, _) => "the last state".to_owned(),
    }
}

impl fmt::Display for ModelCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Model card: {}\n\n{}", self.job, literal(&self.description))?;
        if let Some(warning) = &self.warning {
            writeln!(f, "\n**{}**", literal(warning))?;
        }
        for (title, text) in [("Intended use", &self.intended_use), ("Limits", &self.limits)] {
            let text = text.as_deref().map(literal);
            let text = text.unwrap_or_else(|| "The job does not say.".into());
            writeln!(f, "\n## {title}\n\n{text}")?;
        }
        self.model(f)?;
        match &self.quality {
            Some(quality) => self.quality(f, quality)?,
            None => writeln!(
                f,
                "\n## Quality\n\nNot measured on the agencies' records, or nothing could be read under the \
                 noise."
            )?,
        }
        self.curve(f)?;
        self.privacy(f)?;
        self.silos(f)?;
        self.recompute(f)
    }
}

impl ModelCard {
    fn model(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (model, training) = (&self.model, &self.training);
        writeln!(f, "\n## The model\n\n| | |\n|---|---|")?;
        writeln!(f, "| family | {}, {} parameters |", model.family, model.parameters)?;
        writeln!(f, "| reads | {} |", literal(&model.inputs.join(", ")))?;
        writeln!(f, "| predicts | {} |", literal(&model.label))?;
        let early = if training.stopped_early { "; its evaluations ended the job" } else { "" };
        writeln!(
            f,
            "| trained | {} rounds; {} of {} were run{early} |",
            training.rounds, training.rounds_run, training.rounds_planned
        )?;
        writeln!(f, "| chosen | {} |", training.choice)?;
        writeln!(f, "| job | `{}` |", self.job_hash)
    }

    fn quality(&self, f: &mut fmt::Formatter<'_>, quality: &Quality) -> fmt::Result {
        writeln!(
            f,
            "\n## Quality\n\nOn about {:.0} records of the agencies that no round trained on, after {} \
             training rounds. Every count carries noise of {:.1} records (one standard deviation). \
             Intervals hold in 95 of 100 cases.",
            quality.records, quality.measured_after, quality.noise
        )?;
        if !quality.of_released {
            writeln!(
                f,
                "\n**The released model was not measured**: the job ended after another training round."
            )?;
        }
        let several = quality.readings > 1;
        let wide = if several { " whichever was chosen |" } else { "" };
        writeln!(f, "\n| figure | value | 95 % interval |{wide} unit | how |")?;
        writeln!(f, "|---|---|---|{}---|---|", if several { "---|" } else { "" })?;
        for figure in &quality.figures {
            let among = figure.among_all;
            let wide = if several { format!(" {} |", range(&among)) } else { String::new() };
            writeln!(
                f,
                "| {} | {:.4} | {} |{wide} {} | {} |",
                figure.name,
                figure.interval.value,
                range(&figure.interval),
                figure.unit,
                figure.method
            )?;
        }
        if several {
            writeln!(
                f,
                "\nThe job planned {} evaluations. The wide intervals hold for all of them at once \
                 (Bonferroni; Dunn 1961), and so for whichever was chosen.",
                quality.readings
            )?;
        }
        if let Some((metric, amount)) = &quality.optimism {
            writeln!(
                f,
                "The best of several noisy readings looks better than it is: here by at most {amount:.4} \
                 in {metric}, on average."
            )?;
        }
        Ok(())
    }

    fn curve(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.evaluations.len() < 2 {
            return Ok(());
        }
        writeln!(
            f,
            "\n## Evaluations over rounds\n\n| after training round | records | accuracy | log loss, nats | \
             AUC |\n|---|---|---|---|---|"
        )?;
        for point in &self.evaluations {
            let Some(m) = &point.measured else {
                writeln!(f, "| {} | drowned in noise | | | |", point.trained)?;
                continue;
            };
            let auc = m.auc.map(|auc| within(&auc)).unwrap_or_default();
            let (accuracy, loss) = (within(&m.accuracy), within(&m.log_loss));
            writeln!(f, "| {} | {:.0} | {accuracy} | {loss} | {auc} |", point.trained, m.records)?;
        }
        Ok(())
    }

    fn privacy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let privacy = &self.privacy;
        writeln!(f, "\n## Privacy\n\nMode `{}`: {}.", privacy.mode, privacy.promise)?;
        let Some(epsilon) = privacy.epsilon else {
            return writeln!(f, "\n**No differential privacy.**");
        };
        let [statistics, training, evaluation] = privacy.releases;
        writeln!(
            f,
            "\nEpsilon {epsilon:.4} at delta {:e} for {} in this job, against the aggregator with the \
             tolerated colluders. It counts every attempt that was reserved, used or not: {statistics} of \
             statistics, {training} of training, {evaluation} of evaluation. The privacy statement \
             (`privacy-statement.json`) has the other adversaries and can be recomputed.",
            privacy.delta, privacy.unit
        )
    }

    fn silos(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let silos = &self.silos;
        writeln!(
            f,
            "\n## Data\n\n{} agencies with {} declared records together; no sum of fewer than {} of them \
             was opened.",
            silos.agencies, silos.declared_records, silos.min_survivors
        )?;
        if silos.named.is_empty() {
            return writeln!(f, "The job does not let this card name them.");
        }
        writeln!(f, "\n| agency | declared records |\n|---|---|")?;
        silos.named.iter().try_for_each(|(name, records)| writeln!(f, "| {name} | {records} |"))
    }

    fn recompute(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n## Recompute\n\nEvery figure here follows from the job's evidence (`aggregator job export`): \
             manifest, signed record and published sums. With `model.safetensors` and `{}` in the folder of \
             the evidence\n\n```sh\nsimulate verify --run EVIDENCE\n```\n\nrecomputes every state from the \
             sums, which evaluation was best and whether the job was over, and compares the model and this \
             card with it. Compare the job's hash with the one that the agencies approved.",
            super::JSON
        )
    }
}

fn range(interval: &Interval) -> String {
    format!("{:.4} to {:.4}", interval.low, interval.high)
}

fn within(interval: &Interval) -> String {
    let half = (interval.high - interval.value).max(interval.value - interval.low);
    format!("{:.4} ± {half:.4}", interval.value)
}

fn ordinal(n: u32) -> String {
    let end = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// Somebody's words as they are: nothing in them is Markdown or HTML.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '|' | '`' | '*' | '_' | '#' | '[' | ']' | '\\' | '~' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}
