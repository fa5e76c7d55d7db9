//! What happens to a pool, as events.

use cluster::{By, Granted, Member, Mishap, Notice, PoolAlarm, PoolEvent, PoolId};

use crate::events::Draft;

/// The event of what happened to a pool.
pub(super) fn draft(id: &PoolId, event: &PoolEvent) -> Draft {
    let pool = id.resource();
    let position = |(epoch, order): (cluster::Epoch, u64)| format!("{epoch}/{order}");
    match event {
        PoolEvent::Granted(event) => granted(pool, event),
        PoolEvent::FirstFrame { member, epoch, after } => {
            let (node, ms) = (member.node.resource(), after.as_millis());
            let message = format!("{node} has gone on with a stream that was live {ms} ms after it had opened");
            let draft = Draft::info("pool.first_frame", pool, message).with("member", node);
            draft.with("epoch", epoch).with("first_frame_ms", ms)
        }
        PoolEvent::ResumedWithLoss { member, epoch, from } => {
            let message = format!(
                "RESUME_WITH_LOSS: {} goes on in epoch {epoch} with what it has; the range is open until a member that \
                 was in sync is heard again",
                member.node.resource()
            );
            let draft = Draft::alarm("pool.resumed_with_loss", pool, message).with("alarm", "RESUME_WITH_LOSS");
            draft.with("member", member.node.resource()).with("epoch", epoch).with("from", position(*from))
        }
        PoolEvent::LossKnown { member, epoch, from, to } => {
            let (from, to) = (position(*from), position(*to));
            let node = member.node.resource();
            let message = format!("{node} had entries up to {to}, of which those after {from} are lost");
            let draft = Draft::warning("pool.loss_known", pool, message).with("alarm", "RESUME_WITH_LOSS");
            draft.with("member", node).with("epoch", epoch).with("from", from).with("to", to)
        }
        PoolEvent::EpochNotBelieved { node, epoch, believed } => {
            let node = node.resource();
            let message =
                format!("{node} tells of epoch {epoch}, which the pool cannot have come to: it is not counted");
            let draft = Draft::alarm("pool.epoch_not_believed", pool, message).with("member", node);
            draft.with("epoch", epoch).with("believed", believed)
        }
        PoolEvent::RecordAdopted { member, version } => {
            let node = member.node.resource();
            let message =
                format!("the store is of an older copy: version and in-sync set are those that {node} goes by");
            Draft::warning("pool.record_adopted", pool, message).with("member", node).with("version", version)
        }
        PoolEvent::Grown { member, epoch } => {
            let node = member.node.resource();
            let draft = Draft::info("pool.grown", pool, format!("{node} is in sync"));
            draft.with("member", node).with("epoch", epoch)
        }
        PoolEvent::Shrunk { member, epoch } => {
            let node = member.node.resource();
            let draft = Draft::warning("pool.shrunk", pool, format!("{node} is no longer in sync: it lags or is gone"));
            draft.with("member", node).with("epoch", epoch)
        }
        PoolEvent::Alone { member, epoch, without } => {
            let node = member.node.resource();
            let left: Vec<_> = without.iter().map(|member| member.node.resource()).collect();
            let left = left.join(" ");
            let message = format!("ALONE: {node} has gone on without {left}, when nobody could be asked");
            let draft = Draft::alarm("pool.alone", pool, message).with("alarm", "ALONE");
            draft.with("member", node).with("without", left).with("epoch", epoch)
        }
        PoolEvent::Split { member, epoch, current } => {
            let node = member.node.resource();
            let message = format!(
                "SPLIT: {node} went on alone in epoch {epoch}, and epoch {current} had been granted: what it committed \
                 then is named for each stream"
            );
            let draft = Draft::alarm("pool.split", pool, message).with("alarm", "SPLIT");
            draft.with("member", node).with("epoch", epoch).with("current_epoch", current)
        }
        PoolEvent::Held { by, until_unix_ms } => {
            let mut draft = Draft::warning("pool.held", pool, "roles no longer move by themselves");
            if by.author.is_empty() {
                draft = Draft::alarm(
                    "pool.held",
                    id.resource(),
                    format!("roles no longer move by themselves: {}", by.reason),
                );
            }
            if let Some(until) = until_unix_ms {
                draft = draft.with("until_unix_ms", until);
            }
            asked(draft, by)
        }
        PoolEvent::Released { by } => asked(Draft::info("pool.released", pool, "roles move by themselves again"), by),
        PoolEvent::Fenced { node, by } => {
            let message = format!("{} is to hold no role", node.resource());
            asked(Draft::warning("pool.fenced", pool, message).with("member", node.resource()), by)
        }
        PoolEvent::Unfenced { node, by } => {
            let message = format!("{} may follow again", node.resource());
            asked(Draft::info("pool.unfenced", pool, message).with("member", node.resource()), by)
        }
        PoolEvent::NotMoved { member, why } => {
            let node = member.node.resource();
            let message = format!("{node} was to be active, and is not: {why}");
            Draft::warning("pool.not_moved", pool, message).with("member", node).with("why", why)
        }
        PoolEvent::Raised { alarm, evidence } => {
            let name = alarm.as_str();
            Draft::alarm(code(*alarm), pool, format!("{name}: {evidence}"))
                .with("alarm", name)
                .with("evidence", evidence)
        }
        PoolEvent::Cleared { alarm } => {
            let name = alarm.as_str();
            Draft::info("pool.alarm_cleared", pool, format!("{name} is over")).with("alarm", name)
        }
    }
}

fn granted(pool: String, event: &Granted) -> Draft {
    let Granted { member, epoch, cause, evidence, lossy, opened, durations_ms, by } = event;
    let node = member.node.resource();
    let but = if *opened { "" } else { ", and has not opened in time" };
    let message = format!("{node} is active in epoch {epoch}{but}: {evidence}");
    let draft = if *lossy || !opened { Draft::warning } else { Draft::info };
    let mut draft = draft("pool.granted", pool, message)
        .with("cause", cause.as_str())
        .with("evidence", evidence)
        .with("epoch", epoch)
        .with("member", node)
        .with("incarnation", member.incarnation)
        .with("lossy", lossy)
        .with("opened", opened);
    for (part, ms) in durations_ms {
        draft = draft.with(&format!("{part}_ms"), ms);
    }
    asked(draft, by)
}

/// The event of what happened to a stream at an origin.
pub(crate) fn notice(member: &Member, notice: &Notice) -> Draft {
    let (stream, alarm) = (notice.stream.resource(), notice.what.as_str());
    let draft = match &notice.what {
        Mishap::Skipped { from, to } => {
            let message = format!("{alarm}: the edge could not keep the messages {from} to {to}");
            Draft::warning("stream.skipped", stream, message).with("from", from).with("to", to)
        }
        Mishap::Lost { from } => {
            let message = format!("{alarm}: what was committed from position {from} on may be lost");
            Draft::alarm("stream.lost", stream, message).with("from", from)
        }
        Mishap::Split { node, from, to } => {
            let node = node.resource();
            let message =
                format!("{alarm}: {node} had committed the positions {from} to {to}, which are not in the stream");
            Draft::alarm("stream.split", stream, message).with("of", node).with("from", from).with("to", to)
        }
    };
    draft.with("alarm", alarm).with("node", member.node.resource())
}

fn asked(draft: Draft, by: &By) -> Draft {
    draft.asked_by(&by.author, &by.reason)
}

fn code(alarm: PoolAlarm) -> &'static str {
    match alarm {
        PoolAlarm::ControlLink => "pool.control_link",
        PoolAlarm::NotReplaced => "pool.not_replaced",
    }
}
