//! The front door of the SDKs: two services on one port.

mod cache;
mod control;
mod scs;
mod ttl;

use std::sync::Arc;

use axum::Router;
use momento_protos::{cache_client::scs_server::ScsServer, control_client::scs_control_server::ScsControlServer};
use tonic::{Code, Request, Status, metadata::MetadataMap, service::Routes};

use crate::{
    faults::Fate,
    state::{Access, Denial, State},
};

/// Above the SDK's own cap of 10,486,000 bytes, so that the client meets its limit first, as with the service.
const MESSAGE_BYTES: usize = 12 << 20;

pub(crate) type Reply<T> = Result<tonic::Response<T>, Status>;

/// The data and the control plane.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    state: Arc<State>,
}

pub(crate) fn router(state: &Arc<State>) -> Router {
    let service = Service { state: Arc::clone(state) };
    let data = ScsServer::new(service.clone())
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    Routes::new(data).add_service(ScsControlServer::new(service)).into_axum_router()
}

impl Service {
    /// What every RPC goes through: counted, delayed, throttled or failed, its key checked.
    async fn enter<T>(&self, operation: &'static str, access: Access, request: &Request<T>) -> Result<(), Status> {
        let faults = *self.state.faults.borrow();
        match self.state.meet(operation, faults).await {
            Fate::Pass => {}
            Fate::Throttle => return Err(limit("operations_rate_limit_exceeded", "too many operations a second")),
            Fate::Fail => return Err(Status::unavailable("failed on demand")),
        }
        let key = text(request.metadata(), "authorization");
        self.state.admit(key, access).map_err(|denial| match denial {
            Denial::Unauthenticated => Status::unauthenticated("Invalid or missing API key"),
            Denial::Forbidden => Status::permission_denied("This API key may not write"),
        })
    }
}

/// The cache a request is about: the SDKs send it as metadata.
fn cache_name<T>(request: &Request<T>) -> Result<String, Status> {
    match text(request.metadata(), "cache") {
        Some(name) if !name.trim().is_empty() => Ok(name.to_owned()),
        _ => Err(Status::invalid_argument("the metadata `cache` is missing")),
    }
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name)?.to_str().ok()
}

/// The service tells its limits apart in the trailer `err`.
fn limit(cause: &'static str, message: &str) -> Status {
    with_cause(Status::resource_exhausted(message), cause)
}

fn no_such_cache(name: &str) -> Status {
    Status::new(Code::NotFound, format!("Cache not found: {name}"))
}

fn with_cause(mut status: Status, cause: &'static str) -> Status {
    status.metadata_mut().insert("err", tonic::metadata::MetadataValue::from_static(cause));
    status
}
