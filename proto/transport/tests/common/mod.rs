//! A small federation on the loopback interface: an authority, a server with both services, and
//! nodes that connect to it.

#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tributary_transport::*;
use tributary_wire::enrolment::{Enrol, Enrolled};
use tributary_wire::renewal::{Renew, Renewed};
use tributary_wire::session::{FromNode, Secagg, ToNode, Welcome};
use tributary_wire::v1::control_server::Control;
use tributary_wire::v1::enrolment_server::Enrolment as EnrolmentService;
use tributary_wire::v1::federation_server::Federation;
use tributary_wire::v1::membership_server::Membership;
use tributary_wire::v1::{
    AgencyReport, CancelJobReply, FileChunk, IssueTokenReply, IssueTokenRequest, JobReport,
    JobRequest, ListAgenciesRequest, ListJobsRequest, RevokeReply, RevokeRequest, SubmitJobReply,
    SubmitJobRequest,
};
use tributary_wire::v1::{
    EnrolReply, EnrolRequest, NodeFrame, RenewReply, RenewRequest, ServerFrame,
};
use tributary_wire::{PROTOCOL_VERSION, Text};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
pub const HOUR: Duration = Duration::from_secs(3600);

pub fn agency(name: &str) -> AgencyName {
    AgencyName::new(name).unwrap()
}

/// A fresh authority that has existed for a day.
pub fn authority() -> CertificateAuthority {
    let yesterday = SystemTime::now() - 24 * HOUR;
    CertificateAuthority::create("test", TrustDomain::default(), yesterday, 240 * HOUR).unwrap().0
}

/// Credentials of an agency, issued at `issued` for an hour.
pub fn node_credentials(
    ca: &CertificateAuthority,
    name: &str,
    issued: SystemTime,
) -> NodeCredentials {
    let request = CertificateRequest::generate().unwrap();
    let chain_pem = ca.issue_agency(&request.request_der, &agency(name), HOUR, issued).unwrap();
    NodeCredentials { ca_pem: ca.certificate_pem().to_owned(), chain_pem, key_pem: request.key_pem }
}

/// A running server.
pub struct World {
    pub ca: Arc<CertificateAuthority>,
    pub endpoint: String,
    pub port: u16,
    pub revocations: Revocations,
    pub tls: Arc<ServerTls>,
    /// What the enrolment service does to a reply before it is sent.
    pub tamper: Arc<Mutex<Option<Tamper>>>,
    /// What the membership service does to a reply before it is sent.
    pub renewing: Arc<Mutex<Option<RenewTamper>>>,
    pub stop: Option<oneshot::Sender<()>>,
    pub server: JoinHandle<Result<(), TransportError>>,
}

/// Gets the authority, the PKCS#10 request and the honest reply.
pub type Tamper = Box<dyn Fn(&CertificateAuthority, &[u8], &mut EnrolReply) + Send>;

/// The same for renewals.
pub type RenewTamper = Box<dyn Fn(&CertificateAuthority, &[u8], &mut RenewReply) + Send>;

impl World {
    pub async fn start() -> Self {
        Self::with(authority(), SystemTime::now(), &["localhost", "127.0.0.1"], short()).await
    }

    /// A server whose certificate was issued at `issued` for an hour.
    pub async fn with(
        ca: CertificateAuthority,
        issued: SystemTime,
        names: &[&str],
        options: ServerOptions,
    ) -> Self {
        let credentials = ca.issue_server(names, HOUR, issued).unwrap();
        Self::with_credentials(ca, credentials, options).await
    }

