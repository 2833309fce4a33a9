//! `simulate inventory`: adapters on a sentence encoder, trained across agencies.

use anyhow::Result;
use tributary_simulations::inventory::{self, JSON, Options, TABLE};

use crate::cli::InventoryArgs;
use crate::progress;

/// Does it.
pub fn run(args: &InventoryArgs) -> Result<()> {
    let options = Options {
        data: args.data.clone(),
        encoder: args.encoder.clone(),
        out: args.out.clone(),
        quick: args.quick,
        trainer: args.trainer,
    };
    let spinner = progress::steps();
    let document = inventory::run(&options, &mut |step| {
        tracing::info!("{step}");
        spinner.set_message(step.to_owned());
    })?;
    spinner.finish_and_clear();
    println!("{}", document.markdown());
    println!("results    {} and {TABLE}", args.out.join(JSON).display());
    Ok(())
}
