//! What every [`Trainer`] must hold to, as a suite that each implementation runs in its tests.
//!
//! It sees a trainer only through the trait and judges it by an oracle in f64 and by the promises
//! that sensitivity rests on. It knows no implementation.
#![allow(clippy::expect_used, clippy::panic, reason = "a test suite fails by panicking")]

mod fixtures;
mod gradients;
mod oracle;
mod privacy;
mod robustness;
mod units;

use tributary_job::spec::ModelSpec;

use crate::trainer::Trainer;

/// Makes a fresh trainer for a model from so many inputs to so many logits.
pub type Make<'a> = &'a dyn Fn(&ModelSpec, usize, usize) -> Box<dyn Trainer>;

/// Runs every check.
///
/// # Panics
/// If the trainer breaks a promise, naming it.
pub fn suite(make: Make<'_>) {
    gradients::match_finite_differences(make);
    gradients::clipped_sum_is_the_sum_of_clipped_gradients(make);
    gradients::prediction_is_the_forward_pass(make);
    privacy::no_contribution_exceeds_the_clip_norm(make);
    privacy::one_record_moves_the_sum_by_at_most_the_clip_norm(make);
    privacy::bits_do_not_depend_on_the_company(make);
    privacy::non_finite_records_contribute_exact_zeros(make);
    robustness::padding_and_order_are_harmless(make);
    robustness::an_empty_batch_is_exact_zeros(make);
    robustness::wrong_shapes_are_refused(make);
    robustness::calls_are_pure(make);
    units::a_unit_is_clipped_by_the_norm_of_its_sum(make);
    units::no_unit_exceeds_the_clip_norm(make);
    units::one_unit_moves_the_sum_by_at_most_the_clip_norm(make);
    units::bits_do_not_depend_on_other_units(make);
    units::a_non_finite_record_takes_its_unit_along(make);
    units::units_of_one_record_are_records(make);
    units::labels_that_are_no_class_contribute_exact_zeros(make);
}
