//! Link.

use cluster::{Address, NodeKind, Role};
use proto::relay::v1 as pb;

use super::{
    super::{LinkDown, LinkHello, LinkUp, RelayError},
    epoch_in, invalid, node_in,
};

/// A link's first request.
pub(crate) fn hello_out(hello: LinkHello) -> pb::LinkRequest {
    let kind = match hello.kind {
        NodeKind::Origin => pb::NodeKind::Origin,
        NodeKind::Edge => pb::NodeKind::Edge,
    };
    let body = pb::LinkHello { node: hello.node.as_str().to_owned(), kind: kind.into() };
    pb::LinkRequest { epoch: hello.epoch.0, body: Some(pb::link_request::Body::Hello(body)) }
}

pub(crate) fn hello_in(request: pb::LinkRequest) -> Result<LinkHello, RelayError> {
    let Some(pb::link_request::Body::Hello(hello)) = request.body else {
        return Err(invalid("the first request of a link is its hello"));
    };
    let kind = match hello.kind() {
        pb::NodeKind::Origin => NodeKind::Origin,
        pb::NodeKind::Edge => NodeKind::Edge,
        pb::NodeKind::Unspecified => return Err(invalid("a node of unknown kind")),
    };
    Ok(LinkHello { node: node_in(&hello.node)?, kind, epoch: epoch_in(request.epoch)? })
}

pub(crate) fn up_out(up: LinkUp) -> pb::LinkRequest {
    let (epoch, body) = match up {
        LinkUp::Beat { epoch, hears } => (epoch, pb::link_request::Body::Beat(pb::LinkBeat { hears })),
        LinkUp::Leave { epoch } => (epoch, pb::link_request::Body::Leave(pb::LinkLeave {})),
    };
    pb::LinkRequest { epoch: epoch.0, body: Some(body) }
}

pub(crate) fn up_in(request: pb::LinkRequest) -> Result<LinkUp, RelayError> {
    let epoch = epoch_in(request.epoch)?;
    match request.body.ok_or_else(|| invalid("a link request without a body"))? {
        pb::link_request::Body::Hello(_) => Err(invalid("a second hello")),
        pb::link_request::Body::Beat(beat) => Ok(LinkUp::Beat { epoch, hears: beat.hears }),
        pb::link_request::Body::Leave(pb::LinkLeave {}) => Ok(LinkUp::Leave { epoch }),
    }
}

pub(crate) fn down_out(down: LinkDown) -> pb::LinkResponse {
    let LinkDown::Beat { epoch, role, active } = down;
    let role = match role {
        Role::Active => pb::OriginRole::Active,
        Role::Standby => pb::OriginRole::Standby,
        Role::Fenced => pb::OriginRole::Fenced,
    };
    pb::LinkResponse { epoch: epoch.0, role: role.into(), active: active.unwrap_or_default() }
}

pub(crate) fn down_in(response: pb::LinkResponse) -> Result<LinkDown, RelayError> {
    let role = match response.role() {
        pb::OriginRole::Active => Role::Active,
        pb::OriginRole::Standby => Role::Standby,
        pb::OriginRole::Fenced => Role::Fenced,
        pb::OriginRole::Unspecified => return Err(invalid("an unknown role")),
    };
    let active = Some(response.active).filter(|active| !active.is_empty());
    let checked = active.map(|active| match active.parse::<Address>() {
        Ok(_) => Ok(active),
        Err(error) => Err(invalid(&format!("active: {error}"))),
    });
    Ok(LinkDown::Beat { epoch: epoch_in(response.epoch)?, role, active: checked.transpose()? })
}
