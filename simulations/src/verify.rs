//! `simulate verify`: says what was checked, or stops at what does not hold.

use std::fmt;
use std::path::{Path, PathBuf};

use tributary_training::export::read_described;

use crate::error::SimulationError;
use crate::evidence::{RunDir, is_simulated};
use crate::replay::{Replay, replay};
use crate::{card, finish, statement};

/// What was checked.
#[derive(Debug)]
pub struct Verdict {
    replay: Replay,
    statement: Option<(PathBuf, Option<f64>)>,
    model: Option<PathBuf>,
    card: Option<PathBuf>,
}

/// Verifies the run in `dir` (or in `dir/run`), the statement, and the model file and its card beside it.
///
/// Without `statement`, the one in `dir` is checked if there is one.
///
/// # Errors
/// [`SimulationError::Evidence`] at the first thing that does not hold.
pub fn verify(dir: &Path, statement: Option<&Path>) -> Result<Verdict, SimulationError> {
    let replay = replay(&RunDir::find(dir)?, |_, _| Ok(()))?;
    let beside = dir.join(statement::FILE);
    let path = statement.map(Path::to_owned).or_else(|| beside.is_file().then_some(beside));
    let statement = match path {
        Some(path) => {
            let checked = statement::check(&path, &replay.plan, &replay.record)?;
            Some((path, checked.claims.map(|c| c.epsilon)))
        }
        None => None,
    };
    let model = dir.join(finish::MODEL);
    let model = model.is_file().then_some(model);
    if let Some(path) = &model {
        check_model(path, &replay)?;
    }
    let card = dir.join(card::FILE);
    let card = card.is_file().then_some(card);
    if let Some(path) = &card {
        card::check(path, &replay)?;
    }
    Ok(Verdict { replay, statement, model, card })
}

fn check_model(path: &Path, replay: &Replay) -> Result<(), SimulationError> {
    let refuse = |problem: &str| SimulationError::evidence(path.display().to_string(), problem);
    let (description, parameters) = read_described(path).map_err(|e| refuse(&e.to_string()))?;
    if description.job.as_deref() != Some(replay.plan.job.to_string().as_str()) {
        return Err(refuse("is the model of another job"));
    }
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    if bits(&parameters) != bits(replay.state.released()) {
        return Err(refuse("its parameters are not those that the sums lead to"));
    }
    let spec = &replay.manifest.spec;
    let same = description.data == spec.data
        && description.model == spec.model
        && description.normalisation == replay.state.normalisation;
    if same { Ok(()) } else { Err(refuse("describes its inputs otherwise than the job")) }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replay { plan, record, state, .. } = &self.replay;
        writeln!(f, "job         {}", plan.job)?;
        if is_simulated(&self.replay.manifest) {
            writeln!(
                f,
                "            A SIMULATION: its noise follows from a seed, protects nobody"
            )?;
        }
        writeln!(
            f,
            "record      {} entries: chain and aggregator's signatures hold; head {}",
            record.head.length, record.head.hash
        )?;
        writeln!(
            f,
            "rounds      {} of {} certified; each by a quorum of at least {} agencies",
            record.rounds.len(),
            plan.rounds,
            plan.roster.thresholds.quorum
        )?;
        if plan.stops(state) {
            writeln!(f, "            the evaluations in their sums ended the job early")?;
        }
        writeln!(f, "sums        each is the one that was certified")?;
        if !record.accusations.is_empty() {
            writeln!(
                f,
                "blame       {} agencies evicted with evidence; each piece proves what is said",
                record.accusations.len()
            )?;
        }
        writeln!(f, "states      recomputed from the sums; the last is {}", state.hash(&plan.job))?;
        let trained = plan.choice(state).trained;
        match &self.model {
            Some(path) if state.released() == state.parameters => {
                writeln!(f, "model       {}: is that last state", path.display())?;
            }
            Some(path) => writeln!(
                f,
                "model       {}: is the state of the best evaluation, after {trained} training rounds",
                path.display()
            )?,
            None => writeln!(f, "model       none here; not checked")?,
        }
        if let Some(path) = &self.card {
            writeln!(f, "card        {}: every figure recomputed", path.display())?;
        }
        match &self.statement {
            Some((path, Some(epsilon))) => write!(
                f,
                "statement   {}: recomputed, epsilon {epsilon:.4} for all attempts of the record",
                path.display()
            ),
            Some((path, None)) => write!(
                f,
                "statement   {}: holds, and promises no differential privacy",
                path.display()
            ),
            None => write!(f, "statement   none given; not checked"),
        }?;
        if record.end.is_none() {
            write!(
                f,
                "\n\nThe record has no end: the job still runs, or lines were cut off. Compare \
                 the head with the aggregator's."
            )?;
        }
        Ok(())
    }
}
