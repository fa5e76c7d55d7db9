//! The origin's own metrics.

use std::sync::{Arc, atomic::Ordering};

use telemetry::metrics::{Buckets, Histogram, Registry, Samples};

use crate::node::OriginNode;

/// How long the messages of edges take to be committed.
pub(crate) fn commit_latency(registry: &Registry) -> Histogram {
    let help = "From when an edge's message is taken until every member in sync has it.";
    registry.histogram("commit_seconds", help, Buckets::Exponential { start: 0.0001, factor: 2.0, count: 16 })
}

/// Shows an origin on its metrics page.
pub(crate) fn register(registry: &Registry, node: Arc<OriginNode>) {
    registry.collect(move |samples| {
        let pool: &[(&str, &str)] = &[("pool", node.pool.as_str())];
        let serving = node.serving().is_some();
        samples.gauge("role", "1 while this origin serves as the active one.", pool, f64::from(u8::from(serving)));
        samples.gauge("epoch", "The highest epoch heard of.", pool, node.roles.highest_epoch().0 as f64);
        let streams = node.streams.list();
        samples.gauge("streams", "Streams kept.", &[], streams.len() as f64);
        let jumps = streams.iter().map(|listed| listed.stream.jumps).sum::<u64>() as f64;
        samples.gauge("timestamp_jumps", "Jumps of the present encoders' clocks.", &[], jumps);
        let stats = &node.stats;
        for (name, help, count) in [
            ("pulls_served_total", "Pulls taken from edges.", &stats.pulls_served),
            ("pushes_served_total", "Publications taken from edges.", &stats.pushes_served),
            ("pulled_bytes_total", "Payload bytes sent to edges.", &stats.pulled_bytes),
            ("epochs_not_believed_total", "Words of an epoch too high to be true.", &stats.epochs_not_believed),
            ("passed_on_total", "Calls of edges that were passed on to the active origin.", &stats.passed_on),
        ] {
            samples.counter(name, help, &[], count.load(Ordering::Relaxed));
        }
        for (what, count) in [("skipped", &stats.skips), ("lost", &stats.losses), ("split", &stats.splits)] {
            let labels = [("what", what)];
            samples.counter("stream_mishaps_total", "Mishaps of streams.", &labels, count.load(Ordering::Relaxed));
        }
        samples.counter(
            "publish_denied_total",
            "Publications without a right to their name.",
            &[],
            node.admission.denied(),
        );
        let open = stats.pulls_open.load(Ordering::Relaxed);
        samples.gauge("pulls", "Pulls now.", &[("state", "open")], open as f64);
        replication(samples, &node, pool);
        if let Some(standing) = &*node.standing.borrow() {
            standing.sample(samples);
        }
    });
}

/// How far the other origins have what this one has, and who hears it.
fn replication(samples: &mut Samples, node: &OriginNode, pool: &[(&str, &str)]) {
    let standing = node.streams.standing();
    let in_sync = if standing.active { standing.counted + 1 } else { 0 };
    let followers = node.stats.followers.load(Ordering::Relaxed);
    let around = node.links.counts();
    for (name, help, value) in [
        ("in_sync_members", "Origins without which nothing is committed, while this one is active.", in_sync as f64),
        ("followers", "Origins that follow this one.", followers as f64),
        (
            "follows_active",
            "1 while this origin follows the active one.",
            f64::from(u8::from(standing.follows.is_some())),
        ),
        ("journal_entries", "Entries that some follower has not been sent.", standing.journal as f64),
        ("commit_lag_seconds", "For how long the oldest uncommitted entry has waited.", standing.lag.as_secs_f64()),
        ("alone", "1 while it goes on without members in sync.", f64::from(u8::from(standing.alone_from.is_some()))),
        ("linked_edges", "Edges that hold a Link, or held one until lately.", around.edges as f64),
        ("hearing_edges", "Edges that say that they hear this origin.", around.edges_hearing as f64),
    ] {
        samples.gauge(name, help, pool, value);
    }
    let stale = node.stats.stale_epoch_rejected.load(Ordering::Relaxed) + standing.stale_refused;
    samples.counter("stale_epoch_rejected_total", "Words of an epoch that is over.", &[], stale);
}
