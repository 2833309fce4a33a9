//! The book never lets more be charged than the limit, over any sequence of jobs and restarts.

mod grants;
mod old;
mod sharing;
mod year;

use proptest::prelude::*;

use super::*;
use crate::fixtures::{charge, cost as plan};

pub(super) const AT: &str = "2026-01-01T00:00:00Z";

pub(super) fn identity() -> Identity {
    Identity::generate().unwrap()
}

pub(super) fn book(identity: &Identity, epsilon: f64) -> (Book, Vec<Entry>) {
    let mut book = Book::replay(&[]).unwrap();
    let limit = BudgetLimit::new(epsilon, 1e-6).unwrap();
    let entry = book.register("d", limit, AT, identity).unwrap();
    (book, vec![entry])
}

pub(super) fn gaussian(z: f64) -> RdpCurve {
    tributary_dp::subsampled_gaussian(1.0, z).unwrap()
}

/// A job of so many training attempts.
pub(super) fn cost(z: f64, training: u32) -> JobCost {
    plan(&[(ReleaseKind::Training, z, training)])
}

#[test]
fn exhaustion_refuses_with_a_sentence_that_says_what_is_left() {
    let identity = identity();
    let (mut book, _) = book(&identity, 2.0);
    book.reserve("d", "a", &cost(3.5, 1), AT, &identity).unwrap();
    let refused = book.reserve("d", "b", &cost(3.0, 1), AT, &identity).unwrap_err();
    let text = refused.to_string();
    for words in ["the limit is 2.000", " is left, and the job needs ", "only reserved"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(matches!(refused, BookError::Exhausted(e) if e.would_be > 2.0));
    // A refusal leaves no trace: closing the first job makes room.
    book.close("a", AT, &identity).unwrap().unwrap();
    book.reserve("d", "b", &cost(3.5, 1), AT, &identity).unwrap();
}

#[test]
fn an_attempt_beyond_the_reservation_is_refused() {
    let identity = identity();
    let (mut book, _) = book(&identity, 8.0);
    let unit = gaussian(20.0);
    book.reserve("d", "a", &cost(20.0, 2), AT, &identity).unwrap();
    for round in 0..2 {
        book.charge("d", charge("a", round), Some(&unit), AT, &identity).unwrap();
    }
    let third = book.charge("d", charge("a", 2), Some(&unit), AT, &identity);
    assert_eq!(third.unwrap_err(), BookError::NotReserved("a".into()));
    let foreign = book.charge("d", charge("z", 0), Some(&unit), AT, &identity);
    assert_eq!(foreign.unwrap_err(), BookError::NotReserved("z".into()));
}

#[test]
fn more_attempts_of_an_operation_than_planned_are_refused_whatever_they_cost() {
    let identity = identity();
    let (mut book, _) = book(&identity, 8.0);
    let cheap = gaussian(1000.0);
    let cost = plan(&[(ReleaseKind::Statistics, 10.0, 1), (ReleaseKind::Training, 10.0, 2)]);
    book.reserve("d", "a", &cost, AT, &identity).unwrap();
    let statistics =
        |attempt| ChargeEntry { kind: ReleaseKind::Statistics, attempt, ..charge("a", 0) };
    book.charge("d", statistics(0), Some(&cheap), AT, &identity).unwrap();
    let second = book.charge("d", statistics(1), Some(&cheap), AT, &identity);
    assert_eq!(second.unwrap_err(), BookError::NotReserved("a".into()));
    for round in 1..3 {
        book.charge("d", charge("a", round), Some(&cheap), AT, &identity).unwrap();
    }
    let third = book.charge("d", charge("a", 3), Some(&cheap), AT, &identity);
    assert_eq!(third.unwrap_err(), BookError::NotReserved("a".into()));
}

#[test]
fn one_attempt_is_charged_once_also_after_a_restart() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    let unit = gaussian(20.0);
    entries.extend(book.reserve("d", "a", &cost(20.0, 9), AT, &identity).unwrap());
    entries.push(book.charge("d", charge("a", 4), Some(&unit), AT, &identity).unwrap());
    let mut book = Book::replay(&entries).unwrap();
    let again = book.charge("d", charge("a", 4), Some(&unit), AT, &identity).unwrap_err();
    assert_eq!(again, BookError::AlreadyCharged { job: "a".into(), round: 4, attempt: 0 });
    let retry = ChargeEntry { attempt: 1, ..charge("a", 4) };
    book.charge("d", retry, Some(&unit), AT, &identity).unwrap();
    // A release with noise that costs nothing is a mistake, not a gift.
    let free = book.charge("d", charge("a", 5), None, AT, &identity);
    assert_eq!(free.unwrap_err(), BookError::BadCost);
}

