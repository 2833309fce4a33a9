//! The aggregator from a person's own machine: `aggregator connect` makes a folder with a key that
//! never leaves it, and the commands with `--identity` use it.
//!
//! The certificate is renewed, and a new authority learnt, whenever a command finds it time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tributary_secagg::VerifyingKey;
use tributary_transport::{
    ClientOptions, EnrolmentToken, Member, NodeCredentials, TransportError, control_client, files,
    renew,
};
use tributary_wire::control::{
    AgencyReport, FileChunk, IssueToken, IssuedToken, JobName, Revoke, SubmitJob, Submitted,
};
use tributary_wire::v1;
use tributary_wire::v1::control_client::ControlClient;
use zeroize::Zeroizing;

use crate::status::JobStatus;

/// File in the folder that makes it one.
const FILE: &str = "identity.toml";

/// `identity.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// `https://host:port`.
    aggregator: String,
    /// Role and name.
    member: String,
    /// The aggregator's signing key, hex: evidence is signed with it.
    aggregator_key: String,
}

/// Enrols a person, and makes the folder.
///
/// # Errors
/// If the folder is in use, or the aggregator refuses.
pub async fn connect(folder: &Path, aggregator: String, token: &str) -> anyhow::Result<()> {
    let file = folder.join(FILE);
    if file.exists() {
        bail!("{} holds an identity already; nothing was changed", folder.display());
    }
    let token = EnrolmentToken::parse(token)?;
    if let Member::Agency(agency) = token.member() {
        bail!("this token is for the node of agency {agency}: use it with `agency-node enrol`");
    }
    let version = env!("CARGO_PKG_VERSION");
    let options = ClientOptions::default();
    let done = tributary_transport::enrol(&aggregator, &token, None, version, &options).await?;
    done.credentials.save(folder)?;
    let key = VerifyingKey(done.aggregator_signing_key);
    let settings =
        Settings { aggregator, member: done.member.to_string(), aggregator_key: key.to_string() };
    files::save(&file, toml::to_string(&settings)?.as_bytes(), false)?;
    println!("connected as {}", settings.member);
    println!("compare with the central team, by another way than this connection:");
    println!("  the aggregator's signing key {}", key.fingerprint());
    Ok(())
}

/// A connection with a role.
pub struct Remote {
    client: ControlClient<Channel>,
}

