//! The contract and the failures on an S3 server in this process.

#![allow(clippy::unwrap_used)]

#[path = "support/s3.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use s3s::service::S3ServiceBuilder;
use server::{S3Server, serve};
use store::{Error, Key, MediaStore, OpenOptions, PutOptions, StoreUrl, conformance};
use tokio::net::TcpListener;

async fn open_in(server: &S3Server, location: &str) -> Result<Arc<dyn MediaStore>, Error> {
    open(&server.url(location, "camera:hunter2")).await
}

async fn open(url: &str) -> Result<Arc<dyn MediaStore>, Error> {
    let options = OpenOptions { attempt_timeout: Duration::from_secs(5), ..OpenOptions::default() };
    store::open_backend(&StoreUrl::parse(url).unwrap(), &|_| None, &options).await
}

#[tokio::test]
async fn s3_conforms_with_and_without_a_prefix() {
    let server = S3Server::start().await;
    let (deep, top) = (open_in(&server, "bucket/live/one").await.unwrap(), open_in(&server, "bucket").await.unwrap());
    tokio::join!(conformance::all(&*deep, "deep"), conformance::all(&*top, "top"));
    let objects = std::fs::read_dir(server.folder.path().join("bucket/live/one")).unwrap();
    assert!(objects.count() > 10, "objects lie below the prefix");
}

#[tokio::test]
async fn content_type_and_cache_control_are_kept_for_a_cdn() {
    let server = S3Server::start().await;
    let store = open_in(&server, "bucket/live").await.unwrap();
    let key = Key::parse("s_720p_segment000.ts").unwrap();
    let options = PutOptions::new(&key, Duration::from_secs(60)).cache_control("public, max-age=60, immutable");
    store.put(&key, "abc".into(), &options).await.unwrap();

    use object_store::ObjectStoreExt;
    let plain = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(format!("http://{}", server.address))
        .with_allow_http(true)
        .with_bucket_name("bucket")
        .with_access_key_id("camera")
        .with_secret_access_key("hunter2")
        .build()
        .unwrap();
    let object = plain.get(&"live/s_720p_segment000.ts".into()).await.unwrap();
    let attribute = |name| object.attributes.get(&name).map(|value| value.as_ref().to_owned());
    assert_eq!(attribute(object_store::Attribute::ContentType).unwrap(), "video/mp2t");
    assert_eq!(attribute(object_store::Attribute::CacheControl).unwrap(), "public, max-age=60, immutable");
}

#[tokio::test]
async fn a_bucket_that_cannot_be_written_is_refused_at_start() {
    let server = S3Server::start().await;
    let wrong = open(&server.url("bucket", "camera:wrong-secret")).await.unwrap_err();
    assert!(matches!(wrong, Error::Auth { .. }), "{wrong:?}");
    assert!(!format!("{wrong} {wrong:?}").contains("wrong-secret"));
}

#[tokio::test]
async fn a_server_that_is_down_at_start_is_used_as_soon_as_it_is_there() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let store = open(&format!("s3://camera:hunter2@bucket?endpoint=http://{address}")).await.unwrap();
    let health = store.health().await;
    assert!(matches!(health, Err(Error::Unavailable { .. })), "{health:?}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap()).build();
    let task = tokio::spawn(serve(TcpListener::bind(address).await.unwrap(), service));
    // This server knows no users: it is there, and says so.
    assert!(!matches!(store.health().await, Err(Error::Unavailable { .. })));
    task.abort();
}