#[test]
fn an_open_reservation_counts_and_a_closed_job_stays_closed() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    entries.extend(book.reserve("d", "a", &cost(10.0, 2), AT, &identity).unwrap());
    let before = book.status("d").unwrap();
    assert!(book.reserve("d", "a", &cost(10.0, 2), AT, &identity).unwrap().is_none());
    assert_eq!(book.status("d").unwrap(), before, "reserved twice");
    entries.extend(book.close("a", AT, &identity).unwrap());
    assert!(book.close("a", AT, &identity).unwrap().is_none());
    let mut book = Book::replay(&entries).unwrap();
    assert!(book.is_closed("a") && !book.is_closed("b"));
    for again in [
        book.reserve("d", "a", &cost(10.0, 2), AT, &identity),
        book.accept_unprotected("d", "a", AT, &identity),
    ] {
        assert_eq!(again.unwrap_err(), BookError::Ended("a".into()));
    }
}

#[test]
fn exact_sums_end_every_bound_and_leave_once_per_round() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    assert!(!book.status("d").unwrap().unprotected);
    entries.extend(book.accept_unprotected("d", "a", AT, &identity).unwrap());
    assert!(book.accept_unprotected("d", "a", AT, &identity).unwrap().is_none());
    assert_eq!(entries.last().unwrap().kind, "budget-unprotected");
    // A release with noise has no place in such a job: it would be free.
    let private = book.charge("d", charge("a", 0), Some(&gaussian(9.0)), AT, &identity);
    assert_eq!(private.unwrap_err(), BookError::BadCost);
    entries.push(book.charge("d", charge("a", 0), None, AT, &identity).unwrap());
    let mut book = Book::replay(&entries).unwrap();
    assert!(book.uploaded("a", 0) && !book.uploaded("a", 1));
    let second = ChargeEntry { attempt: 1, ..charge("a", 0) };
    let refused = book.charge("d", second, None, AT, &identity).unwrap_err();
    assert_eq!(refused, BookError::AlreadyCharged { job: "a".into(), round: 0, attempt: 1 });
    book.charge("d", charge("a", 1), None, AT, &identity).unwrap();
    book.close("a", AT, &identity).unwrap().unwrap();
    let status = book.status("d").unwrap();
    assert!(status.unprotected && status.spent == 0.0);
}

#[test]
fn a_closed_job_keeps_what_it_charged() {
    let identity = identity();
    let (mut book, _) = book(&identity, 8.0);
    book.reserve("d", "a", &cost(10.0, 10), AT, &identity).unwrap();
    book.charge("d", charge("a", 0), Some(&gaussian(10.0)), AT, &identity).unwrap();
    let open = book.status("d").unwrap();
    assert!(open.spent > 0.0 && open.spent < open.committed);
    book.close("a", AT, &identity).unwrap();
    let status = book.status("d").unwrap();
    assert!(status.spent == open.spent && status.spent == status.committed);
}

#[test]
fn what_left_is_noted_once_and_only_what_was_paid_for() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    entries.extend(book.reserve("d", "a", &cost(10.0, 3), AT, &identity).unwrap());
    assert!(book.sent("a", (0, 0), AT, &identity).unwrap().is_none(), "nothing is paid for");
    let paid = ChargeEntry { payload: "ab".into(), ..charge("a", 0) };
    entries.push(book.charge("d", paid, Some(&gaussian(10.0)), AT, &identity).unwrap());
    let before = book.status("d").unwrap();
    let sent = book.sent("a", (0, 0), AT, &identity).unwrap().unwrap();
    assert_eq!((sent.kind.as_str(), &sent.body["payload"]), ("budget-sent", &"ab".into()));
    assert!(book.sent("a", (0, 0), AT, &identity).unwrap().is_none());
    assert_eq!(book.status("d").unwrap(), before, "noting costs nothing and gives nothing back");
    let mut twice = entries.clone();
    entries.push(sent);
    let replayed = Book::replay(&entries).unwrap();
    assert!(replayed.account("d").unwrap().open["a"].attempts[&(0, 0)].sent);
    // An entry about something that was never paid for locks the book.
    let mut forged = Book::replay(&twice).unwrap();
    let what = BookEntry::Sent {
        dataset: "d".into(),
        job: "a".into(),
        round: 1,
        attempt: 0,
        payload: "ab".into(),
    };
    twice.push(forged.chain.append(AT, what.kind(), what.to_body().unwrap(), |_| [0; 64]).unwrap());
    assert!(matches!(Book::replay(&twice), Err(BookError::Damaged { at: 3, .. })));
}

