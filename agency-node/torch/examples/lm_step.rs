//! Times one training step of a decoder, private and not, and prints one JSON object a line for each.
//!
//! ```sh
//! cargo run --release -p tributary-torch --example lm_step [-- REPEATS [MODEL]]
//! ```
//!
//! A private step is forward, backward and the sum of clipped gradients over the batch, each window a
//! unit; the other one is forward, backward and the sum. Two threads. `cargo xtask bench train` runs this
//! beside PyTorch and Opacus. It trains nothing and must not be used for anything but times.

use std::time::Instant;

use tributary_job::ParameterLayout;
use tributary_job::spec::{ModelSpec, NormKind};
use tributary_torch::LanguageTrainer;
use tributary_training::{Batch, Rows, Trainer, TrainerError};

const TOKENS: usize = 256;
const CONTEXT: usize = 128;

/// Name, layers, width, heads, inner width, windows of a batch.
const MODELS: [(&str, u32, u32, u32, u32, usize); 2] =
    [("1m", 5, 128, 4, 344, 64), ("25m", 8, 512, 8, 1376, 16)];

fn main() -> Result<(), TrainerError> {
    let mut arguments = std::env::args().skip(1);
    let repeats = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(7usize).max(3);
    let only = arguments.next();
    for (name, layers, width, heads, hidden, windows) in MODELS {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let model = ModelSpec::Decoder {
            layers,
            width,
            heads,
            hidden,
            norm: NormKind::Rms,
            rotary_base: 1e4,
            microbatch: 16,
        };
        let parameters = ParameterLayout::of(&model, CONTEXT + 1, TOKENS).initial_parameters(1);
        let mut trainer = LanguageTrainer::new(&model, CONTEXT + 1, TOKENS)?;
        // After the trainer, which sets one.
        tch::set_num_threads(2);
        let token = |i: usize| ((i * i * 31 + 7 * i) % TOKENS) as f32;
        let values: Vec<f32> = (0..windows * (CONTEXT + 1)).map(token).collect();
        let labels = vec![0.0; windows];
        let batch = Batch::new(Rows::new(&values, CONTEXT + 1)?, &labels)?;
        let private = times(repeats, || {
            trainer.clipped_gradient_sum(&parameters, &batch, 1.0).map(|sum| sum.within)
        })?;
        let plain = times(repeats, || trainer.gradient_sum(&parameters, &batch).map(|s| s.len()))?;
        println!(
            "{{\"bench\":\"lm_step\",\"model\":\"{name}\",\"parameters\":{},\"windows\":{windows},\
             \"context\":{CONTEXT},\"threads\":2,\"private_tokens_per_second\":{:.1},\
             \"plain_tokens_per_second\":{:.1}}}",
            parameters.len(),
            (windows * CONTEXT) as f64 / private,
            (windows * CONTEXT) as f64 / plain,
        );
    }
    Ok(())
}

/// The middle of so many times in seconds, after one that does not count (it tries the machine, too).
fn times(
    repeats: usize,
    mut step: impl FnMut() -> Result<usize, TrainerError>,
) -> Result<f64, TrainerError> {
    let mut all = Vec::with_capacity(repeats);
    for i in 0..=repeats {
        let start = Instant::now();
        std::hint::black_box(step()?);
        if i > 0 {
            all.push(start.elapsed().as_secs_f64());
        }
    }
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}
