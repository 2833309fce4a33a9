//! A record that was tampered with is found, wherever it was.

use tributary_ledger::{Chain, Head};
use tributary_secagg::Identity;

use super::{AuditError, Event, check, event};

fn record(n: u32, key: &Identity) -> (Vec<String>, Head) {
    let mut chain = Chain::new();
    let mut lines = Vec::new();
    for round in 0..n {
        let event = Event::RoundCertified {
            job: "ab".into(),
            round,
            attempt: 0,
            survivors: vec!["a".into(), "b".into()],
        };
        let body = event.to_body().unwrap();
        let sign = |bytes: &[u8]| key.sign(bytes);
        let entry = chain.append("2026-01-01T00:00:00Z", event.kind(), body, sign).unwrap();
        lines.push(entry.to_line().unwrap());
    }
    (lines, chain.head().clone())
}

#[test]
fn changed_missing_reordered_cut_and_foreign_entries_are_found() {
    let (key, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let (lines, head) = record(6, &key);
    let public = key.verifying_key();
    let whole = check(&lines, &public, Some(&head)).unwrap();
    assert_eq!((whole.head.clone(), whole.gaps), (head.clone(), 0));
    for at in 0..lines.len() {
        let mut changed = lines.clone();
        changed[at] = changed[at].replace("\"b\"", "\"c\"");
        assert!(check(&changed, &public, Some(&head)).is_err(), "changed at {at}");
        let mut missing = lines.clone();
        missing.remove(at);
        assert!(check(&missing, &public, Some(&head)).is_err(), "missing at {at}");
        let mut moved = lines.clone();
        moved.swap(at, (at + 1) % lines.len());
        assert!(check(&moved, &public, Some(&head)).is_err(), "moved at {at}");
        let cut = &lines[..at];
        let error = check(cut, &public, Some(&head)).unwrap_err();
        assert!(matches!(error, AuditError::Head { .. }), "{error}");
    }
    // A record that somebody else wrote from the beginning.
    let (forged, _) = record(6, &other);
    assert!(check(&forged, &public, None).is_err());
    // A longer record still contains the head.
    let (longer, _) = record(8, &key);
    check(&longer, &public, Some(&head)).unwrap();
}

#[test]
fn an_entry_that_chains_and_is_no_event_is_refused() {
    let key = Identity::generate().unwrap();
    let mut chain = Chain::new();
    let sign = |bytes: &[u8]| key.sign(bytes);
    let body = serde_json::json!({ "event": "job-ended", "job": "x", "outcome": "y" });
    let entry = chain.append("2026-01-01T00:00:00Z", "enrolled", body, sign).unwrap();
    let error = check(&[entry.to_line().unwrap()], &key.verifying_key(), None).unwrap_err();
    assert!(error.to_string().contains("whose content is a job-ended"), "{error}");
}

#[test]
fn a_gap_is_counted() {
    let key = Identity::generate().unwrap();
    let event = Event::RecordGap {
        lost: Head { length: 9, hash: "0".repeat(64) },
        reason: "disk".into(),
        by: "root".into(),
    };
    let mut chain = Chain::new();
    let sign = |bytes: &[u8]| key.sign(bytes);
    let body = event.to_body().unwrap();
    let entry = chain.append("2026-01-01T00:00:00Z", event::GAP, body, sign).unwrap();
    let checked = check(&[entry.to_line().unwrap()], &key.verifying_key(), None).unwrap();
    assert_eq!(checked.gaps, 1);
}
