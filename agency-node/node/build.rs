//! Tells the linker where libtorch lies, so that the binary and the tests run without
//! `LD_LIBRARY_PATH`. An rpath is not inherited: every crate with a binary that links libtorch has
//! these lines.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let torch = env::var_os("CARGO_FEATURE_TORCH").is_some();
    let unix = env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "unix");
    if let (true, true, Ok(libtorch)) = (torch, unix, env::var("LIBTORCH")) {
        let lib = Path::new(&libtorch).join("lib");
        let lib = std::path::absolute(&lib).unwrap_or(lib);
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
