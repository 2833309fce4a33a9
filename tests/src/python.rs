//! A Python with libraries by other authors, as oracles: in a virtual environment that is kept.
//!
//! Needs `python3`, and once the network. Without them a test says so and passes, unless
//! `TRIBUTARY_REQUIRE_PYTHON=1` is set.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that can import `module`, which the packages of `requirements` (a file below
/// `tests/python`) bring; `None` if there is none and none is required. `temporary` is kept.
///
/// # Panics
/// If there is none and one is required.
pub fn with(module: &str, requirements: &str, temporary: &Path) -> Option<PathBuf> {
    match find(module, requirements, temporary) {
        Ok(path) => Some(path),
        Err(why) => {
            let required = std::env::var_os("TRIBUTARY_REQUIRE_PYTHON").is_some_and(|is| is == "1");
            assert!(!required, "TRIBUTARY_REQUIRE_PYTHON is set, but {why}");
            println!("skipped: {why}");
            None
        }
    }
}

/// The folder of the scripts.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

fn find(module: &str, requirements: &str, temporary: &Path) -> Result<PathBuf, String> {
    let system = PathBuf::from("python3");
    if has(&system, module) {
        return Ok(system);
    }
    fs::create_dir_all(temporary).map_err(|error| error.to_string())?;
    // Several test programs may come here at once.
    let lock = File::create(temporary.join(format!("{requirements}.lock")));
    let lock = lock.map_err(|e| e.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let home = temporary.join(format!("{requirements}.venv"));
    let own = home.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python3" });
    if !has(&own, module) {
        let mut venv = Command::new(&system);
        succeeds(venv.args(["-m", "venv"]).arg(&home), "python3 makes no virtual environment")?;
        let mut pip = Command::new(&own);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        succeeds(pip.arg(folder().join(requirements)), "pip does not install the library")?;
    }
    Ok(own)
}

fn has(python: &Path, module: &str) -> bool {
    succeeds(Command::new(python).args(["-c", &format!("import {module}")]), "").is_ok()
}

fn succeeds(command: &mut Command, otherwise: &str) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{otherwise}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{otherwise}: {error}")),
    }
}
