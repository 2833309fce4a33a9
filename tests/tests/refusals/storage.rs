//! State that cannot be written, or was changed: the node stops before it sends what it cannot
//! remember, and touches nothing.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tributary_tests::table::table;
use tributary_tests::{Federation, Node, contents};

#[test]
fn a_damaged_state_database_is_refused_and_left_as_it_is() {
    let mut federation = Federation::start(&["north"]);
    let node = &mut federation.nodes[0];
    // After an orderly end everything is in the one file.
    assert_eq!(node.terminate(), Some(0));
    let file = node.dir().join("node.db");
    let good = fs::read(&file).unwrap();

    let mut overwritten = good.clone();
    overwritten[..4096].fill(0x5a);
    fs::write(&file, &overwritten).unwrap();
    // Which command runs stands in the lock file, so that one changes.
    let files = |node: &Node| {
        let mut found = contents(node.dir());
        found.remove(&node.dir().join("node.lock"));
        found
    };
    let before = files(node);
    node.try_serve().refused(&["state", "file is not a database", "backup"]);
    node.call(&["budget", "show"]).refused(&["file is not a database"]);
    assert!(files(node) == before, "the evidence of the damage is untouched");

    // A higher limit, written past the book: its hash chain tells.
    let (from, to) = (b"\"epsilon\":4.0", b"\"epsilon\":9.0");
    let at = good.windows(from.len()).position(|w| w == from).expect("the registered limit");
    let mut forged = good.clone();
    forged[at..at + to.len()].copy_from_slice(to);
    fs::write(&file, &forged).unwrap();
    node.try_serve().refused(&["budget book is damaged at entry 0", "backup"]);
    node.call(&["check-config"]).refused(&["budget book is damaged"]);
    assert_eq!(fs::read(&file).unwrap(), forged);

    fs::write(&file, &good).unwrap();
    node.call(&["budget", "verify"]).ok();
    node.serve();
    node.wait_for_session();
}

#[test]
fn a_full_disk_stops_the_node_before_it_sends_and_it_goes_on_when_there_is_room() {
    let mut federation = Federation::enrolled(&["north", "east", "south", "west"]);
    let Some(disk) = SmallDisk::mount(&federation.root().join("isle")) else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let isle = Node::new("isle", federation.root());
    isle.enrol(&federation.aggregator);
    isle.write_policy(&["toy"], 3);
    isle.add_dataset("toy", &table(9, 300), &[]);
    federation.nodes.push(isle);
    federation.serve_nodes();
    let job = federation.aggregator.submit(&federation.job(300));
    federation.aggregator.wait_for_round(&job, 2);

    disk.fill();
    let (code, log) = federation.node("isle").wait_for_end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("state database") && log.contains("Free disk space"), "{log}");
    // The others go on without it.
    let round = federation.aggregator.status(&job)["round"].as_u64().unwrap();
    federation.aggregator.wait_for_round(&job, round + 3);

    disk.empty();
    federation.node("isle").serve();
    let back = |s: &serde_json::Value| {
        s["survivors_last"].as_array().unwrap().iter().any(|name| name == "isle")
    };
    federation.aggregator.wait_until(&job, "with isle again", tributary_tests::SOON, back);
    federation.aggregator.call(&["job", "cancel", &job]).ok();
    federation.aggregator.wait_until_over(&job);
    let evidence = federation.evidence(&job);
    assert!(!evidence.rounds_without("isle").is_empty());
    // Whatever is in a sum was paid for: charged durably before it left.
    let charges = federation.node("isle").charges();
    let hash = evidence.plan.job.to_string();
    let survived = evidence.rounds.iter().filter(|r| evidence.survived("isle", r));
    for round in survived {
        let attempt = (hash.clone(), u64::from(round.round), u64::from(round.attempt));
        assert!(charges.contains(&attempt), "{attempt:?} is in a sum and in no book");
    }
}

/// A file system of a few megabytes, gone when dropped.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(super) fn mount(folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m,mode=700", "tmpfs"]).arg(folder);
        let output = mount.output().ok()?;
        output.status.success().then(|| Self(folder.to_owned()))
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Nothing can be written any more, or again.
    pub(super) fn read_only(&self, read_only: bool) {
        let how = if read_only { "remount,ro" } else { "remount,rw" };
        let status = Command::new("mount").args(["-o", how]).arg(&self.0).status().unwrap();
        assert!(status.success(), "{how}");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes every free byte.
    pub(super) fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            let block = vec![0; size];
            let error = std::iter::repeat_with(|| file.write_all(&block)).find_map(Result::err);
            assert_eq!(error.map(|e| e.kind()), Some(ErrorKind::StorageFull));
        }
    }

    pub(super) fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the node still runs, and the folder must be free before the federation goes.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
