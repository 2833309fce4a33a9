//! SCAFFOLD (Karimireddy et al. 2020, "SCAFFOLD: Stochastic controlled averaging for federated
//! learning", Algorithm 1, option II): what a job may combine it with, and the server's half of it.
//!
//! Each agency keeps a control variate c_i, an estimate of its own mean gradient, and the state holds
//! c, the mean of all c_i. Local steps are corrected by c - c_i, so that agencies whose records differ
//! do not drift apart between two rounds. Only `+ - * /` in a fixed order. Must not know what an agency
//! does with its c_i: that is at the node.
//!
//! **Nothing but the model's change travels.** As in the paper every agency takes the same number K of
//! steps, so the change of c_i is a public multiple of the change of the model, less c, and the sum of
//! the ones follows from the sum of the others: everybody computes c for itself. If agencies took steps
//! by the size of their tables, the changes of c_i would be weighted by 1/K_i, and a second sum with
//! other weights gives away what one sum hides: with K of (10, 10, 1), ten times the second sum less
//! the first is nine times the third agency's vector.

use crate::spec::{LocalSpec, OptimiserKind, PrivacyMode, TrainingSpec};
use crate::state::power;

/// The least learning rate that the agencies may come down to.
const LEAST_RATE: f64 = 1e-9;

/// The steps K of a round: those of `epochs` passes over `records`, the mean of the declared counts
/// less what is held out or not sampled. Public, and the same for all agencies.
pub(crate) fn steps(local: &LocalSpec, records: f64) -> u32 {
    let batches = (records / f64::from(local.batch_size)).ceil().max(1.0);
    (f64::from(local.epochs) * batches) as u32
}

/// `K eta` in a 0-based round of training.
pub(crate) fn distance(steps: u32, local: &LocalSpec, training_round: u32) -> f64 {
    let decayed = f64::from(local.learning_rate) * power(f64::from(local.decay), training_round);
    f64::from(steps) * decayed
}

/// The server's control variate after a round. An agency's moves by `(x - y_i) / (K eta) - c` (line 12,
/// option II), so `c += sum / divisor - share c`: `sums` are those of x - y_i in integer units, the
/// divisor is their scale times `K eta` times the number N of all agencies, and `share` is |S|/N. So
/// c moves by |S|/N of the survivors' mean (line 17) and stays the mean of all c_i, whoever dropped
/// out.
pub(crate) fn step(control: &mut [f32], sums: impl Iterator<Item = f64>, divisor: f64, share: f64) {
    for (c, sum) in control.iter_mut().zip(sums) {
        let before = f64::from(*c);
        *c = (before - share * before + sum / divisor) as f32;
    }
}

