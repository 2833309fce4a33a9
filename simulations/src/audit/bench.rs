//! The checks that make releases: noise, sensitivity, rounding, epsilon from the black box.

use tributary_training::Dataset;

use super::black_box::{Worlds, epsilon_lower_bound};
use super::mechanism::{Mechanism, Seed};
use super::moments::Moments;
use super::records::{Record, norm};
use super::report::Check;
use super::setting::{Setting, Subject, choices};
use super::statistics::{chi_square_p, gaussian_epsilon, normal_limit};
use super::{AUDIT_DELTA, CONFIDENCE, Effort, SIGNIFICANCE_PER_CHECK};
use crate::error::SimulationError;

/// Noise multiplier where the sum itself shall be seen through the noise.
pub(super) const FAINT: f64 = 0.02;

/// Records beside the canary.
pub(super) const COMPANY: usize = 8;

/// What every check is given.
pub(super) struct Bench<'a> {
    pub subject: &'a Subject,
    pub mechanism: &'a mut dyn Mechanism,
    pub seed: u64,
    pub effort: Effort,
    pub progress: &'a mut dyn FnMut(&str, u64, u64),
}

/// Which check a seed is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Sampler = 1,
    Canary,
    Full,
    Sampled,
    Sensitivity,
    Rounding,
    Sampling,
    OneRun,
}

/// Two neighbouring tables of the first node, and the canary's direction, a unit vector.
struct Neighbours {
    without: Vec<Dataset>,
    with: Vec<Dataset>,
    direction: Vec<f64>,
}

