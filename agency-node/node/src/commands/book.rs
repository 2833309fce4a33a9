//! What `agency-node budget` does with the book: show it, check it, mend it.
//!
//! Looks at the state as it is, so that a book that is not the newest can be looked into.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use tributary_ledger::{Entry, Head};
use tributary_secagg::VerifyingKey;

use crate::anchor::head_after;
use crate::book::{Book, BudgetStatus};
use crate::data_dir::DataDir;
use crate::engine::Record;
use crate::session::timestamp;
use crate::storage::{Durable as _, Storage};

/// Spent, reserved and left, per dataset, and the book's head.
pub(super) async fn show(dir: &DataDir, json: bool) -> anyhow::Result<()> {
    let storage = dir.storage_as_it_is().await?;
    warn(&storage).await;
    let book = Book::replay(&storage.book().await?)?;
    let head = head_text(book.head());
    if json {
        println!("{}", serde_json::to_string_pretty(&as_json(&book, &head)?)?);
        return Ok(());
    }
    print_accounts(&book);
    println!(
        "book: {} entries, head {head}; keep a note of it off this machine",
        book.head().length
    );
    Ok(())
}

/// By dataset; the book itself under a name that no dataset can have.
fn as_json(book: &Book, head: &str) -> anyhow::Result<serde_json::Value> {
    let shared = book.shared().keys();
    let all: BTreeMap<&String, BudgetStatus> = book
        .datasets()
        .keys()
        .chain(shared)
        .filter_map(|name| Some((name, book.status(name)?)))
        .collect();
    let mut all = serde_json::to_value(all)?;
    if let Some(map) = all.as_object_mut() {
        for (name, status) in map.iter_mut() {
            status["account"] = book.account_of(name).unwrap_or(name).into();
        }
        let about = serde_json::json!({ "entries": book.head().length, "head": head });
        map.insert("_book".to_owned(), about);
    }
    Ok(all)
}

fn print_accounts(book: &Book) {
    for (name, account) in book.datasets() {
        let s = account.status();
        println!(
            "{name}: epsilon {:.3} spent, {:.3} with reservations, of {} (delta {:e}, unit: one \
             {}, add/remove; {:.0} % of the budget; {} open jobs)",
            s.spent,
            s.committed,
            s.limit,
            s.delta,
            s.unit,
            s.share * 100.0,
            account.open.len()
        );
        let sharing: Vec<_> = book.shared().iter().filter(|(_, a)| *a == name).collect();
        for (other, _) in sharing {
            println!("{other}: pays from the budget of {name}");
        }
        if s.unprotected {
            println!("{name}: no bound: exact sums have left (mode none)");
        }
        if s.written_off {
            println!("{name}: entries of the book were lost; all of the budget counts as spent");
        }
    }
}

