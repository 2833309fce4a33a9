//! libtorch 2.13.0 for the CPU, made out of Python wheels.
//!
//! The CUDA libraries of the wheel are left out: `torch-sys` links every one that it finds. The
//! wheel's own `libtorch.so` pulls them in, so an empty one that links only the CPU libraries
//! takes its place. Knows nothing of the repository or of who uses the result.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::packages::{CUDA_CUPTI, CUDA_RUNTIME, Package, TORCH};
use super::pip;
use super::wheel::{self, Pick};
use crate::support::command::capture;
use crate::support::ui;

/// What each wheel contributes.
const PARTS: [(Package, &[Pick]); 3] = [
    (
        TORCH,
        &[
            Pick::Tree("torch/include/", "include"),
            Pick::Tree("torch-2.13.0.dist-info/licenses/", "licenses"),
            Pick::File("torch/lib/libtorch_cpu.so", "lib/libtorch_cpu.so"),
            Pick::File("torch/lib/libc10.so", "lib/libc10.so"),
            Pick::File("torch/lib/libgomp.so.1", "lib/libgomp.so.1"),
        ],
    ),
    (CUDA_CUPTI, &[Pick::File("nvidia/cu13/lib/libcupti.so.13", "lib/libcupti.so.13")]),
    (CUDA_RUNTIME, &[Pick::File("nvidia/cu13/lib/libcudart.so.13", "lib/libcudart.so.13")]),
];

/// File that marks a finished folder; its text is [`stamp`].
pub const STAMP: &str = "MADE-FROM";

/// Makes libtorch in `home`, by way of `partial`, a folder beside it that is removed at the end.
pub fn make(home: &Path, partial: &Path) -> Result<()> {
    println!(
        "  making libtorch {} out of Python wheels: a download of 540 MB, 490 MB on disk",
        TORCH.version
    );
    let work = Workspace::create(partial)?;
    let out = work.path().join("libtorch");
    for (package, picks) in &PARTS {
        let download = work.path().join(package.name);
        println!("  downloading {} ({} MB)", package.requirement(), package.bytes / 1_000_000);
        let file = pip::download(package, &download)?;
        let bar = ui::bytes_bar("unpacking", 0);
        let count = wheel::unpack(&file, picks, &out, &bar)?;
        bar.finish_and_clear();
        println!("  verified its SHA-256, took {count} files");
        fs::remove_dir_all(&download)
            .with_context(|| format!("cannot remove {}", download.display()))?;
    }
    link_stub(&out.join("lib"))?;
    try_loading(&out.join("lib"), work.path())?;
    fs::write(out.join(STAMP), stamp()).context("cannot write libtorch's stamp")?;
    if home.exists() {
        fs::rename(home, work.path().join("replaced"))
            .with_context(|| format!("cannot move {} away", home.display()))?;
    }
    fs::rename(&out, home).with_context(|| format!("cannot create {}", home.display()))?;
    println!("  libtorch: {} (made)", home.display());
    Ok(())
}

/// Names and digests of everything that the folder is made from, one per line.
pub fn stamp() -> String {
    PARTS.iter().map(|(part, _)| format!("{} {}\n", part.sha256, part.requirement())).collect()
}

/// Builds an empty `libtorch.so` that links the CPU libraries only.
fn link_stub(lib: &Path) -> Result<()> {
    let mut command = Command::new("cc");
    command.args(["-shared", "-x", "c", "/dev/null", "-o", "libtorch.so"]);
    command.args(["-Wl,--no-as-needed", "-L.", "-ltorch_cpu", "-lc10"]);
    command.args(["-Wl,-rpath,$ORIGIN", "-Wl,-soname,libtorch.so"]).current_dir(lib);
    capture(&mut command).map(drop).context("cannot link the stub libtorch.so")
}

/// Loads the new `libtorch.so` with every symbol resolved, so that a wrong glibc or a missing
/// library shows now and not in the first test.
fn try_loading(lib: &Path, scratch: &Path) -> Result<()> {
    let source = "#include <dlfcn.h>\n#include <stdio.h>\n\
        int main(int c, char **v) {\n\
          if (c == 2 && dlopen(v[1], RTLD_NOW)) return 0;\n\
          fprintf(stderr, \"%s\\n\", dlerror()); return 1;\n}\n";
    let (file, program) = (scratch.join("load.c"), scratch.join("load"));
    fs::write(&file, source).with_context(|| format!("cannot write {}", file.display()))?;
    capture(Command::new("cc").arg(&file).arg("-o").arg(&program).arg("-ldl"))?;
    capture(Command::new(&program).arg(lib.join("libtorch.so"))).map(drop).context(
        "libtorch was unpacked but does not load on this system (it needs glibc 2.28 or newer); \
         set LIBTORCH to a libtorch that does, or use --trainer reference",
    )
}

/// A folder for unfinished work, emptied at the start and removed at the end, whatever happens.
struct Workspace(PathBuf);

impl Workspace {
    fn create(path: &Path) -> Result<Self> {
        if path.exists() {
            fs::remove_dir_all(path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("  could not remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_work_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.partial");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("stale"), "").unwrap();
        let work = Workspace::create(&path).unwrap();
        assert!(!path.join("stale").exists());
        drop(work);
        assert!(!path.exists());
    }

    #[test]
    fn the_stamp_names_every_part_with_its_digest() {
        let stamp = stamp();
        assert_eq!(stamp.lines().count(), PARTS.len());
        assert!(PARTS.iter().all(|(part, _)| stamp.contains(part.sha256)));
    }
}
