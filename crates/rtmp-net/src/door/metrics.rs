//! What doors count, as metrics.

use std::sync::{Arc, atomic::Ordering};

use telemetry::metrics::Registry;

use super::Gate;

/// Shows gates on a process's metrics page, each under the name of its ports.
pub fn register(registry: &Registry, gates: impl IntoIterator<Item = (&'static str, Arc<Gate>)>) {
    let gates: Vec<_> = gates.into_iter().collect();
    registry.collect(move |samples| {
        for (port, gate) in &gates {
            let help = "Connections that have not finished their handshake.";
            samples.gauge("handshakes_unfinished", help, &[("port", port)], gate.unfinished() as f64);
            let counts = gate.counts();
            for (reason, count) in [
                ("too_many", &counts.turned_away),
                ("crowded_out", &counts.called_back),
                ("not_introduced", &counts.not_introduced),
                ("full", &counts.full),
            ] {
                let help = "Connections closed before their handshake was finished, to bound how many there are.";
                let labels = [("port", *port), ("reason", reason)];
                samples.counter("connections_turned_away_total", help, &labels, count.load(Ordering::Relaxed));
            }
            let help = "Times that no connection could be accepted, mostly for want of file descriptors.";
            let failed = counts.accepts_failed.load(Ordering::Relaxed);
            samples.counter("accepts_failed_total", help, &[("port", port)], failed);
        }
    });
}
