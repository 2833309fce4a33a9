//! Runs the cells of a problem, and keeps what they came to.
//!
//! A cell is one job with one seed, or one of the comparisons without federation. Its result is
//! kept with a hash of all that it depends on (job, tables, seed, trainer), so that it is found
//! again and a change of any of them computes it anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use tributary_job::{JobSpec, ModelState};
use tributary_training::{Dataset, Evaluation, evaluate};

use super::document::{Run, Site, What};
use super::problems::{Problem, Settings};
use super::{Options, tables::SITE_TEST};
use crate::baselines;
use crate::data::{Tables, all_rows};
use crate::error::{SimulationError, make_folder, write_file};
use crate::federation::{self, Setup};
use crate::replay::replay;

/// Runs cells of one problem.
pub struct Bench<'a> {
    problem: &'a Problem,
    options: &'a Options,
    tables: Tables,
    declared: Vec<u64>,
    sites: Vec<(String, Dataset)>,
    fingerprint: String,
    kept: PathBuf,
}

impl<'a> Bench<'a> {
    /// Loads the tables.
    pub fn new(problem: &'a Problem, options: &'a Options) -> Result<Self, SimulationError> {
        let Problem { job, data, .. } = problem;
        let tables = data.load(&job.agencies, &job.data)?;
        let mut sites = Vec::new();
        for agency in job.agencies.iter().filter(|_| problem.sites) {
            let path = data.root().join(agency).join(SITE_TEST);
            let table = Dataset::load_csv(&path, &job.data)
                .map_err(|e| SimulationError::Data(e.to_string()))?;
            sites.push((agency.clone(), table));
        }
        let kept = options.out.join("cells");
        make_folder(&kept)?;
        let fingerprint = fingerprint(problem)?;
        let declared = tables.sizes();
        Ok(Self { problem, options, tables, declared, sites, fingerprint, kept })
    }

    /// Every cell, from what was kept where it still holds.
    pub fn run(&mut self, progress: &mut dyn FnMut(&str)) -> Result<Vec<Run>, SimulationError> {
        let mut runs = self.comparisons(progress)?;
        let seeds = if self.options.quick { 1 } else { self.options.seeds };
        for settings in &self.problem.settings {
            for seed in 0..seeds {
                runs.push(self.federated(settings, seed, progress)?);
            }
        }
        Ok(runs)
    }

