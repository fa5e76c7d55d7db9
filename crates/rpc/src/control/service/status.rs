//! ClusterService.

use proto::control::v1::{self as pb, cluster_service_server::ClusterService};
use tonic::{Request, Response, Status};

use super::{
    super::{Cluster, wire::status as wire},
    Adapter,
};

#[tonic::async_trait]
impl<C: Cluster> ClusterService for Adapter<C> {
    async fn get_status(&self, _: Request<pb::GetStatusRequest>) -> Result<Response<pb::GetStatusResponse>, Status> {
        Ok(Response::new(wire::status(self.control.cluster_status())))
    }
}
