//! The edge's own metrics.

use std::sync::{Arc, atomic::Ordering};

use telemetry::metrics::Registry;

use crate::node::EdgeNode;

/// Shows an edge on its metrics page.
pub(crate) fn register(registry: &Registry, node: Arc<EdgeNode>) {
    registry.collect(move |samples| {
        let (wanted, live) = node.pulls.counts();
        let help = "Streams that this edge fetches, or waits for.";
        samples.gauge("pulls", help, &[("state", "live")], live as f64);
        samples.gauge("pulls", help, &[("state", "waiting")], wanted.saturating_sub(live) as f64);
        samples.gauge("publications", "Encoders' publications on their way.", &[], node.ingests.count() as f64);
        samples.gauge("epoch", "The highest epoch heard of.", &[], node.upstream.highest_epoch().0 as f64);
        let origins = node.upstream.counts();
        let help = "Addresses of origins that routes lead to.";
        samples.gauge("origins", help, &[("state", "heard")], origins.heard as f64);
        samples.gauge("origins", help, &[("state", "unheard")], (origins.origins - origins.heard) as f64);
        let help = "Pools that routes lead to and of which no active origin is known.";
        samples.gauge("pools_without_active", help, &[], origins.pools_without_active as f64);
        let help = "Bytes of encoders' messages that are kept for an origin to take.";
        samples.gauge("ingest_kept_bytes", help, &[], node.ingests.bytes_kept() as f64);
        let help = "Messages that no origin took in time and that were skipped.";
        samples.counter("ingest_skipped_total", help, &[], node.ingests.skipped() as u64);
        let (pulls, http) = (node.pulls.stats(), &node.http_stats);
        for (name, help, count) in [
            ("pull_calls_total", "Calls to origins for streams.", &pulls.calls),
            ("pull_reconnects_total", "Pulls taken up again.", &pulls.reconnects),
            ("coalesced_requests_total", "Viewers who joined a pull that was there.", &pulls.coalesced),
            ("names_given_up_total", "Names waited for that were given up for others.", &pulls.given_up),
            ("pull_items_repeated_total", "Items that came again and were left out.", &pulls.repeated),
            ("http_sessions_opened_total", "HTTP connections taken.", &http.accepted),
            ("http_plays_total", "HTTP viewers who got their stream.", &http.plays),
            ("http_plays_refused_total", "HTTP viewers who did not.", &http.plays_refused),
            ("http_egress_bytes_total", "Bytes of FLV sent by HTTP.", &http.bytes_out),
            ("http_frames_total", "Messages sent by HTTP.", &http.frames_out),
            ("http_slow_reader_skips_total", "Times that a slow HTTP viewer went on at a keyframe.", &http.skips),
            ("http_frames_skipped_total", "Items that slow HTTP viewers missed.", &http.frames_skipped),
            ("http_slow_reader_disconnects_total", "HTTP viewers cut because they took nothing.", &http.stalled),
        ] {
            samples.counter(name, help, &[], count.load(Ordering::Relaxed));
        }
        let help = "HTTP viewers that were cut, by reason.";
        for (reason, count) in [("stalled", &http.stalled), ("behind", &http.behind), ("kicked", &http.kicked)] {
            samples.counter("http_viewers_cut_total", help, &[("reason", reason)], count.load(Ordering::Relaxed));
        }
        samples.counter(
            "publish_denied_total",
            "Publications without a right to their name.",
            &[],
            node.admission.denied(),
        );
        if let Some(standing) = node.standing() {
            standing.sample(samples);
        }
    });
}
