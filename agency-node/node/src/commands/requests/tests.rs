//! Approvals on real files: what is stored holds, and what would not hold is not stored.

use tributary_secagg::Identity;

use super::*;
use crate::data_dir::DataDir;
use crate::engine::Record;
use crate::fixtures::{Federation, JOB, TABLE};
use crate::storage::{DatasetRow, Durable as _};

const POLICY: &str = r#"
datasets = ["d"]
modes = ["record"]
model_families = ["mlp"]
operations = ["statistics", "training"]
max_epsilon_per_job = 1000.0
max_epsilon_per_year = 1000.0
max_delta = 1e-5
min_survivors = 3
min_colluders = 0
min_corrupt_fraction = 0.0
max_rounds = 100

[approval]
stewards = { jane = ["d"], joe = [] }
max_days = 40
"#;

/// A node at which a job waits; its hash.
async fn waiting() -> (tempfile::TempDir, DataDir, String) {
    let (root, dir) = crate::fixtures::enrolled();
    std::fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
    let table = root.path().join("t.csv");
    std::fs::write(&table, TABLE).unwrap();
    let storage = dir.storage().await.unwrap();
    let identity = dir.identity().unwrap();
    let row = DatasetRow {
        name: "d".into(),
        path: table.to_str().unwrap().into(),
        declared_records: 10,
        content: None,
        source: Default::default(),
    };
    let mut book = crate::book::Book::replay(&[]).unwrap();
    let limit = crate::book::BudgetLimit::new(20.0, 1e-6).unwrap();
    let at = "2026-01-01T00:00:00Z";
    let entry = book.register("d", limit, at, &identity).unwrap();
    storage.add_dataset(&row, Some(&entry)).await.unwrap();
    let mut manifest = Federation::new(JOB).manifest;
    manifest.roster[0].signing_key = identity.verifying_key().to_string();
    let job = manifest.hash().unwrap().to_string();
    let manifest = manifest.to_canonical().unwrap();
    let record = Record::Requested { job: job.clone(), manifest, at: at.into() };
    storage.persist(&record).await.unwrap();
    storage.persist(&record).await.unwrap();
    assert_eq!(storage.requests().await.unwrap().len(), 1);
    (root, dir, job)
}

async fn register(desk: &Desk, name: &str) -> StewardKey {
    let key = StewardKey { name: name.into(), identity: Identity::generate().unwrap() };
    let public = key.identity.verifying_key();
    let row =
        crate::consent::StewardRow { name: name.into(), key: public, added: desk.now.0.clone() };
    let event = Event::Steward {
        what: "added".into(),
        steward: name.into(),
        steward_key: public.fingerprint(),
        by: "test".into(),
    };
    desk.record(&event, Change::AddSteward(&row)).await.unwrap();
    key
}

async fn desk(dir: &DataDir) -> Desk {
    Desk::of(dir.clone()).await.unwrap()
}

fn days(n: i64) -> Duration {
    Duration::days(n)
}

#[tokio::test]
async fn an_approval_is_stored_recorded_and_taken_back() {
    let (_root, dir, job) = waiting().await;
    let jane = register(&desk(&dir).await, "jane").await;
    show(&desk(&dir).await, &job[..8], false).await.unwrap();
    approve(&desk(&dir).await, &job[..8], &jane, days(30), None).await.unwrap();
    let after = desk(&dir).await;
    let request = after.request(&job).await.unwrap();
    let State { state, why, .. } = state_of(&after, &request);
    assert_eq!(state, "approved", "{why}");
    assert!(say_no(&after, &job, "no", false).await.is_err(), "an approval is revoked, not denied");
    say_no(&after, &job, "a person withdrew", true).await.unwrap();
    let after = desk(&dir).await;
    assert_eq!(state_of(&after, &request).state, "denied");
    assert!(say_no(&after, &job, "again", true).await.is_err(), "nothing to take back");
    // Jane may change her mind.
    approve(&after, &job, &jane, days(30), None).await.unwrap();
    let lines = after.storage.audit_lines().await.unwrap();
    let kinds: Vec<_> =
        lines.iter().map(|l| serde_json::from_str::<tributary_ledger::Entry>(l)).collect();
    let kinds: Vec<_> = kinds.into_iter().map(|e| e.unwrap().kind).collect();
    assert_eq!(kinds, ["steward", "approved", "revoked", "approved"]);
}

