//! Whether the job in progress may go on: somebody's word, the roster, the hours. Held before every
//! round, and before every charge as far as it is not about the hours: a round that began in time may
//! end.

use tributary_job::{Manifest, Plan};
use tributary_wire::Text;
use tributary_wire::session::{JobAnswer, RefusalCode};

use super::job::ActiveJob;
use super::{Engine, Now, Output, Record, reply};
use crate::audit::{self, Event};
use crate::consent::{Case, Grounds, Verdict, judge, pins};
use crate::policy::Refusal;

/// Why a job does not run now: a code and public words for the aggregator, words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Halt {
    pub(super) code: RefusalCode,
    pub(super) public: String,
    pub(super) local: String,
}

/// A job about which somebody is asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) plan: &'a Plan,
    /// As [`planned_epsilon`] has it.
    pub(super) epsilon: Option<f64>,
    /// The version of the dataset that is in memory.
    pub(super) loaded: Option<&'a str>,
}

/// Epsilon that a job plans for: `None` in mode `none`, infinite if it cannot be stated. Worth keeping.
pub(super) fn planned_epsilon(plan: &Plan) -> Option<f64> {
    plan.epsilon().map_or(Some(f64::INFINITY), |found| found.map(|e| e.epsilon))
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        let (code, public) = (refusal.code, refusal.text);
        Self { code, local: public.clone(), public }
    }
}

impl Halt {
    /// Whether it may pass by itself: a word that may still come, an hour that will.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.code, RefusalCode::NotApproved | RefusalCode::OutsideHours)
    }

    pub(super) fn answer(&self) -> JobAnswer {
        JobAnswer::Refused { code: self.code, text: Text::clipped(&self.public) }
    }
}

impl Engine {
    /// Somebody's word for a job.
    pub(super) fn word_for(&self, now: &Now, asked: &Asked<'_>) -> Result<Grounds, Halt> {
        let Asked { manifest, plan, epsilon, loaded } = *asked;
        let (spec, job) = (&manifest.spec, plan.job.to_string());
        let version = || {
            let source = self.setup.datasets.get(&spec.dataset);
            let source = source.ok_or_else(|| format!("no dataset {}", spec.dataset))?;
            let version = (source.version)()?;
            match loaded {
                Some(loaded) if *loaded != version => Err(format!(
                    "the dataset {} has changed since it was read for this job: it was version \
                     {loaded}, it is version {version}; an approval for the one is void for the other",
                    spec.dataset
                )),
                _ => Ok(version),
            }
        };
        let case = Case {
            agency: &self.setup.agency,
            job: &job,
            spec,
            epsilon,
            rounds: plan.rounds,
            now: now.time(),
            dataset_version: &version,
        };
        let halt = |code, local| Err(Halt { local, ..Refusal::new(code, "").into() });
        match judge(&self.setup.policy.approval, &self.consent, &case) {
            Verdict::Granted(grounds) => Ok(grounds),
            Verdict::Waits(local) => halt(RefusalCode::NotApproved, local),
            Verdict::Refused(local) => halt(RefusalCode::ApprovalRefused, local),
        }
    }

    /// Whether the job in progress may go on, whatever the hour.
    fn standing(&self, now: &Now, job: &ActiveJob) -> Result<Grounds, Halt> {
        let (trust, own) = (self.setup.policy.roster, &self.setup.agency);
        pins::check(trust, &self.consent, own, job.manifest()).map_err(|problem| {
            let public = Refusal::new(RefusalCode::PolicyRoster, "");
            Halt { local: problem.to_string(), ..public.into() }
        })?;
        let (manifest, plan, loaded) = (job.manifest(), job.plan(), Some(&*job.dataset_version));
        self.word_for(now, &Asked { manifest, plan, epsilon: job.epsilon, loaded })
    }

    /// The job in progress is offered again: the answer is where it stands.
    pub(super) fn answer_for_job(&mut self, now: &Now, out: &mut Vec<Output>) {
        let Some(job) = &self.job else { return };
        let hash = job.hash();
        match self.standing(now, job).and_then(|g| self.hour(now).map_or(Ok(g), Err)) {
            Ok(grounds) => {
                self.go_on(&grounds, out);
                out.push(reply(hash, JobAnswer::Accepted));
            }
            Err(halt) => {
                // Said anew in every session.
                self.paused = None;
                self.halt(now, &halt, out);
            }
        }
    }

