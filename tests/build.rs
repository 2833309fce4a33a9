//! Tells the linker where libtorch lies: in a build of the whole workspace the node library that the
//! tests use links it, and an rpath is not inherited: every crate with a binary that links libtorch has
//! these lines.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let unix = env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "unix");
    if let (true, Ok(libtorch)) = (unix, env::var("LIBTORCH")) {
        let lib = Path::new(&libtorch).join("lib");
        let lib = std::path::absolute(&lib).unwrap_or(lib);
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
