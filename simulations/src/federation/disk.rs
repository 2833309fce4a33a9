//! A virtual node's disk: what it made durable, and nothing else, survives its process.
//!
//! Mirrors what a node's database keeps. In memory only.

use tributary_ledger::Entry;
use tributary_node::engine::{Record, Secret, StoredJob};

/// Durable state of one virtual node.
#[derive(Debug, Default)]
pub struct Disk {
    book: Vec<Entry>,
    job: Option<Job>,
}

#[derive(Debug)]
struct Job {
    hash: String,
    manifest: String,
    epoch: Option<Secret>,
    state: Option<(Vec<u8>, Vec<u8>)>,
    answered: Option<(u32, u8)>,
    control: Option<Secret>,
}

impl Disk {
    /// Keeps a record, as the daemon's storage does.
    pub fn persist(&mut self, record: Record) {
        match record {
            Record::Book(entry) => self.book.push(entry),
            Record::Accepted { entry, job, manifest } => {
                self.book.extend(entry);
                let new = Job {
                    hash: job,
                    manifest,
                    epoch: None,
                    state: None,
                    answered: None,
                    control: None,
                };
                self.job = Some(new);
            }
            Record::Epoch { job, secret } => {
                if let Some(stored) = self.job_mut(&job) {
                    stored.epoch = Some(secret);
                }
            }
            Record::Answered { job, number } => {
                if let Some(stored) = self.job_mut(&job) {
                    stored.answered = Some(number);
                }
            }
            Record::State { job, state, certificate, control } => {
                if let Some(stored) = self.job_mut(&job) {
                    stored.state = Some((state, certificate));
                    stored.control = control.or(stored.control.take());
                }
            }
            Record::Control { job, control } => {
                if let Some(stored) = self.job_mut(&job) {
                    stored.control = Some(control);
                }
            }
            // A simulation has one process, which does not contradict itself.
            Record::Checkpoint { .. } => {}
            Record::Ended { entry, job, .. } => {
                self.book.extend(entry);
                if self.job_mut(&job).is_some() {
                    self.job = None;
                }
            }
            // A simulation asks nobody and keeps no list of peers.
            Record::Requested { .. } | Record::RequestClosed { .. } | Record::Pinned(_) => {}
        }
    }

    /// Entries of the budget book.
    pub fn book(&self) -> &[Entry] {
        &self.book
    }

    /// The job in progress.
    pub fn job(&self) -> Option<StoredJob> {
        self.job.as_ref().map(|job| StoredJob {
            manifest: job.manifest.clone(),
            epoch: job.epoch.as_ref().map(|secret| secret.0.to_vec()),
            state: job.state.clone(),
            answered: job.answered,
            control: job.control.as_ref().map(|control| control.0.to_vec()),
        })
    }

    fn job_mut(&mut self, hash: &str) -> Option<&mut Job> {
        self.job.as_mut().filter(|job| job.hash == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_of_the_job_in_progress() {
        let mut disk = Disk::default();
        let state = |job: &str, bytes: u8| Record::State {
            job: job.into(),
            state: vec![bytes],
            certificate: vec![0],
            control: None,
        };
        let ended =
            |job: &str| Record::Ended { entry: None, job: job.into(), outcome: String::new() };
        disk.persist(state("a", 9));
        assert!(disk.job().is_none());
        disk.persist(Record::Accepted { entry: None, job: "a".into(), manifest: "{}".into() });
        disk.persist(state("a", 1));
        disk.persist(state("b", 2));
        let stored = disk.job().unwrap();
        assert_eq!((stored.manifest.as_str(), stored.state), ("{}", Some((vec![1], vec![0]))));
        disk.persist(ended("b"));
        assert!(disk.job().is_some());
        disk.persist(ended("a"));
        assert!(disk.job().is_none());
    }
}
