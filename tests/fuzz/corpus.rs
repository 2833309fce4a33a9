//! Writes real inputs of every target to `corpus/TARGET/`, where cargo-fuzz looks.

#[path = "../../proto/secagg/tests/fuzz_targets/mod.rs"]
mod targets;

use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, _) in targets::TARGETS {
        let folder = root.join(name);
        fs::create_dir_all(&folder)?;
        for (number, input) in targets::corpus(name).into_iter().enumerate() {
            fs::write(folder.join(format!("real-{number:03}")), input)?;
        }
    }
    Ok(())
}
