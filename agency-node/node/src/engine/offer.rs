//! A job offer: every check before anything is loaded, reserved or answered.
//!
//! First what is public (signature, plan, policy, roster, budget), then somebody's word, then the hours.
//! An offer that only lacks a word or the hour waits: it is considered again when either comes.

use tributary_job::manifest::offer_digest;
use tributary_job::{JobHash, Manifest, Plan};
use tributary_ledger::Entry;
use tributary_wire::session::{JobAnswer, JobOffer, RefusalCode};

use super::job::{ActiveJob, job_cost, place};
use super::standing::{Asked, Halt, job_event, planned_epsilon};
use super::{Engine, Now, Output, Record, reply};
use crate::audit::Event;
use crate::book::{BookError, JobCost};
use crate::consent::pins::{self, NewPin};
use crate::consent::{Grounds, PeerRow};
use crate::policy::{Refusal, hours};

/// An offer that waits in this session for somebody's word or for the hour.
pub(super) struct Waiting {
    pub(super) hash: [u8; 32],
    manifest: Manifest,
    plan: Plan,
    epsilon: Option<f64>,
    /// What the aggregator was told.
    code: RefusalCode,
}

/// An offer that may be taken up.
struct Admitted {
    grounds: Grounds,
    new_pins: Vec<NewPin>,
}

impl Engine {
    pub(super) fn offered(&mut self, now: &Now, offer: &JobOffer, out: &mut Vec<Output>) {
        let hash = JobHash::of(&offer.manifest).0;
        let (manifest, plan) = match self.read_offer(offer) {
            Ok(read) => read,
            Err(refusal) => return self.refuse(now, hash, &refusal.into(), out),
        };
        if self.refusals.first_time(hash) && self.refusals.may_note(now) {
            let job = job_event(&manifest, &plan);
            let aggregator_key = self.setup.aggregator.fingerprint();
            out.push(Output::Audit(Event::OfferSeen { job, aggregator_key }));
        }
        if let Some(job) = &self.job {
            if job.hash() == hash {
                return self.answer_for_job(now, out);
            }
            let text = format!("in job {}", job.manifest().spec.name);
            return self.refuse(now, hash, &Refusal::new(RefusalCode::Busy, text).into(), out);
        }
        if let Err(refusal) = self.check_free(&hash) {
            return self.refuse(now, hash, &refusal.into(), out);
        }
        self.waiting = None;
        self.consider(now, manifest, plan, out);
    }

    /// Considers an offer that waits once more, if a word or the hour has come.
    pub(super) fn consider_again(&mut self, now: &Now, out: &mut Vec<Output>) {
        let Some(waiting) = &self.waiting else { return };
        let Waiting { manifest, plan, epsilon, .. } = waiting;
        let asked = Asked { manifest, plan, epsilon: *epsilon, loaded: None };
        let halt = self.word_for(now, &asked).err();
        if halt.or_else(|| self.hour(now)).is_some_and(|halt| halt.code == waiting.code) {
            return;
        }
        if let Some(Waiting { manifest, plan, .. }) = self.waiting.take() {
            self.consider(now, manifest, plan, out);
        }
    }

    fn consider(&mut self, now: &Now, manifest: Manifest, plan: Plan, out: &mut Vec<Output>) {
        let hash = plan.job.0;
        let admitted = match self.admit(now, &manifest, &plan) {
            Ok(admitted) => admitted,
            Err(halt) if halt.may_pass() => {
                self.ask(now, &manifest, hash, &halt, out);
                let (code, epsilon) = (halt.code, planned_epsilon(&plan));
                self.waiting = Some(Waiting { hash, manifest, plan, epsilon, code });
                return;
            }
            Err(halt) => return self.refuse(now, hash, &halt, out),
        };
        match self.take_up(now, manifest, plan, admitted, out) {
            Ok(job) => {
                let spec = &job.manifest().spec;
                out.push(Output::Note(format!("accepted job {}: {}", spec.name, spec.description)));
                out.push(reply(hash, JobAnswer::Accepted));
                self.job = Some(Box::new(job));
            }
            Err(halt) => self.refuse(now, hash, &halt, out),
        }
    }

