//! A card says what the sums say, and no more than the job lets it.

use tributary_job::manifest::{MANIFEST_VERSION, RosterEntry};
use tributary_job::{JobSpec, Operation};

use super::*;

const JOB: &str = r#"
name = "toy"
description = "Tells <good> from *bad*."
agencies = ["north", "east", "south", "west", "isle"]
dataset = "d"

[data]
label = { column = "y", positive = "1", negative = "0" }
features = [{ kind = "numeric", column = "x", min = 0.0, max = 10.0 }]

[model]
family = "mlp"
hidden = []

[training]
rounds = 6
learning_rate = 0.5

[privacy]
mode = "record"
epsilon = 2.0
delta = 1e-6
clip_norm = 1.0
sampling_rate = 0.1

[evaluation]
bins = 4
every = 2
keep = "best"

[secure_aggregation]
min_survivors = 4
"#;

fn manifest(text: &str) -> Manifest {
    let spec = JobSpec::from_toml(text).unwrap();
    let entry = |(i, agency): (usize, &String)| RosterEntry {
        agency: agency.clone(),
        signing_key: format!("{:02x}", i + 1).repeat(32),
        declared_records: 1000,
    };
    Manifest {
        version: MANIFEST_VERSION,
        roster: spec.agencies.iter().enumerate().map(entry).collect(),
        spec,
        aggregator_key: "63".repeat(32),
        nonce: "00".into(),
    }
}

/// The card after these evaluations: 1000 records, so many in a thousand right, with this loss in all.
fn card(text: &str, evaluations: &[(i64, i64)]) -> ModelCard {
    let manifest = manifest(text);
    let plan = Plan::derive(&manifest).unwrap();
    let mut state = plan.initial_state(&manifest);
    let (mut sums, mut next) = (Vec::new(), evaluations.iter());
    while let Some(operation) = plan.next(&state) {
        let sum = match operation.operation {
            Operation::Evaluation => {
                let Some((right, loss)) = next.next() else { break };
                let wrong = (1000 - right) / 2;
                let records = [right / 2, 0, 0, wrong, wrong, 0, 0, right / 2, *loss];
                records.iter().map(|v| (*v as f64 * operation.scale) as i64).collect()
            }
            _ => vec![9000; operation.vector_len as usize],
        };
        sums.push((state.completed, operation.pack(&operation.to_lanes(&sum))));
        state = plan.apply(&manifest, &state, &sum, 5).unwrap();
    }
    let sums = sums.iter().map(|(round, sum)| (*round, &sum[..]));
    ModelCard::of(&manifest, &plan, &state, sums).unwrap()
}

#[test]
fn the_card_of_the_best_of_three() {
    let card = card(JOB, &[(700, 80), (800, 60), (750, 70)]);
    let quality = card.quality.as_ref().unwrap();
    assert_eq!((card.training.rounds, card.training.rounds_run), (4, 6));
    assert!(card.training.choice.contains("log_loss, the 2nd"), "{}", card.training.choice);
    assert_eq!((quality.measured_after, quality.readings, quality.of_released), (4, 3, true));
    let figure = |name: &str| quality.figures.iter().find(|f| f.name == name).unwrap();
    assert!((figure("accuracy").interval.value - 0.8).abs() < 1e-4);
    assert!((figure("log_loss").interval.value - 0.48).abs() < 1e-4);
    for figure in &quality.figures {
        assert!(figure.interval.low <= figure.interval.value, "{figure:?}");
        assert!(figure.among_all.low <= figure.interval.low, "{figure:?}");
        assert!(figure.among_all.high >= figure.interval.high, "{figure:?}");
    }
    let (metric, optimism) = quality.optimism.as_ref().unwrap();
    assert!(metric == "log_loss" && *optimism > 0.0);
    let text = card.to_string();
    for part in [
        "Tells &lt;good> from \\*bad\\*.",
        "| accuracy | 0.8000 |",
        "whichever was chosen",
        "Dunn 1961",
        "| 2 | 1000 | 0.7000 ±",
        "Epsilon 1.9",
        "9 of evaluation",
        "5 agencies with 5000 declared records",
        "simulate verify",
        "The job does not say.",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    // What the job does not allow is not on it.
    assert!(!text.contains("north") && !card.to_json().unwrap().contains("north"));
}

#[test]
fn the_author_speaks_and_may_name_the_agencies() {
    let text = format!(
        "{JOB}\n[card]\nintended_use = \"Planning of shifts.\"\nlimits = \"Never about a person.\"\n\
         name_agencies = true\n"
    );
    let page = card(&text, &[(700, 80)]).to_string();
    for part in ["Planning of shifts.", "Never about a person.", "| north | 1000 |"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_model_that_was_not_measured_is_not_called_measured() {
    // The job was ended before its second evaluation: the last state is newer than the one evaluation.
    let last = JOB.replace("keep = \"best\"\n", "");
    let card = card(&last, &[(700, 80)]);
    assert_eq!((card.training.rounds, card.quality.as_ref().unwrap().measured_after), (4, 2));
    assert!(card.to_string().contains("The released model was not measured"));
    let none =
        self::card(&JOB.replace("[evaluation]\nbins = 4\nevery = 2\nkeep = \"best\"\n", ""), &[]);
    assert!(none.quality.is_none() && none.to_string().contains("Not measured"));
}

#[test]
fn one_evaluation_at_the_end_has_nothing_to_choose() {
    let once = card(&JOB.replace("every = 2\nkeep = \"best\"\n", ""), &[(700, 80)]);
    let quality = once.quality.as_ref().unwrap();
    assert_eq!((quality.readings, quality.optimism.is_none()), (1, true));
    assert!(quality.figures.iter().all(|f| f.interval == f.among_all));
    assert!(!once.to_string().contains("whichever was chosen"));
}

#[test]
fn the_files_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let card = card(JOB, &[(700, 80), (800, 60)]);
    let page = card.write(&dir.path().join("model.safetensors")).unwrap();
    assert_eq!(std::fs::read_to_string(page).unwrap(), card.to_string());
    let read = std::fs::read_to_string(dir.path().join(JSON)).unwrap();
    assert_eq!(serde_json::from_str::<ModelCard>(&read).unwrap(), card);
}
