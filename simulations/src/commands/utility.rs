//! `simulate utility`: accuracy against epsilon on real data.

use anyhow::{Result, bail};
use tributary_simulations::utility::{self, JSON, Options, Split, TABLE};

use crate::cli::UtilityArgs;
use crate::progress;

/// Does it.
pub fn run(args: &UtilityArgs) -> Result<()> {
    let options = Options {
        choice: args.problem,
        data: args.data.clone(),
        out: args.out.clone(),
        seeds: args.seeds,
        quick: args.quick,
        split: if args.validation { Split::Validation } else { Split::Test },
        trainer: args.trainer,
    };
    let spinner = progress::steps();
    let document = utility::run(&options, &mut |step| {
        tracing::info!("{step}");
        spinner.set_message(step.to_owned());
    })?;
    spinner.finish_and_clear();
    println!("{}", document.markdown());
    for target in &document.targets {
        let met = if target.met() { "met   " } else { "MISSED" };
        println!("{met} {:.4} (at least {:.4})  {}", target.reached, target.least, target.text);
    }
    println!("results    {} and {TABLE}", args.out.join(JSON).display());
    if args.check && (document.targets.is_empty() || document.targets.iter().any(|t| !t.met())) {
        bail!("not every target is met");
    }
    Ok(())
}
