//! What happened in the cluster.

use std::{process::ExitCode, time::Duration};

use futures_util::StreamExt as _;
use rpc::{
    control::{Client, Event, Query, Watched, rfc3339},
    status::{Code, Failure},
};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    control::{Plane, refused},
    output,
    table::harmless,
};

/// `headwater events`
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    plane: Plane,
    /// Go on with those that happen, until Ctrl-C; also across a restart of the control plane.
    #[arg(short, long)]
    follow: bool,
    /// How many of the last ones to begin with.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    last: u32,
    /// Print JSON: an object a line.
    #[arg(long)]
    json: bool,
}

/// Between two attempts to reach a control plane that is away.
const RETRY: Duration = Duration::from_secs(1);

/// Prints the last events, oldest first, and with `--follow` those that come.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.plane.connect().await?;
    let mut told = 0;
    for event in last(&client, args.last.max(1)).await.map_err(refused)? {
        told = event.sequence;
        if args.last > 0 {
            print(&event, args.json)?;
        }
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let mut client = Some(client);
    loop {
        let ended = match client.take() {
            Some(client) => follow(&client, &mut told, args.json).await?,
            None => args.plane.connect().await.map(|again| client = Some(again)).err().map(|error| error.to_string()),
        };
        if let Some(why) = ended {
            eprintln!("headwater: {why}; trying again");
            sleep(RETRY).await;
        }
    }
}

/// The newest events, oldest first.
async fn last(client: &Client, count: u32) -> Result<Vec<Event>, Failure> {
    let query = Query { page_size: count, order_by: "sequence desc".to_owned(), ..Query::default() };
    let mut events = client.events(query).await?.items;
    events.reverse();
    Ok(events)
}

/// Prints events after `told` until the control plane is gone, and says why it is. An error: nobody takes the output.
async fn follow(client: &Client, told: &mut u64, json: bool) -> anyhow::Result<Option<String>> {
    let mut steps = match client.watch_events(*told).await {
        Ok(steps) => steps,
        Err(failure) => return Ok(Some(broken(failure, told))),
    };
    loop {
        match steps.next().await {
            Some(Ok(step)) => {
                if let Watched::Put(event) | Watched::Snapshot(event) = step.event {
                    *told = event.sequence;
                    print(&event, json)?;
                }
            }
            Some(Err(failure)) => return Ok(Some(broken(failure, told))),
            None => return Ok(Some("the control plane ended the watch".to_owned())),
        }
    }
}

/// A store that has been replaced numbers its events anew: the watch then begins with what happens next.
fn broken(failure: Failure, told: &mut u64) -> String {
    if failure.code == Code::OutOfRange {
        *told = 0;
    }
    failure.to_string()
}

fn print(event: &Event, json: bool) -> std::io::Result<()> {
    output::print(&if json { object(event) } else { line(event) })
}

/// An event as one line: when, how bad, what, where, in words; who asked for it and why; everything else.
fn line(event: &Event) -> String {
    let mut line = format!(
        "{}  {:<7}  {}  {}  {}",
        rfc3339(event.time),
        event.severity.as_str(),
        harmless(&event.code),
        harmless(&event.subject),
        harmless(&event.message)
    );
    match (event.author.as_str(), event.reason.as_str()) {
        ("", _) => {}
        (author, "") => line.push_str(&format!("  by {}", harmless(author))),
        (author, reason) => line.push_str(&format!("  by {}: {}", harmless(author), harmless(reason))),
    }
    let details: Vec<_> =
        event.details.iter().map(|(key, value)| format!("{}={}", harmless(key), harmless(value))).collect();
    if !details.is_empty() {
        line.push_str(&format!("  [{}]", details.join(" ")));
    }
    line.push('\n');
    line
}

fn object(event: &Event) -> String {
    let object = json!({
        "sequence": event.sequence,
        "time": rfc3339(event.time),
        "severity": event.severity.as_str(),
        "code": event.code,
        "subject": event.subject,
        "message": event.message,
        "author": event.author,
        "reason": event.reason,
        "details": event.details,
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::SystemTime};

    use rpc::control::Severity;

    use super::*;

    fn event() -> Event {
        Event {
            sequence: 17,
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_123),
            code: "pool.granted".into(),
            subject: "originPools/main".into(),
            message: "nodes/origin-2 is active in epoch 8".into(),
            author: "operator".into(),
            reason: "disk\u{7} change".into(),
            details: BTreeMap::from([("cause".into(), "promoted".into()), ("epoch".into(), "8".into())]),
            severity: Severity::Info,
        }
    }

    #[test]
    fn an_event_is_one_line_without_control_characters() {
        assert_eq!(
            line(&event()),
            "2026-09-21T14:13:20.123Z  info     pool.granted  originPools/main  nodes/origin-2 is active in epoch 8  \
             by operator: disk\u{fffd} change  [cause=promoted epoch=8]\n"
        );
        let alone = Event { author: String::new(), details: BTreeMap::new(), severity: Severity::Alarm, ..event() };
        assert!(
            line(&alone).ends_with("alarm    pool.granted  originPools/main  nodes/origin-2 is active in epoch 8\n")
        );
    }

    #[test]
    fn json_is_an_object_a_line() {
        let text = object(&event());
        let read: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&read["sequence"], &read["details"]["epoch"]), (&17.into(), &"8".into()));
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_replaced_store_is_followed_from_now_on_and_a_broken_connection_from_where_it_was() {
        let mut told = 17;
        broken(Failure::new(Code::Unavailable, "GONE", "it is gone"), &mut told);
        assert_eq!(told, 17);
        broken(Failure::new(Code::OutOfRange, "REVISION_COMPACTED", "another store"), &mut told);
        assert_eq!(told, 0);
    }
}
