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

/// A model to try: its family and size, its inputs and its logits.
pub type Model = (ModelSpec, usize, usize);

/// What is tried.
struct Over<'a> {
    make: Make<'a>,
    models: &'a [Model],
    /// Whether a unit of one record is computed as a record is, to the last bit.
    one_way: bool,
}

/// Runs every check over fully connected networks.
///
/// # Panics
/// If the trainer breaks a promise, naming it.
pub fn suite(make: Make<'_>) {
    suite_over(make, &fixtures::perceptrons());
}

/// Runs every check over these models.
///
/// # Panics
/// As [`suite`].
pub fn suite_over(make: Make<'_>, models: &[Model]) {
    run(&Over { make, models, one_way: true });
}

/// Runs every check over these models, of a trainer that computes units of several records in another
/// way than single records, so that units of one record may differ from records in the last bits.
///
/// # Panics
/// As [`suite`].
pub fn suite_of_two_ways(make: Make<'_>, models: &[Model]) {
    run(&Over { make, models, one_way: false });
}

fn run(over: &Over<'_>) {
    gradients::match_finite_differences(over);
    gradients::clipped_sum_is_the_sum_of_clipped_gradients(over);
    gradients::prediction_is_the_forward_pass(over);
    privacy::no_contribution_exceeds_the_clip_norm(over);
    privacy::one_record_moves_the_sum_by_at_most_the_clip_norm(over);
    privacy::bits_do_not_depend_on_the_company(over);
    privacy::non_finite_records_contribute_exact_zeros(over);
    robustness::padding_and_order_are_harmless(over);
    robustness::an_empty_batch_is_exact_zeros(over);
    robustness::wrong_shapes_are_refused(over);
    robustness::calls_are_pure(over);
    units::a_unit_is_clipped_by_the_norm_of_its_sum(over);
    units::no_unit_exceeds_the_clip_norm(over);
    units::one_unit_moves_the_sum_by_at_most_the_clip_norm(over);
    units::bits_do_not_depend_on_other_units(over);
    units::a_non_finite_record_takes_its_unit_along(over);
    units::units_of_one_record_are_records(over);
    units::labels_that_are_no_class_contribute_exact_zeros(over);
}
