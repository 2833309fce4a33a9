//! What every store must do: run by each implementation's tests.

use crate::Store;
use crate::model::{CertifiedState, Commit, JobState, StoreError, TokenRefusal};

/// Runs the whole suite against an empty store.
///
/// # Panics
/// When the store does not conform; meant for tests.
#[allow(clippy::unwrap_used)]
pub async fn suite<S: Store>(store: &S) {
    tokens_enrol_once(store).await;
    jobs_move_in_whole_steps(store).await;
}

#[allow(clippy::unwrap_used)]
async fn tokens_enrol_once<S: Store>(store: &S) {
    store.put_token(&[1; 32], "nih", 100).await.unwrap();
    store.put_token(&[2; 32], "nasa", 100).await.unwrap();
    let refused = |r: Result<Result<String, TokenRefusal>, StoreError>| r.unwrap().unwrap_err();
    assert_eq!(refused(store.enrol(&[9; 32], &[7; 32], 50).await), TokenRefusal::Unknown);
    assert_eq!(refused(store.enrol(&[1; 32], &[7; 32], 101).await), TokenRefusal::Expired);
    assert_eq!(store.enrol(&[1; 32], &[7; 32], 100).await.unwrap().unwrap(), "nih");
    assert_eq!(refused(store.enrol(&[1; 32], &[7; 32], 50).await), TokenRefusal::Used);
    assert_eq!(refused(store.enrol(&[2; 32], &[7; 32], 50).await), TokenRefusal::KeyTaken);
    assert_eq!(store.enrol(&[2; 32], &[8; 32], 50).await.unwrap().unwrap(), "nasa");
    assert!(store.revoke("nih", 60).await.unwrap());
    assert!(!store.revoke("doe", 60).await.unwrap());
    let agencies = store.agencies().await.unwrap();
    let seen: Vec<_> = agencies.iter().map(|a| (a.name.as_str(), a.revoked_at)).collect();
    assert_eq!(seen, [("nasa", None), ("nih", Some(60))]);
    // A new token brings a revoked agency back with a new key.
    store.put_token(&[3; 32], "nih", 100).await.unwrap();
    store.enrol(&[3; 32], &[6; 32], 70).await.unwrap().unwrap();
    let agencies = store.agencies().await.unwrap();
    assert_eq!((agencies[1].signing_key, agencies[1].revoked_at), ([6; 32], None));
}

#[allow(clippy::unwrap_used)]
async fn jobs_move_in_whole_steps<S: Store>(store: &S) {
    let state = |round, byte, certificate| CertifiedState {
        round,
        bytes: vec![byte],
        certificate: vec![certificate],
    };
    store.submit("b", "second", "spec b", 20).await.unwrap();
    store.submit("a", "first", "spec a", 10).await.unwrap();
    let order: Vec<_> = store.jobs().await.unwrap().into_iter().map(|j| j.id).collect();
    assert_eq!(order, ["a", "b"]);
    let open = async || {
        let heads = store.open_jobs().await.unwrap();
        heads.into_iter().map(|j| (j.id, j.state)).collect::<Vec<_>>()
    };
    let head = |id: &str, state| (id.to_owned(), state);
    assert_eq!(open().await, [head("a", JobState::Waiting), head("b", JobState::Waiting)]);
    let step = Commit {
        state: Some((JobState::Training, String::new())),
        manifest: Some("{}".into()),
        record: vec![(0, "zero".into()), (1, "one".into())],
        sum: Some((1, vec![1, 2])),
        certified: Some(state(1, 3, 4)),
        snapshot: Some(vec![5]),
        progress: None,
    };
    store.commit("a", &step).await.unwrap();
    assert_eq!(open().await[0], head("a", JobState::Training));
    // The same sequence again: the whole step has no effect.
    let clash = Commit {
        state: Some((JobState::Failed, "x".into())),
        record: vec![(2, "two".into()), (1, "other".into())],
        ..Commit::default()
    };
    assert!(store.commit("a", &clash).await.is_err());
    let job = store.job("a").await.unwrap().unwrap();
    assert_eq!((job.state, job.snapshot), (JobState::Training, Some(vec![5])));
    assert_eq!(store.record("a").await.unwrap(), ["zero", "one"]);
    let newer = Commit { certified: Some(state(2, 6, 7)), ..Commit::default() };
    store.commit("a", &newer).await.unwrap();
    assert_eq!(store.state("a").await.unwrap(), Some(state(2, 6, 7)));
    assert_eq!(store.sums("a").await.unwrap(), [(1, vec![1, 2])]);
    assert_eq!(store.job("a").await.unwrap().unwrap().manifest.as_deref(), Some("{}"));
    // What is over stays over.
    let over = |state, why: &str| Commit { state: Some((state, why.into())), ..Commit::default() };
    store.commit("a", &over(JobState::Failed, "cancelled")).await.unwrap();
    store.commit("a", &over(JobState::Training, "step in flight")).await.unwrap();
    let job = store.job("a").await.unwrap().unwrap();
    assert_eq!((job.state, job.reason.as_str()), (JobState::Failed, "cancelled"));
    let stands = store.job_state("a").await.unwrap();
    assert_eq!(stands, Some((JobState::Failed, "cancelled".to_owned())));
    assert_eq!(store.job_state("zz").await.unwrap(), None);
    assert_eq!(open().await, [head("b", JobState::Waiting)]);
    let unknown = store.commit("zz", &Commit::default()).await;
    assert!(matches!(unknown, Err(StoreError::UnknownJob(_))));
}
