//! Evaluations on the way: what they cost in advance, that they end a job, and that nobody can claim
//! others than the sums give.

use crate::evaluation::Keep;
use crate::history::Best;
use crate::manifest::Manifest;
use crate::plan::{Operation, Plan};
use crate::spec::JobSpec;
use crate::state::ModelState;

const EVERY: &str = "\n[evaluation]\nholdout = 0.25\nbins = 4\nevery = 4\nkeep = \"best\"\n\
    [evaluation.stopping]\nmetric = \"accuracy\"\npatience = 1\nmin_improvement = 0.01\n";

fn plan(more: &str) -> (Manifest, Plan) {
    let manifest = super::super::tests::manifest(&format!("{}{more}", super::super::tests::JOB));
    let plan = Plan::derive(&manifest).unwrap();
    (manifest, plan)
}

/// An evaluation's sum: 1000 records, so many right in a thousand.
fn sum(plan: &Plan, right: i64) -> Vec<i64> {
    let scale = plan.evaluation.as_ref().unwrap().scale;
    let records = [right / 2, 0, 0, (1000 - right) / 2, (1000 - right) / 2, 0, 0, right / 2, 50];
    records.iter().map(|v| (*v as f64 * scale) as i64).collect()
}

/// Goes through the job with these evaluations, every training round moving the parameters.
fn run(manifest: &Manifest, plan: &Plan, rights: &[i64]) -> ModelState {
    let mut state = plan.initial_state(manifest);
    let mut rights = rights.iter();
    while let Some(operation) = plan.next(&state) {
        let values = match operation.operation {
            Operation::Evaluation => {
                let Some(right) = rights.next() else { break };
                sum(plan, *right)
            }
            _ => vec![7_000; operation.vector_len as usize],
        };
        state = plan.apply(manifest, &state, &values, 5).unwrap();
        plan.check_evaluations(&state).unwrap();
    }
    state
}

#[test]
fn every_evaluation_is_charged_in_advance() {
    let without = plan("").1;
    let once = plan("\n[evaluation]\nbins = 4\n").1;
    let (_, often) = plan(EVERY);
    assert_eq!((without.rounds, once.rounds, often.rounds), (11, 12, 14));
    assert_eq!((once.evaluation_attempts, often.evaluation_attempts), (3, 9));
    let releases = |plan: &Plan| plan.privacy.as_ref().unwrap().evaluation_releases;
    assert_eq!((releases(&once), releases(&often)), (3, 9));
    // Within the same target, what evaluations take is taken from training.
    let noise = |plan: &Plan| plan.training.release.as_ref().unwrap().parameters.noise_multiplier;
    assert!(noise(&often) > noise(&once) && noise(&once) > noise(&without));
    assert!(often.epsilon().unwrap().unwrap().epsilon <= 2.0);
    let hash = |plan: &Plan| plan.params_hash(plan.evaluation.as_ref().unwrap()).unwrap();
    let other = plan(&EVERY.replace("patience = 1", "patience = 2")).1;
    assert_ne!(hash(&often), hash(&other), "the rules are bound like thresholds and noise");
}

#[test]
fn a_metric_that_stands_still_ends_the_job_and_the_best_is_released() {
    let (manifest, plan) = plan(EVERY);
    // Statistics, four of training, an evaluation, four of training, an evaluation that is worse.
    let state = run(&manifest, &plan, &[700, 650, 900]);
    assert_eq!(state.completed, 11);
    assert!(plan.stops(&state) && plan.next(&state).is_none());
    assert!(plan.apply(&manifest, &state, &sum(&plan, 900), 5).is_err());
    let before = run(&manifest, &plan, &[700]);
    assert_eq!(state.evaluations.as_ref().unwrap().best.as_ref().unwrap().evaluation, 0);
    assert_ne!(state.released(), &state.parameters[..]);
    assert_eq!(state.released(), before.released());
    let choice = plan.choice(&state);
    assert_eq!((choice.trained, choice.evaluation, choice.readings), (4, Some(0), 3));
    assert!(choice.stopped);
    // As long as it improves, the job goes on to its last round.
    let whole = run(&manifest, &plan, &[700, 750, 800]);
    assert_eq!((whole.completed, plan.stops(&whole)), (14, false));
    assert_eq!(plan.choice(&whole).trained, 10);
    assert_eq!(whole.released(), &whole.parameters[..]);
}

