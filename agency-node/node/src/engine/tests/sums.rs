//! Uploads: what is paid for, and how often a vector may leave.

use tributary_secagg::NodeSet;
use tributary_wire::session::ReportCode;

use crate::book::{BookEntry, ReleaseKind};
use crate::fixtures::{Federation, JOB, job_without_noise};

fn uploads(federation: &Federation, i: usize) -> Vec<(u32, u16)> {
    let attempts =
        |entry: &tributary_ledger::Entry| match serde_json::from_value(entry.body.clone()).unwrap()
        {
            BookEntry::Charged { charge, .. } => Some((charge.round, charge.attempt)),
            _ => None,
        };
    federation.book(i).iter().filter_map(attempts).collect()
}

#[test]
fn without_noise_a_part_of_the_roster_gets_no_sum() {
    let partial = NodeSet::of(5, (0..4).map(tributary_secagg::NodeIndex));
    let mut exact = Federation::new(&job_without_noise()).accepted();
    let facts = exact.agree(1);
    exact.attempt(0, &facts, partial.clone());
    assert_eq!(exact.reports, [0, 1, 2, 3].map(|i| (i, ReportCode::ProtocolFault)));
    assert!((0..5).all(|i| uploads(&exact, i).is_empty()));
    // With noise a part of the roster is fine: that is what the floor of survivors is for.
    let mut noisy = Federation::new(JOB).accepted();
    let facts = noisy.agree(1);
    let server = noisy.attempt(0, &facts, partial.clone());
    assert_eq!(server.survivors(), Some(&partial));
}

#[test]
fn without_noise_a_round_is_uploaded_once_across_restarts_and_epochs() {
    let mut federation = Federation::new(&job_without_noise()).accepted();
    assert!(federation.engines[0].book().status("d").unwrap().unprotected);
    let facts = federation.agree(1);
    let everybody = NodeSet::full(5);
    federation.attempt(0, &facts, everybody.clone());
    assert!((0..5).all(|i| uploads(&federation, i) == [(0, 0)]));
    federation.attempt(1, &facts, everybody.clone());
    assert_eq!(federation.reports, [0, 1, 2, 3, 4].map(|i| (i, ReportCode::AttemptSpent)));
    federation.reports.clear();
    (0..5).for_each(|i| federation.restart(i));
    let facts = federation.agree(2);
    federation.attempt(2, &facts, everybody);
    assert_eq!(federation.reports, [0, 1, 2, 3, 4].map(|i| (i, ReportCode::AttemptSpent)));
    assert!((0..5).all(|i| uploads(&federation, i) == [(0, 0)]));
}

#[test]
fn with_noise_every_attempt_is_charged_up_to_the_planned_number() {
    let mut federation = Federation::new(JOB).accepted();
    let everybody = NodeSet::full(5);
    // The statistics round: three attempts are planned, whatever the aggregator asks for. A new
    // epoch does not count them anew.
    let facts = federation.agree(1);
    for attempt in 0..2 {
        federation.attempt(attempt, &facts, everybody.clone());
    }
    (0..5).for_each(|i| federation.restart(i));
    let facts = federation.agree(2);
    federation.attempt(0, &facts, everybody.clone());
    // The same attempt in another epoch is the same attempt to the book.
    assert_eq!(federation.reports, [0, 1, 2, 3, 4].map(|i| (i, ReportCode::AttemptSpent)));
    federation.attempt(2, &facts, everybody);
    assert!((0..5).all(|i| uploads(&federation, i) == [(0, 0), (0, 1), (0, 2)]));
    let open = federation.engines[0].book().account("d").unwrap().open.values().next().unwrap();
    assert_eq!(open.left().unwrap()[&ReleaseKind::Statistics], 0);
}
