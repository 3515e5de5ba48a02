//! The official SDK against the fake: what it stores, and how each fault looks to it.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use momento::{
    CacheClient, CredentialProvider, MomentoErrorCode, MomentoResult,
    cache::{
        Configuration, CreateCacheResponse, GetResponse, ItemGetTtlResponse, SetIfAbsentResponse, SetIfEqualResponse,
        SetIfPresentResponse, SetRequest, UpdateTtlResponse,
    },
    config::{grpc_configuration::GrpcConfiguration, transport_strategy::TransportStrategy},
};
use momento_fake::{Fake, FaultsUpdate, Options};

const CACHE: &str = "livestreams";

async fn fake() -> Fake {
    Fake::start(Options::default()).await.unwrap()
}

fn client_with(fake: &Fake, key: &str, deadline: Duration) -> CacheClient {
    let grpc = GrpcConfiguration::builder().deadline(deadline);
    let credentials = CredentialProvider::from_api_key_v2(key, "momento.invalid").unwrap();
    CacheClient::builder()
        .default_ttl(Duration::from_secs(60))
        .configuration(
            Configuration::builder().transport_strategy(TransportStrategy::builder().grpc_configuration(grpc)),
        )
        .credential_provider(credentials.insecure_endpoint_override(&fake.endpoint()))
        .build()
        .unwrap()
}

fn client(fake: &Fake) -> CacheClient {
    client_with(fake, &fake.api_key(), Duration::from_secs(5))
}

fn code<T: std::fmt::Debug>(result: MomentoResult<T>) -> MomentoErrorCode {
    result.unwrap_err().error_code
}

#[tokio::test]
async fn a_value_is_read_back_deleted_and_missed() {
    let fake = fake().await;
    let client = client(&fake);
    client.set(CACHE, "a/b c", vec![7u8; 3_000_000]).await.unwrap();
    let value: Vec<u8> = client.get(CACHE, "a/b c").await.unwrap().try_into().unwrap();
    assert_eq!(value, vec![7u8; 3_000_000]);
    assert!(client.key_exists(CACHE, "a/b c").await.unwrap().exists);
    client.delete(CACHE, "a/b c").await.unwrap();
    assert_eq!(client.get(CACHE, "a/b c").await.unwrap(), GetResponse::Miss);
    assert_eq!((fake.calls("set"), fake.calls("get"), fake.items(CACHE)), (1, 2, 0));
}

#[tokio::test]
async fn a_time_to_live_is_told_changed_and_kept() {
    let fake = fake().await;
    let client = client(&fake);
    let set = SetRequest::new(CACHE, "a", "1").ttl(Duration::from_millis(200));
    client.send_request(set).await.unwrap();
    let ItemGetTtlResponse::Hit { remaining_ttl } = client.item_get_ttl(CACHE, "a").await.unwrap() else {
        panic!("it is there");
    };
    assert!(remaining_ttl <= Duration::from_millis(200));
    tokio::time::sleep(Duration::from_millis(220)).await;
    assert_eq!(client.get(CACHE, "a").await.unwrap(), GetResponse::Miss);

    client.set(CACHE, "b", "1").await.unwrap();
    let updated = client.update_ttl(CACHE, "b", Duration::from_secs(1000)).await.unwrap();
    assert_eq!(updated, UpdateTtlResponse::Set);
    let ttl: Duration = client.item_get_ttl(CACHE, "b").await.unwrap().try_into().unwrap();
    assert!(ttl > Duration::from_secs(990));
}

#[tokio::test]
async fn a_conditional_set_stores_only_when_its_condition_holds() {
    let fake = fake().await;
    let client = client(&fake);
    assert_eq!(client.set_if_absent(CACHE, "lease", "one").await.unwrap(), SetIfAbsentResponse::Stored);
    assert_eq!(client.set_if_absent(CACHE, "lease", "two").await.unwrap(), SetIfAbsentResponse::NotStored);
    let equal = client.set_if_equal(CACHE, "lease", "three", "one").await.unwrap();
    assert_eq!(equal, SetIfEqualResponse::Stored);
    let unequal = client.set_if_equal(CACHE, "lease", "four", "one").await.unwrap();
    assert_eq!(unequal, SetIfEqualResponse::NotStored);
    let absent = client.set_if_present(CACHE, "none", "x").await.unwrap();
    assert_eq!(absent, SetIfPresentResponse::NotStored);
    let value: String = client.get(CACHE, "lease").await.unwrap().try_into().unwrap();
    assert_eq!(value, "three");
}

