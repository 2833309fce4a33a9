//! What a job says of times to an event: the ends of the intervals, and the data that go with them.
//!
//! Bounds only; what is computed is a trainer's business.

use super::SpecError;
use super::data::DataSpec;

/// Most intervals.
pub const MAX_INTERVALS: usize = 256;

/// Ends of intervals: positive, finite, each above the one before; finite in f32 too.
pub(super) fn validate(intervals: &[f64]) -> Result<(), SpecError> {
    let refuse = |problem: String| Err(SpecError::new("model.intervals", problem));
    if intervals.is_empty() || intervals.len() > MAX_INTERVALS {
        return refuse(format!("{} ends: between 1 and {MAX_INTERVALS}", intervals.len()));
    }
    let mut before = 0.0;
    for (number, end) in (1..).zip(intervals) {
        if !(*end > 0.0 && *end <= 1e30) {
            return refuse(format!("end {number} is {end}: must be above 0 and at most 1e30"));
        }
        // Durations are f32 where they are compared with an end.
        if (*end as f32) <= (before as f32) {
            return refuse(format!(
                "end {number} is {end} after {before}: each must be above the one before"
            ));
        }
        before = *end;
    }
    Ok(())
}

/// Whether the data say how long each record was followed.
pub(super) fn validate_for(data: &DataSpec) -> Result<(), SpecError> {
    if data.text.is_some() {
        let problem = "\"cox\" reads columns; text needs \"decoder\" or \"encoder\"";
        return Err(SpecError::new("model.family", problem));
    }
    if data.label.duration.is_none() {
        let problem = "is missing: family \"cox\" needs the column that says how long each record was \
                       followed, beside the one that says whether the event came";
        return Err(SpecError::new("data.label.duration", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{FeatureSpec, LabelSpec, Transform};

    #[test]
    fn ends_must_rise() {
        assert!(validate(&[1.0]).is_ok());
        assert!(validate(&[0.5, 1.0, 12.0]).is_ok());
        for (wrong, says) in [
            (&[][..], "between 1 and 256"),
            (&[0.0, 1.0], "end 1 is 0: must be above 0"),
            (&[1.0, f64::NAN], "end 2 is NaN"),
            (&[1.0, f64::INFINITY], "end 2 is inf"),
            (&[1.0, 3.0, 2.0], "end 3 is 2 after 3"),
            (&[1.0, 1.0], "each must be above the one before"),
            (&[1.0, 1.0 + 1e-12], "each must be above the one before"),
        ] {
            let error = validate(wrong).unwrap_err();
            assert_eq!(error.field, "model.intervals");
            assert!(error.problem.contains(says), "{wrong:?}: {error}");
        }
        assert!(validate(&vec![1.0; 257]).is_err());
    }

    #[test]
    fn durations_are_needed() {
        let features = vec![FeatureSpec::numeric("x", 0.0, 1.0, Transform::Identity)];
        let mut data = DataSpec::new(LabelSpec::binary("died", "1", "0"), features);
        assert_eq!(validate_for(&data).unwrap_err().field, "data.label.duration");
        data.label.duration = Some("months".into());
        assert!(validate_for(&data).is_ok());
    }
}
