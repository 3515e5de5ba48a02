//! Real stores: what the tests of the store crate start, and a place between a server and its store where things go
//! wrong.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, clippy::unwrap_used)]

#[path = "../../../crates/store/tests/cdn/nginx.rs"]
pub mod cdn;
pub mod proxy;
#[path = "../../../crates/store/tests/support/mod.rs"]
pub mod redis_servers;
#[path = "../../../crates/store/tests/support/s3.rs"]
pub mod s3;

use momento_fake::{Fake, Options};

/// A momento-fake, and the environment that makes a tailwater use it.
pub async fn momento() -> (Fake, [(&'static str, String); 2]) {
    let fake = Fake::start(Options::default()).await.expect("momento-fake starts");
    let environment = [("MOMENTO_API_KEY", fake.api_key()), ("MOMENTO_ENDPOINT", fake.endpoint())];
    (fake, environment)
}

/// As a command wants it.
pub fn borrowed<'a>(environment: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
