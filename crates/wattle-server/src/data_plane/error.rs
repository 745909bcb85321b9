//! Where domain errors become the protocol's: the only file that knows status codes.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::accounts::ClassError;
use crate::executor::ExecuteError;
use crate::model_repository::RepositoryError;

/// What went wrong with a request, in the kinds the protocol tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is not what it should be.
    InvalidArgument,
    /// There is no such model, version or page.
    NotFound,
    /// The page exists, but not with this method.
    MethodNotAllowed,
    /// The body is larger than the server takes.
    TooLarge,
    /// The server can't answer now; trying again later may help.
    Unavailable,
    /// The server doesn't do this.
    Unsupported,
    /// The server failed.
    Internal,
}

/// An error on its way to a client: its kind, and a text that says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    /// Its kind.
    pub kind: ErrorKind,
    /// What was found, what was expected and what to do.
    pub text: String,
}

impl ApiError {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// The request is not what it should be.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, text)
    }

    /// The HTTP status, as Triton maps it.
    pub fn http_status(&self) -> StatusCode {
        match self.kind {
            ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.text }).to_string();
        let status = self.http_status();
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<ApiError> for tonic::Status {
    fn from(error: ApiError) -> Self {
        let code = match error.kind {
            ErrorKind::InvalidArgument | ErrorKind::TooLarge => tonic::Code::InvalidArgument,
            ErrorKind::NotFound => tonic::Code::NotFound,
            ErrorKind::Unavailable => tonic::Code::Unavailable,
            ErrorKind::Unsupported | ErrorKind::MethodNotAllowed => tonic::Code::Unimplemented,
            ErrorKind::Internal => tonic::Code::Internal,
        };
        Self::new(code, error.text)
    }
}

impl From<RepositoryError> for ApiError {
    fn from(error: RepositoryError) -> Self {
        let kind = match &error {
            RepositoryError::UnknownModel { .. } | RepositoryError::UnknownVersion { .. } => {
                ErrorKind::NotFound
            }
            RepositoryError::Load { .. }
            | RepositoryError::IsFamily { .. }
            | RepositoryError::VersionOfFamily { .. } => ErrorKind::InvalidArgument,
            RepositoryError::Folder { .. } | RepositoryError::Family { .. } => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ClassError> for ApiError {
    fn from(error: ClassError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<ExecuteError> for ApiError {
    fn from(error: ExecuteError) -> Self {
        let kind = match &error {
            ExecuteError::QueueFull { .. }
            | ExecuteError::DeadlinePassed { .. }
            | ExecuteError::Closing { .. } => ErrorKind::Unavailable,
            ExecuteError::BadInput { .. } => ErrorKind::InvalidArgument,
            ExecuteError::Failed { .. } => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
