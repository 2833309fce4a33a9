//! The book never lets more be charged than the limit, over any sequence of jobs and restarts.

use proptest::prelude::*;

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
        operation: "training".into(),
        ctx: String::new(),
        payload: String::new(),
    }
}

#[test]
fn exhaustion_refuses_with_a_sentence_that_says_what_is_left() {
    let identity = identity();
    let (mut book, _) = book(&identity, 2.0);
    book.reserve("d", "a", &gaussian(3.5), AT, &identity).unwrap();
    let refused = book.reserve("d", "b", &gaussian(3.0), AT, &identity).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("the limit is 2.000"), "{text}");
    assert!(matches!(refused, BookError::Exhausted { would_be, .. } if would_be > 2.0));
    // A refusal leaves no trace: closing the first job makes room.
    book.close("d", "a", AT, &identity).unwrap().unwrap();
    book.reserve("d", "b", &gaussian(3.5), AT, &identity).unwrap();
}

#[test]
fn an_attempt_beyond_the_reservation_is_refused() {
    let identity = identity();
    let (mut book, _) = book(&identity, 8.0);
    let unit = gaussian(20.0);
    book.reserve("d", "a", &unit.times(2), AT, &identity).unwrap();
    for round in 0..2 {
        book.charge("d", charge("a", round), &unit, AT, &identity).unwrap();
    }
    let third = book.charge("d", charge("a", 2), &unit, AT, &identity);
    assert_eq!(third.unwrap_err(), BookError::NotReserved("a".into()));
    let foreign = book.charge("d", charge("z", 0), &unit, AT, &identity);
    assert_eq!(foreign.unwrap_err(), BookError::NotReserved("z".into()));
}

#[test]
fn a_closed_job_keeps_what_it_charged() {
    let identity = identity();
    let (mut book, _) = book(&identity, 8.0);
    let unit = gaussian(10.0);
    book.reserve("d", "a", &unit.times(10), AT, &identity).unwrap();
    book.charge("d", charge("a", 0), &unit, AT, &identity).unwrap();
    book.close("d", "a", AT, &identity).unwrap();
    let status = book.status("d").unwrap();
    assert!(status.spent > 0.0 && status.spent == status.committed);
}

#[test]
fn a_changed_or_missing_entry_locks_the_book() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    let unit = gaussian(10.0);
    entries.push(book.reserve("d", "a", &unit, AT, &identity).unwrap());
    entries.push(book.charge("d", charge("a", 0), &unit, AT, &identity).unwrap());
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
        steps in proptest::collection::vec((0u8..4, 0usize..3, 1u32..6), 1..60),
        restart_at in 0usize..60,
    ) {
        let identity = identity();
        let (mut book, mut entries) = book(&identity, 3.0);
        let unit = gaussian(9.0);
        let jobs = ["a", "b", "c"];
        let mut charged = 0u32;
        for (i, (what, job, count)) in steps.into_iter().enumerate() {
            if i == restart_at {
                book = Book::replay(&entries).unwrap();
            }
            let job = jobs[job];
            let entry = match what {
                0 => book.reserve("d", job, &unit.times(count), AT, &identity).ok(),
                1 | 2 => {
                    let entry = book.charge("d", charge(job, i as u32), &unit, AT, &identity).ok();
                    charged += u32::from(entry.is_some());
                    entry
                }
                _ => book.close("d", job, AT, &identity).unwrap(),
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
