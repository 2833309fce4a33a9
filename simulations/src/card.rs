//! The card of the model that a replayed run released, and whether one on file is that card.
//!
//! Computed from verified evidence alone; what a card on file says is compared and never believed.

use std::path::Path;

use serde_json::Value;
use tributary_training::card::{self, ModelCard};

use crate::error::{SimulationError, read_text};
use crate::evidence::is_simulated;
use crate::replay::Replay;

/// How far figures may lie apart that two machines computed, relatively: their mathematical libraries differ
/// in last digits.
const TOLERANCE: f64 = 1e-9;

/// Over the card of a run whose noise protects nobody.
const SIMULATED: &str =
    "A simulation: its noise follows from a public seed, and nothing it put out is protected.";

/// The card of a run.
///
/// # Errors
/// From the accountant.
pub fn build(replayed: &Replay) -> Result<ModelCard, SimulationError> {
    let Replay { manifest, plan, state, .. } = replayed;
    let card = ModelCard::of(manifest, plan, state, replayed.sums());
    let mut card = card.map_err(|e| SimulationError::evidence("model card", e))?;
    card.warning = is_simulated(manifest).then(|| SIMULATED.to_owned());
    Ok(card)
}

/// Checks a card on file against the run.
///
/// # Errors
/// [`SimulationError::Evidence`] with the first place that says something else.
pub fn check(path: &Path, replayed: &Replay) -> Result<(), SimulationError> {
    let refuse = |problem: String| SimulationError::evidence(path.display().to_string(), problem);
    let stated = serde_json::from_str::<Value>(&read_text(path)?);
    let stated = stated.map_err(|e| refuse(format!("not a model card: {e}")))?;
    let derived = serde_json::to_value(build(replayed)?).map_err(|e| refuse(e.to_string()))?;
    match difference(&stated, &derived, "") {
        None => Ok(()),
        Some(place) => Err(refuse(format!("{place} is not what the evidence gives"))),
    }
}

/// Name of the card for programs.
pub const FILE: &str = card::JSON;

/// The first place at which two values differ by more than [`TOLERANCE`].
fn difference(a: &Value, b: &Value, at: &str) -> Option<String> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let missing =
                x.keys().chain(y.keys()).find(|k| !x.contains_key(*k) || !y.contains_key(*k));
            missing.map(|key| format!("{at}.{key}")).or_else(|| {
                x.iter().find_map(|(key, v)| difference(v, y.get(key)?, &format!("{at}.{key}")))
            })
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            let mut pairs = x.iter().zip(y).enumerate();
            pairs.find_map(|(i, (v, w))| difference(v, w, &format!("{at}[{i}]")))
        }
        (Value::Number(x), Value::Number(y)) => {
            let close = x
                .as_f64()
                .zip(y.as_f64())
                .is_some_and(|(x, y)| (x - y).abs() <= TOLERANCE * x.abs().max(y.abs()));
            (!close).then(|| at.to_owned())
        }
        (a, b) => (a != b).then(|| at.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_named() {
        let card = json!({"a": {"b": [1.0, 2.0]}, "c": null});
        let of = |other: Value| difference(&card, &other, "");
        assert_eq!(of(json!({"a": {"b": [1.0, 2.0 + 1e-12]}, "c": null})), None);
        for (other, place) in [
            (json!({"a": {"b": [1.0, 2.1]}, "c": null}), ".a.b[1]"),
            (json!({"a": {"b": [1.0]}, "c": null}), ".a.b"),
            (json!({"a": {"b": [1.0, 2.0]}, "c": 0}), ".c"),
            (json!({"a": {"b": [1.0, 2.0]}}), ".c"),
            (json!({"a": {"b": [1.0, 2.0]}, "c": null, "d": 1}), ".d"),
        ] {
            assert_eq!(of(other).as_deref(), Some(place));
        }
    }
}