    /// Looks again at what waits and at the job in progress: after somebody decided, and as time passes.
    pub fn reconsider(&mut self, now: &Now) -> Vec<Output> {
        let mut out = Vec::new();
        self.consider_again(now, &mut out);
        let Some(job) = &self.job else { return out };
        let running = job.running.is_some();
        match self.standing(now, job) {
            Err(halt) => self.halt(now, &halt, &mut out),
            Ok(grounds) => match self.hour(now) {
                Some(halt) if !running => self.halt(now, &halt, &mut out),
                Some(_) => {}
                None if self.paused.is_some() => {
                    let hash = job.hash();
                    self.go_on(&grounds, &mut out);
                    out.push(reply(hash, JobAnswer::Accepted));
                }
                None => {}
            },
        }
        if let Some(job) = &mut self.job {
            job.prepare_noise(&self.setup.randomness);
        }
        out
    }

    /// Whether a round may begin, or an attempt may be charged; otherwise halts the job.
    pub(super) fn may_go_on(&mut self, now: &Now, begins: bool, out: &mut Vec<Output>) -> bool {
        let Some(job) = &self.job else { return false };
        let halt = match self.standing(now, job) {
            Ok(_) if begins => self.hour(now),
            Ok(_) => None,
            Err(halt) => Some(halt),
        };
        match halt {
            Some(halt) => {
                self.halt(now, &halt, out);
                false
            }
            None => true,
        }
    }

    /// No round runs until it passes; for good where somebody said no.
    fn halt(&mut self, now: &Now, halt: &Halt, out: &mut Vec<Output>) {
        let Some(job) = &mut self.job else { return };
        job.abandon_round();
        if self.paused == Some(halt.code) {
            return;
        }
        self.paused = Some(halt.code);
        let (hash, name) = (job.hash(), job.manifest().spec.name.clone());
        out.push(Output::Note(format!("job {name} stops: {}: {}", halt.code, halt.local)));
        out.push(Output::Audit(Event::JobPaused {
            job: hex::encode(hash),
            code: halt.code.to_string(),
            why: halt.local.clone(),
        }));
        out.push(reply(hash, halt.answer()));
        if !halt.may_pass() {
            let outcome = format!("ended here: {}", halt.local);
            self.end_here(now, hash, &name, outcome, out);
        }
    }

    fn go_on(&mut self, grounds: &Grounds, out: &mut Vec<Output>) {
        if let (Some(_), Some(job)) = (self.paused.take(), &self.job) {
            out.push(Output::Note(format!("job {} goes on: {grounds}", job.manifest().spec.name)));
            let (job, grounds) = (job.hex(), grounds.to_string());
            out.push(Output::Audit(Event::JobResumed { job, grounds }));
        }
    }

    /// Closes the job in the book, erases its keys, and takes it up never again.
    pub(super) fn end_here(
        &mut self,
        now: &Now,
        hash: [u8; 32],
        name: &str,
        outcome: String,
        out: &mut Vec<Output>,
    ) {
        let hex = hex::encode(hash);
        let entry = match self.book.close(&hex, &now.0, &self.setup.identity) {
            Ok(entry) => entry,
            Err(error) => {
                out.push(Output::Note(error.to_string()));
                None
            }
        };
        out.push(Output::Note(format!("job {name} is over: {outcome}")));
        let (job, said) = (hex.clone(), outcome.clone());
        out.push(Output::Persist(Record::Ended { entry, job: hex, outcome }));
        out.push(Output::Audit(Event::JobEnded { job, outcome: said }));
        self.job = None;
        self.stuck = None;
        self.paused = None;
    }
}

/// A job as the audit record names it.
pub(super) fn job_event(manifest: &Manifest, plan: &Plan) -> audit::event::Job {
    let spec = &manifest.spec;
    audit::event::Job {
        hash: plan.job.to_string(),
        name: spec.name.clone(),
        dataset: spec.dataset.clone(),
        mode: spec.privacy.mode.name().to_owned(),
        epsilon: plan.epsilon().ok().flatten().map(|e| e.epsilon),
        delta: spec.privacy.delta,
        rounds: plan.rounds,
        agencies: spec.agencies.clone(),
    }
}
