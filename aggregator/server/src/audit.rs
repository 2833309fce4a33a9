//! The aggregator's own record: who let whom in or out, submitted, ended or took what, and when.
//! Hash-chained and signed with the key that agencies pin. What rounds did is in each job's record.
//!
//! An entry is written once the act is done, so a crash between the two leaves an act without an entry:
//! what it did is still in the database. Nothing that a stranger can cause without a valid token is
//! written, and nothing that is secret.

use std::sync::Arc;

use anyhow::{Context, ensure};
use serde::Serialize;
use tributary_ledger::{Chain, Entry, Head, verify_lines};
use tributary_secagg::{Identity, VerifyingKey};
use tributary_store::{Store, StoreError};

use crate::data_dir::DataDir;
use crate::operations::utc;
use crate::unix_now;

/// Who acts where nobody asked for it.
pub const SERVICE: &str = "service";

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Act {
    /// The service began.
    ServiceStarted {
        /// Its version.
        version: &'static str,
    },
    /// The service came to its end in order.
    ServiceStopped,
    /// A one-time token was made.
    TokenIssued {
        /// For whom.
        member: String,
        /// How long it may be used, hours.
        valid_hours: u32,
    },
    /// A token was used up.
    Enrolled {
        /// Who is in now.
        member: String,
        /// The certificate's serial number.
        serial: String,
    },
    /// A certificate was renewed.
    Renewed {
        /// Whose.
        member: String,
        /// Serial number of the old one.
        from: String,
        /// Of the new one.
        serial: String,
    },
    /// A member, or one certificate, is refused from now on.
    Revoked {
        /// The member, or the certificate's serial number.
        target: String,
        /// Certificates that are refused by it.
        certificates: u64,
    },
    /// A job was queued.
    JobSubmitted {
        /// Its identifier.
        job: String,
        /// Epsilon that it plans for; none in mode `none`.
        epsilon: Option<f64>,
    },
    /// A job was cancelled.
    JobCancelled {
        /// Its identifier.
        job: String,
    },
    /// Every agency has accepted a job: it has its hash now.
    JobStarted {
        /// Its identifier.
        job: String,
        /// The hash of its manifest.
        hash: String,
    },
    /// A job is over.
    JobEnded {
        /// Its identifier.
        job: String,
        /// Whether all rounds are certified.
        complete: bool,
        /// Why not, or what came of it.
        reason: String,
    },
    /// A model was given out.
    ModelReleased {
        /// Of which job.
        job: String,
    },
    /// A job's evidence was given out.
    EvidenceGiven {
        /// Of which job.
        job: String,
    },
    /// A new certificate authority issues.
    AuthorityRotated {
        /// Its fingerprint.
        authority: String,
    },
    /// The old certificate authority is trusted no more.
    AuthorityRetired {
        /// Fingerprint of the one that is left.
        authority: String,
    },
    /// A copy of the state was made.
    BackupMade {
        /// Whether the keys are in it.
        keys: bool,
    },
    /// The state was put back from a copy.
    BackupRestored {
        /// When the copy was made, Unix seconds.
        made_at: i64,
    },
}

/// Whoever acts, with the key that signs the record.
#[derive(Clone)]
pub struct Actor {
    identity: Arc<Identity>,
    by: String,
}

impl Actor {
    /// A member, by its certificate, or the service itself.
    pub fn new(identity: Arc<Identity>, by: impl Into<String>) -> Self {
        Self { identity, by: by.into() }
    }

