//! The gRPC service for people with a role. The gate in front has decided who may call what; here are
//! the two rules that depend on what is asked for.

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tributary_job::JobSpec;
use tributary_secagg::Identity;
use tributary_store::Store;
use tributary_transport::{Member, Role, require_member};
use tributary_wire::Text;
use tributary_wire::control::{
    FileChunk, IssueToken, IssuedToken, JobName, Revoke, SubmitJob, Submitted,
};
use tributary_wire::limits::{MAX_FILE_CHUNK_BYTES, MAX_NOTES};
use tributary_wire::v1;
use tributary_wire::v1::control_server::Control;
use zeroize::Zeroizing;

use crate::audit::{Act, Actor};
use crate::operations::{self, OperationError};
use crate::status::JobStatus;
use crate::trust::Trust;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What people do at the aggregator from their own machines.
pub struct ControlService<S> {
    pub(crate) store: S,
    pub(crate) trust: Arc<Trust>,
    pub(crate) identity: Arc<Identity>,
}

#[tonic::async_trait]
impl<S: Store> Control for ControlService<S> {
    type ListJobsStream = Answers<v1::JobReport>;
    type ListAgenciesStream = Answers<v1::AgencyReport>;
    type FetchModelStream = Answers<v1::FileChunk>;
    type FetchEvidenceStream = Answers<v1::FileChunk>;

    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobReply>, Status> {
        let (member, _) = require_member(&request)?;
        let ask = SubmitJob::try_from(request.into_inner()).map_err(malformed)?;
        let spec = JobSpec::from_toml(&ask.job_toml).map_err(malformed)?;
        let done =
            operations::submit(&self.store, &spec, &member.to_string(), &self.actor(&member))
                .await?;
        let job = JobName::parse("submitted.job", done.id).map_err(malformed)?;
        let notes = done.notes.iter().take(MAX_NOTES).map(Text::clipped).collect();
        Ok(Response::new(Submitted { job, notes }.into()))
    }

    async fn list_jobs(
        &self,
        _: Request<v1::ListJobsRequest>,
    ) -> Result<Response<Self::ListJobsStream>, Status> {
        let jobs = self.store.jobs().await.map_err(OperationError::from)?;
        let reports: Vec<_> = jobs.iter().map(|job| report(&JobStatus::of(job))).collect();
        Ok(answers(reports))
    }

    async fn job_status(
        &self,
        request: Request<v1::JobRequest>,
    ) -> Result<Response<v1::JobReport>, Status> {
        let job = self.job(request).await?;
        Ok(Response::new(report(&JobStatus::of(&job))?))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::JobRequest>,
    ) -> Result<Response<v1::CancelJobReply>, Status> {
        let (member, _) = require_member(&request)?;
        let id = JobName::try_from(request.into_inner()).map_err(malformed)?;
        // Whoever runs the service may end any job, a researcher an own one.
        let own_only = match &member {
            Member::Person(Role::Operator, _) => None,
            other => Some(other),
        };
        let actor = self.actor(&member);
        operations::cancel(&self.store, id.as_str(), &member.to_string(), own_only, &actor).await?;
        Ok(Response::new(v1::CancelJobReply {}))
    }

    async fn list_agencies(
        &self,
        _: Request<v1::ListAgenciesRequest>,
    ) -> Result<Response<Self::ListAgenciesStream>, Status> {
        let agencies = operations::agencies(&self.store).await?;
        Ok(answers(agencies.into_iter().map(|agency| Ok(agency.into())).collect()))
    }

