//! `redis://`, `rediss://`, `redis-cluster://`: Redis or Valkey, single or cluster.
//!
//! An object is a plain string at `{<stream>}:<key>` with a TTL of its own, so that a CDN, a script or another
//! program reads it with one `GET`. The braces are the hash tag: all objects of a stream are in one slot. There is no
//! metadata; the content type follows from the key's extension.
//!
//! Copies between the rope and the socket: the crate takes three (the rope into the command's arguments, those into
//! one packed command, that into the connection's write buffer) and offers no way around them. A ladder of 10 Mbit/s
//! thus moves 4 MB/s more than it needs, a thousandth of what a core copies.

mod config;
mod errors;
mod link;
mod scan;

use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, RedisResult, RedisWrite, ToRedisArgs, cmd, pipe};
use async_trait::async_trait;
use bytes::Bytes;

use self::config::Config;
use self::errors::store_error;
use self::link::{Connection, Link};
use crate::error::{At, Operation};
use crate::key::is_key_byte;
use crate::open::{Env, OpenOptions};
use crate::{Capabilities, Error, Key, MediaStore, Object, Payload, PutOptions, StoreUrl};

/// Redis' own limit of a string (`proto-max-bulk-len`), in bytes.
const MAX_OBJECT: u64 = 512 << 20;
/// `PTTL` of a key that is not there.
const NO_KEY: i64 = -2;

/// A Redis or Valkey server, or a cluster of them.
pub(crate) struct Redis {
    link: Link,
    name: String,
    timeout: Duration,
}

/// Never fails for a server that is down: [`MediaStore::health`] tells, and every operation connects anew.
pub(crate) fn open(url: &StoreUrl, env: Env<'_>, options: &OpenOptions) -> Result<Arc<dyn MediaStore>, Error> {
    let config = Config::new(url, env, options)?;
    let link =
        Link::new(&config).map_err(|error| store_error(At::store(url, Operation::Open), &error, config.timeout))?;
    Ok(Arc::new(Redis { link, name: config.name, timeout: config.timeout }))
}

/// The name of an object in Redis.
fn name(key: &Key) -> String {
    format!("{{{}}}:{key}", key.stream())
}

/// `SCAN`'s pattern for a prefix of keys. The alphabet of keys has no wildcard.
fn pattern(prefix: &str) -> String {
    match prefix.split_once('_') {
        Some((stream, _)) => format!("{{{stream}}}:{prefix}*"),
        None => format!("{{{prefix}*}}:{prefix}*"),
    }
}

/// The rope as one argument, gathered straight into the command.
struct Rope<'a>(&'a Payload);

impl ToRedisArgs for Rope<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut argument = out.writer_for_next_arg();
        for chunk in self.0.chunks() {
            // Writing into a command's own buffer cannot fail.
            let _ = argument.write_all(chunk);
        }
    }
}

/// `SET` answers with nil where it was to replace what is not there.
fn set(name: &str, payload: &Payload, ttl: Duration, replace: bool) -> Cmd {
    let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2);
    let mut command = cmd("SET");
    command.reserve_space_for_args([name.len(), payload.len(), 2, 20, 2]);
    command.arg(name).arg(Rope(payload)).arg("PX").arg(milliseconds);
    if replace {
        command.arg("XX");
    }
    command
}

impl Redis {
    async fn run<T>(
        &self,
        at: impl Fn() -> At,
        exchange: impl AsyncFnOnce(Connection) -> RedisResult<T>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, self.link.run(exchange)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(store_error(at(), &error, self.timeout)),
            Err(_) => {
                self.link.forget_any();
                Err(Error::Timeout { at: at(), after: self.timeout })
            }
        }
    }
}

