//! The contract and the failures on real Redis servers.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use store::{Error, Key, MediaStore, Payload, PutOptions, conformance};
use support::{RedisServer, cluster, free_port, open};

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

async fn put(store: &dyn MediaStore, name: &str, payload: impl Into<Payload>) -> Result<(), Error> {
    let key = key(name);
    store.put(&key, payload.into(), &PutOptions::new(&key, Duration::from_secs(60))).await
}

#[tokio::test]
async fn redis_conforms() {
    let server = RedisServer::start(&[]).await;
    conformance::all(&*open(&server.url()).await, "suite").await;
}

#[tokio::test]
async fn a_cluster_of_three_masters_conforms() {
    let servers = cluster().await;
    let store = open(&format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", servers[0].port, servers[1].port)).await;
    conformance::all(&*store, "suite").await;
    for n in 0..30 {
        put(&*store, &format!("stream{n}_playlist.m3u8"), "x").await.unwrap();
    }
    assert_eq!(store.list("stream").await.unwrap().len(), 30, "keys of all masters are listed");
}

#[tokio::test]
async fn an_object_is_a_plain_string_at_the_pinned_name_with_a_ttl() {
    let server = RedisServer::start(&[]).await;
    let store = open(&server.url()).await;
    put(&*store, "s_720p_segment000.ts", "abc").await.unwrap();
    let mut connection = server.connection().await;
    let (value, ttl): (String, i64) = redis::pipe()
        .get("{s}:s_720p_segment000.ts")
        .ttl("{s}:s_720p_segment000.ts")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(value, "abc");
    assert!((59..=60).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_server_that_is_down_at_start_is_used_as_soon_as_it_is_there() {
    let port = free_port();
    let store = open(&format!("redis://127.0.0.1:{port}")).await;
    let health = store.health().await;
    assert!(matches!(health, Err(Error::Unavailable { .. })), "{health:?}");
    let _server = RedisServer::start_on(port, &[]).await;
    store.health().await.unwrap();
    put(&*store, "s_playlist.m3u8", "x").await.unwrap();
}

#[tokio::test]
async fn a_server_killed_and_restarted_empty_is_used_again() {
    let mut server = RedisServer::start(&[]).await;
    let store = open(&server.url()).await;
    put(&*store, "s_playlist.m3u8", "x").await.unwrap();
    server.kill();
    let while_down = put(&*store, "s_playlist.m3u8", "x").await;
    assert!(matches!(while_down, Err(Error::Unavailable { .. })), "{while_down:?}");
    let _again = RedisServer::start_on(server.port, &[]).await;
    let gone = store.get(&key("s_playlist.m3u8"), None).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    put(&*store, "s_playlist.m3u8", "y").await.unwrap();
}

#[tokio::test]
async fn acl_users_and_wrong_passwords() {
    let server =
        RedisServer::start(&["--user", "camera", "on", ">pass:w@rd", "~*", "+@all", "--requirepass", "other"]).await;
    let at = format!("127.0.0.1:{}", server.port);
    open(&format!("redis://camera:pass%3Aw%40rd@{at}")).await.health().await.unwrap();
    open(&format!("redis://:other@{at}")).await.health().await.unwrap();
    for wrong in [format!("redis://camera:hunter2@{at}"), format!("redis://{at}")] {
        let error = open(&wrong).await.health().await.unwrap_err();
        assert!(matches!(error, Error::Auth { .. }), "{error:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(error.to_string().contains("REDIS_PASSWORD"), "{error}");
    }
}

#[tokio::test]
async fn tls_with_a_private_authority_and_an_acl_user() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, private_key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&private_key, made.signing_key.serialize_pem()).unwrap();
    let (port, certificate) = (free_port().to_string(), certificate.to_str().unwrap());
    let files = ["--tls-cert-file", certificate, "--tls-key-file", private_key.to_str().unwrap()];
    let user = ["--user", "camera", "on", ">hunter2", "~*", "+@all", "--user", "default", "off"];
    let tls = ["--tls-port", &port, "--tls-auth-clients", "no"];
    let _server = RedisServer::start(&[&files[..], &user, &tls].concat()).await;
    let store = open(&format!("rediss://camera:hunter2@localhost:{port}?ca={certificate}")).await;
    conformance::all(&*store, "suite").await;
    let unknown = open(&format!("rediss://camera:hunter2@localhost:{port}")).await.health().await;
    assert!(matches!(&unknown, Err(Error::Unavailable { .. })), "{unknown:?}");
}

#[tokio::test]
async fn a_wrong_password_that_becomes_right_is_used_without_a_restart() {
    let server = RedisServer::start(&[]).await;
    let mut admin = server.connection().await;
    let mut config = redis::cmd("CONFIG");
    let () = config.arg("SET").arg("requirepass").arg("first").query_async(&mut admin).await.unwrap();
    let store = open(&format!("redis://:second@127.0.0.1:{}", server.port)).await;
    assert!(matches!(store.health().await, Err(Error::Auth { .. })));
    let mut config = redis::cmd("CONFIG");
    let () = config.arg("SET").arg("requirepass").arg("second").query_async(&mut admin).await.unwrap();
    store.health().await.unwrap();
}

#[tokio::test]
async fn a_full_server_says_so() {
    let server = RedisServer::start(&["--maxmemory", "8mb", "--maxmemory-policy", "noeviction"]).await;
    let store = open(&server.url()).await;
    let mut last = Ok(());
    for n in 0..20 {
        last = put(&*store, &format!("s_a_segment{n:03}.ts"), vec![0; 1_000_000]).await;
        if last.is_err() {
            break;
        }
    }
    let error = last.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("maxmemory"), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_is_a_timeout_and_recovers() {
    let server = RedisServer::start(&["--enable-debug-command", "yes"]).await;
    let store = open(&server.url()).await;
    store.health().await.unwrap();
    let mut admin = server.connection().await;
    let sleeping = tokio::spawn(async move {
        let _: Result<(), _> = redis::cmd("DEBUG").arg("SLEEP").arg("3").query_async(&mut admin).await;
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = put(&*store, "s_playlist.m3u8", "x").await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    sleeping.await.unwrap();
    put(&*store, "s_playlist.m3u8", "x").await.unwrap();
}
