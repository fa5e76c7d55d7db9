//! Follow.

mod items;

use cluster::{Epoch, Lineage, Member};
use media::{PublicationId, StreamName};
use proto::relay::v1 as pb;

use super::{
    super::{Entry, FollowDown, FollowHello, FollowUp, LogState, RelayError, SnapshotHead},
    batches, counter_in, epoch_in,
    frames::{frame_in, frame_out},
    invalid, node_in, publication_in, stream_in,
};
use items::{entries_in, entries_out, item_in, item_out, source_in, source_out, weight};

/// A follow's first request.
pub(crate) fn hello_out(hello: FollowHello) -> pb::FollowRequest {
    let FollowHello { member, epoch } = hello;
    let hello = pb::FollowHello { node: member.node.as_str().to_owned(), incarnation: member.incarnation.to_string() };
    pb::FollowRequest { epoch: epoch.0, body: Some(pb::follow_request::Body::Hello(hello)) }
}

pub(crate) fn hello_in(request: pb::FollowRequest) -> Result<FollowHello, RelayError> {
    let Some(pb::follow_request::Body::Hello(hello)) = request.body else {
        return Err(invalid("the first request of a follow is its hello"));
    };
    let incarnation = hello.incarnation.parse().map_err(|error| invalid(&format!("incarnation: {error}")))?;
    let member = Member { node: node_in(&hello.node)?, incarnation };
    Ok(FollowHello { member, epoch: epoch_in(request.epoch)? })
}

/// The requests that say `up`, each within a batch's bounds.
pub(crate) fn up_out(up: FollowUp) -> Vec<pb::FollowRequest> {
    use pb::follow_request::Body;
    let request = |epoch: Epoch, body| pb::FollowRequest { epoch: epoch.0, body: Some(body) };
    match up {
        FollowUp::Beat { epoch } => vec![request(epoch, Body::Beat(pb::Beat {}))],
        FollowUp::Ack { epoch, order } => vec![request(epoch, Body::Ack(pb::FollowAck { order }))],
        FollowUp::State { epoch, logs } => {
            let weight = |log: &LogState| NAME_BYTES + START_BYTES * log.lineage.starts().len();
            in_parts(batches(logs, weight))
                .map(|(logs, more)| {
                    let logs = logs.into_iter().map(log_out).collect();
                    request(epoch, Body::State(pb::FollowState { logs, more }))
                })
                .collect()
        }
    }
}

/// Reads what a follower says. A state may come in parts: it is handed on when it is whole.
#[derive(Default)]
pub(crate) struct Ups {
    logs: Vec<LogState>,
    starts: usize,
    partial: Option<Epoch>,
}

impl Ups {
    pub(crate) fn read(&mut self, request: pb::FollowRequest) -> Result<Option<FollowUp>, RelayError> {
        use pb::follow_request::Body;
        let epoch = epoch_in(request.epoch)?;
        let body = request.body.ok_or_else(|| invalid("a follow request without a body"))?;
        check_part(self.partial, epoch, matches!(body, Body::State(_)))?;
        Ok(Some(match body {
            Body::Hello(_) => return Err(invalid("a second hello")),
            Body::Beat(_) => FollowUp::Beat { epoch },
            Body::Ack(ack) => FollowUp::Ack { epoch, order: counter_in("an order", ack.order)? },
            Body::State(state) => {
                for log in state.logs {
                    let log = log_in(log)?;
                    self.starts += log.lineage.starts().len();
                    self.logs.push(log);
                    if self.logs.len() > 2 * LOGS_MAX || self.starts > STARTS_MAX {
                        return Err(invalid("a state with too many logs"));
                    }
                }
                self.partial = state.more.then_some(epoch);
                if state.more {
                    return Ok(None);
                }
                self.starts = 0;
                FollowUp::State { epoch, logs: std::mem::take(&mut self.logs) }
            }
        }))
    }
}

