//! The aggregator's signed word of where its record of the job ends, kept by every agency.
//!
//! Whoever keeps a checkpoint can tell later whether the record that is shown then goes through it. A
//! checkpoint that goes back, or names another entry at the same place, contradicts what was signed
//! before: the history was rewritten, or put back from a backup. This node then takes no further part
//! in the job, and says so.

use tributary_job::manifest::checkpoint_digest;
use tributary_wire::session::Checkpoint;

use super::job::ActiveJob;
use super::{Engine, Output, Record};
use crate::book::Book;

/// A checkpoint as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Entries of the record.
    pub length: u64,
    /// Hash of the last one.
    pub head: [u8; 32],
    /// The aggregator's signature over job, length and head.
    pub signature: [u8; 64],
    /// What it contradicts, if it does.
    pub conflict: Option<String>,
}

/// What is known of a record.
#[derive(Debug, Default)]
pub(super) struct History {
    newest: Option<(u64, [u8; 32])>,
    /// Why the record is not believed any more.
    pub(super) broken: Option<String>,
}

impl History {
    fn of(kept: &[Kept]) -> Self {
        let good = kept.iter().filter(|k| k.conflict.is_none());
        Self {
            newest: good.map(|k| (k.length, k.head)).max_by_key(|(length, _)| *length),
            broken: kept.iter().find_map(|k| k.conflict.clone()),
        }
    }

    /// What a new checkpoint contradicts; `None` if nothing.
    fn conflict(&self, new: &Checkpoint) -> Option<String> {
        let (length, head) = self.newest?;
        if new.length > length || (new.length == length && new.head == head) {
            return None;
        }
        let at = if new.length == length { "another entry at" } else { "only" };
        Some(format!(
            "the aggregator signed a record of {length} entries ending in {}, and now {at} {}, ending \
             in {}: its history was rewritten or put back from a backup. Keep both (`agency-node job \
             checkpoints`) and ask the central team",
            hex::encode(head),
            new.length,
            hex::encode(new.head)
        ))
    }
}

impl ActiveJob {
    /// Whether this node's own book knows of the newest certified round, if its vector is in that sum.
    /// If not, the whole data directory is an older one: then nobody here can tell what was released.
    pub(super) fn compare_with_book(&mut self, book: &Book, out: &mut Vec<Output>) {
        if !self.certificate.as_ref().is_some_and(|qc| qc.survivors.contains(self.me)) {
            return;
        }
        let round = qc_round(self.state.completed);
        if self.history.broken.is_some() || book.uploaded(&self.hex(), round) {
            return;
        }
        let why = format!(
            "a quorum has certified that this agency's vector is in the sum of round {round}, and the \
             budget book here does not know of it: the data directory was put back from a backup that \
             is older. Nothing more is released in this job. Stop the node and bring the book forward \
             from its newest export (`agency-node budget recover --export FILE`), or give the budgets \
             up (`agency-node budget recover --write-off`)"
        );
        out.push(Output::Note(why.clone()));
        self.history.broken = Some(why);
    }
}

/// The round that led to a state of so many rounds.
fn qc_round(completed: u32) -> u32 {
    completed.saturating_sub(1)
}

impl Engine {
    /// Takes up the checkpoints that were kept of the job in progress.
    pub fn recall(&mut self, kept: Vec<Kept>) {
        if let Some(job) = &mut self.job {
            job.history = History::of(&kept);
            let mut notes = Vec::new();
            job.compare_with_book(&self.book, &mut notes);
            for note in notes {
                if let Output::Note(text) = note {
                    tracing::error!("{text}");
                }
            }
        }
    }

    pub(super) fn checkpoint(&mut self, new: &Checkpoint, out: &mut Vec<Output>) {
        let Some(job) = self.job.as_mut().filter(|job| job.hash() == new.job) else { return };
        let signed = checkpoint_digest(&new.job, new.length, &new.head);
        if self.setup.aggregator.verify(&signed.0, &new.signature).is_err() {
            out.push(Output::Note(
                "a checkpoint that the aggregator's key did not sign; ignored".into(),
            ));
            return;
        }
        if job.history.newest == Some((new.length, new.head)) {
            return;
        }
        let conflict = job.history.conflict(new);
        match &conflict {
            Some(why) => {
                out.push(Output::Note(why.clone()));
                job.history.broken.get_or_insert_with(|| why.clone());
            }
            None => job.history.newest = Some((new.length, new.head)),
        }
        out.push(Output::Persist(Record::Checkpoint {
            job: job.hex(),
            length: new.length,
            head: new.head,
            signature: new.signature,
            conflict,
        }));
    }
}
