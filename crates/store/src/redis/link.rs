//! One connection, made when it is needed and again when it was lost.
//!
//! The crate's own manager keeps the error of a first connection that failed for another reason than the network (a
//! server that is still loading its data, a password that is only set later) for ever. A store that is down at start
//! must come back by itself, so the slot is here.

use std::sync::{Mutex, PoisonError};

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::time::Instant;

use super::config::Config;
use super::errors::is_lost;

/// How often the cluster client may follow a redirection or look at the topology again within one operation. These
/// are no retries of a store that failed: those belong to [`crate::Retry`].
const REDIRECTIONS: u32 = 4;

/// A connection to a server or to a cluster. Cloning shares it.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

enum Maker {
    Single(Client, AsyncConnectionConfig),
    Cluster(ClusterClient),
}

/// The slot for the connection.
pub(super) struct Link {
    maker: Maker,
    slot: Mutex<Slot>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Slot {
    connection: Option<(u64, Connection)>,
    made: u64,
    /// The last attempt that failed, so that those who waited for it need not fail one after the other.
    failed: Option<(Instant, RedisError)>,
}

impl Link {
    pub(super) fn new(config: &Config) -> RedisResult<Self> {
        let maker = if config.cluster {
            let mut builder = ClusterClient::builder(config.nodes.clone())
                .connection_timeout(config.connect_timeout)
                .response_timeout(config.timeout)
                .overall_response_timeout(Some(config.timeout))
                .retries(REDIRECTIONS);
            if let Some(authority) = config.authority.clone() {
                builder = builder.certs(authority);
            }
            Maker::Cluster(builder.build()?)
        } else {
            let node = config.nodes.first().cloned().ok_or((::redis::ErrorKind::InvalidClientConfig, "no host"))?;
            let settings = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(config.connect_timeout))
                .set_response_timeout(Some(config.timeout));
            let client = match config.authority.clone() {
                Some(authority) => Client::build_with_tls(node, authority)?,
                None => Client::open(node)?,
            };
            Maker::Single(client, settings)
        };
        Ok(Self { maker, slot: Mutex::default(), connecting: tokio::sync::Mutex::default() })
    }

    fn slot<T>(&self, with: impl FnOnce(&mut Slot) -> T) -> T {
        with(&mut self.slot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The present connection, or a new one. Whoever waits for an attempt shares its result.
    async fn connection(&self) -> RedisResult<(u64, Connection)> {
        let asked = Instant::now();
        if let Some(connection) = self.slot(|slot| slot.connection.clone()) {
            return Ok(connection);
        }
        let _one_at_a_time = self.connecting.lock().await;
        let settled = self.slot(|slot| match (&slot.connection, &slot.failed) {
            (Some(connection), _) => Some(Ok(connection.clone())),
            (None, Some((when, error))) if *when > asked => Some(Err(error.clone())),
            _ => None,
        });
        if let Some(settled) = settled {
            return settled;
        }
        let made = self.maker.make().await;
        self.slot(|slot| match made {
            Ok(connection) => {
                slot.made += 1;
                slot.failed = None;
                slot.connection = Some((slot.made, connection.clone()));
                Ok((slot.made, connection))
            }
            Err(error) => {
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        })
    }

    /// Runs one exchange and forgets the connection if it turns out to be lost.
    pub(super) async fn run<T>(&self, exchange: impl AsyncFnOnce(Connection) -> RedisResult<T>) -> RedisResult<T> {
        let (number, connection) = self.connection().await?;
        let result = exchange(connection).await;
        if result.as_ref().is_err_and(is_lost) {
            self.forget(number);
        }
        result
    }

    fn forget(&self, number: u64) {
        self.slot(|slot| slot.connection.take_if(|(held, _)| *held == number));
    }

    /// Forgets whatever connection there is: an exchange on it did not end in time.
    pub(super) fn forget_any(&self) {
        self.slot(|slot| slot.connection = None);
    }
}

impl Maker {
    async fn make(&self) -> RedisResult<Connection> {
        match self {
            Self::Single(client, settings) => {
                client.get_multiplexed_async_connection_with_config(settings).await.map(Connection::Single)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
