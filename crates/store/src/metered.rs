//! Counts and times every attempt of every operation.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::error::Operation;
use crate::{Capabilities, Error, ErrorKind, Key, MediaStore, Object, Payload, PutOptions};

/// Metrics of one store, labelled with its name and the operation:
///
/// - `tailwater_store_operations_total`, with `result` = `ok` or the error's code,
/// - `tailwater_store_operation_seconds`, a histogram,
/// - `tailwater_store_put_bytes_total` and `tailwater_store_get_bytes_total`, of what succeeded,
/// - `tailwater_store_in_flight`, a gauge.
pub struct Metered<S> {
    store: S,
    name: String,
}

/// Counts down even when the caller stops waiting.
struct InFlight<'a>(&'a str);

impl<'a> InFlight<'a> {
    fn new(store: &'a str) -> Self {
        metrics::gauge!("tailwater_store_in_flight", "store" => store.to_owned()).increment(1.0);
        Self(store)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        metrics::gauge!("tailwater_store_in_flight", "store" => self.0.to_owned()).decrement(1.0);
    }
}

impl<S: MediaStore> Metered<S> {
    /// Wraps `store`.
    pub fn new(store: S) -> Self {
        let name = store.to_string();
        Self { store, name }
    }

    async fn run<T>(&self, operation: Operation, attempt: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let _in_flight = InFlight::new(&self.name);
        let began = Instant::now();
        let result = attempt.await;
        let outcome = result.as_ref().map_or_else(Error::code, |_| "ok");
        let (store, operation) = (self.name.clone(), operation.name());
        metrics::histogram!("tailwater_store_operation_seconds", "store" => store.clone(), "operation" => operation)
            .record(began.elapsed());
        metrics::counter!("tailwater_store_operations_total", "store" => store, "operation" => operation, "result" => outcome)
            .increment(1);
        if let Err(error) = &result
            && error.kind() != ErrorKind::NotFound
        {
            tracing::debug!(%error, "store operation failed");
        }
        result
    }
}

#[async_trait]
impl<S: MediaStore> MediaStore for Metered<S> {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let bytes = payload.len() as u64;
        self.run(Operation::Put, self.store.put(key, payload, options)).await?;
        metrics::counter!("tailwater_store_put_bytes_total", "store" => self.name.clone()).increment(bytes);
        Ok(())
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let object = self.run(Operation::Get, self.store.get(key, range)).await?;
        let bytes = object.payload.len() as u64;
        metrics::counter!("tailwater_store_get_bytes_total", "store" => self.name.clone()).increment(bytes);
        Ok(object)
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.run(Operation::Delete, self.store.delete(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        self.run(Operation::List, self.store.list(prefix)).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.run(Operation::Health, self.store.health()).await
    }

    async fn flush(&self) {
        self.store.flush().await;
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
}

impl<S: MediaStore> fmt::Display for Metered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl<S: MediaStore> fmt::Debug for Metered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("store", &self.store).finish_non_exhaustive()
    }
}
