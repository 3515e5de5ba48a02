//! JSON bodies: bounded, of the right type, and refused with a sentence.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
};
use serde_json::{Map, Value};

use super::ApiError;

/// Longest body taken, in bytes. A ladder of eight rungs has a thousand.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// Reads a body that must be a JSON object.
///
/// The type must be said: a form of any page in a browser on this machine can send text, but not `application/json`
/// without our leave.
///
/// # Errors
/// 415, 413 or 400.
pub async fn object(request: Request) -> Result<(Vec<u8>, Map<String, Value>), ApiError> {
    if !is_json(request.headers()) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-json",
            "send the body as JSON, with Content-Type: application/json",
        ));
    }
    let bytes = bytes(request.into_body()).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok((bytes, object)),
        Ok(_) => Err(ApiError::bad_request("invalid-json", "the body must be a JSON object")),
        Err(error) => Err(ApiError::bad_request("invalid-json", format!("the body is not JSON: {error}"))),
    }
}

async fn bytes(body: Body) -> Result<Vec<u8>, ApiError> {
    to_bytes(body, MAX_BODY_BYTES).await.map(Into::into).map_err(|_| {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("the body is cut short or has more than {MAX_BODY_BYTES} bytes"),
        )
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    })
}
