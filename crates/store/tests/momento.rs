//! Momento through the official SDK, and its Object Store over HTTP, against momento-fake: the contract, and every
//! way the service has to fail.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use momento_fake::{Fake, FaultsUpdate, Options};
use store::{Error, ErrorKind, Key, MediaStore, OpenOptions, Payload, PutOptions, StoreUrl, conformance, open_backend};

const TTL: Duration = Duration::from_secs(60);

async fn fake() -> Fake {
    Fake::start(Options::default()).await.unwrap()
}

/// The environment as momento-fake prints it.
fn environment(fake: &Fake) -> HashMap<&'static str, String> {
    HashMap::from([("MOMENTO_API_KEY", fake.api_key()), ("MOMENTO_ENDPOINT", fake.endpoint())])
}

async fn open_with(
    url: &str,
    environment: &HashMap<&'static str, String>,
    attempt_timeout: Duration,
) -> Result<Arc<dyn MediaStore>, Error> {
    let options = OpenOptions { attempt_timeout, ..OpenOptions::default() };
    let variable = |name: &str| environment.get(name).cloned();
    open_backend(&StoreUrl::parse(url).unwrap(), &variable, &options).await
}

async fn open(fake: &Fake, url: &str) -> Result<Arc<dyn MediaStore>, Error> {
    open_with(url, &environment(fake), Duration::from_secs(5)).await
}

/// Both stores, on one fake, with a short patience.
async fn both(fake: &Fake) -> [Arc<dyn MediaStore>; 2] {
    let patience = Duration::from_millis(300);
    let cache = open_with("momento:", &environment(fake), patience).await.unwrap();
    let objects = open_with(&objects_url(fake), &environment(fake), patience).await.unwrap();
    [cache, objects]
}

fn objects_url(fake: &Fake) -> String {
    format!("momento-objectstore:livestreams?endpoint={}", fake.http_endpoint())
}

fn key() -> Key {
    Key::parse("show_720p_segment000.ts").unwrap()
}

async fn put(store: &dyn MediaStore, payload: impl Into<Payload>) -> Result<(), Error> {
    store.put(&key(), payload.into(), &PutOptions::new(&key(), TTL)).await
}

fn refusal(opened: Result<Arc<dyn MediaStore>, Error>) -> String {
    opened.unwrap_err().to_string()
}

#[tokio::test]
async fn the_cache_conforms() {
    let fake = fake().await;
    conformance::all(&*open(&fake, "momento:livestreams").await.unwrap(), "suite").await;
}

#[tokio::test]
async fn the_object_store_conforms() {
    let fake = fake().await;
    conformance::all(&*open(&fake, &objects_url(&fake)).await.unwrap(), "suite").await;
}

#[tokio::test]
async fn a_key_of_the_first_generation_opens_both() {
    let fake = fake().await;
    let environment = HashMap::from([("MOMENTO_API_KEY", fake.v1_api_key()), ("MOMENTO_ENDPOINT", fake.endpoint())]);
    for url in ["momento:", &objects_url(&fake)] {
        let store = open_with(url, &environment, Duration::from_secs(5)).await.unwrap();
        put(&*store, "x").await.unwrap();
    }
}

#[tokio::test]
async fn a_missing_cache_is_one_sentence_and_create_makes_it() {
    let fake = fake().await;
    let error = refusal(open(&fake, "momento:shows").await);
    assert!(error.contains("no cache `shows`") && error.contains("?create=true"), "{error}");
    assert_eq!(error.lines().count(), 1);
    put(&*open(&fake, "momento:shows?create=true").await.unwrap(), "x").await.unwrap();
    put(&*open(&fake, "momento:shows?create=true").await.unwrap(), "x").await.unwrap();
    let error = refusal(open(&fake, &objects_url(&fake).replace(":livestreams", ":shows")).await);
    assert!(error.contains("no object store `shows`"), "{error}");
}