    pub async fn with_credentials(
        ca: CertificateAuthority,
        credentials: ServerCredentials,
        options: ServerOptions,
    ) -> Self {
        let ca = Arc::new(ca);
        let revocations = Revocations::new([]);
        let domain = TrustDomain::default();
        let tls =
            ServerTls::new(&credentials, ca.certificate_pem(), domain, revocations.list()).unwrap();
        let tls = Arc::new(tls);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tamper = Arc::new(Mutex::new(None));
        let enrolment = Desk { ca: ca.clone(), tamper: tamper.clone() };
        let renewing = Arc::new(Mutex::new(None));
        let renewal = Counter { ca: ca.clone(), tamper: renewing.clone() };
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(
            listener,
            tls.clone(),
            with_control(routes(enrolment, Echo), renewal, NoControl),
            options,
            async move { drop(stopped.await) },
        ));
        let endpoint = format!("https://127.0.0.1:{port}");
        Self { ca, endpoint, port, revocations, tls, tamper, renewing, stop: Some(stop), server }
    }

    /// Credentials of an agency, issued now.
    pub fn node(&self, name: &str) -> NodeCredentials {
        node_credentials(&self.ca, name, SystemTime::now())
    }

    /// Connects an agency that nothing is wrong with.
    pub async fn connect(&self, name: &str) -> tonic::transport::Channel {
        connect(&self.endpoint, &self.node(name), &ClientOptions::default()).await.unwrap()
    }

    /// Why these credentials do not get in.
    pub async fn refusal(&self, credentials: &NodeCredentials) -> TransportError {
        connect(&self.endpoint, credentials, &ClientOptions::default()).await.unwrap_err()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn token(&self, name: &str) -> EnrolmentToken {
        EnrolmentToken::new(agency(name), self.ca.fingerprint(), SystemTime::now() + HOUR).unwrap()
    }
}

/// Limits for tests.
pub fn short() -> ServerOptions {
    ServerOptions {
        handshake_timeout: Duration::from_secs(3),
        shutdown_grace: Duration::from_millis(200),
        ..ServerOptions::default()
    }
}

/// One session: what the node sends, and what comes back.
pub struct Session {
    pub to_server: mpsc::Sender<NodeFrame>,
    pub from_server: Streaming<ServerFrame>,
}

impl Session {
    pub async fn open(channel: tonic::transport::Channel) -> Result<Self, Status> {
        let (to_server, frames) = mpsc::channel(4);
        let mut client = federation_client(channel);
        let response = client.session(ReceiverStream::new(frames)).await?;
        Ok(Self { to_server, from_server: response.into_inner() })
    }

    pub async fn send(&self, frame: FromNode) {
        self.to_server.send(frame.into()).await.unwrap();
    }

    pub async fn receive(&mut self) -> Result<ToNode, Status> {
        let frame = self.from_server.message().await?.ok_or_else(|| Status::aborted("end"))?;
        Ok(frame.try_into().unwrap())
    }
}

/// Says who is there, then returns every secure-aggregation frame.
struct Echo;