#[async_trait]
impl MediaStore for Redis {
    async fn put(&self, key: &Key, payload: Payload, options: &PutOptions) -> Result<(), Error> {
        let at = || At::key(self, Operation::Put, key);
        let size = payload.len() as u64;
        if size > MAX_OBJECT {
            return Err(Error::TooLarge { at: at(), size, limit: MAX_OBJECT });
        }
        let (ttl, replace) = (options.ttl, options.replace);
        let done: Option<String> = self
            .run(at, async move |mut connection| {
                set(&name(key), &payload, ttl, replace).query_async(&mut connection).await
            })
            .await?;
        done.map(drop).ok_or_else(|| Error::NotFound { at: at() })
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let at = || At::key(self, Operation::Get, key);
        let name = name(key);
        let Some(range) = range else {
            let (bytes, ttl): (Option<Vec<u8>>, i64) = self
                .run(at, async move |mut connection| pipe().get(&name).pttl(&name).query_async(&mut connection).await)
                .await?;
            let bytes = bytes.ok_or_else(|| Error::NotFound { at: at() })?;
            return Ok(Object { ttl_left: ttl_left(ttl), ..Object::whole(key, bytes.into()) });
        };
        let (first, last) = (signed(range.start), signed(range.end.saturating_sub(1)));
        // Together in a transaction: size and bytes are of one object.
        let (ttl, size, bytes): (i64, u64, Vec<u8>) = self
            .run(at, async move |mut connection| {
                let mut all = pipe();
                all.atomic().pttl(&name).cmd("STRLEN").arg(&name).cmd("GETRANGE").arg(&name).arg(first).arg(last);
                all.query_async(&mut connection).await
            })
            .await?;
        if ttl == NO_KEY {
            return Err(Error::NotFound { at: at() });
        }
        crate::clamp(self, key, range, size)?;
        Ok(Object { size, ttl_left: ttl_left(ttl), ..Object::whole(key, Bytes::from(bytes).into()) })
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let at = || At::key(self, Operation::Delete, key);
        // UNLINK frees the memory beside the server's one thread.
        self.run(at, async move |mut connection| cmd("UNLINK").arg(name(key)).query_async(&mut connection).await).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, Error> {
        if !prefix.bytes().all(is_key_byte) {
            return Ok(Vec::new());
        }
        let at = || At { object: Some(prefix.into()), ..At::store(self, Operation::List) };
        let mut keys = self.run(at, async move |connection| scan::names(connection, &pattern(prefix)).await).await?;
        keys.retain(|key| key.as_str().starts_with(prefix));
        Ok(keys)
    }

    async fn health(&self) -> Result<(), Error> {
        let at = || At::store(self, Operation::Health);
        // The tilde is no character of keys: no list ever shows the probe.
        let probe = set("{tailwater}:~health", &Payload::from("ok"), Duration::from_secs(10), false);
        self.run(at, async move |mut connection| probe.query_async(&mut connection).await).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { max_object: Some(MAX_OBJECT), lists: true, replaces: true, ..Capabilities::default() }
    }
}

fn ttl_left(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_stream_share_its_hash_tag() {
        assert_eq!(name(&Key::parse("s_720p_segment000.ts").unwrap()), "{s}:s_720p_segment000.ts");
        assert_eq!(name(&Key::parse("s_playlist.m3u8").unwrap()), "{s}:s_playlist.m3u8");
        assert_eq!(pattern("s_720p_"), "{s}:s_720p_*");
        assert_eq!(pattern("s"), "{s*}:s*");
        assert_eq!(pattern(""), "{*}:*");
    }

    #[test]
    fn a_rope_becomes_one_argument() {
        let rope = Payload::from(vec![Bytes::from("ab"), Bytes::new(), Bytes::from("c")]);
        let packed = set("k", &rope, Duration::from_secs(2), false).get_packed_command();
        let text = String::from_utf8(packed).unwrap();
        assert_eq!(text, "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nabc\r\n$2\r\nPX\r\n$4\r\n2000\r\n");
        let packed = set("k", &Payload::from("v"), Duration::from_secs(2), true).get_packed_command();
        assert!(packed.starts_with(b"*6\r\n") && packed.ends_with(b"$2\r\nXX\r\n"));
    }
}