impl Remote {
    /// Connects, and keeps the folder's certificate fresh.
    ///
    /// # Errors
    /// With what to do about it.
    pub async fn open(folder: &Path) -> anyhow::Result<Self> {
        tributary_transport::install_provider();
        let file = folder.join(FILE);
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!("{}: make an identity with `aggregator connect`", file.display())
        })?;
        let settings: Settings =
            toml::from_str(&text).with_context(|| format!("{}", file.display()))?;
        let credentials = NodeCredentials::load(folder)?;
        let options = ClientOptions::default();
        let open = tributary_transport::connect(&settings.aggregator, &credentials, &options).await;
        let channel = open.map_err(|error| match error {
            TransportError::OwnCertificateExpired { .. } | TransportError::Revoked { .. } => {
                anyhow::anyhow!("{error}. With the token: `aggregator connect` into a new folder")
            }
            error => error.into(),
        })?;
        keep_fresh(folder, &channel, credentials, &options).await;
        Ok(Self { client: control_client(channel) })
    }

    /// Queues a job.
    ///
    /// # Errors
    /// The aggregator's words.
    pub async fn submit(&mut self, job_toml: String) -> anyhow::Result<Submitted> {
        let request = v1::SubmitJobRequest::from(SubmitJob { job_toml });
        let reply = self.client.submit_job(request).await.map_err(words)?;
        Ok(reply.into_inner().try_into()?)
    }

    /// All jobs, oldest first.
    ///
    /// # Errors
    /// The aggregator's words.
    pub async fn jobs(&mut self) -> anyhow::Result<Vec<JobStatus>> {
        let stream = self.client.list_jobs(v1::ListJobsRequest {}).await.map_err(words)?;
        let reports = collect(stream.into_inner()).await?;
        reports.iter().map(|report| Ok(serde_json::from_str(&report.json)?)).collect()
    }

    /// One job.
    ///
    /// # Errors
    /// The aggregator's words.
    pub async fn status(&mut self, job: &str) -> anyhow::Result<JobStatus> {
        let reply = self.client.job_status(name(job)?).await.map_err(words)?;
        Ok(serde_json::from_str(&reply.into_inner().json)?)
    }

    /// Ends a job.
    ///
    /// # Errors
    /// The aggregator's words.
    pub async fn cancel(&mut self, job: &str) -> anyhow::Result<()> {
        self.client.cancel_job(name(job)?).await.map_err(words)?;
        Ok(())
    }

    /// All agencies.
    ///
    /// # Errors
    /// The aggregator's words.
    pub async fn agencies(&mut self) -> anyhow::Result<Vec<AgencyReport>> {
        let stream = self.client.list_agencies(v1::ListAgenciesRequest {}).await.map_err(words)?;
        let reports = collect(stream.into_inner()).await?;
        reports.into_iter().map(|report| Ok(report.try_into()?)).collect()
    }

    /// A one-time token.
    ///
    /// # Errors
    /// The aggregator's words.
    pub async fn token(
        &mut self,
        member: Member,
        valid_hours: u32,
    ) -> anyhow::Result<Zeroizing<String>> {
        let request = v1::IssueTokenRequest::from(IssueToken { member, valid_hours });
        let reply = self.client.issue_token(request).await.map_err(words)?;
        Ok(IssuedToken::try_from(reply.into_inner())?.token)
    }

    /// Refuses a member or a certificate; returns how many certificates that are.
    ///
    /// # Errors
    /// The aggregator's words.
    pub async fn revoke(&mut self, what: Revoke) -> anyhow::Result<u64> {
        let reply = self.client.revoke(v1::RevokeRequest::from(what)).await.map_err(words)?;
        Ok(reply.into_inner().certificates.into())
    }

    /// A job's model, as the bytes of its file, and what came with it by its name: the card.
    ///
    /// # Errors
    /// The aggregator's words.
    pub async fn model(
        &mut self,
        job: &str,
    ) -> anyhow::Result<(Vec<u8>, BTreeMap<&'static str, Vec<u8>>)> {
        let stream = self.client.fetch_model(name(job)?).await.map_err(words)?;
        let mut files = gather(stream.into_inner()).await?;
        let model = files.remove("model.safetensors").context("the aggregator sent no model")?;
        // No other names: what an aggregator sends chooses no path here.
        let known = [tributary_model::card::JSON, tributary_model::card::MARKDOWN];
        let card = known.into_iter().filter_map(|name| Some((name, files.remove(name)?)));
        Ok((model, card.collect()))
    }

    /// A job's evidence: relative paths and contents.
    ///
    /// # Errors
    /// The aggregator's words.
    pub async fn evidence(&mut self, job: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let stream = self.client.fetch_evidence(name(job)?).await.map_err(words)?;
        gather(stream.into_inner()).await
    }
}

/// Renews if it is time, and takes over other authorities. A failure costs nothing today.
async fn keep_fresh(
    folder: &Path,
    channel: &Channel,
    credentials: NodeCredentials,
    options: &ClientOptions,
) {
    let fresh = async {
        let refreshed = renew::refresh(channel.clone(), &credentials).await?;
        if refreshed.renew_now || SystemTime::now() >= credentials.renewal_due()? {
            let fresh = renew::renew(channel.clone(), &credentials, options).await?;
            return anyhow::Ok(Some(fresh));
        }
        Ok(refreshed.ca_pem.map(|ca_pem| NodeCredentials { ca_pem, ..credentials }))
    };
    let saved = match fresh.await {
        Ok(Some(fresh)) => fresh.save(folder).map_err(anyhow::Error::from),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = saved {
        eprintln!("note: the certificate in {} was not renewed: {error:#}", folder.display());
    }
}

async fn collect<T>(mut stream: Streaming<T>) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::new();
    while let Some(next) = stream.message().await.map_err(words)? {
        all.push(next);
    }
    Ok(all)
}

async fn gather(mut stream: Streaming<v1::FileChunk>) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some(chunk) = stream.message().await.map_err(words)? {
        let chunk = FileChunk::try_from(chunk)?;
        files.entry(chunk.path).or_default().extend(chunk.data);
    }
    Ok(files)
}

fn name(job: &str) -> anyhow::Result<v1::JobRequest> {
    Ok(JobName::parse("job", job.to_owned())?.into())
}

/// What went wrong, in the aggregator's words or the connection's.
fn words(status: Status) -> anyhow::Error {
    match TransportError::behind(&status) {
        Some(error) => error.into(),
        None if status.code() == Code::Unimplemented => {
            anyhow::anyhow!("the aggregator does not know this call: {}", status.message())
        }
        None => anyhow::anyhow!("the aggregator says: {}", status.message()),
    }
}

/// Reads a token from a file, or from standard input for `-`.
///
/// # Errors
/// If it cannot be read.
pub fn read_token(file: &PathBuf) -> anyhow::Result<Zeroizing<String>> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("reading the token")?
    } else {
        std::fs::read_to_string(file).with_context(|| format!("token file {}", file.display()))?
    };
    Ok(Zeroizing::new(text))
}
