//! Plain items: get, set, conditional set, delete, existence.

use std::time::Duration;

use bytes::Bytes;
use momento_protos::cache_client as proto;
use momento_protos::cache_client::{ECacheResult, set_if_request::Condition};
use momento_protos::cache_client::{set_if_not_exists_response, set_if_response};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Reply, Service, cache_name, limit, no_such_cache};
use crate::{shelf::Shelf, state::Access};

impl Service {
    pub(super) async fn get(&self, request: Request<proto::GetRequest>) -> Reply<proto::GetResponse> {
        self.enter("get", Access::Read, &request).await?;
        let cache = cache_name(&request)?;
        let key = request.into_inner().cache_key;
        let value = self.with(&cache, |shelf, now| shelf.get(&key, now).map(|item| item.value.clone()))?;
        let result = if value.is_some() { ECacheResult::Hit } else { ECacheResult::Miss };
        // The generated type owns a Vec: one copy.
        let cache_body = value.map(Vec::from).unwrap_or_default();
        Ok(Response::new(proto::GetResponse { result: result.into(), cache_body, message: String::new() }))
    }

    pub(super) async fn set(&self, request: Request<proto::SetRequest>) -> Reply<proto::SetResponse> {
        self.enter("set", Access::Write, &request).await?;
        let cache = cache_name(&request)?;
        let proto::SetRequest { cache_key, cache_body, ttl_milliseconds } = request.into_inner();
        let write = self.check(cache_key, cache_body, ttl_milliseconds)?;
        self.with(&cache, |shelf, now| write.apply(shelf, now))?;
        Ok(Response::new(proto::SetResponse { result: ECacheResult::Ok.into(), message: String::new() }))
    }

    pub(super) async fn set_if(&self, request: Request<proto::SetIfRequest>) -> Reply<proto::SetIfResponse> {
        self.enter("set_if", Access::Write, &request).await?;
        let cache = cache_name(&request)?;
        let proto::SetIfRequest { cache_key, cache_body, ttl_milliseconds, condition } = request.into_inner();
        let condition = condition.ok_or_else(|| Status::invalid_argument("a conditional set without a condition"))?;
        let write = self.check(cache_key, cache_body, ttl_milliseconds)?;
        let stored = self.with(&cache, |shelf, now| {
            let holds = condition_holds(&condition, shelf.get(&write.key, now).map(|item| &item.value));
            if holds {
                write.apply(shelf, now);
            }
            holds
        })?;
        let result = match stored {
            true => set_if_response::Result::Stored(set_if_response::Stored {}),
            false => set_if_response::Result::NotStored(set_if_response::NotStored {}),
        };
        Ok(Response::new(proto::SetIfResponse { result: Some(result) }))
    }

    pub(super) async fn set_if_not_exists(
        &self,
        request: Request<proto::SetIfNotExistsRequest>,
    ) -> Reply<proto::SetIfNotExistsResponse> {
        self.enter("set_if_not_exists", Access::Write, &request).await?;
        let cache = cache_name(&request)?;
        let proto::SetIfNotExistsRequest { cache_key, cache_body, ttl_milliseconds } = request.into_inner();
        let write = self.check(cache_key, cache_body, ttl_milliseconds)?;
        let stored = self.with(&cache, |shelf, now| {
            let absent = shelf.get(&write.key, now).is_none();
            if absent {
                write.apply(shelf, now);
            }
            absent
        })?;
        let result = match stored {
            true => set_if_not_exists_response::Result::Stored(set_if_not_exists_response::Stored {}),
            false => set_if_not_exists_response::Result::NotStored(set_if_not_exists_response::NotStored {}),
        };
        Ok(Response::new(proto::SetIfNotExistsResponse { result: Some(result) }))
    }

    pub(super) async fn delete(&self, request: Request<proto::DeleteRequest>) -> Reply<proto::DeleteResponse> {
        self.enter("delete", Access::Write, &request).await?;
        let cache = cache_name(&request)?;
        let key = request.into_inner().cache_key;
        self.with(&cache, |shelf, now| shelf.remove(&key, now))?;
        Ok(Response::new(proto::DeleteResponse {}))
    }

    pub(super) async fn keys_exist(
        &self,
        request: Request<proto::KeysExistRequest>,
    ) -> Reply<proto::KeysExistResponse> {
        self.enter("keys_exist", Access::Read, &request).await?;
        let cache = cache_name(&request)?;
        let keys = request.into_inner().cache_keys;
        let exists = self.with(&cache, |shelf, now| keys.iter().map(|key| shelf.get(key, now).is_some()).collect())?;
        Ok(Response::new(proto::KeysExistResponse { exists }))
    }

    /// Runs `work` on the items of a cache that exists.
    pub(super) fn with<T>(&self, cache: &str, work: impl FnOnce(&mut Shelf, Instant) -> T) -> Result<T, Status> {
        let now = Instant::now();
        let mut inner = self.state.lock();
        let shelf = inner.caches.get_mut(cache).ok_or_else(|| no_such_cache(cache))?;
        Ok(work(shelf, now))
    }

    /// The documented limits: 5 MB with the key, 24 hours.
    fn check(&self, key: Vec<u8>, value: Vec<u8>, ttl_ms: u64) -> Result<Write, Status> {
        let limits = &self.state.limits;
        if key.is_empty() {
            return Err(Status::invalid_argument("the key is empty"));
        }
        if key.len() + value.len() > limits.item_bytes {
            return Err(limit("item_size_limit_exceeded", "item size exceeds the limit"));
        }
        Ok(Write { key, value: value.into(), ttl: self.check_ttl(ttl_ms)? })
    }

    pub(super) fn check_ttl(&self, milliseconds: u64) -> Result<Duration, Status> {
        let ttl = Duration::from_millis(milliseconds);
        match ttl.is_zero() || ttl > self.state.limits.ttl {
            true => Err(Status::invalid_argument(format!("the time to live of {milliseconds} ms is out of range"))),
            false => Ok(ttl),
        }
    }
}

/// A set that passed the limits.
struct Write {
    key: Vec<u8>,
    value: Bytes,
    ttl: Duration,
}

impl Write {
    fn apply(&self, shelf: &mut Shelf, now: Instant) {
        shelf.put(self.key.clone(), self.value.clone(), Vec::new(), Some(self.ttl), now);
    }
}

fn condition_holds(condition: &Condition, value: Option<&Bytes>) -> bool {
    let equal = |other: &Vec<u8>| value.is_some_and(|value| value == other);
    match condition {
        Condition::Present(_) => value.is_some(),
        Condition::Absent(_) => value.is_none(),
        Condition::Equal(c) => equal(&c.value_to_check),
        Condition::NotEqual(c) => !equal(&c.value_to_check),
        Condition::PresentAndNotEqual(c) => value.is_some() && !equal(&c.value_to_check),
        Condition::AbsentOrEqual(c) => value.is_none() || equal(&c.value_to_check),
    }
}
