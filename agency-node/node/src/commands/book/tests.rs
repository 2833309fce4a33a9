//! A book that was put back is noticed, looked into, and mended from an export or given up.

use super::*;
use crate::book::{BudgetLimit, ReleaseKind};
use crate::fixtures::{charge, cost, enrolled};

const AT: &str = "2026-01-01T00:00:00Z";

/// A directory with a book of these many charges, and its lines.
async fn with_charges(dir: &DataDir, charges: u32) -> Vec<String> {
    let (storage, identity) = (dir.storage().await.unwrap(), dir.identity().unwrap());
    let mut book = Book::replay(&[]).unwrap();
    let limit = BudgetLimit::new(8.0, 1e-6).unwrap();
    storage.append_book(&book.register("d", limit, AT, &identity).unwrap()).await.unwrap();
    let cost = cost(&[(ReleaseKind::Training, 20.0, charges)]);
    let granted = book.reserve("d", "j", &cost, AT, &identity).unwrap().unwrap();
    storage.append_book(&granted).await.unwrap();
    let curve = &cost.releases[&ReleaseKind::Training].curve;
    for round in 0..charges {
        let entry = book.charge("d", charge("j", round), Some(curve), AT, &identity).unwrap();
        storage.append_book(&entry).await.unwrap();
    }
    storage.book_lines().await.unwrap()
}

/// Cuts the book's end off, as an older database would.
async fn cut(dir: &DataDir, keep: usize) {
    let storage = dir.storage_as_it_is().await.unwrap();
    storage.close().await;
    let file = dir.path().join(crate::storage::FILE);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("DELETE FROM book WHERE sequence >= ?")
        .bind(i64::try_from(keep).unwrap())
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

#[tokio::test]
async fn an_older_database_is_refused_and_brought_forward_from_an_export() {
    let (root, dir) = enrolled();
    let lines = with_charges(&dir, 3).await;
    let spent = |book: &[Entry]| Book::replay(book).unwrap().status("d").unwrap().spent;
    let before = spent(&dir.storage().await.unwrap().book().await.unwrap());
    cut(&dir, 3).await;
    let refused = format!("{:#}", dir.storage().await.unwrap_err());
    assert!(refused.contains("has 3 entries"), "{refused}");
    assert!(refused.contains("says that it had 5"), "{refused}");
    verify(&dir, None, None).await.unwrap_err();
    show(&dir, true).await.unwrap();
    let file = root.path().join("book.jsonl");
    let keep = |lines: &[String]| std::fs::write(&file, lines.join("\n")).unwrap();
    // An export that is itself too old does not help, and one of another agency even less.
    keep(&lines[..4]);
    let old = recover_from(&dir, &file).await.unwrap_err().to_string();
    assert!(old.contains("a newer export is needed"), "{old}");
    let (_other_root, other) = enrolled();
    keep(&with_charges(&other, 4).await);
    recover_from(&dir, &file).await.unwrap_err();
    keep(&lines);
    recover_from(&dir, &file).await.unwrap();
    let storage = dir.storage().await.unwrap();
    assert_eq!(spent(&storage.book().await.unwrap()), before);
    let head = head_after(storage.book().await.unwrap().last().unwrap());
    verify(&dir, Some(&file), Some(&head_text(&head))).await.unwrap();
    keep(&[lines.clone(), lines[..1].to_vec()].concat());
    verify(&dir, Some(&file), None).await.unwrap_err();
    verify(&dir, None, Some(&format!("5:{}", "0".repeat(64)))).await.unwrap_err();
}

#[tokio::test]
async fn what_is_lost_for_good_counts_as_spent() {
    let (_root, dir) = enrolled();
    with_charges(&dir, 2).await;
    write_off(&dir).await.unwrap_err();
    cut(&dir, 2).await;
    write_off(&dir).await.unwrap();
    let storage = dir.storage().await.unwrap();
    let mut book = Book::replay(&storage.book().await.unwrap()).unwrap();
    let status = book.status("d").unwrap();
    assert!(status.written_off && status.left == 0.0 && status.share == 1.0, "{status:?}");
    let identity = dir.identity().unwrap();
    let small = cost(&[(ReleaseKind::Metrics, 1000.0, 1)]);
    book.reserve("d", "k", &small, AT, &identity).unwrap_err();
    let curve = small.releases[&ReleaseKind::Metrics].curve.clone();
    book.charge("d", charge("j", 7), Some(&curve), AT, &identity).unwrap_err();
    verify(&dir, None, None).await.unwrap();
}

#[tokio::test]
async fn a_lost_head_file_is_accepted_only_for_the_head_that_was_kept() {
    let (_root, dir) = enrolled();
    with_charges(&dir, 2).await;
    let storage = dir.storage().await.unwrap();
    let head = head_text(&storage.anchor().read().unwrap().unwrap());
    accept_head(&dir, &head).await.unwrap_err();
    std::fs::remove_file(storage.anchor().path()).unwrap();
    let missing = format!("{:#}", dir.storage().await.unwrap_err());
    assert!(missing.contains("--accept-head"), "{missing}");
    accept_head(&dir, &format!("3:{}", "0".repeat(64))).await.unwrap_err();
    accept_head(&dir, &head).await.unwrap();
    dir.storage().await.unwrap();
}

#[tokio::test]
async fn an_auditor_checks_an_export_with_the_agencys_key_alone() {
    let (root, dir) = enrolled();
    let lines = with_charges(&dir, 2).await;
    let file = root.path().join("book.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let key = dir.identity().unwrap().verifying_key().to_string();
    audit(&file, &key).unwrap();
    std::fs::write(&file, lines[1..].join("\n")).unwrap();
    audit(&file, &key).unwrap_err();
    let (_other_root, other) = enrolled();
    std::fs::write(&file, lines.join("\n")).unwrap();
    audit(&file, &other.identity().unwrap().verifying_key().to_string()).unwrap_err();
}