#[tokio::test]
async fn caches_are_made_listed_and_removed() {
    let fake = fake().await;
    let client = client(&fake);
    assert_eq!(code(client.set("other", "a", "1").await), MomentoErrorCode::CacheNotFoundError);
    assert_eq!(client.create_cache("other").await.unwrap(), CreateCacheResponse::Created);
    assert_eq!(client.create_cache("other").await.unwrap(), CreateCacheResponse::AlreadyExists);
    client.set("other", "a", "1").await.unwrap();
    let names: Vec<String> = client.list_caches().await.unwrap().caches.into_iter().map(|cache| cache.name).collect();
    assert_eq!(names, [CACHE, "other"]);
    client.delete_cache("other").await.unwrap();
    assert_eq!(code(client.get("other", "a").await), MomentoErrorCode::CacheNotFoundError);
}

#[tokio::test]
async fn the_documented_limits_hold() {
    let fake = fake().await;
    let client = client(&fake);
    client.set(CACHE, "key", vec![0u8; 5_000_000 - 3]).await.unwrap();
    let error = client.set(CACHE, "key", vec![0u8; 5_000_000 - 2]).await.unwrap_err();
    assert_eq!(error.error_code, MomentoErrorCode::LimitExceededError);
    assert_eq!(error.message, "Item size limit exceeded for this account");
    let long = SetRequest::new(CACHE, "a", "1").ttl(Duration::from_secs(86_401));
    assert_eq!(code(client.send_request(long).await), MomentoErrorCode::InvalidArgumentError);
}

#[tokio::test]
async fn keys_that_are_none_refused_or_read_only_do_not_get_in() {
    let fake = fake().await;
    let (refused, reader) = (fake.other_api_key("refused"), fake.other_api_key("reader"));
    fake.refuse_key(&refused);
    fake.restrict_to_reading(&reader);
    let second = Duration::from_secs(1);
    let result = client_with(&fake, &refused, second).get(CACHE, "a").await;
    assert_eq!(code(result), MomentoErrorCode::AuthenticationError);
    let reader = client_with(&fake, &reader, second);
    assert_eq!(reader.get(CACHE, "a").await.unwrap(), GetResponse::Miss);
    assert_eq!(code(reader.set(CACHE, "a", "1").await), MomentoErrorCode::PermissionError);
}

#[tokio::test]
#[allow(deprecated)]
async fn a_key_of_the_first_generation_gets_in() {
    let fake = fake().await;
    let credentials = CredentialProvider::from_string(fake.v1_api_key()).unwrap();
    let client = CacheClient::builder()
        .default_ttl(Duration::from_secs(60))
        .configuration(momento::cache::configurations::Laptop::latest())
        .credential_provider(credentials.insecure_endpoint_override(&fake.endpoint()))
        .build()
        .unwrap();
    client.set(CACHE, "a", "1").await.unwrap();
}

#[tokio::test]
async fn faults_look_like_the_services() {
    let fake = fake().await;
    let client = client_with(&fake, &fake.api_key(), Duration::from_millis(200));
    client.set(CACHE, "a", "1").await.unwrap();

    fake.set_faults(&FaultsUpdate { throttle_rate: Some(1.0), ..FaultsUpdate::default() });
    let error = client.set(CACHE, "a", "1").await.unwrap_err();
    assert_eq!(error.message, "Request rate limit exceeded for this account");

    fake.heal();
    fake.set_faults(&FaultsUpdate { fail_rate: Some(1.0), ..FaultsUpdate::default() });
    assert_eq!(code(client.set(CACHE, "a", "1").await), MomentoErrorCode::ServerUnavailable);

    fake.heal();
    fake.set_faults(&FaultsUpdate { delay_ms: Some(5000), ..FaultsUpdate::default() });
    assert_eq!(code(client.set(CACHE, "a", "1").await), MomentoErrorCode::CancelledError);

    fake.heal();
    fake.set_faults(&FaultsUpdate { wipe: true, ..FaultsUpdate::default() });
    assert_eq!(client.get(CACHE, "a").await.unwrap(), GetResponse::Miss);
}

#[tokio::test]
async fn a_client_outlives_an_outage_and_a_restart() {
    let mut fake = fake().await;
    let client = client(&fake);
    client.set(CACHE, "a", "1").await.unwrap();

    fake.set_faults(&FaultsUpdate { down: Some(true), ..FaultsUpdate::default() });
    client.get(CACHE, "a").await.unwrap_err();
    client.get(CACHE, "a").await.unwrap_err();
    fake.heal();
    until_it_answers(&client).await;

    let port = fake.grpc_addr();
    fake.stop().await;
    assert_eq!(code(client.get(CACHE, "a").await), MomentoErrorCode::ServerUnavailable);
    fake.restart().await.unwrap();
    assert_eq!(fake.grpc_addr(), port);
    until_it_answers(&client).await;
}

/// A connection that was cut may cost the client the next request.
async fn until_it_answers(client: &CacheClient) {
    for _ in 0..20 {
        match client.get(CACHE, "a").await {
            Ok(GetResponse::Hit { .. }) => return,
            Ok(miss) => panic!("{miss:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("the client did not come back");
}
