//! What a released model file says about itself: enough to feed it rows and to trace it to its job.
//!
//! Plain strings under fixed keys, so that any reader of safetensors can show them. Knows nothing
//! of files or tensors.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tributary_job::spec::{DataSpec, ModelSpec};
use tributary_job::{Normalisation, canonical_json};

/// Version of the keys below.
pub const FORMAT: &str = "tributary-model/1";

const KEY_FORMAT: &str = "tributary.format";
const KEY_JOB: &str = "tributary.job_hash";
const KEY_DATA: &str = "tributary.data";
const KEY_MODEL: &str = "tributary.model";
const KEY_NORMALISATION: &str = "tributary.normalisation";

/// A model file's own description.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    /// Hash of the job that made the model, hex; `None` for a local baseline.
    pub job: Option<String>,
    /// How rows become inputs.
    pub data: DataSpec,
    /// Family and size.
    pub model: ModelSpec,
    /// Standardisation of the standardised features.
    pub normalisation: Normalisation,
}

/// Why metadata is not a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model metadata: {key}: {problem}")]
pub struct DescriptionError {
    /// The key.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: String,
}

impl ModelDescription {
    /// The metadata of a safetensors file: canonical JSON under fixed keys.
    ///
    /// # Errors
    /// [`DescriptionError`] if a value cannot be written as JSON, such as a mean that is NaN.
    pub fn to_metadata(&self) -> Result<BTreeMap<String, String>, DescriptionError> {
        let n = &self.normalisation;
        if n.mean.iter().chain(&n.inverse_sd).any(|v| !v.is_finite()) {
            return Err(DescriptionError::new(KEY_NORMALISATION, "a value is not finite"));
        }
        let normalisation = json!({ "mean": n.mean, "inverse_sd": n.inverse_sd });
        let mut out = BTreeMap::from([(KEY_FORMAT.to_owned(), FORMAT.to_owned())]);
        if self.data.text.is_some() {
            // What transformers ask of a safetensors file before they read it.
            out.insert("format".to_owned(), "pt".to_owned());
        }
        out.extend(self.job.iter().map(|job| (KEY_JOB.to_owned(), job.clone())));
        for (key, text) in [
            (KEY_DATA, canonical_json(&self.data)),
            (KEY_MODEL, canonical_json(&self.model)),
            (KEY_NORMALISATION, canonical_json(&normalisation)),
        ] {
            out.insert(key.to_owned(), text.map_err(|e| DescriptionError::new(key, e))?);
        }
        Ok(out)
    }

    /// Reads metadata written by [`ModelDescription::to_metadata`]; other keys are ignored.
    ///
    /// # Errors
    /// [`DescriptionError`] names the key that is missing or wrong.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, DescriptionError> {
        let text = |key| metadata.get(key).ok_or_else(|| DescriptionError::new(key, "missing"));
        if text(KEY_FORMAT)? != FORMAT {
            return Err(DescriptionError::new(KEY_FORMAT, format!("this software reads {FORMAT}")));
        }
        let data: DataSpec = parse(KEY_DATA, text(KEY_DATA)?)?;
        data.validate().map_err(|e| DescriptionError::new(KEY_DATA, e))?;
        let model = parse(KEY_MODEL, text(KEY_MODEL)?)?;
        let value: Value = parse(KEY_NORMALISATION, text(KEY_NORMALISATION)?)?;
        let (mean, inverse_sd) = (floats(&value, "mean")?, floats(&value, "inverse_sd")?);
        let expected = data.numeric_count();
        if mean.len() != expected || inverse_sd.len() != expected {
            let problem =
                format!("needs {expected} means and scales, one per standardised feature");
            return Err(DescriptionError::new(KEY_NORMALISATION, problem));
        }
        let normalisation = Normalisation { mean, inverse_sd };
        Ok(Self { job: metadata.get(KEY_JOB).cloned(), data, model, normalisation })
    }
}

impl DescriptionError {
    fn new(key: &'static str, problem: impl ToString) -> Self {
        Self { key, problem: problem.to_string() }
    }
}

fn parse<T: serde::de::DeserializeOwned>(
    key: &'static str,
    text: &str,
) -> Result<T, DescriptionError> {
    serde_json::from_str(text).map_err(|e| DescriptionError::new(key, e))
}

fn floats(value: &Value, field: &str) -> Result<Vec<f32>, DescriptionError> {
    let error = || DescriptionError::new(KEY_NORMALISATION, format!("{field}: not finite floats"));
    let list = value.get(field).and_then(Value::as_array).ok_or_else(error)?;
    list.iter()
        .map(|v| v.as_f64().map(|v| v as f32).filter(|v| v.is_finite()).ok_or_else(error))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tributary_job::spec::{FeatureSpec, LabelSpec, Transform};

    /// One numeric feature, a two-valued category, one hidden layer of two.
    pub(crate) fn example() -> ModelDescription {
        let data = DataSpec::new(
            LabelSpec::binary("y", "1", "0"),
            vec![
                FeatureSpec::numeric("age", 0.0, 0.1 + 0.2, Transform::Log1p),
                FeatureSpec::Category { column: "c".into(), values: vec!["é".into(), "b".into()] },
            ],
        );
        ModelDescription {
            job: Some("ab12".into()),
            data,
            model: ModelSpec::Mlp { hidden: vec![2] },
            normalisation: Normalisation { mean: vec![0.1], inverse_sd: vec![1.0 / 3.0] },
        }
    }

    #[test]
    fn every_bit_comes_back() {
        let description = example();
        let metadata = description.to_metadata().unwrap();
        assert_eq!(ModelDescription::from_metadata(&metadata).unwrap(), description);
        assert_eq!(metadata["tributary.job_hash"], "ab12");
        let baseline = ModelDescription { job: None, ..example() };
        let metadata = baseline.to_metadata().unwrap();
        assert_eq!(ModelDescription::from_metadata(&metadata).unwrap(), baseline);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let good = example().to_metadata().unwrap();
        for key in [KEY_FORMAT, KEY_DATA, KEY_MODEL, KEY_NORMALISATION] {
            let mut missing = good.clone();
            missing.remove(key);
            assert_eq!(ModelDescription::from_metadata(&missing).unwrap_err().key, key);
            let mut wrong = good.clone();
            wrong.insert(key.into(), "{}".into());
            assert_eq!(ModelDescription::from_metadata(&wrong).unwrap_err().key, key);
        }
        let mut short = good.clone();
        short.insert(KEY_NORMALISATION.into(), r#"{"mean":[],"inverse_sd":[]}"#.into());
        assert_eq!(ModelDescription::from_metadata(&short).unwrap_err().key, KEY_NORMALISATION);
        let mut bad = example();
        bad.normalisation.mean[0] = f32::NAN;
        assert_eq!(bad.to_metadata().unwrap_err().key, KEY_NORMALISATION);
    }
}