    /// Whoever runs a command on the aggregator's own machine.
    ///
    /// # Errors
    /// If the directory has no readable signing key.
    pub fn local(dir: &DataDir) -> anyhow::Result<Self> {
        let by = format!("local/{}", tributary_transport::process::operator());
        Ok(Self::new(Arc::new(dir.identity()?), by))
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// If it cannot be made durable.
    pub async fn note<S: Store>(&self, store: &S, event: Act) -> Result<(), StoreError> {
        const CORRUPT: StoreError = StoreError::Corrupt("the aggregator's own record");
        let mut body = serde_json::to_value(event).map_err(|_| CORRUPT)?;
        let fields = body.as_object_mut().ok_or(CORRUPT)?;
        let kind = fields.remove("what").ok_or(CORRUPT)?;
        fields.insert("by".into(), self.by.clone().into());
        let now = utc(u64::try_from(unix_now()).unwrap_or(0));
        let make = |last: Option<&str>| {
            let last = last.map(serde_json::from_str::<Entry>).transpose().map_err(|_| CORRUPT)?;
            let head = last.as_ref().map_or_else(Head::default, |last| Head {
                length: last.sequence + 1,
                hash: last.hash.clone(),
            });
            // A clock that was put back must not make the record look reordered.
            let at = last.map_or(now.clone(), |last| last.at.max(now.clone()));
            let mut chain = Chain::resume(head);
            let sign = |bytes: &[u8]| self.identity.sign(bytes);
            let entry = chain.append(&at, kind.as_str().unwrap_or_default(), body, sign);
            let entry = entry.map_err(|_| CORRUPT)?;
            Ok((entry.sequence, entry.to_line().map_err(|_| CORRUPT)?))
        };
        store.append_own(make).await
    }
}

/// Checks a record: chain, signatures, and that it contains a head that was noted earlier.
///
/// # Errors
/// At the first line that does not hold.
pub fn check(lines: &[String], key: &VerifyingKey, kept: Option<&Head>) -> anyhow::Result<Head> {
    let text = lines.join("\n");
    let mut found = kept.is_none_or(|kept| kept.length == 0);
    let head = verify_lines(text.as_bytes(), &key.0, |entry| {
        found |= kept.is_some_and(|k| k.length == entry.sequence + 1 && k.hash == entry.hash);
    })
    .context("the aggregator's own record")?;
    ensure!(
        found,
        "the aggregator's own record does not contain the head that was noted: entries are missing, or \
         it was written anew"
    );
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_store::SqliteStore;

    fn event(n: u32) -> Act {
        Act::TokenIssued { member: "nih".into(), valid_hours: n }
    }

    #[tokio::test]
    async fn entries_follow_each_other_from_several_processes_and_a_change_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("aggregator.db");
        let identity = Arc::new(Identity::generate().unwrap());
        drop(SqliteStore::open(&file).await.unwrap());
        let write = |by: &'static str| {
            let (actor, file) = (Actor::new(identity.clone(), by), file.clone());
            async move {
                let store = SqliteStore::open(&file).await.unwrap();
                for n in 0..10 {
                    actor.note(&store, event(n)).await.unwrap();
                }
            }
        };
        tokio::join!(write("local/root (uid 0)"), write("operator/ada"), write("service"));
        let store = SqliteStore::open(&file).await.unwrap();
        let lines = store.own_record().await.unwrap();
        let key = identity.verifying_key();
        let head = check(&lines, &key, None).unwrap();
        assert_eq!(head.length, 30);
        let entry: Entry = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(entry.kind, "token-issued");
        assert_eq!(entry.body["member"], "nih");
        // An earlier head is in it; a cut-off record has it no more.
        let cut = check(&lines[..20], &key, None).unwrap();
        assert_eq!(check(&lines, &key, Some(&cut)).unwrap(), head);
        assert!(check(&lines[..19], &key, Some(&cut)).is_err());
        // Changed, missing, reordered, signed by another.
        let changed = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            check(&lines, &key, None).unwrap_err();
        };
        changed(&|lines| lines[3] = lines[3].replace("nih", "nsa"));
        changed(&|lines| drop(lines.remove(3)));
        changed(&|lines| lines.swap(3, 4));
        let other = Identity::generate().unwrap().verifying_key();
        check(&lines, &other, None).unwrap_err();
    }
}
