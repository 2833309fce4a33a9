//! The aggregator's disk and clock: full, read-only, damaged, half-written. Each is named with what
//! to do, and the job goes on when it is mended.

use std::fs;
use std::process::Command;

use tributary_tests::{Aggregator, Federation, SOON};

const AGENCIES: [&str; 3] = ["north", "east", "south"];

#[test]
fn a_full_disk_stops_the_aggregator_with_a_reason_and_the_job_goes_on_when_there_is_room() {
    let mut federation = Federation::enrolled(&AGENCIES);
    let Some(disk) = super::storage::SmallDisk::mount(&federation.root().join("small")) else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    // The aggregator's state moves to the small disk.
    assert_eq!(federation.aggregator.terminate(), Some(0));
    let (dir, small) = (federation.aggregator.dir().to_owned(), disk.path().join("aggregator"));
    let copied = Command::new("cp").arg("-a").arg(&dir).arg(&small).status().unwrap();
    assert!(copied.success());
    fs::remove_dir_all(&dir).unwrap();
    std::os::unix::fs::symlink(&small, &dir).unwrap();
    federation.aggregator.serve();
    federation.serve_nodes();
    let job = federation.aggregator.submit(&federation.job(200));
    federation.aggregator.wait_for_round(&job, 2);

    disk.fill();
    let (code, log) = federation.aggregator.wait_for_end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("state database") && log.contains("Free disk space"), "{log}");
    disk.empty();
    let round = federation.aggregator.status(&job)["round"].as_u64().unwrap();
    federation.aggregator.serve();
    federation.aggregator.wait_for_round(&job, round + 3);
    federation.aggregator.call(&["job", "cancel", &job]).ok();
    federation.aggregator.wait_until_over(&job);
    let free = |s: &serde_json::Value| s["reason"].as_str().is_some_and(|r| !r.is_empty());
    federation.aggregator.wait_until(&job, "over", SOON, free);
    let evidence = federation.evidence(&job);
    assert!(evidence.rounds.len() as u64 >= round + 3, "no certified round was lost");
}

#[test]
fn damaged_and_half_written_files_of_the_aggregator_are_named_and_left_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::init(root.path());
    let file = aggregator.dir().join("aggregator.db");
    let good = fs::read(&file).unwrap();
    let mut overwritten = good.clone();
    overwritten[..4096].fill(0x5a);
    fs::write(&file, &overwritten).unwrap();
    aggregator.call(&["serve"]).refused(&[
        "aggregator.db",
        "file is not a database",
        "backup restore",
    ]);
    aggregator.call(&["job", "list"]).refused(&["file is not a database"]);
    assert_eq!(fs::read(&file).unwrap(), overwritten, "the evidence of the damage is untouched");
    fs::write(&file, &good).unwrap();

    let config = aggregator.dir().join("aggregator.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, &text[..text.len() / 3]).unwrap();
    let said = aggregator.call(&["serve"]).refused(&["aggregator.toml"]);
    assert!(said.contains("missing field") || said.contains("expected"), "{said}");
    fs::write(&config, &text).unwrap();

    let key = aggregator.dir().join("signing-key.hex");
    let secret = fs::read_to_string(&key).unwrap();
    fs::write(&key, &secret[..20]).unwrap();
    let said = aggregator.call(&["serve"]).refused(&["signing-key.hex"]);
    assert!(!said.contains(&secret[..20]), "a secret was repeated: {said}");
    fs::write(&key, &secret).unwrap();
    aggregator.call(&["check-config"]).ok();
}

#[test]
fn a_read_only_file_system_is_named() {
    let root = tempfile::tempdir().unwrap();
    let Some(disk) = super::storage::SmallDisk::mount(&root.path().join("disk")) else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let aggregator = Aggregator::init(disk.path());
    disk.read_only(true);
    let said = aggregator.call(&["serve"]).refused(&["state database"]);
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.contains("fix the permissions"), "{said}");
    disk.read_only(false);
    aggregator.call(&["job", "list"]).ok();
}
