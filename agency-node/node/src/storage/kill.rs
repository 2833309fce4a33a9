//! A real process with the real database, killed with SIGKILL over and over: what it said on its
//! standard output (its wire) after a charge is charged in the book that the next one finds.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use tributary_ledger::Entry;
use tributary_secagg::Identity;

use super::{Durable, Storage};
use crate::book::{Book, BudgetLimit, ChargeEntry, ReleaseKind};
use crate::engine::Record;
use crate::fixtures::{charge, cost, wire};

/// Names the directory to the child.
const DIR: &str = "TRIBUTARY_TEST_KILL_DIR";
const AT: &str = "2026-01-01T00:00:00Z";

fn identity() -> Identity {
    Identity::from_seed(&[7; 32]).unwrap()
}

async fn stored(dir: &Path) -> (Storage, Vec<Entry>) {
    let storage = Storage::open(dir).await.unwrap();
    storage.check_anchor().await.unwrap();
    let entries = storage.book().await.unwrap();
    (storage, entries)
}

/// Charges, writes, sends, notes, until somebody kills it.
async fn charge_for_ever(dir: &Path) {
    let (storage, entries) = stored(dir).await;
    let (mut book, identity) = (Book::replay(&entries).unwrap(), identity());
    let curve = tributary_dp::subsampled_gaussian(1.0, 1000.0).unwrap();
    let mut out = std::io::stdout();
    for round in wire::charges(&entries).len() as u32.. {
        let charge = ChargeEntry { payload: format!("{round:x}"), ..charge("j", round) };
        let entry = book.charge("d", charge, Some(&curve), AT, &identity).unwrap();
        storage.persist(&Record::Book(entry)).await.unwrap();
        writeln!(out, "left {round}").unwrap();
        out.flush().unwrap();
        let noted = book.sent("j", (round, 0), AT, &identity).unwrap().unwrap();
        storage.persist(&Record::Book(noted)).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "the child process of the test below, which starts it"]
async fn child() {
    if let Some(dir) = std::env::var_os(DIR) {
        charge_for_ever(Path::new(&dir)).await;
    }
}

#[tokio::test]
async fn a_killed_process_has_charged_whatever_it_sent() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (storage, _) = stored(dir.path()).await;
        let mut book = Book::replay(&[]).unwrap();
        let (limit, identity) = (BudgetLimit::new(8.0, 1e-6).unwrap(), identity());
        let registered = book.register("d", limit, AT, &identity).unwrap();
        storage.append_book(&registered).await.unwrap();
        let cost = cost(&[(ReleaseKind::Training, 1000.0, 50_000)]);
        let granted = book.reserve("d", "j", &cost, AT, &identity).unwrap().unwrap();
        storage.append_book(&granted).await.unwrap();
        storage.close().await;
    }
    let mut left = Vec::new();
    for kill in 1..=6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["storage::kill::child", "--exact", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut count = 0;
        for line in lines.map_while(Result::ok) {
            // The harness may put its own words before the first.
            let Some((_, round)) = line.split_once("left ") else { continue };
            left.push(round.trim().parse::<u32>().unwrap());
            count += 1;
            if count == kill {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "it was to be killed");
        assert!(count >= kill);
        let (storage, entries) = stored(dir.path()).await;
        Book::replay(&entries).unwrap();
        let charged: Vec<u32> = wire::charges(&entries).iter().map(|c| c.round).collect();
        assert!(left.iter().all(|round| charged.contains(round)), "{left:?} {charged:?}");
        assert!(wire::noted_as_sent(&entries).iter().all(|(round, _)| left.contains(round)));
        storage.close().await;
    }
    let mut once = left.clone();
    once.dedup();
    assert_eq!(once, left, "a round left twice");
}