#[tokio::test]
async fn a_bad_key_is_one_sentence_without_the_key() {
    let fake = fake().await;
    fake.refuse_key(&fake.api_key());
    for url in ["momento:", &objects_url(&fake)] {
        let error = open(&fake, url).await.unwrap_err();
        assert!(matches!(error, Error::Auth { .. }), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains("MOMENTO_API_KEY") && !text.contains(&fake.api_key()), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_may_only_read_opens_and_is_refused_at_the_put() {
    let fake = fake().await;
    fake.restrict_to_reading(&fake.api_key());
    for url in ["momento:", &objects_url(&fake)] {
        let store = open(&fake, url).await.unwrap();
        let error = put(&*store, "x").await.unwrap_err();
        assert!(matches!(error, Error::Auth { .. }) && error.to_string().contains("lacks the right"), "{error}");
    }
}

#[tokio::test]
async fn an_endpoint_that_resolves_to_nothing_is_one_sentence() {
    let fake = fake().await;
    let environment =
        HashMap::from([("MOMENTO_API_KEY", fake.api_key()), ("MOMENTO_ENDPOINT", "cell-none.invalid".into())]);
    for url in ["momento:", "momento-objectstore:livestreams"] {
        let error = refusal(open_with(url, &environment, Duration::from_secs(5)).await);
        assert!(error.contains("cache.cell-none.invalid is unknown"), "{error}");
    }
}

#[tokio::test]
async fn a_service_that_is_down_at_the_start_is_waited_for() {
    let mut fake = fake().await;
    fake.stop().await;
    let stores = both(&fake).await;
    for store in &stores {
        let error = put(&**store, "x").await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
    fake.restart().await.unwrap();
    for store in &stores {
        until_it_takes(&**store).await;
    }
}

#[tokio::test]
async fn an_outage_and_a_restart_are_outlived_by_the_same_store() {
    let mut fake = fake().await;
    let stores = both(&fake).await;
    for store in &stores {
        put(&**store, "x").await.unwrap();
    }
    fake.set_faults(&FaultsUpdate { down: Some(true), http: Some(true), ..FaultsUpdate::default() });
    for store in &stores {
        for _ in 0..3 {
            let error = put(&**store, "x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
        }
    }
    fake.heal();
    fake.stop().await;
    fake.wipe();
    fake.restart().await.unwrap();
    for store in &stores {
        until_it_takes(&**store).await;
        let object = store.get(&key(), None).await.unwrap();
        assert_eq!(object.payload, Payload::from("back"));
    }
}

/// A connection that was cut may cost the next request.
async fn until_it_takes(store: &dyn MediaStore) {
    for _ in 0..40 {
        match put(store, "back").await {
            Ok(()) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{store} did not come back");
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout_by_name() {
    let fake = fake().await;
    let stores = both(&fake).await;
    fake.set_faults(&FaultsUpdate { delay_ms: Some(5000), http: Some(true), ..FaultsUpdate::default() });
    for store in &stores {
        let error = put(&**store, "x").await.unwrap_err();
        assert!(matches!(error, Error::Timeout { after, .. } if after == Duration::from_millis(300)), "{error:?}");
        let error = store.get(&key(), None).await.unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_slow_answer_within_the_deadline_is_none_the_worse() {
    let fake = fake().await;
    let store = open(&fake, "momento:").await.unwrap();
    // Beyond the 1.1 s of the SDK's own configuration.
    fake.set_faults(&FaultsUpdate { delay_ms: Some(1200), ..FaultsUpdate::default() });
    put(&*store, vec![1u8; 3_000_000]).await.unwrap();
}

#[tokio::test]
async fn a_throttle_is_told_from_a_fault_and_nothing_is_retried_here() {
    let fake = fake().await;
    let stores = both(&fake).await;
    let calls = || fake.calls("set") + fake.calls("object_put");
    fake.set_faults(&FaultsUpdate { throttle_rate: Some(1.0), http: Some(true), ..FaultsUpdate::default() });
    for store in &stores {
        let before = calls();
        let error = put(&**store, "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttle, "{error:?}");
        assert!(error.to_string().contains("Request rate"), "{error}");
        assert_eq!(calls(), before + 1);
    }
    fake.heal();
    fake.set_faults(&FaultsUpdate { fail_rate: Some(1.0), http: Some(true), ..FaultsUpdate::default() });
    for store in &stores {
        let before = calls();
        assert!(matches!(put(&**store, "x").await.unwrap_err(), Error::Unavailable { .. }));
        assert_eq!(calls(), before + 1);
    }
}

#[tokio::test]
async fn an_item_over_the_limit_never_reaches_the_network() {
    let fake = fake().await;
    let store = open(&fake, "momento:").await.unwrap();
    let before = fake.calls("set");
    let error = put(&*store, vec![0u8; 5_000_001]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 5_000_001, limit: 4_999_488, .. }), "{error:?}");
    assert!(error.to_string().contains("lower the bit rate"), "{error}");
    assert_eq!(fake.calls("set"), before);
}

#[tokio::test]
async fn the_services_own_word_on_a_size_is_understood() {
    let fake = fake().await;
    let store = open(&fake, "momento:?max_object=10MB").await.unwrap();
    let error = put(&*store, vec![0u8; 6_000_000]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 6_000_000, .. }), "{error:?}");
    let error = refusal(open(&fake, "momento:?max_object=20MB").await);
    assert!(error.contains("max_object is at most"), "{error}");
}

#[tokio::test]
async fn a_time_to_live_beyond_the_longest_becomes_the_longest() {
    let fake = fake().await;
    let store = open(&fake, "momento:").await.unwrap();
    let week = PutOptions::new(&key(), Duration::from_secs(7 * 86_400));
    store.put(&key(), "x".into(), &week).await.unwrap();
    assert_eq!(store.get(&key(), None).await.unwrap().size, 1);
    assert_eq!(store.capabilities().max_ttl, Some(Duration::from_secs(86_400)));
}

#[tokio::test]
async fn many_large_puts_at_once_all_land() {
    let fake = fake().await;
    let store = open(&fake, "momento:").await.unwrap();
    let puts = (0..60).map(|n| {
        let (store, key) = (Arc::clone(&store), Key::parse(format!("show_720p_segment{n:03}.ts")).unwrap());
        tokio::spawn(async move {
            store.put(&key, vec![0u8; 700_000].into(), &PutOptions::new(&key, TTL)).await.unwrap();
        })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap();
    }
    // And what the health check wrote when the store was opened.
    assert_eq!(fake.items("livestreams"), 61);
}

#[tokio::test]
async fn an_object_keeps_its_content_type_and_cache_control() {
    let fake = fake().await;
    let store = open(&fake, &objects_url(&fake)).await.unwrap();
    let key = Key::parse("show_playlist.m3u8").unwrap();
    let options = PutOptions::new(&key, TTL).cache_control("public, max-age=1");
    store.put(&key, "#EXTM3U\n".into(), &options).await.unwrap();
    assert_eq!(store.get(&key, None).await.unwrap().content_type, "application/vnd.apple.mpegurl");
    let url = format!("{}/objectstore/livestreams/{key}", fake.http_endpoint());
    let plain = reqwest::Client::new().get(url).header("authorization", fake.api_key()).send().await.unwrap();
    assert_eq!(plain.headers()["cache-control"], "public, max-age=1");
    assert_eq!(plain.headers()["content-type"], "application/vnd.apple.mpegurl");
}
