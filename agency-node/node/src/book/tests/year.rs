//! The bound of a year: a rate, over what was charged lately and what is reserved.

use super::*;
use crate::book::year::Year;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn time(text: &str) -> Option<OffsetDateTime> {
    Some(OffsetDateTime::parse(text, &Rfc3339).unwrap())
}

fn year(book: &Book, now: &str) -> Year {
    book.year("d", "next", Some(&cost(20.0, 2)), time(now)).unwrap()
}

#[test]
fn a_year_counts_what_was_charged_in_it_and_all_that_is_reserved() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 8.0);
    let unit = gaussian(20.0);
    assert_eq!(year(&book, AT).committed, 0.0);
    let one = year(&book, AT).would_be;
    assert!(one > 0.0);
    // Two of ten releases are charged at the beginning of 2026; all ten count while the job is open.
    entries.extend(book.reserve("d", "a", &cost(20.0, 10), AT, &identity).unwrap());
    for round in 0..2 {
        let charge = charge("a", round);
        entries.push(book.charge("d", charge, Some(&unit), AT, &identity).unwrap());
    }
    let open = year(&book, AT).committed;
    assert!((open - book.status("d").unwrap().committed).abs() < 1e-9);
    assert!(
        (year(&book, "2030-01-01T00:00:00Z").committed - open).abs() < 1e-12,
        "reserved is due"
    );
    entries.extend(book.close("a", AT, &identity).unwrap());
    let spent = book.status("d").unwrap().spent;
    for (now, expected) in [
        (AT, spent),
        ("2026-12-31T23:59:59Z", spent),
        ("2027-01-01T00:00:00Z", 0.0),
        ("2030-01-01T00:00:00Z", 0.0),
    ] {
        let committed = year(&book, now).committed;
        assert!((committed - expected).abs() < 1e-9, "{now}: {committed}");
    }
    // The limit for good has forgotten nothing, and neither has a book that is read again.
    assert!(book.status("d").unwrap().spent > 0.0);
    let again = Book::replay(&entries).unwrap();
    assert_eq!(year(&again, AT), year(&book, AT));
    // Whoever does not know the time counts everything.
    let unknown = book.year("d", "next", None, None).unwrap();
    assert!((unknown.committed - spent).abs() < 1e-9);
}

#[test]
fn a_job_that_is_open_is_not_counted_twice() {
    let identity = identity();
    let (mut book, _) = book(&identity, 8.0);
    book.reserve("d", "a", &cost(20.0, 10), AT, &identity).unwrap();
    let same = book.year("d", "a", Some(&cost(20.0, 10)), time(AT)).unwrap();
    assert!((same.would_be - same.committed).abs() < 1e-9);
    let after = book.after("d", "a", &cost(20.0, 10)).unwrap();
    assert!((after - book.status("d").unwrap().committed).abs() < 1e-9);
    assert!(year(&book, AT).would_be > same.would_be);
}

#[test]
fn asking_whether_a_job_fits_reserves_nothing_and_agrees_with_the_reservation() {
    let identity = identity();
    let (mut book, _) = book(&identity, 2.0);
    book.would_reserve("d", "a", &cost(3.5, 1)).unwrap();
    assert_eq!(book.status("d").unwrap().committed, 0.0);
    let no = book.would_reserve("d", "a", &cost(1.0, 9)).unwrap_err();
    let refused = book.reserve("d", "a", &cost(1.0, 9), AT, &identity).unwrap_err();
    assert_eq!(no.to_string(), refused.to_string());
    book.reserve("d", "a", &cost(3.5, 1), AT, &identity).unwrap();
    book.would_reserve("d", "a", &cost(3.5, 1)).unwrap();
}