    /// Stores the request durably, then says that it waits.
    fn ask(
        &mut self,
        now: &Now,
        manifest: &Manifest,
        hash: [u8; 32],
        halt: &Halt,
        out: &mut Vec<Output>,
    ) {
        let (job, at) = (hex::encode(hash), now.0.clone());
        if let Ok(manifest) = manifest.to_canonical() {
            out.push(Output::Persist(Record::Requested { job: job.clone(), manifest, at }));
        }
        let name = &manifest.spec.name;
        out.push(Output::Note(format!("job {name} waits: {}: {}", halt.code, halt.local)));
        if self.refusals.is_news(hash, halt) && self.refusals.may_note(now) {
            let why = self.refusals.with_left_out(&halt.local);
            out.push(Output::Audit(Event::RequestOpened { job, why }));
        }
        out.push(reply(hash, halt.answer()));
    }

    /// Everything that an offer must pass before a record is read.
    fn admit(&self, now: &Now, manifest: &Manifest, plan: &Plan) -> Result<Admitted, Halt> {
        self.setup.policy.check(manifest, plan)?;
        place(&self.setup, manifest, plan)?;
        let trust = self.setup.policy.roster;
        let new_pins = pins::check(trust, &self.consent, &self.setup.agency, manifest);
        let new_pins = new_pins.map_err(|problem| {
            let public = Refusal::new(RefusalCode::PolicyRoster, "");
            Halt { local: problem.to_string(), ..public.into() }
        })?;
        let cost = job_cost(manifest, plan)?;
        self.check_budget(now, &manifest.spec.dataset, plan, cost.as_ref())?;
        let epsilon = planned_epsilon(plan);
        let grounds = self.word_for(now, &Asked { manifest, plan, epsilon, loaded: None })?;
        match self.hour(now) {
            Some(halt) => Err(halt),
            None => Ok(Admitted { grounds, new_pins }),
        }
    }

    fn check_budget(
        &self,
        now: &Now,
        dataset: &str,
        plan: &Plan,
        cost: Option<&JobCost>,
    ) -> Result<(), Halt> {
        let job = plan.job.to_string();
        if let Some(cost) = cost {
            self.book.would_reserve(dataset, &job, cost).map_err(budget)?;
        }
        let most = self.setup.policy.max_epsilon_per_year;
        let year = self.book.year(dataset, &job, cost, now.time());
        match year.filter(|year| cost.is_some() && year.would_be > most) {
            Some(year) => Err(budget_spent(format!(
                "dataset {dataset}: this job would bring the last 365 days to epsilon {:.3} (delta \
                 {:e}), the policy allows {most} a year: {:.3} is spent or reserved in them. It fits \
                 again when older charges are a year old",
                year.would_be, year.delta, year.committed
            ))),
            None => Ok(()),
        }
    }

    /// Whether it is an hour at which rounds may run.
    pub(super) fn hour(&self, now: &Now) -> Option<Halt> {
        let windows = &self.setup.policy.hours;
        let Some(time) = now.time() else {
            let local = "this node does not know the time, and the policy names hours".to_owned();
            let public = Refusal::new(RefusalCode::OutsideHours, "");
            return (!windows.is_empty()).then(|| Halt { local, ..public.into() });
        };
        if hours::open(windows, time) {
            return None;
        }
        let next = hours::next_opening(windows, time).map_or_else(String::new, |next| {
            let format = &time::format_description::well_known::Rfc3339;
            next.format(format).map_or_else(|_| String::new(), |next| format!("until {next}"))
        });
        Some(Refusal::new(RefusalCode::OutsideHours, next).into())
    }

    /// Whether a job may be taken up here at all.
    fn check_free(&self, hash: &[u8; 32]) -> Result<(), Refusal> {
        let refuse = |code, text: &str| Err(Refusal::new(code, text));
        match &self.stuck {
            Some(stuck) if stuck == hash => {
                let text = "the stored state of this job cannot be resumed here";
                return refuse(RefusalCode::Unsupported, text);
            }
            Some(_) => {
                let text = "an earlier job waits for the agency's operator";
                return refuse(RefusalCode::Busy, text);
            }
            None => {}
        }
        // A job that is over stays over: its rounds are not run a second time.
        if self.book.is_closed(&hex::encode(hash)) {
            return refuse(RefusalCode::Unsupported, "this job has ended here before");
        }
        Ok(())
    }

    fn read_offer(&self, offer: &JobOffer) -> Result<(Manifest, Plan), Refusal> {
        let signed = offer_digest(&offer.manifest);
        self.setup.aggregator.verify(&signed.0, &offer.signature).map_err(|_| {
            let text = "not signed by the pinned aggregator key";
            Refusal::new(RefusalCode::BadSignature, text)
        })?;
        let bad = |text: String| Refusal::new(RefusalCode::BadManifest, text);
        let text = std::str::from_utf8(&offer.manifest).map_err(|e| bad(e.to_string()))?;
        let manifest = Manifest::from_canonical(text).map_err(|e| bad(e.to_string()))?;
        let plan = Plan::derive(&manifest).map_err(|e| bad(e.to_string()))?;
        if plan.roster.aggregator != self.setup.aggregator {
            return Err(bad("names another aggregator key than the pinned one".into()));
        }
        Ok((manifest, plan))
    }

