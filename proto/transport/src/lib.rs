//! How a node and the aggregator reach each other: mutual TLS 1.3 with a post-quantum key
//! exchange, identities in certificates, enrolment, revocation, limits and errors that say what to
//! do.
//!
//! It knows sockets, certificates and the generated gRPC services. It must not know jobs, rounds,
//! budgets, databases or what is inside a frame. No claim of the secure-aggregation protocol rests
//! on this layer: TLS keeps outsiders out, signatures keep the aggregator honest.

mod accept;
pub mod access;
pub mod backoff;
pub mod ca;
pub mod certificate;
pub mod client;
mod complaints;
mod connector;
pub mod credentials;
pub mod enrol;
mod error;
pub mod files;
pub mod identity;
pub mod members;
pub mod observe;
mod peer;
pub mod process;
mod proxy;
pub mod renew;
pub mod request;
pub mod revocation;
mod seats;
pub mod server;
mod services;
mod socket;
pub mod tls;
pub mod token;
mod verify;

pub use backoff::Backoff;
pub use ca::{CaError, CertificateAuthority};
pub use certificate::Fingerprint;
pub use client::{ClientOptions, connect, connect_for_enrolment, connect_for_enrolment_with};
pub use credentials::{CredentialsError, NodeCredentials, ServerCredentials};
pub use enrol::{EnrolError, Enrolment, OwnCertificate, enrol, enrol_with};
pub use error::{Step, TransportError};
pub use identity::{ForeignName, IdentityError, TrustDomain};
pub use members::{ClientAuthorities, ForeignAuthority};
pub use peer::{PeerIdentity, PeerInfo, require_agency, require_member};
pub use proxy::{Proxy, ProxyError};
pub use renew::RenewError;
pub use request::CertificateRequest;
pub use revocation::{PeerCertificate, Refusals, RevocationList, Revocations};
pub use server::{ServerOptions, ServerTls, serve};
pub use services::{
    control_client, enrolment_client, federation_client, membership_client, routes, with_control,
};
pub use tls::install_provider;
pub use token::{EnrolmentToken, TokenError};
pub use tributary_wire::{AgencyName, Member, PersonName, Role};