#[test]
fn a_changed_or_missing_entry_locks_the_book() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    entries.push(book.reserve("d", "a", &cost(10.0, 1), AT, &identity).unwrap().unwrap());
    let unit = gaussian(10.0);
    entries.push(book.charge("d", charge("a", 0), Some(&unit), AT, &identity).unwrap());
    assert!(Book::replay(&entries).is_ok());
    let damaged = |entries: &[Entry], place: u64| match Book::replay(entries) {
        Err(BookError::Damaged { at, .. }) => assert_eq!(at, place),
        other => panic!("{other:?}"),
    };
    let mut missing = entries.clone();
    missing.remove(1);
    damaged(&missing, 1);
    let mut reordered = entries.clone();
    reordered.swap(1, 2);
    damaged(&reordered, 1);
    let mut renamed = entries.clone();
    renamed[1].kind = "budget-closed".into();
    damaged(&renamed, 1);
    let mut doubled = entries.clone();
    doubled.push(entries[2].clone());
    damaged(&doubled, 3);
    entries[2].body["rdp"] = 0.0.into();
    damaged(&entries, 2);
}

#[test]
fn a_price_that_was_rewritten_with_all_hashes_is_still_no_price() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    entries.push(book.reserve("d", "a", &cost(10.0, 2), AT, &identity).unwrap().unwrap());
    let charge = charge("a", 0);
    for rdp in [0.0, 1e-9, 1e9, f64::NAN] {
        let what = BookEntry::Charged { dataset: "d".into(), rdp, charge: charge.clone() };
        let mut chain = Chain::resume(book.head().clone());
        let body = what.to_body().unwrap();
        let forged = chain.append(AT, what.kind(), body, |_| [0; 64]).unwrap();
        let all = [entries.clone(), vec![forged]].concat();
        assert!(matches!(Book::replay(&all), Err(BookError::Damaged { at: 2, .. })), "{rdp}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_more_than_the_limit_whatever_happens(
        steps in proptest::collection::vec((0u8..7, 0usize..8, 1u32..6), 1..120),
        restart_at in 0usize..120,
    ) {
        let identity = identity();
        let (mut book, mut entries) = book(&identity, 3.0);
        let unit = gaussian(9.0);
        let jobs = ["a", "b", "c", "e", "f", "g", "h", "i"];
        let mut charged = 0u32;
        for (i, (what, job, count)) in steps.into_iter().enumerate() {
            if i == restart_at {
                book = Book::replay(&entries).unwrap();
            }
            let job = jobs[job];
            let entry = match what {
                0 => book.reserve("d", job, &cost(9.0, count), AT, &identity).ok().flatten(),
                1..=4 => {
                    let entry = book.charge("d", charge(job, i as u32), Some(&unit), AT, &identity).ok();
                    charged += u32::from(entry.is_some());
                    entry
                }
                5 => book.sent(job, ((i as u32).saturating_sub(1), 0), AT, &identity).unwrap(),
                _ => book.close(job, AT, &identity).unwrap(),
            };
            entries.extend(entry);
            let status = book.status("d").unwrap();
            prop_assert!(status.committed <= 3.0 && status.spent <= status.committed);
        }
        // What a restart finds is what was there.
        let replayed = Book::replay(&entries).unwrap();
        prop_assert_eq!(replayed.status("d"), book.status("d"));
        // The true cost of what was charged, converted at the best order, is within the limit.
        if charged > 0 {
            let cost = tributary_dp::epsilon(&unit.times(charged), 1e-6).unwrap();
            prop_assert!(cost.epsilon <= 3.0);
        }
    }
}
