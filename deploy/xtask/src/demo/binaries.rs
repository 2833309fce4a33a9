//! Building the three programs, and where cargo put them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Profile;
use crate::Trainer;
use crate::support::command::{cargo, describe, executable};
use crate::support::interrupt;
use crate::support::repo::Repo;

/// The programs of a federation.
#[derive(Debug)]
pub struct Binaries {
    /// The aggregator.
    pub aggregator: PathBuf,
    /// The node daemon.
    pub agency_node: PathBuf,
    /// The researchers' tool, which evaluates a finished run.
    pub simulate: PathBuf,
}

impl Binaries {
    /// Builds them, with cargo's progress on the terminal.
    pub fn build(repo: &Repo, profile: Profile, trainer: Trainer) -> Result<Self> {
        let mut command = build_command(repo, profile, trainer);
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start `{}`", describe(&command)))?;
        interrupt::check()?;
        if !output.status.success() {
            bail!("the build failed; to repeat it: {}", describe(&command));
        }
        Self::from_messages(&String::from_utf8_lossy(&output.stdout))
    }

    /// Programs that were built before.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let program = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { Ok(path) } else { bail!("there is no {}", path.display()) }
        };
        Ok(Self {
            aggregator: program("aggregator")?,
            agency_node: program("agency-node")?,
            simulate: program("simulate")?,
        })
    }

    /// Finds the executables in cargo's messages.
    fn from_messages(messages: &str) -> Result<Self> {
        Ok(Self {
            aggregator: executable(messages, "aggregator")?,
            agency_node: executable(messages, "agency-node")?,
            simulate: executable(messages, "simulate")?,
        })
    }
}

fn build_command(repo: &Repo, profile: Profile, trainer: Trainer) -> Command {
    let mut args = vec!["build", "--locked", "--bins"];
    args.extend(["-p", "tributary-server", "-p", "tributary-node", "-p", "simulate"]);
    if profile == Profile::Release {
        args.push("--release");
    }
    if trainer == Trainer::Reference {
        args.push("--no-default-features");
    }
    args.push("--message-format=json-render-diagnostics");
    cargo(repo, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let message = |name: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}"}},"executable":{executable}}}"#
            )
        };
        let mut lines = vec![
            "not json".to_owned(),
            message("aggregator", r#""/t/aggregator""#),
            message("agency-node", r#""/t/agency-node""#),
        ];
        let error = Binaries::from_messages(&lines.join("\n")).unwrap_err();
        assert!(error.to_string().contains("simulate"), "{error}");
        lines.push(message("simulate", r#""/t/simulate""#));
        let found = Binaries::from_messages(&lines.join("\n")).unwrap();
        assert_eq!(found.agency_node, PathBuf::from("/t/agency-node"));
    }

    #[test]
    fn the_reference_trainer_is_built_without_torch() {
        let repo = Repo::at("/r".as_ref(), "/c".as_ref());
        let line = |trainer, profile| describe(&build_command(&repo, profile, trainer));
        assert!(line(Trainer::Reference, Profile::Dev).contains("--no-default-features"));
        let torch = line(Trainer::Torch, Profile::Release);
        assert!(torch.contains("--release") && !torch.contains("--no-default-features"));
    }
}