    fn take_up(
        &mut self,
        now: &Now,
        manifest: Manifest,
        plan: Plan,
        admitted: Admitted,
        out: &mut Vec<Output>,
    ) -> Result<ActiveJob, Halt> {
        let text = manifest.to_canonical();
        let text = text.map_err(|e| Refusal::new(RefusalCode::BadManifest, e.to_string()))?;
        let dataset = manifest.spec.dataset.clone();
        let event = job_event(&manifest, &plan);
        let job = ActiveJob::prepare(&self.setup, manifest, plan)?;
        if let Grounds::Steward { name, dataset_version, .. } = &admitted.grounds
            && *dataset_version != job.dataset_version
        {
            let local = format!(
                "the dataset {dataset} has changed since {name} approved the job; the approval is void"
            );
            let public = Refusal::new(RefusalCode::NotApproved, "");
            return Err(Halt { local, ..public.into() });
        }
        let entry = self.reserve(now, &job, &dataset).map_err(budget)?;
        if admitted.grounds == Grounds::Automatic {
            // Nobody was asked: so that somebody can still say no.
            let (job, manifest, at) = (job.hex(), text.clone(), now.0.clone());
            out.push(Output::Persist(Record::Requested { job, manifest, at }));
        }
        self.pin(now, &job.hex(), admitted.new_pins, out);
        out.push(Output::Audit(Event::JobAccepted {
            job: event,
            grounds: admitted.grounds.to_string(),
            dataset_version: job.dataset_version.clone(),
        }));
        out.push(Output::Persist(Record::Accepted { entry, job: job.hex(), manifest: text }));
        Ok(job)
    }

    /// Pins keys by their first use, durably before the job is.
    fn pin(&mut self, now: &Now, job: &str, new: Vec<NewPin>, out: &mut Vec<Output>) {
        for NewPin { agency, fingerprint } in new {
            let how = format!("first use in job {job}");
            let (what, by) = ("pinned".to_owned(), how.clone());
            self.consent.peers.insert(agency.clone(), fingerprint.clone());
            let added = now.0.clone();
            let (agency_, fingerprint_) = (agency.clone(), fingerprint.clone());
            let row = PeerRow { agency: agency_, fingerprint: fingerprint_, how, added };
            out.push(Output::Persist(Record::Pinned(row)));
            out.push(Output::Audit(Event::Peer { what, agency, fingerprint, by }));
        }
    }

    /// Writes into the book what the job may cost, or that no number says it.
    fn reserve(
        &mut self,
        now: &Now,
        job: &ActiveJob,
        dataset: &str,
    ) -> Result<Option<Entry>, BookError> {
        let (hex, identity) = (job.hex(), &self.setup.identity);
        match job.cost() {
            Some(cost) => self.book.reserve(dataset, &hex, cost, &now.0, identity),
            None => self.book.accept_unprotected(dataset, &hex, &now.0, identity),
        }
    }

    /// Says no, here and there.
    pub(super) fn refuse(&mut self, now: &Now, hash: [u8; 32], halt: &Halt, out: &mut Vec<Output>) {
        if halt.local != halt.public {
            out.push(Output::Note(halt.local.clone()));
        }
        out.push(Output::Note(format!("refused a job: {}: {}", halt.code, halt.public)));
        if self.refusals.is_news(hash, halt) && self.refusals.may_note(now) {
            let why = self.refusals.with_left_out(&halt.local);
            let (job, code) = (hex::encode(hash), halt.code.to_string());
            out.push(Output::Audit(Event::JobRefused { job, code, why }));
        }
        out.push(reply(hash, halt.answer()));
    }
}

/// What the book says, and how much of it leaves.
fn budget(error: BookError) -> Halt {
    let local = error.to_string();
    match error {
        // Terms and a mode: nothing here depends on what was spent.
        BookError::OtherUnit { registered, job, .. } => {
            let text = format!("protects a {job}, the dataset needs a {registered}");
            Halt { local, ..Refusal::new(RefusalCode::PolicyMode, text).into() }
        }
        _ => budget_spent(local),
    }
}

fn budget_spent(local: String) -> Halt {
    Halt { local, ..Refusal::new(RefusalCode::BudgetSpent, "see the node's log").into() }
}
