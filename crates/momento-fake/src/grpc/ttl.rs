//! Time to live: reading and changing it.

use std::time::Duration;

use momento_protos::cache_client as proto;
use momento_protos::cache_client::update_ttl_request::UpdateTtl;
use momento_protos::cache_client::{item_get_ttl_response, update_ttl_response};
use tonic::{Request, Response, Status};

use super::{Reply, Service, cache_name};
use crate::state::Access;

impl Service {
    pub(super) async fn item_get_ttl(
        &self,
        request: Request<proto::ItemGetTtlRequest>,
    ) -> Reply<proto::ItemGetTtlResponse> {
        self.enter("item_get_ttl", Access::Read, &request).await?;
        let cache = cache_name(&request)?;
        let key = request.into_inner().cache_key;
        let left = self.with(&cache, |shelf, now| shelf.get(&key, now).map(|item| item.expires - now))?;
        let result = match left {
            Some(left) => item_get_ttl_response::Result::Found(item_get_ttl_response::Found {
                remaining_ttl_millis: milliseconds(left),
            }),
            None => item_get_ttl_response::Result::Missing(item_get_ttl_response::Missing {}),
        };
        Ok(Response::new(proto::ItemGetTtlResponse { result: Some(result) }))
    }

    pub(super) async fn update_ttl(
        &self,
        request: Request<proto::UpdateTtlRequest>,
    ) -> Reply<proto::UpdateTtlResponse> {
        self.enter("update_ttl", Access::Write, &request).await?;
        let cache = cache_name(&request)?;
        let proto::UpdateTtlRequest { cache_key, update_ttl } = request.into_inner();
        let update = update_ttl.ok_or_else(|| Status::invalid_argument("an update of the time to live without one"))?;
        let (UpdateTtl::IncreaseToMilliseconds(wanted)
        | UpdateTtl::DecreaseToMilliseconds(wanted)
        | UpdateTtl::OverwriteToMilliseconds(wanted)) = update;
        let wanted = self.check_ttl(wanted)?;
        let set = self.with(&cache, |shelf, now| {
            let left = shelf.get(&cache_key, now)?.expires - now;
            let allowed = match update {
                UpdateTtl::IncreaseToMilliseconds(_) => wanted > left,
                UpdateTtl::DecreaseToMilliseconds(_) => wanted < left,
                UpdateTtl::OverwriteToMilliseconds(_) => true,
            };
            if allowed {
                shelf.set_ttl(&cache_key, wanted, now);
            }
            Some(allowed)
        })?;
        let result = match set {
            Some(true) => update_ttl_response::Result::Set(update_ttl_response::Set {}),
            Some(false) => update_ttl_response::Result::NotSet(update_ttl_response::NotSet {}),
            None => update_ttl_response::Result::Missing(update_ttl_response::Missing {}),
        };
        Ok(Response::new(proto::UpdateTtlResponse { result: Some(result) }))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
