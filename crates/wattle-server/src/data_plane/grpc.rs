//! The gRPC front end: the Open Inference Protocol v2 service with Triton's extensions, and the
//! standard health service.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio_stream::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use wattle_runtime::tensor::{Datatype, Tensor};

use super::cost::{self, Cost, CostParameter};
use super::error::{ApiError, ErrorKind};
use super::infer::{self, Called, InferAnswer, InferOptions, InferRequest};
use super::proto::grpc_inference_service_server::GrpcInferenceService;
use super::proto::infer_parameter::ParameterChoice;
use super::proto::{self, InferParameter, ModelInferRequest, ModelInferResponse};
use super::{DataPlane, statistics};
use crate::model_repository::{RepositoryError, ServedModel};

/// The service.
pub struct Service(pub Arc<DataPlane>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    async fn server_live(&self, _: Request<proto::ServerLiveRequest>) -> Answer<proto::ServerLiveResponse> {
        Ok(Response::new(proto::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<proto::ServerReadyRequest>,
    ) -> Answer<proto::ServerReadyResponse> {
        let ready = self.0.is_ready.load(Ordering::Acquire);
        Ok(Response::new(proto::ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<proto::ModelReadyRequest>,
    ) -> Answer<proto::ModelReadyResponse> {
        let request = request.into_inner();
        let ready = match self.0.repository.find(&request.name, &request.version) {
            Ok(_) => true,
            Err(error @ RepositoryError::VersionOfFamily { .. }) => return Err(ApiError::from(error).into()),
            Err(_) => false,
        };
        Ok(Response::new(proto::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<proto::ServerMetadataRequest>,
    ) -> Answer<proto::ServerMetadataResponse> {
        Ok(Response::new(proto::ServerMetadataResponse {
            name: self.0.name.clone(),
            version: self.0.version.to_owned(),
            extensions: super::EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<proto::ModelMetadataRequest>,
    ) -> Answer<proto::ModelMetadataResponse> {
        let request = request.into_inner();
        Ok(Response::new(super::model_metadata(&self.0, &request.name, &request.version)?))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let (metadata, _, request) = request.into_parts();
        let class = class_named_by(&self.0, &metadata)?;
        Ok(Response::new(infer_one(&self.0, request, class).await?))
    }

    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<proto::ModelStreamInferResponse, Status>> + Send>>;

    /// Answers in the order of the requests; an error of one does not end the stream. Requests run side
    /// by side, so that one stream can fill a batch.
    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        let plane = Arc::clone(&self.0);
        // Of the whole stream: metadata comes once.
        let class: Option<Arc<str>> = class_named_by(&plane, request.metadata())?.map(Into::into);
        let mut requests = request.into_inner();
        let (sender, running) = tokio::sync::mpsc::channel(MAX_RUNNING_OF_A_STREAM);
        tokio::spawn(async move {
            let mut stopped = plane.stopped.clone();
            loop {
                let request = tokio::select! {
                    request = requests.next() => request,
                    _ = stopped.wait_for(|stopped| *stopped) => None,
                };
                let Some(request) = request else { return };
                let (plane, class) = (Arc::clone(&plane), class.clone());
                let answer =
                    tokio::spawn(
                        async move { Ok(answer_of_stream(&plane, request?, class.as_deref()).await) },
                    );
                // The client went away: nobody waits for what is still to come.
                if sender.send(answer).await.is_err() {
                    return;
                }
            }
        });
        let answers = tokio_stream::wrappers::ReceiverStream::new(running).then(|answer| async {
            answer.await.unwrap_or_else(|error| Err(Status::internal(error.to_string())))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn model_config(
        &self,
        request: Request<proto::ModelConfigRequest>,
    ) -> Answer<proto::ModelConfigResponse> {
        let request = request.into_inner();
        let model = self.0.repository.find(&request.name, &request.version).map_err(ApiError::from)?;
        Ok(Response::new(proto::ModelConfigResponse { config: Some(model.config.triton.clone()) }))
    }

    async fn model_statistics(
        &self,
        request: Request<proto::ModelStatisticsRequest>,
    ) -> Answer<proto::ModelStatisticsResponse> {
        let request = request.into_inner();
        Ok(Response::new(statistics::of(&self.0, &request.name, &request.version)?))
    }

    async fn repository_index(
        &self,
        request: Request<proto::RepositoryIndexRequest>,
    ) -> Answer<proto::RepositoryIndexResponse> {
        let only_ready = request.into_inner().ready;
        let lines = self.0.repository.index().map_err(ApiError::from)?;
        let models = lines.into_iter().filter(|line| !only_ready || line.state == "READY").map(|line| {
            proto::repository_index_response::ModelIndex {
                name: line.name,
                version: line.version,
                state: line.state.to_owned(),
                reason: line.reason,
            }
        });
        Ok(Response::new(proto::RepositoryIndexResponse { models: models.collect() }))
    }

    async fn repository_model_load(
        &self,
        request: Request<proto::RepositoryModelLoadRequest>,
    ) -> Answer<proto::RepositoryModelLoadResponse> {
        use proto::model_repository_parameter::ParameterChoice;
        let request = request.into_inner();
        let mut config = None;
        for (key, value) in request.parameters {
            match (key.as_str(), value.parameter_choice) {
                ("config", Some(ParameterChoice::StringParam(text))) => config = Some(text),
                (other, _) => return Err(super::unsupported_load_parameter(other).into()),
            }
        }
        super::load(&self.0, request.model_name, config).await?;
        Ok(Response::new(proto::RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<proto::RepositoryModelUnloadRequest>,
    ) -> Answer<proto::RepositoryModelUnloadResponse> {
        super::unload(&self.0, request.into_inner().model_name).await?;
        Ok(Response::new(proto::RepositoryModelUnloadResponse {}))
    }
}

/// Requests of one stream that may wait or run at once.
const MAX_RUNNING_OF_A_STREAM: usize = 256;

/// The class that the metadata of a call names.
fn class_named_by<'a>(plane: &DataPlane, metadata: &'a MetadataMap) -> Result<Option<&'a str>, ApiError> {
    cost::class_named_by(plane, |name| metadata.get(name).map(|value| value.as_encoded_bytes()))
}

async fn answer_of_stream(
    plane: &DataPlane,
    request: ModelInferRequest,
    class: Option<&str>,
) -> proto::ModelStreamInferResponse {
    let id = request.id.clone();
    match infer_one(plane, request, class).await {
        Ok(answer) => proto::ModelStreamInferResponse {
            infer_response: Some(answer),
            ..proto::ModelStreamInferResponse::default()
        },
        Err(error) => proto::ModelStreamInferResponse {
            error_message: error.text,
            infer_response: Some(ModelInferResponse { id, ..ModelInferResponse::default() }),
        },
    }
}

async fn infer_one(
    plane: &DataPlane,
    request: ModelInferRequest,
    class: Option<&str>,
) -> Result<ModelInferResponse, ApiError> {
    let mut model = plane.repository.find(&request.model_name, &request.model_version)?;
    let (id, name) = (request.id.clone(), request.model_name.clone());
    let version = request.model_version.clone();
    let request = read_request(request)?;
    let wants_energy = request.options.wants_energy;
    let called = Called { name: &name, version: &version, class };
    let answer = infer::infer(plane, &mut model, called, request).await?;
    let parameters = if wants_energy {
        let parameters = Cost::of(plane, answer.energy).parameters();
        parameters.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
    } else {
        HashMap::new()
    };
    Ok(write_answer(&model, id, answer, parameters))
}

fn read_request(request: ModelInferRequest) -> Result<InferRequest, ApiError> {
    let options = read_options(&request.parameters)?;
    let mut outputs = Vec::with_capacity(request.outputs.len());
    for output in request.outputs {
        refuse_unsupported(&output.name, &output.parameters)?;
        outputs.push(output.name);
    }
    // Before the count of raw contents: inputs in shared memory have none.
    for input in &request.inputs {
        refuse_unsupported(&input.name, &input.parameters)?;
    }
    let is_raw = !request.raw_input_contents.is_empty();
    if is_raw && request.raw_input_contents.len() != request.inputs.len() {
        return Err(ApiError::invalid(format!(
            "raw_input_contents has {} entries for {} inputs, expected one for each",
            request.raw_input_contents.len(),
            request.inputs.len()
        )));
    }
    let mut raw = request.raw_input_contents.into_iter();
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        let Some(datatype) = Datatype::from_name(&input.datatype) else {
            return Err(ApiError::invalid(format!(
                "input '{}' has datatype '{}', expected one of the protocol's, such as FP32",
                input.name, input.datatype
            )));
        };
        let shape = input.shape.iter().map(|&size| usize::try_from(size));
        let shape = shape.collect::<Result<Vec<usize>, _>>().map_err(|_| {
            ApiError::invalid(format!(
                "input '{}' has shape {:?}, expected no negative size",
                input.name, input.shape
            ))
        })?;
        let data = match (raw.next(), input.contents) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid(format!(
                    "input '{}' has both contents and raw_input_contents, expected one",
                    input.name
                )));
            }
            (Some(data), None) => data,
            (None, contents) => typed_contents(&input.name, datatype, contents.unwrap_or_default())?,
        };
        inputs.push(Tensor { name: input.name, datatype, shape, data });
    }
    Ok(InferRequest { inputs, outputs, options })
}

/// The little-endian bytes of typed contents. Small types travel in wider fields, and are checked.
fn typed_contents(
    name: &str,
    datatype: Datatype,
    contents: proto::InferTensorContents,
) -> Result<Bytes, ApiError> {
    fn narrow<const N: usize, S: Copy + std::fmt::Display, T: TryFrom<S>>(
        name: &str,
        datatype: Datatype,
        values: &[S],
        bytes: fn(T) -> [u8; N],
    ) -> Result<Bytes, ApiError> {
        let mut data = Vec::with_capacity(values.len() * N);
        for &value in values {
            let narrow = T::try_from(value).map_err(|_| {
                ApiError::invalid(format!(
                    "input '{name}' has {value} in its contents, which is out of range for {datatype}"
                ))
            })?;
            data.extend_from_slice(&bytes(narrow));
        }
        Ok(data.into())
    }
    match datatype {
        Datatype::Bool => Ok(contents.bool_contents.into_iter().map(u8::from).collect()),
        Datatype::Int8 => narrow(name, datatype, &contents.int_contents, i8::to_le_bytes),
        Datatype::Int16 => narrow(name, datatype, &contents.int_contents, i16::to_le_bytes),
        Datatype::Int32 => narrow(name, datatype, &contents.int_contents, i32::to_le_bytes),
        Datatype::Int64 => narrow(name, datatype, &contents.int64_contents, i64::to_le_bytes),
        Datatype::Uint8 => narrow(name, datatype, &contents.uint_contents, u8::to_le_bytes),
        Datatype::Uint16 => narrow(name, datatype, &contents.uint_contents, u16::to_le_bytes),
        Datatype::Uint32 => narrow(name, datatype, &contents.uint_contents, u32::to_le_bytes),
        Datatype::Uint64 => narrow(name, datatype, &contents.uint64_contents, u64::to_le_bytes),
        Datatype::Fp32 => narrow(name, datatype, &contents.fp32_contents, f32::to_le_bytes),
        Datatype::Fp64 => narrow(name, datatype, &contents.fp64_contents, f64::to_le_bytes),
        Datatype::Bytes => {
            let mut data = Vec::new();
            for element in contents.bytes_contents {
                let length = u32::try_from(element.len())
                    .map_err(|_| ApiError::invalid("element longer than 4 GiB"))?;
                data.extend_from_slice(&length.to_le_bytes());
                data.extend_from_slice(&element);
            }
            Ok(data.into())
        }
        Datatype::Fp16 | Datatype::Bf16 => Err(ApiError::invalid(format!(
            "input '{name}' is {datatype}, which the protocol carries only in raw_input_contents"
        ))),
    }
}

/// Says no to extensions that would change the answer and are not there.
fn refuse_unsupported(name: &str, parameters: &HashMap<String, InferParameter>) -> Result<(), ApiError> {
    for key in ["shared_memory_region", "classification"] {
        if parameters.contains_key(key) {
            return Err(ApiError::new(
                ErrorKind::Unsupported,
                format!("'{name}': parameter '{key}' is not supported"),
            ));
        }
    }
    Ok(())
}

fn read_options(parameters: &HashMap<String, InferParameter>) -> Result<InferOptions, ApiError> {
    let choice = |key: &str| parameters.get(key).and_then(|parameter| parameter.parameter_choice.as_ref());
    let whole_number = |key: &str| match choice(key) {
        None => Ok(None),
        Some(ParameterChoice::Int64Param(value)) if *value >= 0 => Ok(Some(value.unsigned_abs())),
        Some(ParameterChoice::Uint64Param(value)) => Ok(Some(*value)),
        Some(other) => {
            Err(ApiError::invalid(format!("parameter '{key}' is {other:?}, expected a whole number")))
        }
    };
    let wants_energy = match choice("wattle_energy") {
        None => false,
        Some(ParameterChoice::BoolParam(value)) => *value,
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "parameter 'wattle_energy' is {other:?}, expected true or false"
            )));
        }
    };
    let class = match choice("wattle_class") {
        None => None,
        Some(ParameterChoice::StringParam(name)) => Some(name.clone()),
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "parameter 'wattle_class' is {other:?}, expected a string"
            )));
        }
    };
    Ok(InferOptions {
        class,
        priority: whole_number("priority")?,
        timeout: whole_number("timeout")?.filter(|us| *us > 0).map(Duration::from_micros),
        wants_energy,
    })
}

fn write_answer(
    model: &ServedModel,
    id: String,
    answer: InferAnswer,
    parameters: HashMap<String, InferParameter>,
) -> ModelInferResponse {
    let mut outputs = Vec::with_capacity(answer.outputs.len());
    let mut raw_output_contents = Vec::with_capacity(answer.outputs.len());
    for output in answer.outputs {
        outputs.push(proto::model_infer_response::InferOutputTensor {
            name: output.name,
            datatype: output.datatype.name().to_owned(),
            shape: output.shape.iter().map(|&size| size as i64).collect(),
            ..Default::default()
        });
        // Always raw: it is all that tritonclient reads.
        raw_output_contents.push(output.data);
    }
    ModelInferResponse {
        model_name: model.name.to_string(),
        model_version: model.version.to_string(),
        id,
        parameters,
        outputs,
        raw_output_contents,
    }
}

impl From<CostParameter> for InferParameter {
    fn from(parameter: CostParameter) -> Self {
        let choice = match parameter {
            CostParameter::Number(value) => ParameterChoice::DoubleParam(value),
            CostParameter::Text(text) => ParameterChoice::StringParam(text),
        };
        Self { parameter_choice: Some(choice) }
    }
}