/// The book as JSON lines.
pub(super) async fn export(dir: &DataDir) -> anyhow::Result<()> {
    let storage = dir.storage_as_it_is().await?;
    warn(&storage).await;
    storage.book_lines().await?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Checks chain, signatures, sums and the head outside the database; then what was kept elsewhere.
pub(super) async fn verify(
    dir: &DataDir,
    export: Option<&Path>,
    head: Option<&str>,
) -> anyhow::Result<()> {
    let storage = dir.storage_as_it_is().await?;
    let lines = storage.book_lines().await?;
    let found = check_lines(&lines, &dir.identity()?.verifying_key())?;
    Book::replay(&storage.book().await?)?;
    storage.check_anchor().await?;
    if let Some(head) = head {
        let kept = Head::parse(head).context("--head: expected LENGTH:HASH")?;
        ensure!(
            contains(&storage.book().await?, &kept),
            "the book does not contain the head {head}"
        );
        println!("the head {head} is part of the book");
    }
    if let Some(path) = export {
        let kept = read_lines(path)?;
        if lines.len() < kept.len() || lines.iter().zip(&kept).any(|(a, b)| a != b) {
            bail!("{} is not the beginning of this book", path.display());
        }
        println!("{} holds the first {} entries of the book", path.display(), kept.len());
    }
    println!("the budget book holds: {} entries, head {}", found.length, found.hash);
    Ok(())
}

/// For an auditor: an exported book against an agency's signing key, without its data directory.
pub(super) fn audit(path: &Path, key: &str) -> anyhow::Result<()> {
    let lines = read_lines(path)?;
    let head = check_lines(&lines, &VerifyingKey::from_hex(key)?)?;
    let book = Book::replay(&parse(&lines)?)?;
    print_accounts(&book);
    println!("{} holds: {} entries, head {}", path.display(), head.length, head_text(&head));
    Ok(())
}

/// Brings the book forward from an export that was kept elsewhere.
pub(super) async fn recover_from(dir: &DataDir, path: &Path) -> anyhow::Result<()> {
    let storage = dir.storage_as_it_is().await?;
    let (lines, kept) = (storage.book_lines().await?, read_lines(path)?);
    let entries = parse(&kept)?;
    check_lines(&kept, &dir.identity()?.verifying_key())?;
    ensure!(
        lines.len() <= kept.len() && lines.iter().zip(&kept).all(|(a, b)| a == b),
        "{} does not go on from this book; nothing was changed",
        path.display()
    );
    if let Some(newest) = storage.anchor().read()?.filter(|head| !contains(&entries, head)) {
        bail!(
            "{} ends at entry {}, and the book had {}: a newer export is needed; nothing was changed",
            path.display(),
            entries.len(),
            newest.length
        );
    }
    let mut book = Book::replay(&entries)?;
    let missing = entries.get(lines.len()..).unwrap_or_default();
    storage.append_all(missing).await?;
    end_job(&storage, &mut book, dir).await?;
    storage.check_anchor().await?;
    println!("{} entries were put back; the book has {}", missing.len(), book.head().length);
    for name in book.datasets().keys().chain(book.shared().keys()) {
        if !storage.datasets().await?.iter().any(|row| row.name == *name) {
            println!(
                "{name} is in the book but not registered here: add it again, on its old terms"
            );
        }
    }
    Ok(())
}

/// Gives up what is lost: every budget counts as spent.
pub(super) async fn write_off(dir: &DataDir) -> anyhow::Result<()> {
    let storage = dir.storage_as_it_is().await?;
    let mut book = Book::replay(&storage.book().await?)?;
    let Some(lost) = storage.anchor().read()?.filter(|lost| lost.length > book.head().length)
    else {
        bail!("the book is not behind its head file: there is nothing to write off");
    };
    let entry = book.write_off(&lost, &timestamp(), &dir.identity()?)?;
    storage.append_all(&[entry]).await?;
    end_job(&storage, &mut book, dir).await?;
    println!(
        "entries up to {} are given up; every budget of this book counts as spent. New records can \
         be registered under new names",
        head_text(&lost)
    );
    Ok(())
}

/// Accepts a book whose head file is lost.
pub(super) async fn accept_head(dir: &DataDir, head: &str) -> anyhow::Result<()> {
    let storage = dir.storage_as_it_is().await?;
    let book = Book::replay(&storage.book().await?)?;
    ensure!(
        storage.anchor().read()?.is_none(),
        "{} is there: only a missing one can be accepted anew",
        storage.anchor().path().display()
    );
    let found = head_text(book.head());
    ensure!(found == head, "the book's head is {found}; nothing was changed");
    storage.anchor().set(book.head())?;
    println!("{} was written again", storage.anchor().path().display());
    Ok(())
}

/// Keys and rounds of a job belong to the state that was lost: it is not gone on with.
async fn end_job(storage: &Storage, book: &mut Book, dir: &DataDir) -> anyhow::Result<()> {
    let Some(job) = storage.open_job().await? else { return Ok(()) };
    let hex = hex::encode(job.hash());
    let entry = book.close(&hex, &timestamp(), &dir.identity()?)?;
    let outcome = "ended because an older state was put back".to_owned();
    storage.persist(&Record::Ended { entry, job: hex, outcome }).await?;
    println!("the job in progress was ended here: its keys belong to the lost state");
    Ok(())
}

async fn warn(storage: &Storage) {
    if let Err(error) = storage.check_anchor().await {
        eprintln!("warning: {error}");
    }
}

fn check_lines(lines: &[String], key: &VerifyingKey) -> anyhow::Result<Head> {
    Ok(tributary_ledger::verify_lines(lines.join("\n").as_bytes(), &key.0, |_| {})?)
}

fn read_lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn parse(lines: &[String]) -> anyhow::Result<Vec<Entry>> {
    let entry = |(i, line): (usize, &String)| {
        serde_json::from_str(line).with_context(|| format!("line {} is no entry", i + 1))
    };
    lines.iter().enumerate().map(entry).collect()
}

fn contains(book: &[Entry], head: &Head) -> bool {
    let at = usize::try_from(head.length).ok().and_then(|length| length.checked_sub(1));
    match at {
        Some(at) => book.get(at).is_some_and(|entry| head_after(entry) == *head),
        None => *head == Head::default(),
    }
}

fn head_text(head: &Head) -> String {
    format!("{}:{}", head.length, head.hash)
}

#[cfg(test)]
mod tests;
