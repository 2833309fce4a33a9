//! The gRPC services with their limits, and their clients. Who may call what is [`crate::access`]'s.

use tonic::service::Routes;
use tonic::transport::Channel;
use tributary_wire::limits::MAX_MESSAGE_BYTES;
use tributary_wire::v1::control_client::ControlClient;
use tributary_wire::v1::control_server::{Control, ControlServer};
use tributary_wire::v1::enrolment_client::EnrolmentClient;
use tributary_wire::v1::enrolment_server::{Enrolment, EnrolmentServer};
use tributary_wire::v1::federation_client::FederationClient;
use tributary_wire::v1::federation_server::{Federation, FederationServer};
use tributary_wire::v1::membership_client::MembershipClient;
use tributary_wire::v1::membership_server::{Membership, MembershipServer};

/// Puts the message limits on a generated service or client.
macro_rules! limited {
    ($service:expr) => {
        $service
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    };
}

/// The two services that every node needs, for [`crate::serve`], which puts the gate of
/// [`crate::access`] in front. All are limited to [`MAX_MESSAGE_BYTES`] per message.
pub fn routes(enrolment: impl Enrolment, federation: impl Federation) -> Routes {
    Routes::new(limited!(EnrolmentServer::new(enrolment)))
        .add_service(limited!(FederationServer::new(federation)))
}

/// Adds the services with which members keep their certificates and people do their work.
pub fn with_control(routes: Routes, membership: impl Membership, control: impl Control) -> Routes {
    routes
        .add_service(limited!(MembershipServer::new(membership)))
        .add_service(limited!(ControlServer::new(control)))
}

/// A client of the membership service with the federation's message limit.
pub fn membership_client(channel: Channel) -> MembershipClient<Channel> {
    MembershipClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// A client of the control service with the federation's message limit.
pub fn control_client(channel: Channel) -> ControlClient<Channel> {
    ControlClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// A client of the enrolment service with the federation's message limit.
pub fn enrolment_client(channel: Channel) -> EnrolmentClient<Channel> {
    EnrolmentClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// A client of the federation service with the federation's message limit. What it sends is not
/// limited here: the server's refusal names the size and the limit, a local one would surface as an
/// unexplained HTTP/2 reset.
pub fn federation_client(channel: Channel) -> FederationClient<Channel> {
    FederationClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}
