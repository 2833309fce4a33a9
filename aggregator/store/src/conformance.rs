//! What every store must do: run by each implementation's tests.

use crate::Store;
use crate::model::{
    CertificateRefusal, CertifiedState, Commit, JobState, NewCertificate, Person, StoreError,
    TokenRefusal, Trusting,
};

/// Runs the whole suite against an empty store.
///
/// # Panics
/// When the store does not conform; meant for tests.
#[allow(clippy::unwrap_used)]
pub async fn suite<S: Store>(store: &S) {
    tokens_enrol_once(store).await;
    certificates_are_renewed_and_revoked_with_what_came_of_them(store).await;
    people_have_roles_and_members_say_what_they_trust(store).await;
    jobs_move_in_whole_steps(store).await;
    the_own_record_grows_by_one_line_at_a_time(store).await;
}

/// A certificate of this member with this key, until second 1000.
fn certificate(member: &str, key: u8, renewed_from: Option<u8>) -> NewCertificate {
    NewCertificate {
        member: member.to_owned(),
        serial: format!("{key:02x}"),
        key: [key; 32],
        issuer: "ca".to_owned(),
        renewed_from: renewed_from.map(|serial| format!("{serial:02x}")),
        ends_at: 1000,
    }
}

#[allow(clippy::unwrap_used)]
async fn tokens_enrol_once<S: Store>(store: &S) {
    store.put_token(&[1; 32], "nih", 100).await.unwrap();
    store.put_token(&[2; 32], "nasa", 100).await.unwrap();
    let enrol = async |token: u8, key: u8, certificate: &NewCertificate, now: i64| {
        store.enrol(&[token; 32], Some(&[key; 32]), certificate, now).await.unwrap()
    };
    let (nih, nasa) = (certificate("nih", 0x11, None), certificate("nasa", 0x21, None));
    assert_eq!(enrol(9, 7, &nih, 50).await, Err(TokenRefusal::Unknown));
    assert_eq!(enrol(1, 7, &nih, 101).await, Err(TokenRefusal::Expired));
    assert_eq!(enrol(1, 7, &nih, 100).await.unwrap(), "nih");
    assert_eq!(enrol(1, 7, &nih, 50).await, Err(TokenRefusal::Used));
    assert_eq!(enrol(2, 7, &nasa, 50).await, Err(TokenRefusal::KeyTaken));
    assert_eq!(enrol(2, 8, &certificate("nasa", 0x11, None), 50).await, Err(TokenRefusal::KeyUsed));
    assert_eq!(enrol(2, 8, &nasa, 50).await.unwrap(), "nasa");
    assert!(store.revoke("nih", 60).await.unwrap());
    assert!(!store.revoke("doe", 60).await.unwrap());
    let agencies = store.agencies().await.unwrap();
    let seen: Vec<_> = agencies.iter().map(|a| (a.name.as_str(), a.revoked_at)).collect();
    assert_eq!(seen, [("nasa", None), ("nih", Some(60))]);
    // A new token brings a revoked agency back with a new key; its old certificate stays refused.
    store.put_token(&[3; 32], "nih", 100).await.unwrap();
    enrol(3, 6, &certificate("nih", 0x12, None), 70).await.unwrap();
    let agencies = store.agencies().await.unwrap();
    assert_eq!((agencies[1].signing_key, agencies[1].revoked_at), ([6; 32], None));
    let refused = store.refused(70).await.unwrap();
    assert_eq!((refused.members, refused.keys), (vec![], vec![[0x11; 32]]));
    assert!(refused.enrolled.contains(&("nih".to_owned(), 70)));
    assert_eq!(store.refused(1001).await.unwrap().keys, Vec::<[u8; 32]>::new(), "it has ended");
}