impl Bench<'_> {
    pub(super) fn seed(&self, stream: Stream, world: u32, round: u64) -> Seed {
        Seed { audit: self.seed, check: stream as u32, world, round, node: 0 }
    }

    /// Noise and epsilon with every record in every release: nothing but noise hides the canary.
    /// Returns the lower bound at the job's delta.
    pub(super) fn full(&mut self, checks: &mut Vec<Check>) -> Result<f64, SimulationError> {
        let z = self.subject.release().parameters.noise_multiplier;
        let mut setting = self.subject.setting(1.0, z)?;
        let (canary, gradient) = setting.canary(&mut choices(self.seed, Stream::Canary as u32))?;
        // The company pulls against the canary: what divides by the number of records moves twice.
        let company = vec![canary.opposite(); COMPANY];
        let pair = neighbours(&setting, &canary, &company, &gradient)?;
        let mut moments = Moments::default();
        let worlds = self.releases(&mut setting, &pair, Stream::Full, "noise", &mut moments)?;
        checks.extend(noise_checks(&setting, &moments));
        let clipped = norm(&gradient) / setting.operation.clip_norm;
        self.epsilon(checks, "all-records", &setting, &worlds, clipped)
    }

    /// Epsilon at the job's own sampling rate. Returns the lower bound at the job's delta.
    pub(super) fn sampled(&mut self, checks: &mut Vec<Check>) -> Result<f64, SimulationError> {
        let parameters = &self.subject.release().parameters;
        let mut setting =
            self.subject.setting(parameters.sampling_rate, parameters.noise_multiplier)?;
        let (canary, gradient) = setting.canary(&mut choices(self.seed, Stream::Canary as u32))?;
        // Other records would only add the noise of their own sampling.
        let pair = neighbours(&setting, &canary, &[], &gradient)?;
        let mut unused = Moments::default();
        let worlds = self.releases(&mut setting, &pair, Stream::Sampled, "sampled", &mut unused)?;
        let clipped = norm(&gradient) / setting.operation.clip_norm;
        self.epsilon(checks, "sampled", &setting, &worlds, clipped)
    }

    /// How far one record moves the sum, in several companies.
    pub(super) fn sensitivity(&mut self, checks: &mut Vec<Check>) -> Result<(), SimulationError> {
        (self.progress)("sensitivity", 0, 1);
        let mut setting = self.subject.setting(1.0, FAINT)?;
        let mut rng = choices(self.seed, Stream::Canary as u32);
        let (canary, gradient) = setting.canary(&mut rng)?;
        let strangers = (0..COMPANY).map(|_| setting.extreme(&mut rng)).collect();
        let companies = [
            ("alone", Vec::new()),
            ("against", vec![canary.opposite(); COMPANY]),
            ("alike", vec![canary.clone(); COMPANY]),
            ("strangers", strangers),
        ];
        for (world, (name, company)) in companies.into_iter().enumerate() {
            let pair = neighbours(&setting, &canary, &company, &gradient)?;
            let world = 2 * world as u32;
            checks.push(self.distance(&mut setting, &pair, world, name)?);
        }
        Ok(())
    }

    /// Whether rounding is unbiased and never moves a coordinate by one or more.
    pub(super) fn rounding(&mut self, checks: &mut Vec<Check>) -> Result<(), SimulationError> {
        (self.progress)("rounding", 0, 1);
        let z = self.subject.release().parameters.noise_multiplier;
        let mut setting = self.subject.setting(1.0, z)?.without_noise();
        let mut rng = choices(self.seed, Stream::Rounding as u32);
        let records: Vec<_> = (0..COMPANY).map(|_| setting.extreme(&mut rng)).collect();
        let data = setting.dataset(&records)?;
        let scale = setting.operation.scale;
        let exact: Vec<f64> = setting.clipped_sum(&data)?.iter().map(|s| s * scale).collect();
        let nodes = [data];
        let rounds = self.effort.rounding;
        let mut errors = vec![0.0; exact.len()];
        let mut largest = 0.0_f64;
        for round in 0..rounds {
            let seed = self.seed(Stream::Rounding, 0, round);
            let release = setting.release_sum(self.mechanism, &nodes, seed)?;
            for ((sum, exact), value) in errors.iter_mut().zip(&exact).zip(&release) {
                let error = *value as f64 - exact;
                *sum += error;
                largest = largest.max(error.abs());
            }
        }
        checks.push(Check::within(
            "rounding.largest",
            largest,
            None,
            Some(1.0),
            "integer units that rounding moves a coordinate by",
        ));
        let (mut statistic, mut freedom) = (0.0, 0.0);
        for (sum, exact) in errors.iter().zip(&exact) {
            let part = exact - exact.floor();
            if (0.05..0.95).contains(&part) {
                statistic += sum * sum / (rounds as f64 * part * (1.0 - part));
                freedom += 1.0;
            }
        }
        if freedom > 0.0 {
            let p = chi_square_p(statistic, freedom);
            checks.push(Check::p_value("rounding.unbiased", p, "p-value of the mean errors"));
        }
        Ok(())
    }

    fn distance(
        &mut self,
        setting: &mut Setting,
        pair: &Neighbours,
        world: u32,
        company: &str,
    ) -> Result<Check, SimulationError> {
        let rounds = self.effort.sensitivity;
        let mut means = Vec::new();
        for (part, nodes) in [&pair.without, &pair.with].into_iter().enumerate() {
            let mut mean = vec![0.0; setting.operation.vector_len as usize];
            for round in 0..rounds {
                let seed = self.seed(Stream::Sensitivity, world + part as u32, round);
                let release = setting.release_sum(self.mechanism, nodes, seed)?;
                mean.iter_mut().zip(&release).for_each(|(m, v)| *m += *v as f64 / rounds as f64);
            }
            means.push(mean);
        }
        let difference: Vec<f64> = match means.as_slice() {
            [without, with] => with.iter().zip(without).map(|(a, b)| a - b).collect(),
            _ => Vec::new(),
        };
        // What is left of the noise in the mean difference is taken off its square.
        let (dimension, bound) = (difference.len() as f64, setting.release().sensitivity);
        let left = 2.0 * setting.noise_sd().powi(2) / rounds as f64;
        let squared = norm(&difference).powi(2) - dimension * left;
        let spread = (2.0 * dimension * left * left + 4.0 * bound * bound * left).sqrt();
        let slack = normal_limit(SIGNIFICANCE_PER_CHECK) * spread / (bound * bound);
        let measured = squared.max(0.0).sqrt() / bound;
        let what = "L2 distance that the canary makes, over the sensitivity";
        let at_most = Some((1.0 + slack).sqrt());
        Ok(Check::within(format!("sensitivity.{company}"), measured, None, at_most, what))
    }

    /// The releases of both worlds, projected.
    fn releases(
        &mut self,
        setting: &mut Setting,
        pair: &Neighbours,
        stream: Stream,
        step: &str,
        moments: &mut Moments,
    ) -> Result<Worlds, SimulationError> {
        let rounds = self.effort.repetitions;
        let mut worlds = Worlds::default();
        for round in 0..rounds {
            if round.is_multiple_of(256) {
                (self.progress)(step, round, rounds);
            }
            let seed = |world| self.seed(stream, world, round);
            let (first, second) = (seed(0), seed(1));
            let release = setting.release_sum(self.mechanism, &pair.without, first)?;
            moments.add(&release);
            worlds.without.push(project(&release, &pair.direction));
            let release = setting.release_sum(self.mechanism, &pair.with, second)?;
            worlds.with.push(project(&release, &pair.direction));
        }
        Ok(worlds)
    }

    fn epsilon(
        &self,
        checks: &mut Vec<Check>,
        name: &str,
        setting: &Setting,
        worlds: &Worlds,
        clipped: f64,
    ) -> Result<f64, SimulationError> {
        let delta = self.subject.job().privacy.delta;
        let mut at_job = 0.0;
        for (which, delta) in [("at-0.01", AUDIT_DELTA), ("at-delta", delta)] {
            let bound = epsilon_lower_bound(worlds, delta, CONFIDENCE);
            let allowed = setting.accountant(delta)?;
            checks.push(Check::within(
                format!("black-box.{name}.{which}"),
                bound,
                None,
                Some(allowed),
                format!(
                    "lower bound on epsilon of one release at delta {delta:e}; canary {clipped:.1} \
                     times the clip norm"
                ),
            ));
            at_job = bound;
        }
        let q = setting.operation.sampling_rate;
        let mu = fitted(worlds) / q;
        checks.push(Check::estimate(
            format!("black-box.{name}.fit"),
            gaussian_epsilon(mu, q, AUDIT_DELTA),
            setting.accountant(AUDIT_DELTA)?,
            format!("epsilon at delta {AUDIT_DELTA} of Gaussians fitted to the same releases"),
        ));
        Ok(at_job)
    }
}

