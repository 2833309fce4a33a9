//! The book never lets more be charged than the limit, over any sequence of jobs and restarts.

use proptest::prelude::*;
use tributary_job::Operation;

use super::*;

const AT: &str = "2026-01-01T00:00:00Z";

fn identity() -> Identity {
    Identity::generate().unwrap()
}

fn book(identity: &Identity, epsilon: f64) -> (Book, Vec<Entry>) {
    let mut book = Book::replay(&[]).unwrap();
    let limit = BudgetLimit::new(epsilon, 1e-6).unwrap();
    let entry = book.register("d", limit, AT, identity).unwrap();
    (book, vec![entry])
}

fn gaussian(z: f64) -> RdpCurve {
    tributary_dp::subsampled_gaussian(1.0, z).unwrap()
}

fn charge(job: &str, round: u32) -> ChargeEntry {
    ChargeEntry {
        job: job.into(),
        round,
        attempt: 0,
        operation: Operation::Training,
        ctx: String::new(),
        payload: String::new(),
    }
}

/// A job of so many training attempts.
fn cost(unit: &RdpCurve, training: u32) -> JobCost {
    let attempts = AttemptsLeft { statistics: 0, training };
    JobCost { curve: unit.times(training), attempts }
}

#[test]
fn exhaustion_refuses_with_a_sentence_that_says_what_is_left() {
    let identity = identity();
    let (mut book, _) = book(&identity, 2.0);
    book.reserve("d", "a", &cost(&gaussian(3.5), 1), AT, &identity).unwrap();
    let refused = book.reserve("d", "b", &cost(&gaussian(3.0), 1), AT, &identity).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("the limit is 2.000"), "{text}");
    assert!(matches!(refused, BookError::Exhausted { would_be, .. } if would_be > 2.0));
    // A refusal leaves no trace: closing the first job makes room.
    book.close("a", AT, &identity).unwrap().unwrap();
    book.reserve("d", "b", &cost(&gaussian(3.5), 1), AT, &identity).unwrap();
}

#[test]
fn an_attempt_beyond_the_reservation_is_refused() {
    let identity = identity();
    let (mut book, _) = book(&identity, 8.0);
    let unit = gaussian(20.0);
    book.reserve("d", "a", &cost(&unit, 2), AT, &identity).unwrap();
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
    let (dear, cheap) = (gaussian(10.0), gaussian(1000.0));
    let attempts = AttemptsLeft { statistics: 1, training: 2 };
    let cost = JobCost { curve: dear.times(3), attempts };
    book.reserve("d", "a", &cost, AT, &identity).unwrap();
    let statistics =
        |attempt| ChargeEntry { operation: Operation::Statistics, attempt, ..charge("a", 0) };
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
    entries.extend(book.reserve("d", "a", &cost(&unit, 9), AT, &identity).unwrap());
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
    let unit = gaussian(10.0);
    entries.extend(book.reserve("d", "a", &cost(&unit, 2), AT, &identity).unwrap());
    let before = book.status("d").unwrap();
    assert!(book.reserve("d", "a", &cost(&unit, 2), AT, &identity).unwrap().is_none());
    assert_eq!(book.status("d").unwrap(), before, "reserved twice");
    entries.extend(book.close("a", AT, &identity).unwrap());
    assert!(book.close("a", AT, &identity).unwrap().is_none());
    let mut book = Book::replay(&entries).unwrap();
    assert!(book.is_closed("a") && !book.is_closed("b"));
    for again in [
        book.reserve("d", "a", &cost(&unit, 2), AT, &identity),
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
    let unit = gaussian(10.0);
    book.reserve("d", "a", &cost(&unit, 10), AT, &identity).unwrap();
    book.charge("d", charge("a", 0), Some(&unit), AT, &identity).unwrap();
    book.close("a", AT, &identity).unwrap();
    let status = book.status("d").unwrap();
    assert!(status.spent > 0.0 && status.spent == status.committed);
}

#[test]
fn a_changed_or_missing_entry_locks_the_book() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    let unit = gaussian(10.0);
    entries.push(book.reserve("d", "a", &cost(&unit, 1), AT, &identity).unwrap().unwrap());
    entries.push(book.charge("d", charge("a", 0), Some(&unit), AT, &identity).unwrap());
    assert!(Book::replay(&entries).is_ok());
    let mut missing = entries.clone();
    missing.remove(1);
    assert!(matches!(Book::replay(&missing), Err(BookError::Damaged { at: 1, .. })));
    entries[2].body["rdp"] = 0.0.into();
    assert!(matches!(Book::replay(&entries), Err(BookError::Damaged { at: 2, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_more_than_the_limit_whatever_happens(
        steps in proptest::collection::vec((0u8..6, 0usize..8, 1u32..6), 1..120),
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
                0 => book.reserve("d", job, &cost(&unit, count), AT, &identity).ok().flatten(),
                1..=4 => {
                    let entry = book.charge("d", charge(job, i as u32), Some(&unit), AT, &identity).ok();
                    charged += u32::from(entry.is_some());
                    entry
                }
                _ => book.close(job, AT, &identity).unwrap(),
            };
            entries.extend(entry);
            let status = book.status("d").unwrap();
            prop_assert!(status.committed <= 3.0);
        }
        // The true cost of what was charged, converted at the best order, is within the limit.
        if charged > 0 {
            let cost = tributary_dp::epsilon(&unit.times(charged), 1e-6).unwrap();
            prop_assert!(cost.epsilon <= 3.0);
        }
    }
}
