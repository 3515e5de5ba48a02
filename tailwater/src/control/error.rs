//! How the API refuses: a status, a sentence, a code.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::livestream::{
    name::NameError,
    types::{CreateError, EndError},
};

/// The body of every error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorBody {
    /// A sentence, for people.
    pub error: String,
    /// Kebab-case, for programs.
    pub code: String,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    sentence: String,
}

impl ApiError {
    /// A refusal with that status, code and sentence.
    pub fn new(status: StatusCode, code: &'static str, sentence: impl Into<String>) -> Self {
        Self { status, code, sentence: sentence.into() }
    }

    /// 400.
    pub fn bad_request(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, sentence)
    }

    /// The same refusal, naming the field it is about.
    #[must_use]
    pub fn about(self, field: &str) -> Self {
        Self { sentence: format!("{field}: {}", self.sentence), ..self }
    }

    /// Its code.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: self.sentence, code: self.code.to_owned() };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        let (status, code) = match &error {
            CreateError::Conflict { .. } => (StatusCode::CONFLICT, "name-taken"),
            CreateError::TooMany { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too-many-livestreams"),
            CreateError::Ffmpeg { .. } => (StatusCode::SERVICE_UNAVAILABLE, "ffmpeg-unavailable"),
            CreateError::OverCapacity => (StatusCode::SERVICE_UNAVAILABLE, "over-capacity"),
            CreateError::RtmpOff => (StatusCode::BAD_REQUEST, "rtmp-off"),
            CreateError::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<EndError> for ApiError {
    fn from(error: EndError) -> Self {
        match error {
            EndError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "no-such-livestream", error.to_string()),
        }
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::bad_request("invalid-stream-name", error.to_string())
    }
}

/// What no route is for.
pub async fn nothing() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path")
}

/// What a route is not for.
pub async fn not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this method does not work at this path")
}
