//! The units of both daemons: valid, and as closed as the guides say. Needs `systemd-analyze` 250 or
//! later and is skipped without it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::process::Command;

/// Unit, guide, and the exposure that the guide states, in tenths: 0 is closed, 100 is open.
const UNITS: [(&str, &str, u32); 2] =
    [("agency-node.service", "agency-it.md", 14), ("aggregator.service", "central-team.md", 12)];

/// The version by which the guides speak.
const VERSION: &str = "systemd 252 ";

/// Others weigh a little differently: so many tenths more.
const OTHER_VERSIONS: u32 = 3;

#[test]
fn units_are_valid_and_expose_no_more_than_the_guides_say() {
    let has_offline = Command::new("systemd-analyze")
        .arg("--help")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("--offline"));
    if !has_offline {
        println!("skipped: there is no systemd-analyze that can look at a unit file");
        return;
    }
    let version = Command::new("systemd-analyze").arg("--version").output().unwrap();
    let same = String::from_utf8_lossy(&version.stdout).starts_with(VERSION);
    let root = tributary_tests::root();
    for (unit, guide, tenths) in UNITS {
        let path = root.join("deploy/systemd").join(unit);
        let most = tenths + if same { 0 } else { OTHER_VERSIONS };
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager", &format!("--threshold={most}")])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{unit}: {said}\n{complaints}");
        // A line that systemd does not understand is ignored, with a complaint.
        assert!(!complaints.contains("nknown"), "{unit}: {complaints}");
        let stated = format!("exposure level {}.{}", tenths / 10, tenths % 10);
        let text = fs::read_to_string(root.join("deploy/docs").join(guide)).unwrap();
        assert!(text.contains(&stated), "{guide} does not say {stated:?}");
    }
}
