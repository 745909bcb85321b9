//! The demo's client: asks the server over gRPC, as any other program would, and checks each answer
//! against its label.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tonic::transport::{Channel, Endpoint};
use wattle_server::data_plane::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use wattle_server::data_plane::proto::infer_parameter::ParameterChoice;
use wattle_server::data_plane::proto::model_infer_request::InferInputTensor;
use wattle_server::data_plane::proto::{InferParameter, ModelInferRequest};

use super::bundle::{LabelledImage, class_of};

/// One connection carries some 200 requests at a time; more connections, more of them.
const CONNECTIONS: usize = 4;

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was answered.
    Answered {
        /// Whether the answer's class is the label.
        is_correct: bool,
        /// From sending to the answer.
        latency: Duration,
    },
    /// It was not.
    Failed {
        /// Why, in a word, as in the summary.
        kind: &'static str,
        /// What the server said, where that tells more.
        detail: Option<String>,
    },
}

/// Sends single images to one model.
#[derive(Clone)]
pub(super) struct Client {
    connections: Vec<GrpcInferenceServiceClient<Channel>>,
    requests: Arc<Vec<(ModelInferRequest, usize)>>,
    /// How long an answer is waited for.
    patience: Duration,
}

impl Client {
    /// Connects to the server at `address`. Each request carries one of `images` and waits in the
    /// server for `deadline` at most; after twice that the client waits no more.
    pub(super) async fn connect(
        address: SocketAddr,
        model: &str,
        images: Vec<LabelledImage>,
        deadline: Duration,
    ) -> Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
            let channel = endpoint.connect().await;
            let channel = channel.with_context(|| format!("failed to connect to the server at {address}"))?;
            connections.push(GrpcInferenceServiceClient::new(channel));
        }
        let requests = images.into_iter().map(|image| (request(model, &image, deadline), image.label));
        Ok(Self { connections, requests: Arc::new(requests.collect()), patience: deadline * 2 })
    }

    /// Sends the `number`th request (images and connections go round) and waits for what becomes of it.
    pub(super) async fn ask(&self, number: usize) -> Outcome {
        let (request, label) = &self.requests[number % self.requests.len()];
        let mut connection = self.connections[number % self.connections.len()].clone();
        let sent = Instant::now();
        let answered = tokio::time::timeout(self.patience, connection.model_infer(request.clone())).await;
        let Ok(answered) = answered else { return Outcome::Failed { kind: "timed_out", detail: None } };
        match answered {
            Ok(answer) => {
                let answer = answer.into_inner();
                let latency = sent.elapsed();
                match answer.raw_output_contents.first().and_then(|logits| class_of(logits)) {
                    Some(class) => Outcome::Answered { is_correct: class == *label, latency },
                    None => Outcome::Failed {
                        kind: "no_class_in_the_answer",
                        detail: Some(format!("the answer holds {} outputs", answer.outputs.len())),
                    },
                }
            }
            Err(status) => failed(&status),
        }
    }
}

fn request(model: &str, image: &LabelledImage, deadline: Duration) -> ModelInferRequest {
    let timeout_us = i64::try_from(deadline.as_micros()).unwrap_or(i64::MAX);
    let timeout = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(timeout_us)) };
    ModelInferRequest {
        model_name: model.to_owned(),
        parameters: [("timeout".to_owned(), timeout)].into(),
        inputs: vec![InferInputTensor {
            name: "image".into(),
            datatype: "FP32".into(),
            shape: vec![1, 1, 8, 8],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![image.pixels.clone()],
        ..ModelInferRequest::default()
    }
}

fn failed(status: &tonic::Status) -> Outcome {
    let text = status.message();
    let kind = match status.code() {
        tonic::Code::Unavailable if text.starts_with("Exceeds maximum queue size") => "queue_full",
        tonic::Code::Unavailable if text.starts_with("Request timeout expired") => "deadline_passed",
        _ => "error",
    };
    let detail = (kind == "error").then(|| format!("{:?}: {text}", status.code()));
    Outcome::Failed { kind, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_what_the_server_says() {
        let check = |code, text: &str, wanted| {
            let Outcome::Failed { kind, detail } = failed(&tonic::Status::new(code, text)) else { panic!() };
            assert_eq!(kind, wanted);
            assert_eq!(detail.is_some(), wanted == "error");
        };
        check(tonic::Code::Unavailable, "Exceeds maximum queue size: 1024 requests wait", "queue_full");
        check(tonic::Code::Unavailable, "Request timeout expired: model 'm' took no", "deadline_passed");
        check(tonic::Code::Unavailable, "connection reset", "error");
        check(tonic::Code::Internal, "broken", "error");
    }
}