/// The responses that say `down`, each within a batch's bounds.
pub(crate) fn down_out(down: FollowDown) -> Vec<pb::FollowResponse> {
    use pb::follow_response::Body;
    let response = |epoch: Epoch, body| pb::FollowResponse { epoch: epoch.0, body: Some(body) };
    match down {
        FollowDown::Beat { epoch, active, committed } => {
            vec![response(epoch, Body::Beat(pb::FollowBeat { active, committed }))]
        }
        FollowDown::Lead { epoch } => vec![response(epoch, Body::Lead(pb::FollowLead {}))],
        FollowDown::Settled { epoch, keep, gone } => {
            settled_out(keep, gone).into_iter().map(|settled| response(epoch, Body::Settled(settled))).collect()
        }
        FollowDown::SnapshotBegin { epoch, snapshot } => {
            vec![response(epoch, Body::SnapshotBegin(head_out(snapshot)))]
        }
        FollowDown::SnapshotItems { epoch, items } => batches(items, |item| weight(item))
            .into_iter()
            .map(|batch| {
                let items = batch.iter().map(|item| item_out(item)).collect();
                response(epoch, Body::SnapshotItems(pb::SnapshotItems { items }))
            })
            .collect(),
        FollowDown::SnapshotEnd { epoch } => vec![response(epoch, Body::SnapshotEnd(pb::SnapshotEnd {}))],
        FollowDown::Entries { epoch, order, committed, entries } => {
            // Orders are consecutive: a part that ends earlier has a lower one.
            let mut left = entries.len() as u64;
            parts(entries, |entry: &Entry| weight(&entry.item))
                .into_iter()
                .map(|part| {
                    left -= part.len() as u64;
                    let entries = entries_out(part, order.saturating_sub(left), committed);
                    response(epoch, Body::Entries(entries))
                })
                .collect()
        }
    }
}

/// Reads what a follower is told. What comes in parts is handed on when it is whole.
#[derive(Default)]
pub(crate) struct Downs {
    keep: Vec<(StreamName, u64)>,
    gone: Vec<PublicationId>,
    partial: Option<Epoch>,
}

impl Downs {
    pub(crate) fn read(&mut self, response: pb::FollowResponse) -> Result<Option<FollowDown>, RelayError> {
        use pb::follow_response::Body;
        let epoch = epoch_in(response.epoch)?;
        let body = response.body.ok_or_else(|| invalid("a follow response without a body"))?;
        check_part(self.partial, epoch, matches!(body, Body::Settled(_)))?;
        Ok(Some(match body {
            Body::Beat(beat) => {
                FollowDown::Beat { epoch, active: beat.active, committed: counter_in("an order", beat.committed)? }
            }
            Body::Lead(_) => FollowDown::Lead { epoch },
            Body::Settled(settled) => return self.settled(epoch, settled),
            Body::SnapshotBegin(head) => FollowDown::SnapshotBegin { epoch, snapshot: head_in(head)? },
            Body::SnapshotItems(batch) => FollowDown::SnapshotItems {
                epoch,
                items: batch.items.into_iter().map(item_in).collect::<Result<_, _>>()?,
            },
            Body::SnapshotEnd(_) => FollowDown::SnapshotEnd { epoch },
            Body::Entries(batch) => {
                let (order, committed) =
                    (counter_in("an order", batch.order)?, counter_in("an order", batch.committed)?);
                let entries = entries_in(batch)?;
                if (entries.len() as u64) > order {
                    return Err(invalid("entries before the first"));
                }
                FollowDown::Entries { epoch, order, committed, entries }
            }
        }))
    }

    fn settled(&mut self, epoch: Epoch, part: pb::FollowSettled) -> Result<Option<FollowDown>, RelayError> {
        let many = self.keep.len() + part.keep.len() > LOGS_MAX || self.gone.len() + part.gone.len() > LOGS_MAX;
        if many {
            return Err(invalid("too many logs are settled"));
        }
        for keep in part.keep {
            self.keep.push((stream_in(&keep.stream)?, counter_in("a log to a position", keep.next_seq)?));
        }
        for gone in part.gone {
            self.gone.push(publication_in(&gone)?);
        }
        self.partial = part.more.then_some(epoch);
        let whole = |this: &mut Self| FollowDown::Settled {
            epoch,
            keep: std::mem::take(&mut this.keep),
            gone: std::mem::take(&mut this.gone),
        };
        Ok((!part.more).then(|| whole(self)))
    }
}

/// Nothing comes between the parts of one message.
fn check_part(partial: Option<Epoch>, epoch: Epoch, goes_on: bool) -> Result<(), RelayError> {
    match partial {
        Some(begun) if begun != epoch || !goes_on => Err(invalid("something else between the parts of a message")),
        _ => Ok(()),
    }
}

/// Batches, of which there is at least one, if only an empty one.
fn parts<T>(items: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let parts = batches(items, bytes);
    if parts.is_empty() { vec![Vec::new()] } else { parts }
}

