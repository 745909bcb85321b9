//! The HTTP front end: routes of the Open Inference Protocol v2 with Triton's extensions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cost::{self, Cost};
use super::error::{ApiError, ErrorKind};
use super::infer::{self, Called, InferAnswer};
use super::slices::Slices;
use super::{DataPlane, compression, oip, proto, statistics};
use crate::model_repository::{ServedModel, config_pbtxt};

/// Tells how many bytes of a body are JSON; the rest is binary tensors.
const HEADER_LENGTH: &str = "inference-header-content-length";
/// Answers smaller than this are sent as they are even to clients that take compressed ones.
const MIN_COMPRESSED_BYTES: usize = 1024;

/// Which model, and which version where the path names one.
#[derive(Deserialize)]
struct ModelPath {
    model: String,
    #[serde(default)]
    version: String,
}

/// The routes of the data plane.
pub fn router(plane: Arc<DataPlane>) -> Router {
    let model = |suffix: &str, route: axum::routing::MethodRouter<Arc<DataPlane>>| {
        Router::new()
            .route(&format!("/v2/models/{{model}}{suffix}"), route.clone())
            .route(&format!("/v2/models/{{model}}/versions/{{version}}{suffix}"), route)
    };
    Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/", get(server_metadata))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/stats", get(all_statistics))
        .route("/v2/repository/index", post(repository_index))
        .route("/v2/repository/{repository}/index", post(repository_index))
        .route("/v2/repository/models/{model}/load", post(repository_load))
        .route("/v2/repository/models/{model}/unload", post(repository_unload))
        .merge(model("", get(model_metadata)))
        .merge(model("/ready", get(model_ready)))
        .merge(model("/infer", post(model_infer)))
        .merge(model("/config", get(model_config)))
        .merge(model("/stats", get(model_statistics)))
        .fallback(|| async { ApiError::new(ErrorKind::NotFound, "Not Found") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(ErrorKind::MethodNotAllowed, "Method Not Allowed")
        })
        .layer(DefaultBodyLimit::disable()) // ours says what was expected
        .with_state(plane)
}

