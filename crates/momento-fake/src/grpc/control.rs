//! The control plane: caches are made, listed, flushed and removed.

use std::collections::btree_map::Entry;

use momento_protos::control_client::{self as proto, scs_control_server::ScsControl};
use tonic::{Request, Response, Status, async_trait};

use super::{Reply, Service, no_such_cache};
use crate::{shelf::Shelf, state::Access};

macro_rules! unanswered {
    ($name:literal) => {
        Err(Status::unimplemented(concat!("momento-fake does not answer ", $name)))
    };
}

#[async_trait]
impl ScsControl for Service {
    async fn create_cache(&self, request: Request<proto::CreateCacheRequest>) -> Reply<proto::CreateCacheResponse> {
        self.enter("create_cache", Access::Write, &request).await?;
        let name = request.into_inner().cache_name;
        if name.trim().is_empty() {
            return Err(Status::invalid_argument("the name of the cache is empty"));
        }
        match self.state.lock().caches.entry(name) {
            Entry::Occupied(entry) => Err(Status::already_exists(format!("Cache already exists: {}", entry.key()))),
            Entry::Vacant(entry) => {
                entry.insert(Shelf::new(self.state.limits.memory_bytes));
                Ok(Response::new(proto::CreateCacheResponse {}))
            }
        }
    }

    async fn delete_cache(&self, request: Request<proto::DeleteCacheRequest>) -> Reply<proto::DeleteCacheResponse> {
        self.enter("delete_cache", Access::Write, &request).await?;
        let name = request.into_inner().cache_name;
        match self.state.lock().caches.remove(&name) {
            Some(_) => Ok(Response::new(proto::DeleteCacheResponse {})),
            None => Err(no_such_cache(&name)),
        }
    }

    async fn list_caches(&self, request: Request<proto::ListCachesRequest>) -> Reply<proto::ListCachesResponse> {
        self.enter("list_caches", Access::Read, &request).await?;
        let limits = &self.state.limits;
        let cache_limits = proto::CacheLimits {
            max_traffic_rate: 100,
            max_throughput_kbps: 0,
            max_item_size_kb: u32::try_from(limits.item_bytes / 1000).unwrap_or(u32::MAX),
            max_ttl_seconds: limits.ttl.as_secs(),
        };
        let cache = self
            .state
            .lock()
            .caches
            .keys()
            .map(|name| proto::Cache {
                cache_name: name.clone(),
                cache_limits: Some(cache_limits),
                topic_limits: None,
                cache_id: name.clone(),
            })
            .collect();
        Ok(Response::new(proto::ListCachesResponse { cache, next_token: String::new() }))
    }

    async fn flush_cache(&self, request: Request<proto::FlushCacheRequest>) -> Reply<proto::FlushCacheResponse> {
        self.enter("flush_cache", Access::Write, &request).await?;
        let name = request.into_inner().cache_name;
        self.with(&name, |shelf, _| shelf.clear())?;
        Ok(Response::new(proto::FlushCacheResponse {}))
    }

    async fn create_signing_key(
        &self,
        _: Request<proto::CreateSigningKeyRequest>,
    ) -> Reply<proto::CreateSigningKeyResponse> {
        unanswered!("create_signing_key")
    }

    async fn revoke_signing_key(
        &self,
        _: Request<proto::RevokeSigningKeyRequest>,
    ) -> Reply<proto::RevokeSigningKeyResponse> {
        unanswered!("revoke_signing_key")
    }

    async fn list_signing_keys(
        &self,
        _: Request<proto::ListSigningKeysRequest>,
    ) -> Reply<proto::ListSigningKeysResponse> {
        unanswered!("list_signing_keys")
    }

    async fn create_index(&self, _: Request<proto::CreateIndexRequest>) -> Reply<proto::CreateIndexResponse> {
        unanswered!("create_index")
    }

    async fn delete_index(&self, _: Request<proto::DeleteIndexRequest>) -> Reply<proto::DeleteIndexResponse> {
        unanswered!("delete_index")
    }

    async fn list_indexes(&self, _: Request<proto::ListIndexesRequest>) -> Reply<proto::ListIndexesResponse> {
        unanswered!("list_indexes")
    }
}