/// Each part, and whether more follow; an empty one when there are none.
fn in_parts<T>(mut parts: Vec<Vec<T>>) -> impl Iterator<Item = (Vec<T>, bool)> {
    if parts.is_empty() {
        parts.push(Vec::new());
    }
    let last = parts.len() - 1;
    parts.into_iter().enumerate().map(move |(at, part)| (part, at < last))
}

fn settled_out(keep: Vec<(StreamName, u64)>, gone: Vec<PublicationId>) -> Vec<pb::FollowSettled> {
    let keep = keep.into_iter().map(|(name, next_seq)| pb::LogKeep { stream: name.resource(), next_seq }).collect();
    let mut settled: Vec<_> = in_parts(batches(keep, |keep: &pb::LogKeep| keep.stream.len() + START_BYTES))
        .map(|(keep, more)| pb::FollowSettled { keep, gone: Vec::new(), more })
        .collect();
    let gone: Vec<String> = gone.iter().map(ToString::to_string).collect();
    let mut rest = parts(gone, String::len);
    if let Some(last) = settled.last_mut() {
        last.gone = rest.remove(0);
        last.more = !rest.is_empty();
    }
    let further = in_parts(rest).filter(|(gone, _)| !gone.is_empty());
    settled.extend(further.map(|(gone, more)| pb::FollowSettled { keep: Vec::new(), gone, more }));
    settled
}

fn log_out(log: LogState) -> pb::LogState {
    pb::LogState {
        stream: log.name.resource(),
        lineage: Some(lineage_out(&log.lineage)),
        committed_below: log.committed_below,
        first_seq: log.first_seq,
        alone_from: log.alone_from,
        ended: log.ended,
    }
}

fn log_in(log: pb::LogState) -> Result<LogState, RelayError> {
    Ok(LogState {
        name: stream_in(&log.stream)?,
        lineage: lineage_in(log.lineage)?,
        committed_below: counter_in("a log committed to a position", log.committed_below)?,
        first_seq: counter_in("a log in memory from a position", log.first_seq)?,
        alone_from: log.alone_from.map(|from| counter_in("a log alone from a position", from)).transpose()?,
        ended: log.ended,
    })
}

fn lineage_out(lineage: &Lineage) -> pb::Lineage {
    let start = |(epoch, first_seq): &(Epoch, u64)| pb::EpochStart { epoch: epoch.0, first_seq: *first_seq };
    pb::Lineage { starts: lineage.starts().iter().map(start).collect(), next_seq: lineage.next_seq() }
}

fn lineage_in(lineage: Option<pb::Lineage>) -> Result<Lineage, RelayError> {
    let lineage = lineage.ok_or_else(|| invalid("a log without its lineage"))?;
    let start = |start: pb::EpochStart| Ok((epoch_in(start.epoch)?, start.first_seq));
    let starts = lineage.starts.into_iter().map(start).collect::<Result<_, RelayError>>()?;
    let next_seq = counter_in("a log to a position", lineage.next_seq)?;
    Lineage::from_parts(starts, next_seq).map_err(|error| invalid(&format!("lineage: {error}")))
}

fn head_out(head: SnapshotHead) -> pb::SnapshotBegin {
    pb::SnapshotBegin {
        stream: head.name.resource(),
        lineage: Some(lineage_out(&head.lineage)),
        from: head.from,
        committed_below: head.committed_below,
        setup: head.setup.into_iter().map(frame_out).collect(),
        source: Some(source_out(head.source)),
    }
}

fn head_in(head: pb::SnapshotBegin) -> Result<SnapshotHead, RelayError> {
    let position = |position| counter_in("a log at a position", position);
    Ok(SnapshotHead {
        name: stream_in(&head.stream)?,
        lineage: lineage_in(head.lineage)?,
        from: head.from.map(position).transpose()?,
        committed_below: position(head.committed_below)?,
        setup: head.setup.into_iter().map(frame_in).collect::<Result<_, _>>()?,
        source: source_in(head.source.ok_or_else(|| invalid("a snapshot without a source"))?)?,
    })
}

/// How many logs an origin may hold.
const LOGS_MAX: usize = 1 << 16;
/// In how many epochs all of them together may have been written.
const STARTS_MAX: usize = 1 << 20;
/// What a stream's name weighs, about.
const NAME_BYTES: usize = 128;
/// What the start of an epoch weighs.
const START_BYTES: usize = 16;
