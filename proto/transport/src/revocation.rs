//! The live set of revoked agencies. The aggregator's store is where it comes from; here it is
//! only watched: at every handshake, at every call, and for as long as a connection lives.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tributary_wire::AgencyName;

/// The writing end, held by whoever knows the aggregator's store.
#[derive(Debug)]
pub struct Revocations(watch::Sender<Arc<BTreeSet<AgencyName>>>);

/// The reading end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RevocationList(watch::Receiver<Arc<BTreeSet<AgencyName>>>);

impl Revocations {
    /// Starts with the agencies that are revoked already.
    pub fn new(revoked: impl IntoIterator<Item = AgencyName>) -> Self {
        Self(watch::Sender::new(Arc::new(revoked.into_iter().collect())))
    }

    /// Replaces the set; live connections of agencies that are new in it are closed.
    pub fn replace(&self, revoked: impl IntoIterator<Item = AgencyName>) {
        self.0.send_replace(Arc::new(revoked.into_iter().collect()));
    }

    /// Adds one agency; its live connections are closed.
    pub fn revoke(&self, agency: AgencyName) {
        self.0.send_modify(|set| {
            Arc::make_mut(set).insert(agency);
        });
    }

    /// A reading end.
    pub fn list(&self) -> RevocationList {
        RevocationList(self.0.subscribe())
    }
}

impl RevocationList {
    /// Whether an agency is revoked now.
    pub fn contains(&self, agency: &AgencyName) -> bool {
        self.0.borrow().contains(agency)
    }

    /// Waits until an agency is revoked; forever if it never is.
    pub async fn until_revoked(mut self, agency: &AgencyName) {
        if self.0.wait_for(|set| set.contains(agency)).await.is_err() {
            // Nobody can revoke any more: the process is on its way out.
            std::future::pending::<()>().await;
        }
    }
}
