//! Listing: `SCAN` on the server, or on every master of the cluster.

use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use ::redis::{Cmd, RedisResult, Value, cmd, from_redis_value};

use super::link::Connection;
use crate::Key;

/// Keys looked at in one round trip.
const BATCH: usize = 1000;

/// All keys whose name in Redis matches `pattern`.
pub(super) async fn names(connection: Connection, pattern: &str) -> RedisResult<Vec<Key>> {
    match connection {
        Connection::Single(mut connection) => {
            let mut names = Vec::new();
            let mut cursor = 0;
            loop {
                let (next, batch) = scan(cursor, pattern).query_async::<(u64, Vec<String>)>(&mut connection).await?;
                names.extend(batch);
                cursor = next;
                if cursor == 0 {
                    return Ok(keys(names));
                }
            }
        }
        Connection::Cluster(mut connection) => {
            let mut names = Vec::new();
            for (host, port) in masters(&mut connection).await? {
                let mut cursor = 0;
                loop {
                    let node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host: host.clone(), port });
                    let answer = connection.route_command(scan(cursor, pattern), node).await?;
                    let (next, batch) = from_redis_value::<(u64, Vec<String>)>(answer)?;
                    names.extend(batch);
                    cursor = next;
                    if cursor == 0 {
                        break;
                    }
                }
            }
            Ok(keys(names))
        }
    }
}

fn scan(cursor: u64, pattern: &str) -> Cmd {
    let mut command = cmd("SCAN");
    command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(BATCH);
    command
}

/// `SCAN` may give a key twice; names that are not `{stream}:key` are somebody else's.
fn keys(names: Vec<String>) -> Vec<Key> {
    let mut keys: Vec<_> = names.iter().filter_map(|name| Key::parse(name.split_once("}:")?.1).ok()).collect();
    keys.sort();
    keys.dedup();
    keys
}

async fn masters(connection: &mut ClusterConnection) -> RedisResult<Vec<(String, u16)>> {
    let mut command = cmd("CLUSTER");
    command.arg("SLOTS");
    let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
    let Value::Array(ranges) = connection.route_command(command, anywhere).await? else { return Ok(Vec::new()) };
    let mut masters: Vec<_> = ranges.into_iter().filter_map(master).collect();
    masters.sort();
    masters.dedup();
    Ok(masters)
}

/// The first node of a range of slots: `[start, end, [host, port, …], replica…]`.
fn master(range: Value) -> Option<(String, u16)> {
    let Value::Array(range) = range else { return None };
    let Value::Array(node) = range.into_iter().nth(2)? else { return None };
    let mut node = node.into_iter();
    Some((from_redis_value(node.next()?).ok()?, from_redis_value(node.next()?).ok()?))
}
