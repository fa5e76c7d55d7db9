//! The origin's own metrics.

use std::sync::{Arc, atomic::Ordering};

use telemetry::metrics::Registry;

use crate::node::OriginNode;

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
            ("stale_epoch_rejected_total", "Calls whose sender knows a later epoch.", &stats.stale_epoch_rejected),
        ] {
            samples.counter(name, help, &[], count.load(Ordering::Relaxed));
        }
        samples.counter(
            "publish_denied_total",
            "Publications without a right to their name.",
            &[],
            node.admission.denied(),
        );
        let open = stats.pulls_open.load(Ordering::Relaxed);
        samples.gauge("pulls", "Pulls now.", &[("state", "open")], open as f64);
        if let Some(standing) = &*node.standing.borrow() {
            standing.sample(samples);
        }
    });
}
