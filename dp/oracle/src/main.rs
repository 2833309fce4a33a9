//! `dp-bench [--quick] [--measurement]`: nanoseconds per sample on one core, one JSON object a line.
//!
//! It measures; what the figures are compared with and where they go is its caller's business.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;
use tributary_dp::{DiscreteGaussian, SecretRng, Skellam};
use tributary_dp_oracle::{measurement, samples};

/// Parameters of the discrete Gaussian, also opendp's.
const SIGMAS: [f64; 6] = [3.0, 10.0, 100.0, 1000.0, 1e4, 1e5];
/// Standard deviations of the Skellam law; the last is a sum of parts.
const DEVIATIONS: [f64; 4] = [10.0, 100.0, 1000.0, 2048.0];

/// How much is measured.
struct Effort {
    /// Samples of ours at a time: a vector of a model's size.
    ours: usize,
    /// Samples of opendp's at a time.
    theirs: usize,
    /// Timed repeats after a first one that does not count.
    repeats: usize,
}

const FULL: Effort = Effort { ours: 4_000_000, theirs: 20_000, repeats: 9 };
const QUICK: Effort = Effort { ours: 1_000_000, theirs: 4_000, repeats: 5 };

fn main() -> ExitCode {
    let (mut effort, mut whole) = (FULL, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => effort = QUICK,
            "--measurement" => whole = true,
            other => {
                eprintln!("unknown argument {other}; usage: dp-bench [--quick] [--measurement]");
                return ExitCode::from(2);
            }
        }
    }
    match measure(&effort, whole) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(effort: &Effort, whole: bool) -> Result<(), String> {
    let mut rng = SecretRng::from_os().map_err(|e| e.to_string())?;
    let mut values = vec![0_i64; effort.ours];
    for sigma in SIGMAS {
        let sampler = DiscreteGaussian::new(sigma).map_err(|e| e.to_string())?;
        let times = timed(effort.repeats, effort.ours, || {
            sampler.add_noise(black_box(&mut values), &mut rng);
            Ok(())
        })?;
        print("discrete_gaussian", "sigma", sigma, effort.ours, &times);
    }
    for deviation in DEVIATIONS {
        let sampler = Skellam::new(deviation * deviation).map_err(|e| e.to_string())?;
        let times = timed(effort.repeats, effort.ours, || {
            sampler.add_noise(black_box(&mut values), &mut rng);
            Ok(())
        })?;
        print("skellam", "deviation", deviation, effort.ours, &times);
    }
    for sigma in SIGMAS {
        let times = timed(effort.repeats, effort.theirs, || {
            black_box(samples(sigma, effort.theirs)).map(drop).map_err(|e| e.to_string())
        })?;
        print("opendp", "sigma", sigma, effort.theirs, &times);
    }
    let zeros = vec![0_i64; effort.theirs];
    for sigma in SIGMAS.into_iter().filter(|_| whole) {
        let release = measurement(sigma).map_err(|e| e.to_string())?;
        let times = timed(effort.repeats, effort.theirs, || {
            black_box(release.invoke(&zeros)).map(drop).map_err(|e| e.to_string())
        })?;
        print("opendp_measurement", "sigma", sigma, effort.theirs, &times);
    }
    Ok(())
}

/// Nanoseconds per sample of every repeat, ascending.
fn timed(
    repeats: usize,
    samples: usize,
    mut once: impl FnMut() -> Result<(), String>,
) -> Result<Vec<f64>, String> {
    once()?;
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed().as_secs_f64() * 1e9 / samples as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn print(bench: &str, key: &str, value: f64, samples: usize, times: &[f64]) {
    let rounded = |ns: Option<&f64>| (ns.copied().unwrap_or_default() * 1000.0).round() / 1000.0;
    let ns = json!({
        "median": rounded(times.get(times.len() / 2)),
        "min": rounded(times.first()),
        "max": rounded(times.last()),
        "n": times.len(),
    });
    println!("{}", json!({"bench": bench, key: value.to_string(), "samples": samples, "ns": ns}));
}
