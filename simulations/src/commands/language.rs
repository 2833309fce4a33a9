//! `simulate language`: language models on real text.

use anyhow::Result;
use tributary_simulations::language::{self, JSON, Options, TABLE};

use crate::cli::LanguageArgs;
use crate::progress;

/// Does it.
pub fn run(args: &LanguageArgs) -> Result<()> {
    let options = Options {
        data: args.data.clone(),
        out: args.out.clone(),
        seeds: args.seeds,
        quick: args.quick,
        trainer: args.trainer,
    };
    let spinner = progress::steps();
    let document = language::run(&options, &mut |step| {
        tracing::info!("{step}");
        spinner.set_message(step.to_owned());
    })?;
    spinner.finish_and_clear();
    println!("{}", document.markdown());
    println!("results    {} and {TABLE}", args.out.join(JSON).display());
    Ok(())
}
