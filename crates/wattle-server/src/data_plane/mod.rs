//! The Open Inference Protocol v2, over HTTP and gRPC, with the extensions that real clients need.
//!
//! ```text
//! http ─ oip ─┐
//!             ├─ infer ─ executor
//! grpc ───────┘
//! ```
//! Both front ends only translate; what a request means is said once, in `infer` and here.

pub mod compression;
mod cost;
pub mod error;
pub mod grpc;
pub mod health;
pub mod http;
pub mod infer;
pub mod json_tensor;
pub mod oip;
pub mod proto;
pub mod slices;
pub mod statistics;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::http::HeaderName;

use crate::accounts::Classes;
use crate::clock::Clock;
use crate::meter::EnergyRate;
use crate::model_repository::{ModelRepository, RepositoryError};
pub use cost::CLASS_HEADER;
use error::{ApiError, ErrorKind};

/// The extensions served, by the names Triton gives them.
pub const EXTENSIONS: [&str; 5] =
    ["binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics"];

/// What both front ends need.
pub struct DataPlane {
    /// The server's clock.
    pub clock: Clock,
    /// The models.
    pub repository: Arc<ModelRepository>,
    /// Server name in the metadata.
    pub name: String,
    /// Server version in the metadata.
    pub version: &'static str,
    /// Whether the server takes requests: its models are loaded and it isn't shutting down.
    pub is_ready: AtomicBool,
    /// Largest request body, before and after decompression.
    pub max_request_bytes: usize,
    /// What energy costs and how that is known, for answers that say what they cost.
    pub energy_rate: Arc<EnergyRate>,
    /// The classes that requests name.
    pub classes: Arc<Classes>,
    /// A header that names a request's class beside [`CLASS_HEADER`].
    pub class_header: Option<HeaderName>,
    /// Becomes true when the server stops: streams end.
    pub stopped: tokio::sync::watch::Receiver<bool>,
}

/// A model's metadata; every served version is listed. A family's is that of the variant that answers, but
/// for versions, of which it has none.
fn model_metadata(
    plane: &DataPlane,
    name: &str,
    version: &str,
) -> Result<proto::ModelMetadataResponse, ApiError> {
    let model = plane.repository.find(name, version)?;
    let table = plane.repository.table();
    let versions = match table.get(&model.name) {
        _ if plane.repository.families().contains_key(name) => Vec::new(),
        Some(entry) => entry.versions.keys().map(u64::to_string).collect(),
        None => vec![model.version.to_string()],
    };
    let tensors = |specs: &[wattle_runtime::tensor::TensorSpec]| {
        let one =
            |spec: &wattle_runtime::tensor::TensorSpec| proto::model_metadata_response::TensorMetadata {
                name: spec.name.clone(),
                datatype: spec.datatype.name().to_owned(),
                shape: spec.shape.clone(),
            };
        specs.iter().map(one).collect()
    };
    Ok(proto::ModelMetadataResponse {
        name: name.to_owned(),
        versions,
        platform: model.config.triton.platform.clone(),
        inputs: tensors(&model.config.inputs),
        outputs: tensors(&model.config.outputs),
    })
}

/// Loads a model on a thread that may block.
async fn load(plane: &Arc<DataPlane>, name: String, config: Option<String>) -> Result<(), ApiError> {
    control(plane, move |repository| repository.load(&name, config.as_deref())).await
}

/// Unloads a model. Unloading one that isn't there is done already, as Triton sees it.
async fn unload(plane: &Arc<DataPlane>, name: String) -> Result<(), ApiError> {
    control(plane, move |repository| match repository.unload(&name) {
        Err(RepositoryError::UnknownModel { .. }) => Ok(()),
        other => other,
    })
    .await
}

async fn control(
    plane: &Arc<DataPlane>,
    act: impl FnOnce(&Arc<ModelRepository>) -> Result<(), RepositoryError> + Send + 'static,
) -> Result<(), ApiError> {
    let repository = Arc::clone(&plane.repository);
    let done = tokio::task::spawn_blocking(move || act(&repository)).await;
    done.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?.map_err(ApiError::from)
}

fn unsupported_load_parameter(key: &str) -> ApiError {
    ApiError::new(
        ErrorKind::Unsupported,
        format!(
            "load parameter '{key}' is not supported, expected 'config'; put files into the model repository"
        ),
    )
}
