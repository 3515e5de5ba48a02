//! Counts and times every attempt of every operation.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::error::Operation;
use crate::{Capabilities, Error, ErrorKind, Key, MediaStore, Object, Payload, PutOptions};

/// Metrics of one store, labelled with its name and the operation:
///
/// - `tailwater_store_operations_total`, with `result` = `ok`, the error's code, or `abandoned` if nobody waited for
///   its end,
/// - `tailwater_store_faults_total`, of what failed for a reason that may pass, and of puts that were abandoned,
/// - `tailwater_store_throttles_total`, apart from those: of what the store refused because it was too much,
/// - `tailwater_store_operation_seconds`, a histogram,
/// - `tailwater_store_put_bytes_total` and `tailwater_store_get_bytes_total`, of what succeeded,
/// - `tailwater_store_in_flight`, a gauge.
pub struct Metered<S> {
    store: S,
    name: String,
}

/// An operation under way. It is counted even when the caller stops waiting.
struct InFlight<'a> {
    store: &'a str,
    operation: Operation,
    began: Instant,
    /// What it came to; `None` until then.
    result: Option<Result<(), (ErrorKind, &'static str)>>,
}

impl<'a> InFlight<'a> {
    fn new(store: &'a str, operation: Operation) -> Self {
        metrics::gauge!("tailwater_store_in_flight", "store" => store.to_owned()).increment(1.0);
        Self { store, operation, began: Instant::now(), result: None }
    }

    fn count(&self, name: &'static str) {
        metrics::counter!(name, "store" => self.store.to_owned(), "operation" => self.operation.name()).increment(1);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let (store, operation) = (self.store.to_owned(), self.operation.name());
        metrics::gauge!("tailwater_store_in_flight", "store" => store.clone()).decrement(1.0);
        metrics::histogram!("tailwater_store_operation_seconds", "store" => store.clone(), "operation" => operation)
            .record(self.began.elapsed());
        let result = match self.result {
            Some(Ok(())) => "ok",
            Some(Err((_, code))) => code,
            None => "abandoned",
        };
        metrics::counter!("tailwater_store_operations_total", "store" => store, "operation" => operation, "result" => result)
            .increment(1);
        match self.result {
            Some(Err((ErrorKind::Throttle, _))) => self.count("tailwater_store_throttles_total"),
            Some(Err((ErrorKind::Transient, _))) => self.count("tailwater_store_faults_total"),
            // A viewer may leave in the middle of a get; a put is given up when it takes too long.
            None if self.operation == Operation::Put => self.count("tailwater_store_faults_total"),
            _ => {}
        }
    }
}

impl<S: MediaStore> Metered<S> {
    /// Wraps `store`.
    pub fn new(store: S) -> Self {
        let name = store.to_string();
        Self { store, name }
    }

    async fn run<T>(&self, operation: Operation, attempt: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut in_flight = InFlight::new(&self.name, operation);
        let result = attempt.await;
        in_flight.result = Some(result.as_ref().map(drop).map_err(|error| (error.kind(), error.code())));
        drop(in_flight);
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