    async fn issue_token(
        &self,
        request: Request<v1::IssueTokenRequest>,
    ) -> Result<Response<v1::IssueTokenReply>, Status> {
        let (caller, _) = require_member(&request)?;
        let ask = IssueToken::try_from(request.into_inner()).map_err(malformed)?;
        if matches!(ask.member, Member::Person(Role::Operator, _)) {
            // Else one stolen certificate would make itself at home for good.
            return Err(Status::permission_denied(
                "operators are made on the aggregator's own machine only: run `aggregator role \
                 token` there",
            ));
        }
        let authority = self.trust.authorities().serving().fingerprint();
        let actor = self.actor(&caller);
        let token =
            operations::issue_token(&self.store, authority, &ask.member, ask.valid_hours, &actor);
        let token = Zeroizing::new(token.await?.to_string());
        tracing::info!(%caller, member = %ask.member, "a token was issued from afar");
        Ok(Response::new(IssuedToken { token }.into()))
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeRequest>,
    ) -> Result<Response<v1::RevokeReply>, Status> {
        let (caller, _) = require_member(&request)?;
        let what = Revoke::try_from(request.into_inner()).map_err(malformed)?;
        let count = operations::revoke(&self.store, &what, &self.actor(&caller)).await?;
        tracing::info!(%caller, "a revocation from afar");
        self.trust.refresh(&self.store).await;
        let certificates = u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::new(v1::RevokeReply { certificates }))
    }

    async fn fetch_model(
        &self,
        request: Request<v1::JobRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        let (member, _) = require_member(&request)?;
        let job = self.job(request).await?;
        let refuse = |e: anyhow::Error| Status::failed_precondition(format!("{e:#}"));
        let release = crate::export::release(&self.store, &job).await.map_err(refuse)?;
        let card = release.card.files().map_err(|e| refuse(e.into()))?;
        self.note(&member, Act::ModelReleased { job: job.id }).await?;
        let mut files = chunks("model.safetensors", &release.model);
        files.extend(card.iter().flat_map(|(name, text)| chunks(name, text.as_bytes())));
        Ok(answers(files))
    }

    async fn fetch_evidence(
        &self,
        request: Request<v1::JobRequest>,
    ) -> Result<Response<Self::FetchEvidenceStream>, Status> {
        let (member, _) = require_member(&request)?;
        let job = self.job(request).await?;
        let files = crate::export::evidence(&self.store, &job)
            .await
            .map_err(|e| Status::failed_precondition(format!("{e:#}")))?;
        self.note(&member, Act::EvidenceGiven { job: job.id }).await?;
        Ok(answers(files.iter().flat_map(|(path, bytes)| chunks(path, bytes)).collect()))
    }
}

impl<S: Store> ControlService<S> {
    fn actor(&self, member: &Member) -> Actor {
        Actor::new(self.identity.clone(), member.to_string())
    }

    async fn note(&self, member: &Member, act: Act) -> Result<(), Status> {
        let noted = self.actor(member).note(&self.store, act).await;
        Ok(noted.map_err(OperationError::from)?)
    }

    async fn job(&self, request: Request<v1::JobRequest>) -> Result<tributary_store::Job, Status> {
        let id = JobName::try_from(request.into_inner()).map_err(malformed)?;
        Ok(operations::job(&self.store, id.as_str()).await?)
    }
}

impl From<OperationError> for Status {
    fn from(error: OperationError) -> Self {
        let text = error.to_string();
        match error {
            OperationError::Unknown(_) => Self::not_found(text),
            OperationError::Invalid(_) => Self::invalid_argument(text),
            OperationError::Refused(_) => Self::failed_precondition(text),
            OperationError::Store(_) => {
                tracing::error!("{text}");
                Self::unavailable("the aggregator cannot use its state; try again later")
            }
        }
    }
}

fn malformed(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

fn report(status: &JobStatus) -> Result<v1::JobReport, Status> {
    let json = serde_json::to_string(status).map_err(|e| Status::internal(e.to_string()))?;
    Ok(v1::JobReport { json })
}

fn answers<T: Send + 'static>(all: Vec<Result<T, Status>>) -> Response<Answers<T>> {
    Response::new(Box::pin(tokio_stream::iter(all)))
}

/// A file in pieces; an empty one is one empty piece.
fn chunks(path: &str, bytes: &[u8]) -> Vec<Result<v1::FileChunk, Status>> {
    let chunk = |data: &[u8]| Ok(FileChunk { path: path.to_owned(), data: data.to_vec() }.into());
    if bytes.is_empty() {
        return vec![chunk(&[])];
    }
    bytes.chunks(MAX_FILE_CHUNK_BYTES).map(chunk).collect()
}
