//! The two gRPC services with their limits and gates, and their clients.

use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tributary_wire::limits::MAX_MESSAGE_BYTES;
use tributary_wire::v1::enrolment_client::EnrolmentClient;
use tributary_wire::v1::enrolment_server::{Enrolment, EnrolmentServer};
use tributary_wire::v1::federation_client::FederationClient;
use tributary_wire::v1::federation_server::{Federation, FederationServer};

use crate::peer::{admit_agency, identify};

/// Both services for [`crate::serve`]. Federation is behind a gate that admits agencies only;
/// both are limited to [`MAX_MESSAGE_BYTES`] per message.
pub fn routes(enrolment: impl Enrolment, federation: impl Federation) -> Routes {
    let enrolment = EnrolmentServer::new(enrolment)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let federation = FederationServer::new(federation)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(InterceptedService::new(enrolment, identify))
        .add_service(InterceptedService::new(federation, admit_agency))
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
