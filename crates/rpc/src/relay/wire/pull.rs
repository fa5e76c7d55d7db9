//! Pull.

use cluster::Epoch;
use proto::relay::v1 as pb;

use super::{
    super::{PullDown, PullFrom, PullRequest, RelayError},
    batches, epoch_in,
    frames::{item_in, item_out, weight},
    invalid, path_in, path_out, stream_in,
};

pub(crate) fn request_out(request: PullRequest) -> pb::PullRequest {
    let after = match request.from {
        PullFrom::Live => None,
        PullFrom::After(position) => Some(position),
    };
    pb::PullRequest {
        stream: request.stream.resource(),
        after,
        had_in_epoch: request.had_in.0,
        epoch: request.epoch.0,
        path: path_out(&request.path),
        via: request.via,
    }
}

pub(crate) fn request_in(request: pb::PullRequest) -> Result<PullRequest, RelayError> {
    Ok(PullRequest {
        stream: stream_in(&request.stream)?,
        from: request.after.map_or(PullFrom::Live, PullFrom::After),
        had_in: epoch_in(request.had_in_epoch)?,
        epoch: epoch_in(request.epoch)?,
        path: path_in(&request.path)?,
        via: request.via,
    })
}

/// The responses that say `down`, each within a batch's bounds.
pub(crate) fn down_out(down: PullDown) -> Vec<pb::PullResponse> {
    use pb::pull_response::Body;
    let response = |epoch: Epoch, body| pb::PullResponse { epoch: epoch.0, body: Some(body) };
    match down {
        PullDown::Opened { epoch, head, rejoined, parted_from } => {
            vec![response(epoch, Body::Opened(pb::PullOpened { head, rejoined, parted_from }))]
        }
        PullDown::Items { epoch, items } => batches(items, weight)
            .into_iter()
            .map(|batch| {
                let items = batch.into_iter().map(item_out).collect();
                response(epoch, Body::Items(pb::ItemBatch { items }))
            })
            .collect(),
        PullDown::Heartbeat { epoch, head } => vec![response(epoch, Body::Heartbeat(pb::PullHeartbeat { head }))],
    }
}

pub(crate) fn down_in(response: pb::PullResponse) -> Result<PullDown, RelayError> {
    use pb::pull_response::Body;
    let epoch = epoch_in(response.epoch)?;
    Ok(match response.body.ok_or_else(|| invalid("a pull response without a body"))? {
        Body::Opened(pb::PullOpened { head, rejoined, parted_from }) => {
            PullDown::Opened { epoch, head, rejoined, parted_from }
        }
        Body::Items(batch) => {
            PullDown::Items { epoch, items: batch.items.into_iter().map(item_in).collect::<Result<_, _>>()? }
        }
        Body::Heartbeat(beat) => PullDown::Heartbeat { epoch, head: beat.head },
    })
}
