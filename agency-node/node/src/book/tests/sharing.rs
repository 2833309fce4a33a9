//! One account for everything that the same people may be in, and one unit that jobs must protect.

use super::*;

#[test]
fn datasets_that_share_a_budget_add_up_in_one_account() {
    let identity = identity();
    let (mut book, mut entries) = book(&identity, 3.0);
    entries.push(book.share("copy", "d", AT, &identity).unwrap());
    // A name that shares leads to the account itself.
    entries.push(book.share("extract", "copy", AT, &identity).unwrap());
    assert_eq!(book.account_of("extract"), Some("d"));
    entries.extend(book.reserve("d", "a", &cost(4.0, 1), AT, &identity).unwrap());
    let one = book.status("copy").unwrap();
    assert!(one.committed > 0.0 && Some(one) == book.status("d"));
    let both = book.reserve("copy", "b", &cost(1.7, 1), AT, &identity).unwrap_err();
    assert!(matches!(both, BookError::Exhausted(_)), "{both}");
    let alone = super::book(&identity, 3.0).0.reserve("d", "b", &cost(1.7, 1), AT, &identity);
    assert!(alone.is_ok(), "apart they would both have fitted");
    entries.extend(book.reserve("extract", "b", &cost(8.0, 1), AT, &identity).unwrap());
    let paid = book.charge("extract", charge("b", 0), Some(&gaussian(8.0)), AT, &identity).unwrap();
    entries.push(paid);
    entries.extend(book.sent("b", (0, 0), AT, &identity).unwrap());
    entries.extend(book.close("b", AT, &identity).unwrap());
    let replayed = Book::replay(&entries).unwrap();
    assert_eq!(replayed.status("copy"), book.status("d"));
    assert!(replayed.is_closed("b"));
    // Exact sums of the one are exact sums of the other.
    book.accept_unprotected("copy", "e", AT, &identity).unwrap();
    assert!(book.status("d").unwrap().unprotected);
}

#[test]
fn a_name_has_one_account_for_good() {
    let identity = identity();
    let (mut book, _) = book(&identity, 3.0);
    let limit = BudgetLimit::new(3.0, 1e-6).unwrap();
    let taken = |name: &str| BookError::AlreadyRegistered(name.into());
    book.register("e", limit, AT, &identity).unwrap();
    assert_eq!(book.share("e", "d", AT, &identity).unwrap_err(), taken("e"));
    book.share("f", "d", AT, &identity).unwrap();
    assert_eq!(book.register("f", limit, AT, &identity).unwrap_err(), taken("f"));
    assert_eq!(book.share("f", "e", AT, &identity).unwrap_err(), taken("f"));
    let unknown = book.share("g", "none", AT, &identity).unwrap_err();
    assert_eq!(unknown, BookError::UnknownDataset("none".into()));
    let none = book.reserve("g", "a", &cost(9.0, 1), AT, &identity).unwrap_err();
    assert_eq!(none, BookError::UnknownDataset("g".into()));
}

#[test]
fn a_job_with_another_unit_is_refused_with_a_sentence() {
    use ProtectedUnit::{Person, Record, Silo};
    let identity = identity();
    for (registered, job, fits) in [
        (Record, Record, true),
        (Record, Silo, false),
        (Person, Record, false),
        (Person, Person, true),
        (Silo, Person, false),
    ] {
        let mut book = Book::replay(&[]).unwrap();
        let limit = BudgetLimit::new(3.0, 1e-6).unwrap().for_unit(registered);
        let entries = vec![book.register("d", limit, AT, &identity).unwrap()];
        let mut book = Book::replay(&entries).unwrap();
        assert_eq!(book.status("d").unwrap().unit, registered);
        let cost = JobCost { unit: job, ..cost(9.0, 1) };
        let answer = book.reserve("d", "a", &cost, AT, &identity);
        assert_eq!(answer.is_ok(), fits, "{job} for {registered}");
        if let Err(error) = answer {
            let text = error.to_string();
            for words in [format!("kept per {registered}"), format!("protects per {job}:")] {
                assert!(text.contains(&words), "{text}");
            }
        }
    }
}
