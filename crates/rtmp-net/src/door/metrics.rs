//! What doors count, as metrics.

use std::sync::{Arc, atomic::Ordering};

use telemetry::metrics::Registry;

use super::{Gate, TurnedAway};

/// Shows gates on a process's metrics page, each under the name of its ports.
pub fn register(registry: &Registry, gates: impl IntoIterator<Item = (&'static str, Arc<Gate>)>) {
    let gates: Vec<_> = gates.into_iter().collect();
    registry.collect(move |samples| {
        for (port, gate) in &gates {
            let help = "Connections that have not finished their handshake.";
            samples.gauge("handshakes_unfinished", help, &[("port", port)], gate.unfinished() as f64);
            let counts = gate.counts();
            for (why, count) in TurnedAway::ALL.iter().zip(&counts.turned_away) {
                let help = "Connections closed before their handshake was finished.";
                let labels = [("port", *port), ("reason", why.reason())];
                samples.counter("connections_turned_away_total", help, &labels, count.load(Ordering::Relaxed));
            }
            let help = "Times that no connection could be accepted, mostly for want of file descriptors.";
            let failed = counts.accepts_failed.load(Ordering::Relaxed);
            samples.counter("accepts_failed_total", help, &[("port", port)], failed);
        }
    });
}