/// The field that SCAFFOLD cannot be combined with and why; `None` also for jobs without it.
pub(crate) fn problem(
    training: &TrainingSpec,
    mode: PrivacyMode,
) -> Option<(&'static str, String)> {
    let local = training.local.filter(|local| local.scaffold)?;
    if mode != PrivacyMode::None {
        let text = format!(
            "is for mode \"none\" alone: in mode {:?} the noise of every round would add up in the \
             shared control variate, which corrects all later steps; leave it out or change \
             privacy.mode",
            mode.name()
        );
        return Some(("training.local.scaffold", text));
    }
    // Option II reads the mean gradient off how far the model has moved, which holds for plain SGD.
    let plain =
        "with scaffold agencies take plain steps, from which their control variates are read";
    let server = "with scaffold the server takes the plain mean of the changes, which is what the \
                  control variates correct for";
    let at = |field, rule: &str| Some((field, format!("{rule}: leave it or scaffold out")));
    if local.optimiser != OptimiserKind::Sgd {
        return at("training.local.optimiser", plain);
    }
    if local.momentum != 0.0 {
        return at("training.local.momentum", plain);
    }
    if local.proximal != 0.0 {
        return at("training.local.proximal", plain);
    }
    // Control variates are changes over this rate.
    if distance(1, &local, training.rounds.saturating_sub(1)) < LEAST_RATE {
        let text = format!(
            "with scaffold the agencies' learning rate must still be at least {LEAST_RATE:e} in the \
             last round: raise it or take fewer rounds"
        );
        return Some(("training.local.decay", text));
    }
    if training.server.is_some() {
        return at("training.server", server);
    }
    if training.optimiser != OptimiserKind::Sgd {
        return at("training.optimiser", server);
    }
    if training.momentum != 0.0 {
        return at("training.momentum", server);
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::JobSpec;
    use crate::plan::tests::{JOB, manifest};
    use crate::{JobHash, ModelState, Operation, Plan};

    const LOCAL: &str = "[training.local]\nepochs = 3\nbatch_size = 100\nlearning_rate = 0.25\n\
                         scaffold = true\n\n[privacy]";

    /// The job of the plan's tests with five agencies of a thousand records, with SCAFFOLD.
    fn job() -> String {
        JOB.replace("mode = \"record\"\nepsilon = 2.0", "mode = \"none\"")
            .replace("[privacy]", LOCAL)
            .replace("sampling_rate = 0.1", "sampling_rate = 1.0")
    }

    #[test]
    fn nothing_more_travels_and_the_parameters_hash_binds_the_steps() {
        let with = Plan::derive(&manifest(&job())).unwrap();
        let without = job().replace("scaffold = true\n", "");
        let without = Plan::derive(&manifest(&without)).unwrap();
        assert_eq!(without.training.vector_len, with.training.vector_len);
        assert_eq!(without.training.local_distance(0), None);
        // 3 passes over 1000 records by 100, at 0.25.
        assert_eq!(with.training.local_steps, Some(30));
        assert_eq!(with.training.local_distance(4), Some(7.5));
        let hash = |plan: &Plan| plan.params_hash(&plan.training).unwrap();
        assert_ne!(hash(&with), hash(&without));
        assert_eq!(with.statistics.as_ref().unwrap().local_steps, None);
        let text = serde_json::to_string(&without.training).unwrap();
        assert!(!text.contains("local_steps") && !text.contains("scaffold"), "{text}");
    }

    #[test]
    fn steps_are_those_of_the_mean_table_and_the_rate_decays() {
        let job = job().replace("epochs = 3", "epochs = 3\ndecay = 0.5");
        let mut manifest = manifest(&job.replace("sampling_rate = 1.0", "sampling_rate = 0.5"));
        let counts = [10, 20, 30, 40, 2410];
        for (entry, count) in manifest.roster.iter_mut().zip(counts) {
            entry.declared_records = count;
        }
        // 502 on average, half of them drawn: 3 batches of 100.
        let plan = Plan::derive(&manifest).unwrap();
        assert_eq!(plan.training.local_steps, Some(9));
        assert_eq!(plan.training.local_distance(0), Some(9.0 * 0.25));
        assert_eq!(plan.training.local_distance(3), Some(9.0 * 0.25 / 8.0));
    }

    /// By hand: five agencies, two of which are not in the sum.
    #[test]
    fn model_and_control_variate_move_by_a_share_of_all_agencies() {
        let manifest = manifest(&job());
        let plan = Plan::derive(&manifest).unwrap();
        let d = plan.layout.total();
        let mut state = plan.initial_state(&manifest);
        assert_eq!(state.control.as_ref().unwrap(), &vec![0.0; d]);
        state.completed = 1;
        state.control.as_mut().unwrap()[..2].fill(0.5);
        assert_eq!(plan.operation(1).unwrap().operation, Operation::Training);
        let units = (plan.training.scale * 5.0 * 7.5) as i64;
        let mut sum = vec![0; d];
        sum[0] = units;
        let next = plan.apply(&manifest, &state, &sum, 3).unwrap();
        // A unit is cut off: at most 1 / (5 scale).
        let close = |a: f32, b: f32| (a - b).abs() < 2e-3;
        // The mean change over all five is 7.5, at the server's rate of a half.
        assert!(close(next.parameters[0], state.parameters[0] - 3.75), "{:?}", next.parameters);
        assert_eq!(next.parameters[1..], state.parameters[1..]);
        // Three fifths of c go, and a mean gradient of one comes.
        let control = next.control.as_ref().unwrap();
        assert!(close(control[0], 0.5 - 0.3 + 1.0) && close(control[1], 0.2), "{control:?}");
        assert_eq!(control[2..], vec![0.0; d - 2]);
        let whole = plan.apply(&manifest, &state, &sum, 5).unwrap().control.unwrap();
        assert!(close(whole[0], 1.0) && whole[1] == 0.0, "{whole:?}");
    }

    /// Why K is everybody's: two honest agencies beside colluders who know their own vectors. The
    /// first sum hides each behind the other; a second one, weighted by other numbers of steps, does
    /// not.
    #[test]
    fn a_second_sum_with_other_weights_would_give_vectors_away() {
        let (v, steps) = ([3.0, -8.0], [20.0, 5.0]);
        let first: f64 = v.iter().sum();
        let second: f64 = v.iter().zip(steps).map(|(v, k)| v / k).sum();
        let found = (first - steps[1] * second) / (1.0 - steps[1] / steps[0]);
        assert!((found - v[0]).abs() < 1e-12, "{found}");
        // With equally many it says what the first one says.
        let same: f64 = v.iter().map(|v| v / 20.0).sum();
        assert!((same * 20.0 - first).abs() < 1e-12);
    }

    #[test]
    fn the_control_variate_travels_with_the_state_and_is_signed() {
        let manifest = manifest(&job());
        let plan = Plan::derive(&manifest).unwrap();
        let (d, features) = (plan.layout.total(), plan.numeric_features);
        let mut state = plan.initial_state(&manifest);
        state.control.as_mut().unwrap()[1] = 2.5;
        let bytes = state.encode();
        assert_eq!(bytes.len(), state.fixed_len());
        assert_eq!(bytes.len(), 20 + (3 * d + 2 * features) * 4);
        assert_eq!(ModelState::decode(&bytes, d, features).unwrap(), state);
        let other = ModelState { control: Some(vec![0.0; d]), ..state.clone() };
        assert_ne!(other.hash(&JobHash([1; 32])), state.hash(&JobHash([1; 32])));
        // As long as a state with a second moment, and never read as one.
        let adam = ModelState { second_moment: state.control.clone(), control: None, ..state };
        assert_eq!(adam.encode().len(), bytes.len());
        assert_ne!(adam.encode(), bytes);
        assert_eq!(ModelState::decode(&adam.encode(), d, features).unwrap(), adam);
    }

    #[test]
    fn what_does_not_go_with_it_is_refused_with_the_field_and_a_reason() {
        assert!(JobSpec::from_toml(&job()).is_ok());
        for (from, to, field, says) in [
            ("epochs = 3", "epochs = 3\nmomentum = 0.5", "training.local.momentum", "plain steps"),
            (
                "epochs = 3",
                "epochs = 3\noptimiser = \"adam\"",
                "training.local.optimiser",
                "plain steps",
            ),
            ("epochs = 3", "epochs = 3\nproximal = 0.1", "training.local.proximal", "plain steps"),
            ("epochs = 3", "epochs = 3\ndecay = 0.1", "training.local.decay", "last round"),
            ("rounds = 10", "rounds = 10\nmomentum = 0.5", "training.momentum", "plain mean"),
            (
                "rounds = 10",
                "rounds = 10\noptimiser = \"adam\"",
                "training.optimiser",
                "plain mean",
            ),
            (
                "rounds = 10",
                "rounds = 10\nserver = { rule = \"yogi\" }",
                "training.server",
                "plain mean",
            ),
            (
                "mode = \"none\"",
                "mode = \"silo\"\nepsilon = 2.0",
                "training.local.scaffold",
                "noise of every round",
            ),
            (
                "mode = \"none\"",
                "mode = \"record\"\nepsilon = 2.0",
                "training.local.scaffold",
                "mode \"record\"",
            ),
        ] {
            let text = job().replacen(from, to, 1);
            assert_ne!(text, job(), "{from}");
            let error = JobSpec::from_toml(&text).unwrap_err();
            assert_eq!(error.field, field, "{to}: {error}");
            assert!(error.problem.contains(says), "{to}: {error}");
            // Without scaffold each of them is somebody else's business.
            let without = text.replace("scaffold = true\n", "");
            if !field.ends_with("scaffold") {
                assert!(JobSpec::from_toml(&without).is_ok(), "{to}");
            }
        }
    }
}