fn answer_json(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn ok(body: &Value) -> Response {
    answer_json(StatusCode::OK, body)
}

async fn live() -> Response {
    ok(&json!({ "live": true }))
}

async fn ready(State(plane): State<Arc<DataPlane>>) -> Response {
    let is_ready = plane.is_ready.load(Ordering::Acquire);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer_json(status, &json!({ "ready": is_ready }))
}

async fn server_metadata(State(plane): State<Arc<DataPlane>>) -> Response {
    ok(&json!({ "name": plane.name, "version": plane.version, "extensions": super::EXTENSIONS }))
}

async fn model_ready(
    State(plane): State<Arc<DataPlane>>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    plane.repository.find(&path.model, &path.version)?;
    Ok(ok(&json!({ "name": path.model, "ready": true })))
}

async fn model_metadata(
    State(plane): State<Arc<DataPlane>>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    let metadata = super::model_metadata(&plane, &path.model, &path.version)?;
    let tensors = |tensors: &[proto::model_metadata_response::TensorMetadata]| -> Vec<Value> {
        let one = |tensor: &proto::model_metadata_response::TensorMetadata| json!({ "name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape });
        tensors.iter().map(one).collect()
    };
    Ok(ok(&json!({
        "name": metadata.name,
        "versions": metadata.versions,
        "platform": metadata.platform,
        "inputs": tensors(&metadata.inputs),
        "outputs": tensors(&metadata.outputs),
    })))
}

async fn model_config(
    State(plane): State<Arc<DataPlane>>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    let model = plane.repository.find(&path.model, &path.version)?;
    Ok(ok(&config_pbtxt::to_json(&model.config.triton)))
}

async fn all_statistics(State(plane): State<Arc<DataPlane>>) -> Result<Response, ApiError> {
    Ok(ok(&statistics::to_json(&statistics::of(&plane, "", "")?)))
}

async fn model_statistics(
    State(plane): State<Arc<DataPlane>>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    Ok(ok(&statistics::to_json(&statistics::of(&plane, &path.model, &path.version)?)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IndexBody {
    ready: bool,
}

async fn repository_index(State(plane): State<Arc<DataPlane>>, body: Body) -> Result<Response, ApiError> {
    let body: IndexBody = read_optional_json(&read_body(body, plane.max_request_bytes).await?)?;
    let lines = plane.repository.index()?;
    let lines = lines.iter().filter(|line| !body.ready || line.state == "READY").map(|line| {
        let mut entry = json!({ "name": line.name });
        for (key, value) in
            [("version", line.version.as_str()), ("state", line.state), ("reason", line.reason.as_str())]
        {
            if !value.is_empty() {
                entry[key] = value.into();
            }
        }
        entry
    });
    Ok(ok(&Value::Array(lines.collect())))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ControlBody {
    parameters: Map<String, Value>,
}

async fn repository_load(
    State(plane): State<Arc<DataPlane>>,
    Path(path): Path<ModelPath>,
    body: Body,
) -> Result<Response, ApiError> {
    let body: ControlBody = read_optional_json(&read_body(body, plane.max_request_bytes).await?)?;
    let mut config = None;
    for (key, value) in body.parameters {
        match (key.as_str(), value) {
            ("config", Value::String(text)) => config = Some(text),
            ("config", other) => {
                return Err(ApiError::invalid(format!(
                    "parameter 'config' is {other}, expected JSON as text"
                )));
            }
            (other, _) => return Err(super::unsupported_load_parameter(other)),
        }
    }
    super::load(&plane, path.model, config).await?;
    Ok(StatusCode::OK.into_response())
}

async fn repository_unload(
    State(plane): State<Arc<DataPlane>>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    super::unload(&plane, path.model).await?;
    Ok(StatusCode::OK.into_response())
}

fn read_optional_json<T: Default + for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, ApiError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("failed to parse the request JSON: {error}")))
}

async fn model_infer(
    State(plane): State<Arc<DataPlane>>,
    Path(path): Path<ModelPath>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut model = plane.repository.find(&path.model, &path.version)?;
    let (head, body) = request.into_parts();
    let limit = plane.max_request_bytes;
    let body = read_body(body, limit).await?;
    let body = compression::decompress(&head.headers, body, limit)?;
    let (request, form) = match header_length(&head.headers)? {
        Some(0) => oip::read_raw_request(&model, body)?,
        length => oip::read_request(&body, length)?,
    };
    let wants_cost = request.options.wants_energy | cost::is_asked_by(&head.headers)?;
    let class = cost::class_named_by(&plane, |name| head.headers.get(name).map(HeaderValue::as_bytes))?;
    let called = Called { name: &path.model, version: &path.version, class };
    let answer = infer::infer(&plane, &mut model, called, request).await?;
    if !wants_cost {
        return write_answer(&head.headers, &model, &answer, &form, Map::new());
    }
    let cost = Cost::of(&plane, answer.energy);
    let parameters = cost.parameters().into_iter().map(|(key, value)| (key.to_owned(), value.into()));
    let mut response = write_answer(&head.headers, &model, &answer, &form, parameters.collect())?;
    cost.add_to(response.headers_mut());
    Ok(response)
}

async fn read_body(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    use http_body::Body as _;
    if body.size_hint().lower() > limit as u64 {
        return Err(compression::too_large(limit));
    }
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        // The only errors are the limit's own and a client that went away, which reads no answer.
        if error.to_string().contains("limit") {
            compression::too_large(limit)
        } else {
            ApiError::invalid(format!("failed to read the request body: {error}"))
        }
    })
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, ApiError> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    length.map(Some).ok_or_else(|| {
        ApiError::invalid(format!("Inference-Header-Content-Length is {value:?}, expected a number of bytes"))
    })
}

fn write_answer(
    headers: &HeaderMap,
    model: &ServedModel,
    answer: &InferAnswer,
    form: &oip::AnswerForm,
    parameters: Map<String, Value>,
) -> Result<Response, ApiError> {
    let (header, raw) = oip::write_answer(model, answer, form, parameters)?;
    let header_length = (!raw.is_empty()).then_some(header.len());
    let slices: Vec<Bytes> = std::iter::once(header).chain(raw).collect();
    let mut response = Response::new(Body::empty());
    let size: usize = slices.iter().map(Bytes::len).sum();
    match compression::accepted(headers).filter(|_| size >= MIN_COMPRESSED_BYTES) {
        Some(encoding) => {
            let body = compression::compress(encoding, &slices)
                .map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?;
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            *response.body_mut() = body.into();
        }
        None => *response.body_mut() = Body::new(slices.into_iter().collect::<Slices>()),
    }
    let content_type = match header_length {
        Some(length) => {
            response.headers_mut().insert(HEADER_LENGTH, length.into());
            "application/octet-stream"
        }
        None => "application/json",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}