#[tokio::test]
async fn what_would_not_hold_is_not_stored() {
    let (root, dir, job) = waiting().await;
    let jane = register(&desk(&dir).await, "jane").await;
    let joe = register(&desk(&dir).await, "joe").await;
    let refused = async |key: &StewardKey, span: Duration, seen: Option<&str>, words: &str| {
        let before = desk(&dir).await;
        let error = approve(&before, &job, key, span, seen).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(desk(&dir).await.consent.decisions.is_empty(), "{words}");
    };
    let stranger = StewardKey { name: "jane".into(), identity: Identity::generate().unwrap() };
    refused(&stranger, days(30), None, "registered key of jane").await;
    refused(&joe, days(30), None, "may not approve").await;
    refused(&jane, days(41), None, "40 days").await;
    refused(&jane, days(30), Some("another"), "look again").await;
    std::fs::write(
        dir.path().join("policy.toml"),
        POLICY.replace("max_rounds = 100", "max_rounds = 1"),
    )
    .unwrap();
    refused(&jane, days(30), None, "the policy refuses").await;
    std::fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
    std::fs::remove_file(root.path().join("t.csv")).unwrap();
    refused(&jane, days(30), None, "t.csv").await;
}

#[tokio::test]
async fn a_dataset_that_changes_after_the_approval_is_seen_in_the_list() {
    let (root, dir, job) = waiting().await;
    let jane = register(&desk(&dir).await, "jane").await;
    approve(&desk(&dir).await, &job, &jane, days(30), None).await.unwrap();
    std::fs::write(root.path().join("t.csv"), "x,y\n5,1\n").unwrap();
    let after = desk(&dir).await;
    let State { state, why, .. } = state_of(&after, &after.request(&job).await.unwrap());
    assert_eq!(state, "waits");
    assert!(why.contains("has changed since jane approved"), "{why}");
}

#[tokio::test]
async fn the_brief_says_what_runs_on_what_at_what_cost_and_who_is_unknown() {
    let (_root, dir, job) = waiting().await;
    let desk = desk(&dir).await;
    let (manifest, plan) = desk.read(&desk.request(&job).await.unwrap()).unwrap();
    let text = desk.brief(&manifest, &plan).to_string();
    for words in [
        "A small job for tests.",
        "one round of statistics, then 3 rounds of training",
        "x (a number, cut to 0 to 10)",
        "y (what is to be predicted)",
        "4 rows now; others are told 10 records",
        "everybody else together",
        "over all jobs:    0.000 now",
        "ITS KEY IS NOT PINNED HERE",
        "this agency",
        "the policy has nothing against it",
        "nobody has decided about it yet",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let json = serde_json::to_value(desk.brief(&manifest, &plan)).unwrap();
    assert_eq!(json["privacy"]["epsilon"].as_array().unwrap().len(), 4);
    assert_eq!(json["roster"][1]["pin"], "unknown");
}

#[tokio::test]
async fn requests_are_bounded_and_those_with_a_decision_stay() {
    let (_root, dir, job) = waiting().await;
    let (before, storage) = (desk(&dir).await, dir.storage().await.unwrap());
    say_no(&before, &job, "no", false).await.unwrap();
    for i in 0..crate::consent::MAX_WAITING + 20 {
        let (job, at) =
            (format!("{i:064x}"), format!("2026-02-01T00:{:02}:{:02}Z", i / 60, i % 60));
        let record = Record::Requested { job, manifest: "{}".into(), at };
        storage.persist(&record).await.unwrap();
    }
    let left = storage.requests().await.unwrap();
    assert_eq!(left.len(), crate::consent::MAX_WAITING + 1);
    assert_eq!(left[0].job, job, "a decision was forgotten");
    assert_eq!(left.last().unwrap().job, format!("{:064x}", crate::consent::MAX_WAITING + 19));
}

#[test]
fn spans_are_hours_or_days() {
    assert_eq!(span("12h"), Ok(Duration::hours(12)));
    assert_eq!(span("30d"), Ok(days(30)));
    for wrong in ["", "d", "30", "0d", "-1d", "1.5d", "30w", "99999999999d", "30é"] {
        assert!(span(wrong).is_err(), "{wrong:?}");
    }
}
