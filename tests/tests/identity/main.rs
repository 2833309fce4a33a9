//! Identity with the real binaries: certificates that renew themselves, revocation, roles, another
//! authority while rounds run, authorities of the agencies' own, and what the port speaks.

#![allow(clippy::unwrap_used, clippy::panic)]

mod help;
mod pki;
mod renewal;
mod revocation;
mod roles;
mod rotation;
mod tls;
