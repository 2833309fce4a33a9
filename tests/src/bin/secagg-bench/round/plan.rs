//! What the processes of a run share: a folder with the plan, the credentials of each, the address
//! of the aggregator and what nodes say about their vectors.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tributary_secagg::{Digest, Identity, hash};
use tributary_transport::{
    AgencyName, CertificateAuthority, CertificateRequest, NodeCredentials, TrustDomain,
};

use crate::federation::{Federation, Size};

/// Validity of the run's certificates.
const DAY: Duration = Duration::from_secs(24 * 3600);

const PLAN: &str = "plan.json";
const AUTHORITY: &str = "ca.pem";
const ENDPOINT: &str = "endpoint";

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Nodes, parameters, bits.
    pub size: Size,
    /// Timed rounds; one more goes before.
    pub rounds: u32,
    /// Uploads at a time.
    pub uploads: NonZeroUsize,
    /// Threads of the aggregator's machine.
    pub threads: NonZeroUsize,
    /// Share of corrupt nodes.
    pub gamma: f64,
    /// Share of missing nodes.
    pub delta: f64,
    /// What the signing keys come from, in hexadecimal.
    pub seed: String,
}

impl Plan {
    /// Writes the plan and everybody's credentials below `dir`, from an authority made for it.
    ///
    /// # Errors
    /// If the parameters protect nobody, or a file cannot be written.
    pub fn prepare(&self, dir: &Path) -> Result<()> {
        self.federation()?;
        let now = SystemTime::now();
        let domain = TrustDomain::default();
        let (ca, _key) = CertificateAuthority::create("secagg-bench", domain, now, DAY)?;
        fs::write(dir.join(AUTHORITY), ca.certificate_pem())?;
        let own = folder(dir, "aggregator")?;
        ca.issue_server(&["127.0.0.1"], DAY, now)?.save(&own)?;
        for node in 0..self.size.nodes {
            let agency = AgencyName::new(name(node))?;
            let request = CertificateRequest::generate()?;
            let chain_pem = ca.issue_agency(&request.request_der, &agency, DAY, now)?;
            let ca_pem = ca.certificate_pem().to_owned();
            let credentials = NodeCredentials { ca_pem, chain_pem, key_pem: request.key_pem };
            credentials.save(&folder(dir, agency.as_str())?)?;
        }
        write_json(&dir.join(PLAN), self)
    }

    /// Reads the plan of a run.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(dir: &Path) -> Result<Self> {
        read_json(&dir.join(PLAN))
    }

    /// The parties.
    ///
    /// # Errors
    /// If there are no thresholds for them.
    pub fn federation(&self) -> Result<Federation> {
        let seed = Digest::from_hex(&self.seed)?;
        Federation::new(&self.size, self.gamma, self.delta, seed)
    }
}

/// A seed for the signing keys of a run: a fresh key's fingerprint is as random as any.
///
/// # Errors
/// If the system gives no randomness.
pub fn random_seed() -> Result<String> {
    Ok(hash("bench seed", &[&Identity::generate()?.verifying_key().0]).to_string())
}

/// The name of a node, in its certificate and of its folder.
pub fn name(node: u16) -> String {
    format!("node-{node}")
}

/// The node of that name.
pub fn node_of(name: &AgencyName) -> Option<u16> {
    name.as_str().strip_prefix("node-")?.parse().ok()
}

/// The authority of a run, PEM.
///
/// # Errors
/// If it cannot be read.
pub fn authority(dir: &Path) -> Result<String> {
    fs::read_to_string(dir.join(AUTHORITY)).context("cannot read the authority")
}

/// Tells the nodes where the aggregator listens.
///
/// # Errors
/// If it cannot be written.
pub fn announce(dir: &Path, endpoint: &str) -> Result<()> {
    replace(&dir.join(ENDPOINT), endpoint.as_bytes())
}

/// Where the aggregator listens, once it does.
pub fn endpoint(dir: &Path) -> Option<String> {
    fs::read_to_string(dir.join(ENDPOINT)).ok()
}

/// Where a node writes what it handed in.
pub fn handed_in(dir: &Path, node: u16, round: u32) -> PathBuf {
    dir.join(name(node)).join(format!("round-{round}.json"))
}

/// Writes a file that others read, whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    replace(path, &serde_json::to_vec(value)?)
}

/// Reads such a file.
///
/// # Errors
/// If it cannot be read or is something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("cannot parse {}", path.display()))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes)
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn folder(dir: &Path, name: &str) -> Result<PathBuf> {
    let folder = dir.join(name);
    fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}
