//! OriginPoolService.

use futures_util::StreamExt;
use proto::control::v1::{
    self as pb, origin_pool_service_server::OriginPoolService, watch_origin_pool_response::Event,
};
use tonic::{Request, Response, Status};

use super::{
    super::{PoolInfo, Pools, Step, Steps, Watched, fields, list, wire::pools as wire},
    Adapter, Answers, answers, caller, not_found,
};

#[tonic::async_trait]
impl<C: Pools> OriginPoolService for Adapter<C> {
    type WatchOriginPoolStream = Answers<pb::WatchOriginPoolResponse>;

    async fn get_origin_pool(
        &self,
        request: Request<pb::GetOriginPoolRequest>,
    ) -> Result<Response<pb::GetOriginPoolResponse>, Status> {
        let id = fields::pool("name", &request.into_inner().name)?;
        let pool = self.control.pool(&id).ok_or_else(|| not_found("origin pool", &id.resource()))?;
        Ok(Response::new(pb::GetOriginPoolResponse { origin_pool: Some(wire::info(pool)) }))
    }

    async fn list_origin_pools(
        &self,
        request: Request<pb::ListOriginPoolsRequest>,
    ) -> Result<Response<pb::ListOriginPoolsResponse>, Status> {
        let pb::ListOriginPoolsRequest { page_size, page_token, filter, order_by } = request.into_inner();
        let request = list::Request { page_size, page_token: &page_token, filter: &filter, order_by: &order_by };
        let (pools, next_page_token) = list::page(self.control.pools(), &request)?;
        let origin_pools = pools.into_iter().map(wire::info).collect();
        Ok(Response::new(pb::ListOriginPoolsResponse { origin_pools, next_page_token }))
    }

    async fn watch_origin_pool(
        &self,
        request: Request<pb::WatchOriginPoolRequest>,
    ) -> Result<Response<Self::WatchOriginPoolStream>, Status> {
        let request = request.into_inner();
        let steps = self.control.watch_pools(request.from_revision)?;
        let steps = match request.name.as_str() {
            "" => steps,
            name => of_one_pool(steps, fields::pool("name", name)?.resource()),
        };
        Ok(Response::new(answers(steps, wire_step)))
    }

    async fn promote_member(
        &self,
        request: Request<pb::PromoteMemberRequest>,
    ) -> Result<Response<pb::PromoteMemberResponse>, Status> {
        let caller = caller(&request)?;
        let pool = self.control.promote(caller, wire::promote(request.into_inner())?).await?;
        Ok(Response::new(pb::PromoteMemberResponse { origin_pool: Some(wire::info(pool)) }))
    }

    async fn fail_back(&self, request: Request<pb::FailBackRequest>) -> Result<Response<pb::FailBackResponse>, Status> {
        let caller = caller(&request)?;
        let pool = self.control.fail_back(caller, wire::fail_back(request.into_inner())?).await?;
        Ok(Response::new(pb::FailBackResponse { origin_pool: Some(wire::info(pool)) }))
    }

    async fn hold_pool(&self, request: Request<pb::HoldPoolRequest>) -> Result<Response<pb::HoldPoolResponse>, Status> {
        let caller = caller(&request)?;
        let pool = self.control.hold_pool(caller, wire::hold(request.into_inner())?).await?;
        Ok(Response::new(pb::HoldPoolResponse { origin_pool: Some(wire::info(pool)) }))
    }

    async fn release_pool(
        &self,
        request: Request<pb::ReleasePoolRequest>,
    ) -> Result<Response<pb::ReleasePoolResponse>, Status> {
        let caller = caller(&request)?;
        let pool = self.control.release_pool(caller, wire::release(request.into_inner())?).await?;
        Ok(Response::new(pb::ReleasePoolResponse { origin_pool: Some(wire::info(pool)) }))
    }

    async fn fence_member(
        &self,
        request: Request<pb::FenceMemberRequest>,
    ) -> Result<Response<pb::FenceMemberResponse>, Status> {
        let caller = caller(&request)?;
        let pool = self.control.fence_member(caller, wire::fence(request.into_inner())?).await?;
        Ok(Response::new(pb::FenceMemberResponse { origin_pool: Some(wire::info(pool)) }))
    }

    async fn unfence_member(
        &self,
        request: Request<pb::UnfenceMemberRequest>,
    ) -> Result<Response<pb::UnfenceMemberResponse>, Status> {
        let caller = caller(&request)?;
        let pool = self.control.unfence_member(caller, wire::unfence(request.into_inner())?).await?;
        Ok(Response::new(pb::UnfenceMemberResponse { origin_pool: Some(wire::info(pool)) }))
    }
}

/// The steps that tell of one pool, and those that tell of none.
fn of_one_pool(steps: Steps<PoolInfo>, name: String) -> Steps<PoolInfo> {
    let concerns = move |step: &Result<Step<PoolInfo>, _>| match step {
        Ok(Step { event: Watched::Snapshot(pool) | Watched::Put(pool), .. }) => pool.view.id.resource() == name,
        Ok(Step { event: Watched::Deleted(deleted), .. }) => *deleted == name,
        _ => true,
    };
    Box::pin(steps.filter(move |step| std::future::ready(concerns(step))))
}

fn wire_step(step: Step<PoolInfo>) -> pb::WatchOriginPoolResponse {
    let event = match step.event {
        Watched::Snapshot(pool) => Event::SnapshotItem(wire::info(pool)),
        Watched::Bookmark => Event::Bookmark(pb::Bookmark {}),
        Watched::Put(pool) => Event::Put(wire::info(pool)),
        Watched::Deleted(name) => Event::Delete(name),
        Watched::Heartbeat => Event::Heartbeat(pb::Heartbeat {}),
    };
    pb::WatchOriginPoolResponse { revision: step.revision, event: Some(event) }
}