#[allow(clippy::unwrap_used)]
async fn certificates_are_renewed_and_revoked_with_what_came_of_them<S: Store>(store: &S) {
    let renewed = async |member: &str, key: u8, from: u8| {
        store.renewed(&certificate(member, key, Some(from)), 80).await.unwrap()
    };
    // 22 and 23 of 21, 24 of 22.
    for (key, from) in [(0x22, 0x21), (0x23, 0x21), (0x24, 0x22)] {
        assert_eq!(renewed("nasa", key, from).await, Ok(()));
    }
    assert_eq!(renewed("nasa", 0x22, 0x21).await, Err(CertificateRefusal::KeyUsed));
    assert_eq!(renewed("doe", 0x31, 0x30).await, Err(CertificateRefusal::NotEnrolled));
    assert_eq!(store.revoke_certificate("99", 90).await.unwrap(), 0);
    assert_eq!(store.revoke_certificate("22", 90).await.unwrap(), 2);
    let mut keys = store.refused(90).await.unwrap().keys;
    keys.sort_unstable();
    assert_eq!(keys, [[0x11; 32], [0x22; 32], [0x24; 32]]);
    assert_eq!(renewed("nasa", 0x25, 0x24).await, Err(CertificateRefusal::Revoked));
    // Somebody else's certificate of the same serial number is no ancestor.
    assert_eq!(renewed("nih", 0x26, 0x22).await, Ok(()));
    // Nobody fills the table.
    for key in 0x40..0x40 + 13 {
        assert_eq!(renewed("nasa", key, 0x23).await, Ok(()));
    }
    renewed("nasa", 0x60, 0x23).await.unwrap();
    assert_eq!(renewed("nasa", 0x61, 0x23).await, Err(CertificateRefusal::TooMany));
    let all = store.certificates().await.unwrap();
    let of = |key: u8| all.iter().find(|c| c.certificate.key == [key; 32]).unwrap();
    assert_eq!((of(0x24).issued_at, of(0x24).revoked_at), (80, Some(90)));
    assert_eq!(of(0x24).certificate, certificate("nasa", 0x24, Some(0x22)));
    // One that is seen is remembered once.
    let seen = certificate("nih", 0x70, None);
    store.seen(&seen, 85).await.unwrap();
    store.seen(&seen, 86).await.unwrap();
    let all = store.certificates().await.unwrap();
    assert_eq!(all.iter().filter(|c| c.certificate == seen).count(), 1);
}

#[allow(clippy::unwrap_used)]
async fn people_have_roles_and_members_say_what_they_trust<S: Store>(store: &S) {
    store.put_token(&[4; 32], "auditor/ada", 100).await.unwrap();
    let ada = certificate("auditor/ada", 0x80, None);
    let enrolled = store.enrol(&[4; 32], None, &ada, 50).await.unwrap();
    assert_eq!(enrolled.unwrap(), "auditor/ada");
    assert!(store.agencies().await.unwrap().iter().all(|a| a.name != "auditor/ada"));
    assert!(store.revoke("auditor/ada", 60).await.unwrap());
    let persons = store.persons().await.unwrap();
    let expected = Person { member: "auditor/ada".into(), enrolled_at: 50, revoked_at: Some(60) };
    assert_eq!(persons, [expected]);
    let refused = store.refused(60).await.unwrap();
    assert_eq!(refused.members, ["auditor/ada"]);
    assert!(refused.keys.contains(&[0x80; 32]));
    store.trusts("nasa", "a", 10).await.unwrap();
    store.trusts("nasa", "a b", 20).await.unwrap();
    let said = store.trusting().await.unwrap();
    let expected = Trusting { member: "nasa".into(), authorities: "a b".into(), said_at: 20 };
    assert_eq!(said, [expected]);
}

#[allow(clippy::unwrap_used)]
async fn jobs_move_in_whole_steps<S: Store>(store: &S) {
    let state = |round, byte, certificate| CertifiedState {
        round,
        bytes: vec![byte],
        certificate: vec![certificate],
    };
    store.submit("b", "second", "spec b", "local", 20).await.unwrap();
    store.submit("a", "first", "spec a", "researcher/ada", 10).await.unwrap();
    let order: Vec<_> = store.jobs().await.unwrap().into_iter().map(|j| j.id).collect();
    assert_eq!(order, ["a", "b"]);
    assert_eq!(store.job("a").await.unwrap().unwrap().submitter, "researcher/ada");
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

#[allow(clippy::unwrap_used)]
async fn the_own_record_grows_by_one_line_at_a_time<S: Store>(store: &S) {
    let first = |last: Option<&str>| {
        assert_eq!(last, None);
        Ok((0, "first".to_owned()))
    };
    store.append_own(first).await.unwrap();
    let refused = store.append_own(|_| Err(StoreError::Corrupt("nothing")));
    assert!(refused.await.is_err());
    // A number that is taken already is an error, and nothing is changed.
    assert!(store.append_own(|_| Ok((0, "again".to_owned()))).await.is_err());
    let second = |last: Option<&str>| {
        assert_eq!(last, Some("first"));
        Ok((1, "second".to_owned()))
    };
    store.append_own(second).await.unwrap();
    assert_eq!(store.own_record().await.unwrap(), ["first", "second"]);
}
