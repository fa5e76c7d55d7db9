//! SessionService.

use proto::control::v1::{self as pb, session_service_server::SessionService};
use tonic::{Request, Response, Status};

use super::{
    super::{Sessions, fields, list, wire::streams as wire},
    Adapter, caller, not_found,
};

#[tonic::async_trait]
impl<C: Sessions> SessionService for Adapter<C> {
    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let pb::ListSessionsRequest { page_size, page_token, filter, order_by } = request.into_inner();
        let request = list::Request { page_size, page_token: &page_token, filter: &filter, order_by: &order_by };
        let (sessions, next_page_token) = list::page(self.control.sessions(), &request)?;
        let sessions = sessions.into_iter().map(wire::session).collect();
        Ok(Response::new(pb::ListSessionsResponse { sessions, next_page_token }))
    }

    async fn get_session(
        &self,
        request: Request<pb::GetSessionRequest>,
    ) -> Result<Response<pb::GetSessionResponse>, Status> {
        let id = fields::session("name", &request.into_inner().name)?;
        let session = self.control.session(&id).ok_or_else(|| not_found("session", &format!("sessions/{id}")))?;
        Ok(Response::new(pb::GetSessionResponse { session: Some(wire::session(session)) }))
    }

    async fn kick_session(
        &self,
        request: Request<pb::KickSessionRequest>,
    ) -> Result<Response<pb::KickSessionResponse>, Status> {
        let caller = caller(&request)?;
        let session = self.control.kick_session(caller, wire::kick_session(request.into_inner())?).await?;
        Ok(Response::new(pb::KickSessionResponse { session: Some(wire::session(session)) }))
    }
}
