//! A federation of real processes for tests: the binaries that operators run, on free loopback
//! ports, with small made-up tables. It needs no download and no libtorch.
//!
//! It knows the command lines of the binaries and the evidence they export. It must not reach into
//! their state: what a test sees is what an operator or an auditor sees.

// A failure in here is a failing test: it should say so at once and where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod aggregator;
pub mod binaries;
pub mod call;
pub mod evidence;
pub mod federation;
pub mod job;
pub mod lossy;
pub mod node;
pub mod process;
pub mod python;
pub mod session;
pub mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use aggregator::Aggregator;
pub use call::Outcome;
pub use evidence::Evidence;
pub use federation::Federation;
pub use job::Job;
pub use node::Node;
pub use process::Process;

/// How long anything may take that should happen at once, on a machine that is busy with others.
pub const SOON: Duration = Duration::from_secs(60);

/// How long a whole job may take.
pub const JOB: Duration = Duration::from_secs(240);

/// The repository's root folder.
pub fn root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().expect("the crate lies in the repository").to_owned()
}

/// All files below a folder with their contents, to see that nothing has changed.
///
/// # Panics
/// If one cannot be read.
pub fn contents(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            found.insert(path, bytes);
        }
    }
    found
}
