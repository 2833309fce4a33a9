//! Times one training step, private and not, and prints one JSON object a line for each network.
//!
//! ```sh
//! cargo run --release -p tributary-torch --example dp_step [-- REPEATS [MODEL]]
//! ```
//!
//! A private step is forward, backward and the sum of clipped gradients over 256 rows, each row a
//! unit; the other one is forward and backward. Two threads. `cargo xtask bench dp` runs this beside
//! Opacus. It trains nothing and must not be used for anything but times.

use std::time::Instant;

use tch::{Device, Kind, Tensor};
use tributary_torch::private::{
    Examples, Network, Parameters, PrivateError, Settings, clipped_sum, independence, models,
    plain_gradient,
};

const BATCH: i64 = 256;

fn main() -> Result<(), PrivateError> {
    let mut arguments = std::env::args().skip(1);
    let repeats = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(15usize).max(7);
    let only = arguments.next();
    let microbatch = arguments.next().and_then(|n| n.parse().ok());
    tch::set_num_threads(2);
    tch::manual_seed(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let float = (Kind::Float, Device::Cpu);
    let labels = Tensor::randint(10, [BATCH], (Kind::Int64, Device::Cpu));
    if wanted("cnn") {
        let mut parameters = Parameters::new(Kind::Float, 1);
        let network = models::cnn(&mut parameters)?;
        let inputs = [Tensor::randn([BATCH, 1, 28, 28], float), labels.shallow_clone()];
        measure("cnn", &network, &parameters, &inputs, microbatch.unwrap_or(128), repeats)?;
    }
    if wanted("mlp") {
        let mut parameters = Parameters::new(Kind::Float, 1);
        let network = models::mlp(&mut parameters, &[784, 1024, 1024, 10])?;
        let inputs = [Tensor::randn([BATCH, 784], float), labels.shallow_clone()];
        measure("mlp", &network, &parameters, &inputs, microbatch.unwrap_or(256), repeats)?;
    }
    if wanted("embedding") {
        let mut parameters = Parameters::new(Kind::Float, 1);
        let network = models::emb(&mut parameters, 10_000, 128, 512, 10)?;
        let tokens = Tensor::randint(10_000, [BATCH, 32], (Kind::Int64, Device::Cpu));
        let inputs = [tokens, labels];
        measure("embedding", &network, &parameters, &inputs, microbatch.unwrap_or(64), repeats)?;
    }
    Ok(())
}

fn measure(
    name: &str,
    network: &dyn Network,
    parameters: &Parameters,
    inputs: &[Tensor],
    microbatch: usize,
    repeats: usize,
) -> Result<(), PrivateError> {
    let settings = Settings::rows(1.0, microbatch);
    let examples = Examples { inputs, units: None };
    let private = times(repeats, || {
        clipped_sum(network, parameters, &examples, &settings).map(|sum| sum.units)
    })?;
    let plain =
        times(repeats, || plain_gradient(network, parameters, inputs).map(|sums| sums.len()))?;
    let found = independence(network, parameters, inputs, microbatch)?;
    println!(
        "{{\"bench\":\"dp_step\",\"model\":\"{name}\",\"parameters\":{},\"batch\":{BATCH},\
         \"threads\":2,\"microbatch\":{microbatch},\"private_ms\":{},\"plain_ms\":{},\
         \"independent_of_company\":{},\"independent_of_place\":{}}}",
        parameters.dimension(),
        statistics(private),
        statistics(plain),
        found.of_company,
        found.of_place,
    );
    Ok(())
}

/// Milliseconds of each repeat, after two that do not count.
fn times(
    repeats: usize,
    mut step: impl FnMut() -> Result<usize, PrivateError>,
) -> Result<Vec<f64>, PrivateError> {
    let mut all = Vec::with_capacity(repeats);
    for i in 0..repeats + 2 {
        let start = Instant::now();
        std::hint::black_box(step()?);
        if i >= 2 {
            all.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(all)
}

fn statistics(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let (n, middle) = (times.len(), times[times.len() / 2]);
    format!(
        "{{\"median\":{middle:.3},\"min\":{:.3},\"max\":{:.3},\"n\":{n}}}",
        times[0],
        times[n - 1]
    )
}
