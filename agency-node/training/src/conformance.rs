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

use tributary_job::spec::ModelSpec;

use crate::trainer::Trainer;

/// Makes a fresh trainer for a model over so many inputs.
pub type Make<'a> = &'a dyn Fn(&ModelSpec, usize) -> Box<dyn Trainer>;

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
}
