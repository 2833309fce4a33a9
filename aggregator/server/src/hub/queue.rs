//! Which job runs: the queue, gathering a job's agencies, beginning it, and taking it up again.
//!
//! Jobs run one at a time. The oldest whose agencies are all there begins: one that waits for a
//! missing agency does not hold up those behind it.

use tributary_job::{JobHash, JobSpec, Manifest};
use tributary_round::{Coordinator, Effect, Event, Gathering, Snapshot};
use tributary_store::{Commit, Job, JobHead, JobState, Store, StoreError};

use super::effects::commit_of;
use super::{Hub, Running};
use crate::audit::{Act, Actor, SERVICE};
use crate::bridge::Bridge;

/// A job that waits for its agencies.
pub(super) struct Waiting {
    gathering: Gathering,
    /// What was last said about it.
    said: String,
}

impl Waiting {
    /// An agency went away.
    pub(super) fn absent(&mut self, agency: &str) {
        self.gathering.absent(agency);
    }
}

impl<S: Store> Hub<S> {
    /// Takes up the job that has begun, or else the oldest whose agencies are all there.
    pub(super) async fn next_job(&mut self) -> anyhow::Result<()> {
        let open = self.store.open_jobs().await?;
        self.waiting.retain(|id, _| open.iter().any(|j| j.id == *id));
        // One that has begun goes first: jobs of the same second are in no order.
        if let Some(begun) = open.iter().find(|j| j.state == JobState::Training) {
            if let Some(job) = self.store.job(&begun.id).await? {
                self.waiting.clear();
                return self.restore(job).await;
            }
            return Ok(());
        }
        for JobHead { id, .. } in open {
            self.look_at(id).await?;
            if self.job.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Looks whether everybody of a waiting job is there; begins it, or says who is not.
    async fn look_at(&mut self, id: String) -> anyhow::Result<()> {
        if !self.waiting.contains_key(&id) {
            let Some(job) = self.store.job(&id).await? else { return Ok(()) };
            match JobSpec::from_toml(&job.specification) {
                Ok(spec) => {
                    tracing::info!(job = %id, "gathering agencies");
                    let waiting = Waiting { gathering: Gathering::new(spec), said: String::new() };
                    self.waiting.insert(id.clone(), waiting);
                }
                Err(error) => return self.fail(&id, error.to_string()).await,
            }
        }
        let Some(Waiting { gathering, said }) = self.waiting.get_mut(&id) else { return Ok(()) };
        let dataset = gathering.spec().dataset.clone();
        for (agency, session) in &self.sessions {
            let offered = session.hello.datasets.iter().find(|d| d.name.as_str() == dataset);
            gathering.present(agency, offered.map_or(0, |d| d.declared_records));
        }
        let missing = gathering.missing().join(", ");
        if !missing.is_empty() {
            let reason = format!("waiting for agencies with dataset {dataset}: {missing}");
            if *said != reason {
                said.clone_from(&reason);
                let state = Some((JobState::Waiting, reason));
                let commit = Commit { state, ..Commit::default() };
                self.store.commit(&id, &commit).await?;
            }
            return Ok(());
        }
        let agencies = self.store.agencies().await?;
        let key_of = |name: &str| {
            let agency = agencies.iter().find(|a| a.name == name && a.revoked_at.is_none())?;
            Some(hex::encode(agency.signing_key))
        };
        let aggregator = self.identity.verifying_key().to_string();
        let Some(manifest) = gathering.manifest(key_of, aggregator, id.clone()) else {
            return Ok(());
        };
        self.waiting.clear();
        self.begin(id, manifest).await
    }

    async fn begin(&mut self, id: String, manifest: Manifest) -> anyhow::Result<()> {
        let begun = manifest.to_canonical().map_err(anyhow::Error::from).and_then(|text| {
            let identity = self.identity.clone();
            let bridge = Bridge::new(&manifest, &identity)?;
            let begun = Coordinator::begin(manifest, identity, self.timeouts, self.now())?;
            Ok((text, bridge, begun))
        });
        let (text, bridge, (mut coordinator, effects)) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.fail(&id, format!("{error:#}")).await,
        };
        coordinator.set_capacity(self.capacity);
        // One commit: a job that trains has its manifest, its first entry and its snapshot.
        let mut effects = effects.into_iter();
        let first = match effects.next() {
            Some(Effect::Persist(step)) => commit_of(*step)?,
            _ => Commit::default(),
        };
        let state = Some((JobState::Training, String::new()));
        let hash = JobHash::of(text.as_bytes()).to_string();
        let commit = Commit { state, manifest: Some(text), ..first };
        self.store.commit(&id, &commit).await?;
        tracing::info!(job = %id, "job begins");
        let event = Act::JobStarted { job: id.clone(), hash };
        Actor::new(self.identity.clone(), SERVICE).note(&self.store, event).await?;
        self.job = Some(Running::new(id, coordinator, bridge));
        self.carry_out(effects.collect()).await?;
        self.announce_all().await
    }

    async fn restore(&mut self, job: Job) -> anyhow::Result<()> {
        // A database that cannot be read now is no reason to fail the job.
        let certified = self.store.state(&job.id).await?.map(|s| (s.bytes, s.certificate));
        let restored = || {
            let text = job.manifest.as_deref().ok_or(StoreError::Corrupt("job.manifest"))?;
            let manifest = Manifest::from_canonical(text)?;
            let snapshot = job.snapshot.as_deref().ok_or(StoreError::Corrupt("job.snapshot"))?;
            let snapshot: Snapshot = serde_json::from_slice(snapshot)?;
            let identity = self.identity.clone();
            let bridge = Bridge::new(&manifest, &identity)?;
            let mut coordinator = Coordinator::restore(
                manifest,
                identity,
                self.timeouts,
                self.now(),
                &snapshot,
                certified,
            )?;
            coordinator.set_capacity(self.capacity);
            anyhow::Ok(Running::new(job.id.clone(), coordinator, bridge))
        };
        match restored() {
            Ok(running) => {
                let round = running.coordinator.state().completed;
                tracing::info!(job = %running.id, round, "job goes on after a restart");
                self.job = Some(running);
                self.announce_all().await
            }
            Err(error) => self.fail(&job.id, format!("{error:#}")).await,
        }
    }

    async fn announce_all(&mut self) -> anyhow::Result<()> {
        let mut there: Vec<String> = self.sessions.keys().cloned().collect();
        there.sort();
        for agency in there {
            self.arrived(&agency).await?;
        }
        Ok(())
    }

    pub(super) async fn check_cancelled(&mut self) -> anyhow::Result<()> {
        let Some(id) = self.job.as_ref().map(|j| j.id.clone()) else { return Ok(()) };
        match self.store.job_state(&id).await? {
            Some((JobState::Failed, reason)) => self.event(Event::Cancelled(reason)).await,
            _ => Ok(()),
        }
    }

    async fn fail(&mut self, id: &str, reason: String) -> anyhow::Result<()> {
        tracing::error!(job = %id, %reason, "job failed");
        self.waiting.remove(id);
        let state = Some((JobState::Failed, reason.clone()));
        self.store.commit(id, &Commit { state, ..Commit::default() }).await?;
        let act = Act::JobEnded { job: id.to_owned(), complete: false, reason };
        Ok(Actor::new(self.identity.clone(), SERVICE).note(&self.store, act).await?)
    }
}