#[tonic::async_trait]
impl Federation for Echo {
    type SessionStream = ReceiverStream<Result<ServerFrame, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<NodeFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        // The gate before the service has put this here; the handler checks nothing.
        let Some(PeerIdentity::Member(agency)) = request.extensions().get().cloned() else {
            return Err(Status::internal("the gate let a stranger in"));
        };
        let key_exchange = request.extensions().get::<PeerInfo>().unwrap().key_exchange;
        let mut frames = request.into_inner();
        let (sender, receiver) = mpsc::channel(4);
        let welcome = ToNode::Welcome(Welcome {
            protocol_version: PROTOCOL_VERSION,
            software_version: Text::clipped(format!("{agency} {key_exchange}")),
            unix_seconds: 0,
        });
        tokio::spawn(async move {
            if sender.send(Ok(welcome.into())).await.is_err() {
                return;
            }
            loop {
                let answer = match frames.message().await {
                    Ok(None) => return,
                    Ok(Some(frame)) => match FromNode::try_from(frame) {
                        Ok(FromNode::Secagg(m)) => Ok(ToNode::Secagg(m).into()),
                        Ok(_) => continue,
                        Err(error) => Err(Status::invalid_argument(error.to_string())),
                    },
                    Err(status) => Err(status),
                };
                let last = answer.is_err();
                if sender.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Issues a certificate to whoever shows a token of this authority.
struct Desk {
    ca: Arc<CertificateAuthority>,
    tamper: Arc<Mutex<Option<Tamper>>>,
}

#[tonic::async_trait]
impl EnrolmentService for Desk {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolReply>, Status> {
        assert!(request.extensions().get::<PeerIdentity>().is_some());
        let invalid = |e: &dyn std::fmt::Display| Status::invalid_argument(e.to_string());
        let request = Enrol::try_from(request.into_inner()).map_err(|e| invalid(&e))?;
        let token = EnrolmentToken::parse(&request.token).map_err(|e| invalid(&e))?;
        if token.member().to_string() == "unknown" {
            return Err(Status::permission_denied("this token is not known or was used"));
        }
        let now = SystemTime::now();
        let csr = request.certificate_request;
        let issue = |csr: &Vec<u8>| self.ca.issue_member(csr, token.member(), HOUR, now);
        let chain = csr.as_ref().map(issue).transpose().map_err(|e| invalid(&e))?;
        let mut reply = EnrolReply::from(Enrolled {
            certificate_chain_pem: chain,
            ca_pem: self.ca.certificate_pem().to_owned(),
            aggregator_signing_key: [8; 32],
            member: token.member().clone(),
        });
        if let Some(tamper) = self.tamper.lock().unwrap().as_ref() {
            tamper(&self.ca, &csr.unwrap_or_default(), &mut reply);
        }
        Ok(Response::new(reply))
    }
}

/// Renews for whoever has a certificate.
struct Counter {
    ca: Arc<CertificateAuthority>,
    tamper: Arc<Mutex<Option<RenewTamper>>>,
}

#[tonic::async_trait]
impl Membership for Counter {
    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let (member, _) = require_member(&request)?;
        let invalid = |e: &dyn std::fmt::Display| Status::invalid_argument(e.to_string());
        let request = Renew::try_from(request.into_inner()).map_err(|e| invalid(&e))?;
        let now = SystemTime::now();
        let csr = request.certificate_request;
        let issue = |csr: &Vec<u8>| self.ca.issue_member(csr, &member, HOUR, now);
        let mut reply = RenewReply::from(Renewed {
            certificate_chain_pem: csr.as_ref().map(issue).transpose().map_err(|e| invalid(&e))?,
            ca_pem: self.ca.certificate_pem().to_owned(),
            renew_now: false,
        });
        if let Some(tamper) = self.tamper.lock().unwrap().as_ref() {
            tamper(&self.ca, &csr.unwrap_or_default(), &mut reply);
        }
        Ok(Response::new(reply))
    }
}

/// Says of every call that it got through.
struct NoControl;

type Reached<T> = Result<Response<T>, Status>;

fn reached<T>() -> Reached<T> {
    Err(Status::data_loss("reached"))
}

#[tonic::async_trait]
impl Control for NoControl {
    type ListJobsStream = ReceiverStream<Result<JobReport, Status>>;
    type ListAgenciesStream = ReceiverStream<Result<AgencyReport, Status>>;
    type FetchModelStream = ReceiverStream<Result<FileChunk, Status>>;
    type FetchEvidenceStream = ReceiverStream<Result<FileChunk, Status>>;

    async fn submit_job(&self, _: Request<SubmitJobRequest>) -> Reached<SubmitJobReply> {
        reached()
    }
    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Reached<Self::ListJobsStream> {
        reached()
    }
    async fn job_status(&self, _: Request<JobRequest>) -> Reached<JobReport> {
        reached()
    }
    async fn cancel_job(&self, _: Request<JobRequest>) -> Reached<CancelJobReply> {
        reached()
    }
    async fn list_agencies(
        &self,
        _: Request<ListAgenciesRequest>,
    ) -> Reached<Self::ListAgenciesStream> {
        reached()
    }
    async fn issue_token(&self, _: Request<IssueTokenRequest>) -> Reached<IssueTokenReply> {
        reached()
    }
    async fn revoke(&self, _: Request<RevokeRequest>) -> Reached<RevokeReply> {
        reached()
    }
    async fn fetch_model(&self, _: Request<JobRequest>) -> Reached<Self::FetchModelStream> {
        reached()
    }
    async fn fetch_evidence(&self, _: Request<JobRequest>) -> Reached<Self::FetchEvidenceStream> {
        reached()
    }
}

/// A frame that the server returns.
pub fn ping(byte: u8) -> FromNode {
    FromNode::Secagg(Secagg { job: [byte; 32], frame: vec![byte; 100_000].into() })
}
