//! `simulate secagg`: calculate, then run one real round.

use std::num::NonZeroUsize;

use anyhow::Result;
use tributary_simulations::secagg::trial::{self, Trial};
use tributary_simulations::secagg::{Rates, Settings, calculate};

use crate::cli::SecaggArgs;
use crate::progress;

/// Does it.
pub fn run(args: &SecaggArgs) -> Result<()> {
    let settings = Settings {
        nodes: args.nodes,
        dim: args.dim,
        dropout: args.dropout,
        corrupt: args.corrupt,
        min_survivors: args.min_survivors,
        bits: args.bits,
        max_value: args.max_value,
        shamir_t: args.shamir_t,
        cohort: args.cohort,
    };
    let calculation = calculate(&settings, &Rates::measured())?;
    if !args.json {
        println!("{calculation}");
    }
    let trial = (!args.no_round).then(|| trial_of(args, &settings)).transpose()?;
    if args.json {
        let both = serde_json::json!({"calculation": calculation, "round": trial});
        println!("{}", serde_json::to_string_pretty(&both)?);
    } else if let Some(trial) = trial {
        println!("\n{trial}");
    }
    Ok(())
}

fn trial_of(args: &SecaggArgs, settings: &Settings) -> Result<Trial> {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let spinner = progress::steps();
    let trial = trial::run(settings, args.threads.unwrap_or_else(cores), &mut |step| {
        spinner.set_message(step.to_owned());
    })?;
    spinner.finish_and_clear();
    Ok(trial)
}
