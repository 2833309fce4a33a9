//! Books of version 0.1 are read for good, and gone on with.

use serde_json::json;

use super::*;

/// A book as version 0.1 wrote it: reservations without prices, charges with an operation, no unit.
fn old_book() -> Vec<Entry> {
    let mut chain = Chain::new();
    let limit = json!({"epsilon": 8.0, "delta": 1e-6, "order": 6, "rdp": 5.5});
    let charged = |round: u32, operation: &str, rdp: f64| {
        let charge = json!({"job": "a", "round": round, "attempt": 0, "operation": operation,
            "ctx": "00", "payload": "11"});
        json!({"entry": "charged", "dataset": "d", "rdp": rdp, "charge": charge})
    };
    [
        ("budget-registered", json!({"entry": "registered", "dataset": "d", "limit": limit})),
        (
            "budget-reserved",
            json!({"entry": "reserved", "dataset": "d", "job": "a", "rdp": 0.5,
                "statistics": 1, "training": 3}),
        ),
        ("budget-charged", charged(0, "statistics", 0.2)),
        ("budget-charged", charged(1, "training", 0.1)),
    ]
    .into_iter()
    .map(|(kind, body)| chain.append(AT, kind, body, |_| [0; 64]).unwrap())
    .collect()
}

#[test]
fn a_book_of_version_0_1_is_gone_on_with() {
    let identity = identity();
    let mut entries = old_book();
    let mut book = Book::replay(&entries).unwrap();
    let account = book.account("d").unwrap();
    assert!((account.charged() - 0.3).abs() < 1e-9 && account.committed() >= 0.5);
    assert_eq!(account.limit.unit, ProtectedUnit::Record);
    let left = account.open["a"].left().unwrap();
    assert_eq!((left[&ReleaseKind::Statistics], left[&ReleaseKind::Training]), (0, 2));
    // Its running job goes on with the numbers that it reserved.
    let order = account.limit.order;
    let small = gaussian(20.0);
    assert!(small.at(order).unwrap() < 0.1);
    entries.push(book.charge("d", charge("a", 2), Some(&small), AT, &identity).unwrap());
    let again = book.charge("d", charge("a", 1), Some(&small), AT, &identity).unwrap_err();
    assert!(matches!(again, BookError::AlreadyCharged { round: 1, .. }), "{again}");
    let dear = book.charge("d", charge("a", 3), Some(&gaussian(2.0)), AT, &identity).unwrap_err();
    assert_eq!(dear, BookError::NotReserved("a".into()));
    entries.extend(book.close("a", AT, &identity).unwrap());
    entries.extend(book.reserve("d", "b", &cost(9.0, 2), AT, &identity).unwrap());
    assert_eq!(Book::replay(&entries).unwrap().status("d"), book.status("d"));
}
