//! The standard gRPC health service, which load balancers and Kubernetes probe.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tonic::{Request, Response, Status};

use self::proto::health_check_response::ServingStatus;
use self::proto::health_server::{Health, HealthServer};
use super::DataPlane;

/// The messages, generated from `proto/health.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]
mod proto {
    tonic::include_proto!("grpc.health.v1");
}

/// The service, which answers for the whole server and for the inference service alike.
pub fn service(plane: Arc<DataPlane>) -> HealthServer<impl Health> {
    HealthServer::new(Checker(plane))
}

struct Checker(Arc<DataPlane>);

#[tonic::async_trait]
impl Health for Checker {
    async fn check(
        &self,
        request: Request<proto::HealthCheckRequest>,
    ) -> Result<Response<proto::HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !matches!(service.as_str(), "" | "inference.GRPCInferenceService") {
            return Err(Status::not_found(format!("service {service:?} is not served here")));
        }
        let is_ready = self.0.is_ready.load(Ordering::Acquire);
        let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(proto::HealthCheckResponse { status: status.into() }))
    }
}
