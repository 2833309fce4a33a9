//! Finding a Python that can run the second implementation, and a node that runs there.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// The folder of the second implementation.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop")
}

/// A `python3` that has what `requirements.txt` names, in a virtual environment of its own if it
/// must be; `None` if there is none and none is required.
pub fn python() -> Option<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(find_python) {
        Ok(path) => Some(path),
        Err(why) => {
            let required = std::env::var_os("TRIBUTARY_REQUIRE_PYTHON").is_some_and(|is| is == "1");
            assert!(!required, "TRIBUTARY_REQUIRE_PYTHON is set, but {why}");
            println!("skipped: {why}");
            None
        }
    }
}

fn find_python() -> Result<PathBuf, String> {
    let system = PathBuf::from("python3");
    if has_modules(&system) {
        return Ok(system);
    }
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(temporary).map_err(|error| error.to_string())?;
    // Several test programs may come here at once.
    let lock = File::create(temporary.join("interop-venv.lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let home = temporary.join("interop-venv");
    let own = home.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python3" });
    if !has_modules(&own) {
        let mut venv = Command::new(&system);
        succeeds(venv.args(["-m", "venv"]).arg(&home), "python3 makes no virtual environment")?;
        let mut pip = Command::new(&own);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        succeeds(pip.arg(folder().join("requirements.txt")), "pip does not install the packages")?;
    }
    Ok(own)
}

fn has_modules(python: &Path) -> bool {
    let import = "import cryptography.hazmat.primitives.ciphers.aead";
    succeeds(Command::new(python).args(["-c", import]), "").is_ok()
}

fn succeeds(command: &mut Command, otherwise: &str) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{otherwise}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{otherwise}: {error}")),
    }
}

pub fn program(python: &Path, script: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(folder().join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A node in another process.
pub struct Python {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Python {
    pub fn start(python: &Path, configuration: &str) -> Self {
        let mut child = program(python, "tributary_secagg.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        input.write_all(configuration.as_bytes()).unwrap();
        Self { child, input, output }
    }

    pub fn take(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.input.write_all(&(frame.len() as u32).to_le_bytes()).unwrap();
        self.input.write_all(frame).unwrap();
        self.input.flush().unwrap();
        let mut answers = Vec::new();
        loop {
            let mut length = [0; 4];
            if self.output.read_exact(&mut length).is_err() {
                let mut said = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("the program ended: {said}");
            }
            if length == [0; 4] {
                return answers;
            }
            let mut answer = vec![0; u32::from_le_bytes(length) as usize];
            self.output.read_exact(&mut answer).unwrap();
            answers.push(answer);
        }
    }

    /// What came of it, in lines.
    pub fn end(self) -> Vec<String> {
        drop(self.input);
        let output = self.child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
    }
}