/// Shift of the mean over the standard deviation without the canary.
fn fitted(worlds: &Worlds) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let without = mean(&worlds.without);
    let squares: f64 = worlds.without.iter().map(|v| (v - without).powi(2)).sum();
    let deviation = (squares / (worlds.without.len().max(2) - 1) as f64).sqrt();
    (mean(&worlds.with) - without).abs() / deviation
}

fn noise_checks(setting: &Setting, moments: &Moments) -> [Check; 3] {
    let (variance, freedom) = moments.variance();
    let planned = setting.noise_sd().powi(2);
    let stray = normal_limit(SIGNIFICANCE_PER_CHECK) * (2.0 / freedom).sqrt();
    // Rounding adds a quarter at most, at each node.
    let rounding = setting.honest as f64 * 0.25 / planned;
    [
        Check::within(
            "noise.deviation",
            (variance / planned).sqrt(),
            Some((1.0 - stray).max(0.0).sqrt()),
            Some((1.0 + stray + rounding).sqrt()),
            "standard deviation of the sum's noise over the plan's",
        ),
        Check::p_value("noise.rounds", moments.rounds().p(), "p-value: noise of successive rounds"),
        Check::p_value(
            "noise.coordinates",
            moments.coordinates().p(),
            "p-value: noise of neighbouring coordinates",
        ),
    ]
}

fn neighbours(
    setting: &Setting,
    canary: &Record,
    company: &[Record],
    gradient: &[f64],
) -> Result<Neighbours, SimulationError> {
    let mut with = company.to_vec();
    with.push(canary.clone());
    let length = norm(gradient);
    Ok(Neighbours {
        without: vec![setting.dataset(company)?],
        with: vec![setting.dataset(&with)?],
        direction: gradient.iter().map(|g| g / length).collect(),
    })
}

fn project(release: &[i64], direction: &[f64]) -> f64 {
    release.iter().zip(direction).map(|(v, d)| *v as f64 * d).sum()
}
