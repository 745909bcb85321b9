//! The admin API, the metrics and the dashboard, on a port of their own.
//!
//! ```text
//! GET    /metrics                       Prometheus' text format
//! GET    /                              dashboard
//! GET    /wattle/v1/status              how things stand
//! GET    /wattle/v1/power               the last power samples, each with its cap
//! GET    /wattle/v1/decisions?limit=N   the last decisions with their reasons, newest first
//! GET    /wattle/v1/power-cap           the cap in force
//! PUT    /wattle/v1/power-cap           {"power_cap_watts": 7.5}, or null for none
//! DELETE /wattle/v1/power-cap           back to the configured cap
//! GET    /wattle/v1/models/NAME/knobs   where the serving knobs stand
//! PUT    /wattle/v1/models/NAME/knobs   {"batch_size": 8, ...}: those named are turned
//! GET    /wattle/v1/models/NAME/profile the profile, refined by what was seen, as policies with profiles plan with it
//! ```

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use wattle_core::knob::ServingChange;

use crate::control_loop::{CapOverride, Control};
use crate::data_plane::error::{ApiError, ErrorKind};
use crate::metrics;
use crate::model_repository::ModelRepository;

/// What the admin API shows and turns.
pub struct Admin {
    /// The models.
    pub repository: Arc<ModelRepository>,
    /// The control loop.
    pub control: Arc<Control>,
}

/// The routes.
pub fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("../../../dashboard/index.html")) }))
        .route("/metrics", get(show_metrics))
        .route("/wattle/v1/status", get(show_status))
        .route("/wattle/v1/power", get(show_power))
        .route("/wattle/v1/decisions", get(show_decisions))
        .route("/wattle/v1/power-cap", get(show_cap).put(set_cap).delete(clear_cap))
        .route("/wattle/v1/models/{model}/knobs", get(show_knobs).put(turn_knobs))
        .route("/wattle/v1/models/{model}/profile", get(show_profile))
        .fallback(|| async { ApiError::new(ErrorKind::NotFound, "Not Found") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(ErrorKind::MethodNotAllowed, "Method Not Allowed")
        })
        .with_state(admin)
}

async fn show_metrics(State(admin): State<Arc<Admin>>) -> Response {
    let text = metrics::render(&admin.repository, &admin.control);
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn show_status(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let control = &admin.control;
    // Asked now: while the loop stalls its status stays as it was.
    let lives = json!({ "is_running": control.is_running(), "stalls": control.stalls().total() });
    Json(json!({ "device": control.device(), "control": lives, "status": &*control.status() }))
}

async fn show_power(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(json!(admin.control.power_points()))
}

#[derive(Deserialize)]
struct DecisionsQuery {
    #[serde(default = "ten")]
    limit: usize,
}

fn ten() -> usize {
    10
}

async fn show_decisions(State(admin): State<Arc<Admin>>, Query(query): Query<DecisionsQuery>) -> Json<Value> {
    Json(json!(admin.control.decisions(query.limit)))
}

async fn show_cap(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let status = admin.control.status();
    Json(json!({ "power_cap_watts": status.power_cap_watts, "power_cap_origin": status.power_cap_origin }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapBody {
    // Not an `Option` with a default: a body without the key is a mistake, not a lifted cap.
    power_cap_watts: Value,
}

async fn set_cap(State(admin): State<Arc<Admin>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let body: CapBody = parse(&body)?;
    let cap = match &body.power_cap_watts {
        Value::Null => CapOverride::Lifted,
        value => {
            let watts = value.as_f64().ok_or_else(|| {
                ApiError::invalid(format!("power_cap_watts is {value}, expected a number of watts or null"))
            })?;
            CapOverride::of_watts(watts).map_err(ApiError::invalid)?
        }
    };
    admin.control.set_cap(cap);
    tracing::info!(power_cap_watts = %body.power_cap_watts, "power cap set by hand");
    Ok(Json(json!({ "power_cap_watts": body.power_cap_watts })))
}

async fn clear_cap(State(admin): State<Arc<Admin>>) -> Json<Value> {
    admin.control.clear_cap();
    tracing::info!("power cap back to the configured one");
    Json(json!({}))
}

async fn show_knobs(
    State(admin): State<Arc<Admin>>,
    Path(model): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let served = admin.repository.find(&model, "")?;
    Ok(Json(json!({ "setting": served.executor.setting(), "limits": served.executor.limits() })))
}

/// As the text of a profile file, to be saved in place of the one that was read.
async fn show_profile(
    State(admin): State<Arc<Admin>>,
    Path(model): Path<String>,
) -> Result<Response, ApiError> {
    let served = admin.repository.find(&model, "")?;
    let refined = admin.control.refined_profiles();
    let profile = refined.as_ref().and_then(|profiles| profiles.get(&served.name));
    let profile = profile.ok_or_else(|| {
        let why = format!(
            "no refined profile of model '{model}': the policy was started without a profile of it, or refinement \
             is turned off"
        );
        ApiError::new(ErrorKind::NotFound, why)
    })?;
    Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8")], profile.to_text()).into_response())
}

async fn turn_knobs(
    State(admin): State<Arc<Admin>>,
    Path(model): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let change: ServingChange = parse(&body)?;
    let served = admin.repository.find(&model, "")?;
    let table = admin.repository.table();
    // A family's knobs are those of the variant that answers.
    if let Some(entry) = table.get(&served.name) {
        entry.turn(&change).map_err(|error| ApiError::invalid(format!("model '{model}': {error}")))?;
    }
    tracing::info!(model, ?change, "knobs turned by hand");
    Ok(Json(json!({ "setting": served.executor.setting() })))
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("failed to parse the request JSON: {error}")))
}
