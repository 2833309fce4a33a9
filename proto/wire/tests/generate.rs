//! The committed Rust code is what the `.proto` file says.
//!
//! Nobody needs protoc and no build script runs: this test compiles the schema in pure Rust and
//! compares. After a change of the schema, run it once with `TRIBUTARY_REGENERATE=1` and commit
//! the result, *before* the conversions are adapted (this test links the library, so the library
//! must compile with the code that is there).

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

const REGENERATE: &str = "TRIBUTARY_REGENERATE";
const FILE: &str = "tributary.v1.rs";

#[test]
fn generated_code_is_current() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let fresh = generate(&root.join("proto"));
    let committed_path = root.join("src/gen").join(FILE);
    if std::env::var_os(REGENERATE).is_some_and(|v| v == "1") {
        fs::write(&committed_path, &fresh).unwrap();
        return;
    }
    let committed = fs::read_to_string(&committed_path).unwrap_or_default();
    let first_difference = committed
        .lines()
        .zip(fresh.lines())
        .position(|(a, b)| a != b)
        .unwrap_or_else(|| committed.lines().count().min(fresh.lines().count()));
    assert!(
        committed == fresh,
        "src/gen/{FILE} differs from the schema from line {} on; run this test with {REGENERATE}=1",
        first_difference + 1
    );
}

/// Compiles the schema into a scratch folder and returns the Rust text.
fn generate(proto: &Path) -> String {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("generate");
    fs::create_dir_all(&out).unwrap();
    let mut compiler = protox::Compiler::new([proto]).unwrap();
    compiler.include_source_info(true).include_imports(true);
    compiler.open_file("tributary.proto").unwrap();
    let descriptors = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .out_dir(&out)
        .emit_rerun_if_changed(false)
        // The library offers no connect(): channels come from the transport crate alone.
        .build_transport(false)
        // Frames are passed on to many nodes: their bytes are shared and not copied.
        .bytes(".tributary.v1.Secagg.frame")
        .bytes(".tributary.v1.StateChunk.data")
        // A token must not reach a log by way of a derived Debug.
        .skip_debug([".tributary.v1.EnrolRequest", ".tributary.v1.IssueTokenReply"])
        .compile_fds(descriptors)
        .unwrap();
    fs::read_to_string(out.join(FILE)).unwrap()
}
