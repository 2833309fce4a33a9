//! The tensors of a proportional-hazards model: log hazard ratios and the baseline.
//!
//! Knows names, shapes and initial values; not what is computed.

use super::{Initial, ParameterLayout};

/// `coefficients.weight` `[1, inputs]`, zero at first, so that nobody's hazard differs, and
/// `baseline.log_hazard` `[intervals]`, minus two at first: about one event of seven records in every
/// interval, which is low enough for first steps to stay small with many intervals.
pub(super) fn layout(inputs: usize, intervals: usize) -> ParameterLayout {
    let mut layout = ParameterLayout::empty();
    layout.push("coefficients.weight".into(), vec![1, inputs], inputs, Initial::Zeros);
    layout.push("baseline.log_hazard".into(), vec![intervals], 1, Initial::MinusTwo);
    layout
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ModelSpec;

    #[test]
    fn one_coefficient_a_feature_and_one_hazard_an_interval() {
        let model = ModelSpec::Cox { intervals: vec![1.0, 2.0, 5.0] };
        let layout = ParameterLayout::of(&model, 4, 1);
        assert_eq!(layout.total(), 7);
        assert_eq!(model.parameters(4, 1), Some(7));
        assert_eq!(layout.tensors()[1].name, "baseline.log_hazard");
        assert_eq!(layout.initial_parameters(3), [0.0, 0.0, 0.0, 0.0, -2.0, -2.0, -2.0]);
    }
}
