//! How a node and the aggregator reach each other: mutual TLS 1.3 with a post-quantum key
//! exchange, identities in certificates, enrolment, revocation, limits and errors that say what to
//! do.
//!
//! It knows sockets, certificates and the generated gRPC services. It must not know jobs, rounds,
//! budgets, databases or what is inside a frame. No claim of the secure-aggregation protocol rests
//! on this layer: TLS keeps outsiders out, signatures keep the aggregator honest.

mod accept;
pub mod backoff;
pub mod ca;
pub mod certificate;
pub mod client;
mod connector;
pub mod credentials;
pub mod enrol;
mod error;
pub mod files;
pub mod identity;
pub mod observe;
mod peer;
pub mod process;
mod proxy;
pub mod request;
mod revocation;
pub mod server;
mod services;
mod socket;
pub mod tls;
pub mod token;
mod verify;

pub use backoff::Backoff;
pub use ca::{CaError, CertificateAuthority};
pub use certificate::Fingerprint;
pub use client::{ClientOptions, connect, connect_for_enrolment};
pub use credentials::{CredentialsError, NodeCredentials, ServerCredentials};
pub use enrol::{EnrolError, Enrolment, enrol};
pub use error::{Step, TransportError};
pub use identity::{IdentityError, TrustDomain};
pub use peer::{PeerIdentity, PeerInfo, require_agency};
pub use proxy::{Proxy, ProxyError};
pub use request::CertificateRequest;
pub use revocation::{RevocationList, Revocations};
pub use server::{ServerOptions, ServerTls, serve};
pub use services::{enrolment_client, federation_client, routes};
pub use tls::install_provider;
pub use token::{EnrolmentToken, TokenError};
pub use tributary_wire::AgencyName;
