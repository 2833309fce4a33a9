//! Every call by every kind of caller: the table says who gets through, and nobody else does.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::time::SystemTime;

use common::*;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tributary_transport::access::{ACCESS, Caller};
use tributary_transport::*;

/// Calls a path with an empty message, whatever the call expects.
async fn call(channel: Channel, path: &'static str) -> Status {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let request = Request::new(tokio_stream::iter([()]));
    match grpc.streaming(request, PathAndQuery::from_static(path), codec).await {
        Ok(mut answers) => match answers.get_mut().message().await {
            Ok(_) => Status::ok("answered"),
            Err(status) => status,
        },
        Err(status) => status,
    }
}

fn credentials(world: &World, member: &str) -> NodeCredentials {
    let request = CertificateRequest::generate().unwrap();
    let member: Member = member.parse().unwrap();
    let chain_pem =
        world.ca.issue_member(&request.request_der, &member, HOUR, SystemTime::now()).unwrap();
    let ca_pem = world.ca.certificate_pem().to_owned();
    NodeCredentials { ca_pem, chain_pem, key_pem: request.key_pem }
}

async fn channel(world: &World, caller: Caller) -> Channel {
    let options = ClientOptions::default();
    let member = match caller {
        Caller::Anonymous => {
            let ca = world.ca.fingerprint();
            return connect_for_enrolment(&world.endpoint, ca, &options).await.unwrap();
        }
        Caller::Agency => "north".to_owned(),
        Caller::Person(role) => format!("{role}/ada"),
    };
    connect(&world.endpoint, &credentials(world, &member), &options).await.unwrap()
}

#[tokio::test]
async fn every_call_by_every_kind_of_caller() {
    let world = World::start().await;
    let mut callers = vec![Caller::Anonymous, Caller::Agency];
    callers.extend(Role::ALL.map(Caller::Person));
    let (mut through, mut refused) = (0, 0);
    for caller in callers {
        for (path, allowed) in ACCESS {
            let status = call(channel(&world, caller).await, path).await;
            if allowed.contains(&caller) {
                // Control says so itself; the others complain about the empty message.
                let reached = matches!(
                    status.code(),
                    Code::DataLoss | Code::Ok | Code::InvalidArgument | Code::Internal
                );
                assert!(reached, "{caller:?} {path}: {status}");
                through += 1;
            } else {
                let expected = match caller {
                    Caller::Anonymous => Code::Unauthenticated,
                    _ => Code::PermissionDenied,
                };
                assert_eq!(status.code(), expected, "{caller:?} {path}: {status}");
                refused += 1;
            }
        }
    }
    assert_eq!((through, refused), (29, 31));
}

#[tokio::test]
async fn a_call_that_the_table_does_not_name_reaches_nothing() {
    let world = World::start().await;
    let path = "/tributary.v1.Control/Reboot";
    let operator = Caller::Person(Role::Operator);
    let status = call(channel(&world, operator).await, path).await;
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    let status = call(channel(&world, Caller::Anonymous).await, path).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

#[tokio::test]
async fn a_refusal_says_who_may_and_whom_to_ask() {
    let world = World::start().await;
    let researcher = Caller::Person(Role::Researcher);
    let path = "/tributary.v1.Control/Revoke";
    let status = call(channel(&world, researcher).await, path).await;
    for words in ["Revoke is for an operator", "researcher/ada", "ask an operator"] {
        assert!(status.message().contains(words), "{status}");
    }
}

#[tokio::test]
async fn a_member_has_a_bounded_number_of_connections() {
    let limits = ServerOptions { max_connections_per_member: 2, ..short() };
    let world = World::with(authority(), SystemTime::now(), &["127.0.0.1"], limits).await;
    let mut first = Session::open(world.connect("north").await).await.unwrap();
    let second = Session::open(world.connect("north").await).await.unwrap();
    let full = world.refusal(&world.node("north")).await;
    assert_eq!(full, TransportError::Closed { endpoint: world.address() });
    // Others are not affected, and a place that is given back can be taken.
    Session::open(world.connect("south").await).await.unwrap();
    first.receive().await.unwrap();
    drop(second);
    let again = async {
        let (node, options) = (world.node("north"), ClientOptions::default());
        while connect(&world.endpoint, &node, &options).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, again).await.expect("the place is not given back");
}

#[tokio::test]
async fn a_revoked_person_is_cut_off_and_others_are_not() {
    let world = World::start().await;
    let ada = credentials(&world, "auditor/ada");
    let options = ClientOptions::default();
    let channel = connect(&world.endpoint, &ada, &options).await.unwrap();
    let path = "/tributary.v1.Control/FetchEvidence";
    assert_eq!(call(channel, path).await.code(), Code::DataLoss);
    let refused =
        Refusals { keys: [ada.certificate().unwrap().key.0].into(), ..Refusals::default() };
    world.revocations.replace(refused);
    let error = world.refusal(&ada).await;
    assert_eq!(error, TransportError::Revoked { endpoint: world.address() });
    // The person comes back with another certificate.
    let again = credentials(&world, "auditor/ada");
    let channel = connect(&world.endpoint, &again, &options).await.unwrap();
    assert_eq!(call(channel, path).await.code(), Code::DataLoss);
}