    fn federated(
        &self,
        settings: &Settings,
        seed: u32,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Run, SimulationError> {
        let job = self.problem.job(settings);
        let name = format!("{}-{}-{seed}", self.problem.name, settings.name());
        let key = self.key(&job, &name)?;
        if let Some(run) = self.kept(&name, &key) {
            return Ok(run);
        }
        progress(&name);
        let started = Instant::now();
        let setup = Setup {
            job: &job,
            data: &self.problem.data,
            declared: &self.declared,
            trainer: self.options.trainer,
            seed: u64::from(seed),
            faults: &[],
        };
        let mut outcome = federation::run(&setup, &mut |_| ())?;
        let seconds = started.elapsed().as_secs_f64();
        // The model is what the evidence says, every certificate checked.
        let folder = self.kept.join(format!("{name}.run"));
        let replayed = replay(&outcome.evidence.write(&folder)?, |_, _| Ok(()))?;
        std::fs::remove_dir_all(&folder).map_err(SimulationError::io(&folder))?;
        let epsilon = replayed
            .plan
            .epsilon()
            .map_err(|e| SimulationError::Federation(e.to_string()))?
            .map(|e| e.epsilon);
        outcome.round_millis.sort_by(f64::total_cmp);
        let middle = outcome.round_millis.get(outcome.round_millis.len() / 2).copied();
        let measured = self.measure(&job, &replayed.state, &self.tables.test)?;
        let mut sites = BTreeMap::new();
        for (agency, table) in &self.sites {
            sites.insert(agency.clone(), site(&self.measure(&job, &replayed.state, table)?)?);
        }
        let run = Run {
            problem: self.problem.name.to_owned(),
            what: What::Federated,
            mode: settings.label().to_owned(),
            target: settings.epsilon,
            seed,
            accuracy: accuracy(&measured)?,
            auc: measured.auc,
            sites,
            epsilon,
            delta: job.privacy.delta,
            noise_multiplier: replayed
                .plan
                .training
                .release
                .as_ref()
                .map(|r| r.parameters.noise_multiplier),
            rounds: settings.rounds,
            sampling_rate: settings.sampling_rate,
            clip_norm: settings.clip_norm,
            learning_rate: (
                job.training.learning_rate,
                job.training.final_learning_rate.unwrap_or(job.training.learning_rate),
            ),
            momentum: job.training.momentum,
            round_millis: middle,
            seconds,
            key,
        };
        self.keep(&name, &run)?;
        Ok(run)
    }

    /// All records pooled, and the mean of the agencies alone; without privacy.
    fn comparisons(&self, progress: &mut dyn FnMut(&str)) -> Result<Vec<Run>, SimulationError> {
        let job = &self.problem.job;
        let whats: &[What] = match self.problem.sites {
            true => &[What::Pooled, What::Alone, What::Cyclic],
            false => &[What::Pooled, What::Alone],
        };
        let names: Vec<_> = whats.iter().map(|w| (*w, w.cell(self.problem.name))).collect();
        let key = self.key(job, self.problem.name)?;
        let kept: Vec<Run> = names.iter().filter_map(|(_, name)| self.kept(name, &key)).collect();
        if kept.len() == names.len() {
            return Ok(kept);
        }
        progress(&format!("{}: without federation", self.problem.name));
        let started = Instant::now();
        let mut tests = vec![&self.tables.test];
        tests.extend(self.sites.iter().map(|(_, table)| table));
        let mut trained = baselines::run_on(job, &self.tables, &tests, self.options.trainer)?;
        let there = trained.split_off(1);
        let trained =
            trained.pop().ok_or_else(|| SimulationError::Trainer("no baseline".into()))?;
        let mut pooled_sites = BTreeMap::new();
        let mut alone_sites = BTreeMap::new();
        for ((agency, _), there) in self.sites.iter().zip(&there) {
            pooled_sites.insert(agency.clone(), site(&there.pooled)?);
            if let Some((_, own)) = there.silos.iter().find(|(name, _)| name == agency) {
                alone_sites.insert(agency.clone(), site(own)?);
            }
        }
        let (mut turns, mut turns_sites) = (None, BTreeMap::new());
        if whats.contains(&What::Cyclic) {
            let mut measured =
                baselines::cyclic(job, &self.tables, &tests, self.options.trainer)?.into_iter();
            turns = measured.next();
            for ((agency, _), there) in self.sites.iter().zip(measured) {
                turns_sites.insert(agency.clone(), site(&there)?);
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let mut runs = Vec::new();
        let silos = || trained.silos.iter().map(|(_, e)| e);
        let count = trained.silos.len().max(1) as f64;
        let mut mean = 0.0;
        for silo in silos() {
            mean += accuracy(silo)? / count;
        }
        let aucs: Vec<f64> = silos().filter_map(|e| e.auc).collect();
        let auc = (aucs.len() == trained.silos.len()).then(|| aucs.iter().sum::<f64>() / count);
        for (what, name) in names {
            let (accuracy, auc, sites) = match what {
                What::Alone => (mean, auc, std::mem::take(&mut alone_sites)),
                What::Cyclic => match &turns {
                    Some(turns) => (accuracy(turns)?, turns.auc, std::mem::take(&mut turns_sites)),
                    None => continue,
                },
                _ => (
                    accuracy(&trained.pooled)?,
                    trained.pooled.auc,
                    std::mem::take(&mut pooled_sites),
                ),
            };
            let run = Run {
                problem: self.problem.name.to_owned(),
                what,
                mode: "none".into(),
                target: None,
                seed: 0,
                accuracy,
                auc,
                sites,
                epsilon: None,
                delta: job.privacy.delta,
                noise_multiplier: None,
                rounds: 0,
                sampling_rate: 1.0,
                clip_norm: 0.0,
                learning_rate: (0.0, 0.0),
                momentum: 0.0,
                round_millis: None,
                seconds,
                key: key.clone(),
            };
            self.keep(&name, &run)?;
            runs.push(run);
        }
        Ok(runs)
    }

    fn measure(
        &self,
        job: &JobSpec,
        state: &ModelState,
        table: &Dataset,
    ) -> Result<Evaluation, SimulationError> {
        let (inputs, outputs) = (job.data.input_width(), job.data.output_width());
        let trainer = self.options.trainer.make(&job.model, inputs, outputs);
        let mut trainer = trainer.map_err(SimulationError::Trainer)?;
        let rows = all_rows(table);
        evaluate(trainer.as_mut(), &state.parameters, table, &rows, &state.normalisation)
            .map_err(|e| SimulationError::Trainer(e.to_string()))
    }

    fn key(&self, job: &JobSpec, name: &str) -> Result<String, SimulationError> {
        let job =
            serde_json::to_string(job).map_err(|e| SimulationError::Settings(e.to_string()))?;
        let trainer = self.options.trainer.name();
        let parts = [&job, &self.fingerprint, name, trainer, env!("CARGO_PKG_VERSION")];
        let parts = parts.map(str::as_bytes);
        Ok(hex::encode(tributary_secagg::hash("tributary/utility/v1", &parts).0))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.kept.join(format!("{name}.json"))
    }

    fn kept(&self, name: &str, key: &str) -> Option<Run> {
        let text = std::fs::read_to_string(self.path(name)).ok()?;
        serde_json::from_str(&text).ok().filter(|run: &Run| run.key == key)
    }

    fn keep(&self, name: &str, run: &Run) -> Result<(), SimulationError> {
        let path = self.path(name);
        let text = serde_json::to_string_pretty(run)
            .map_err(|e| SimulationError::Results { path: path.clone(), problem: e.to_string() })?;
        write_file(&path, text.as_bytes())
    }
}

fn accuracy(measured: &Evaluation) -> Result<f64, SimulationError> {
    measured.accuracy.filter(|a| a.is_finite()).ok_or_else(|| {
        SimulationError::Data("the accuracy on the held-out records is not defined".into())
    })
}

/// What one agency's own held-out records say.
fn site(measured: &Evaluation) -> Result<Site, SimulationError> {
    Ok(Site { accuracy: accuracy(measured)?, auc: measured.auc })
}

/// Hash of every table.
fn fingerprint(problem: &Problem) -> Result<String, SimulationError> {
    let mut digests = Vec::new();
    let trains = problem.job.agencies.iter().map(|a| problem.data.train(a));
    for path in trains.chain([problem.data.test()]) {
        let bytes = std::fs::read(&path).map_err(SimulationError::io(&path))?;
        digests.push(tributary_secagg::hash("tributary/utility/table/v1", &[&bytes]).0);
    }
    let parts: Vec<&[u8]> = digests.iter().map(|d| &d[..]).collect();
    Ok(hex::encode(tributary_secagg::hash("tributary/utility/tables/v1", &parts).0))
}
