//! API keys. The server cannot check a signature, but it can tell a key from something that never was one.
//!
//! - v2: a JWT whose claims hold `"t": "g"`; it names no endpoint.
//! - v1: base64 of `{"endpoint": …, "api_key": …}`. SDKs send the inner `api_key` (a JWT), plain HTTP users may
//!   send the whole.

use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value, json};

/// A v2 key that every SDK takes for one.
pub(crate) fn v2(id: &str) -> String {
    jwt(&json!({"t": "g", "jti": id}))
}

/// A v1 key: `endpoint` is what an SDK derives its hosts from.
pub(crate) fn v1(id: &str, endpoint: &str) -> String {
    let inner = jwt(&json!({"sub": id, "ver": 1}));
    URL_SAFE.encode(json!({"endpoint": endpoint, "api_key": inner}).to_string())
}

/// Whether `key` has the form of a key of either generation, as it arrives in `authorization`.
pub(crate) fn well_formed(key: &str) -> bool {
    is_jwt(key) || v1_inner(key).is_some()
}

/// The key that an SDK would send: the inner one of a v1 key, else the key itself.
pub(crate) fn as_sent(key: &str) -> String {
    v1_inner(key).unwrap_or_else(|| key.to_owned())
}

fn jwt(claims: &Value) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT"}).to_string();
    format!("{}.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn is_jwt(key: &str) -> bool {
    let segments: Vec<&str> = key.split('.').collect();
    let [header, claims, signature] = segments[..] else { return false };
    object(header).is_some() && object(claims).is_some() && !signature.is_empty()
}

fn object(segment: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
}

fn v1_inner(key: &str) -> Option<String> {
    let token: Map<String, Value> = serde_json::from_slice(&URL_SAFE.decode(key).ok()?).ok()?;
    token.get("endpoint")?.as_str()?;
    Some(token.get("api_key")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_generations_are_well_formed() {
        let old = v1("a", "cell.example.com");
        assert!(well_formed(&v2("a")) && well_formed(&old) && well_formed(&as_sent(&old)));
        assert_ne!(as_sent(&old), old);
        assert_eq!(as_sent(&v2("a")), v2("a"));
    }

    #[test]
    fn what_never_was_a_key_is_told_from_one() {
        for wrong in ["", "secret", "a.b.c", "Bearer x", "e30.e30.", &format!("Bearer {}", v2("a"))] {
            assert!(!well_formed(wrong), "{wrong:?}");
        }
    }
}
