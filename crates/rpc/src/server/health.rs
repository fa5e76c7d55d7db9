//! What probes are told.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as Service, HealthServer},
    server::{HealthReporter, HealthService},
};

use super::OPEN_MESSAGE_BYTES_MAX;

/// The health of a process: `""` (it lives), `readiness`, `active`, and one for each service. Cheap to clone, shared by
/// all servers of a process.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// Alive, but neither ready nor active.
    pub async fn new() -> Self {
        let health = Self { reporter: HealthReporter::new() };
        health.set_ready(false).await;
        health.set_active(false).await;
        health
    }

    /// Says whether the process takes new work.
    pub async fn set_ready(&self, ready: bool) {
        self.set("readiness", ready).await;
    }

    /// Says whether the process serves as the active member of its pool.
    pub async fn set_active(&self, active: bool) {
        self.set("active", active).await;
    }

    pub(super) async fn set(&self, name: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(name, status).await;
    }

    pub(super) fn service(&self) -> HealthServer<impl Service> {
        let service = HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()));
        service.max_decoding_message_size(OPEN_MESSAGE_BYTES_MAX)
    }
}
