//! A job offer: every check before anything is loaded, reserved or answered.

use tributary_job::manifest::offer_digest;
use tributary_job::{JobHash, Manifest, Plan};
use tributary_ledger::Entry;
use tributary_wire::Text;
use tributary_wire::session::{JobAnswer, JobOffer, RefusalCode};

use super::job::ActiveJob;
use super::{Engine, Now, Output, Record, reply};
use crate::book::BookError;
use crate::policy::Refusal;

impl Engine {
    pub(super) fn offered(&mut self, now: &Now, offer: &JobOffer, out: &mut Vec<Output>) {
        let hash = JobHash::of(&offer.manifest).0;
        let (manifest, plan) = match self.read_offer(offer) {
            Ok(read) => read,
            Err(refusal) => return refuse(hash, &refusal, out),
        };
        if let Some(job) = &self.job {
            if job.hash() == hash {
                out.push(reply(hash, JobAnswer::Accepted));
            } else {
                let text = format!("in job {}", job.manifest().spec.name);
                refuse(hash, &Refusal::new(RefusalCode::Busy, text), out);
            }
            return;
        }
        if let Err(refusal) = self.check_free(&hash) {
            return refuse(hash, &refusal, out);
        }
        match self.take_up(now, manifest, plan, out) {
            Ok(job) => {
                let spec = &job.manifest().spec;
                out.push(Output::Note(format!("accepted job {}: {}", spec.name, spec.description)));
                out.push(reply(hash, JobAnswer::Accepted));
                self.job = Some(Box::new(job));
            }
            Err(refusal) => refuse(hash, &refusal, out),
        }
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
        out: &mut Vec<Output>,
    ) -> Result<ActiveJob, Refusal> {
        self.setup.policy.check(&manifest, &plan)?;
        let text = manifest.to_canonical();
        let text = text.map_err(|e| Refusal::new(RefusalCode::BadManifest, e.to_string()))?;
        let dataset = manifest.spec.dataset.clone();
        let job = ActiveJob::prepare(&self.setup, manifest, plan)?;
        let entry = self.reserve(now, &job, &dataset).map_err(|e| {
            out.push(Output::Note(e.to_string()));
            match e {
                // Terms and a mode: nothing here depends on what was spent.
                BookError::OtherUnit { registered, job, .. } => {
                    let text = format!("protects a {job}, the dataset needs a {registered}");
                    Refusal::new(RefusalCode::PolicyMode, text)
                }
                _ => Refusal::new(RefusalCode::BudgetSpent, "see the node's log".to_owned()),
            }
        })?;
        out.push(Output::Persist(Record::Accepted { entry, job: job.hex(), manifest: text }));
        Ok(job)
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
}

fn refuse(hash: [u8; 32], refusal: &Refusal, out: &mut Vec<Output>) {
    out.push(Output::Note(format!("refused a job: {refusal}")));
    let text = Text::clipped(&refusal.text);
    out.push(reply(hash, JobAnswer::Refused { code: refusal.code, text }));
}