#[test]
fn last_releases_the_last_state_from_the_same_sums() {
    let (manifest, best) = plan(EVERY);
    let (other, last) = plan(&EVERY.replace("keep = \"best\"\n", ""));
    assert_eq!(last.rules.unwrap().keep, Keep::Last);
    let rights = [700, 650];
    let (a, b) = (run(&manifest, &best, &rights), run(&other, &last, &rights));
    assert!(b.evaluations.as_ref().unwrap().best.is_none());
    assert_eq!(b.released(), &b.parameters[..]);
    assert_ne!(a.released(), b.released());
    assert_eq!((last.choice(&b).trained, last.choice(&b).evaluation), (8, Some(1)));
}

#[test]
fn evaluations_do_not_move_the_schedule_of_training() {
    // The learning rate falls with training rounds and not with secure rounds.
    let falls = |more: &str| {
        let text = super::super::tests::JOB
            .replace("learning_rate = 0.5", "learning_rate = 0.5\nfinal_learning_rate = 0.1")
            .replace("epsilon = 2.0", "noise_multiplier = 1.0");
        let manifest = super::super::tests::manifest(&format!("{text}{more}"));
        let plan = Plan::derive(&manifest).unwrap();
        run(&manifest, &plan, &[700, 750, 800])
    };
    let (one, often) = (
        falls("\n[evaluation]\nholdout = 0.25\nbins = 4\n"),
        falls("\n[evaluation]\nholdout = 0.25\nbins = 4\nevery = 4\n"),
    );
    assert_eq!(one.parameters, often.parameters);
    assert!(one.evaluations.is_none() && often.evaluations.is_some());
}

/// A state that claims other evaluations than its rounds had, or another best one than its sums give.
#[test]
fn a_state_with_another_history_is_none_of_this_job() {
    let (manifest, plan) = plan(EVERY);
    let good = run(&manifest, &plan, &[700, 750]);
    let refused = |change: &dyn Fn(&mut ModelState)| {
        let mut state = good.clone();
        change(&mut state);
        plan.check_evaluations(&state).unwrap_err().to_string()
    };
    let evaluations = |state: &mut ModelState| state.evaluations.take().unwrap();
    assert!(refused(&|s| drop(evaluations(s))).contains("no evaluations"));
    assert!(refused(&|s| s.evaluations.as_mut().unwrap().sums.truncate(1)).contains("number"));
    assert!(refused(&|s| s.evaluations.as_mut().unwrap().best = None).contains("best"));
    assert!(
        refused(&|s| {
            let parameters = s.parameters.clone();
            s.evaluations.as_mut().unwrap().best = Some(Best { evaluation: 0, parameters });
        })
        .contains("best")
    );
    let ended = run(&manifest, &plan, &[700, 650]);
    plan.check_evaluations(&ended).unwrap();
    let mut further = ended.clone();
    further.completed += 1;
    let error = plan.check_evaluations(&further).unwrap_err().to_string();
    assert!(error.contains("had ended the job"), "{error}");
    let (other, without) = super::tests::plan("");
    let mut foreign = without.initial_state(&other);
    foreign.evaluations = good.evaluations.clone();
    assert!(without.check_evaluations(&foreign).is_err());
}

#[test]
fn points_say_what_was_measured_when() {
    let (manifest, plan) = plan(EVERY);
    let operation = plan.evaluation.as_ref().unwrap();
    let packed = operation.pack(&operation.to_lanes(&sum(&plan, 800)));
    let training = [0; 4];
    let points = plan.evaluation_points(
        &manifest,
        [(4, &training[..]), (5, &packed[..]), (10, &packed[..]), (13, &[][..])],
    );
    let trained: Vec<_> = points.iter().map(|p| (p.round, p.trained)).collect();
    assert_eq!(trained, [(5, 4), (10, 8), (13, 10)]);
    let (alone, among) = (points[0].measured.unwrap(), points[0].among_all.unwrap());
    assert!((alone.accuracy.value - 0.8).abs() < 1e-6);
    assert!(among.accuracy.low < alone.accuracy.low && among.accuracy.high > alone.accuracy.high);
    assert_eq!(points[2].measured, None);
}

#[test]
fn what_the_author_says_on_the_card_is_bounded() {
    let with =
        |line: &str| JobSpec::from_toml(&format!("{}\n[card]\n{line}\n", super::super::tests::JOB));
    assert!(with("intended_use = \"Planning.\"\nname_agencies = true").is_ok());
    let error = with(&format!("limits = \"{}\"", "x".repeat(2001))).unwrap_err();
    assert_eq!(error.field, "card.limits");
    assert!(with("author = \"me\"").is_err());
}
