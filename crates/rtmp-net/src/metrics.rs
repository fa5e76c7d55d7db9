//! What is counted, as metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use telemetry::metrics::Registry;

use crate::{pacing::Pressure, sessions::Sessions, stats::Stats};

/// Shows the sessions of a process, and what its RTMP connections did, on its metrics page.
pub fn register(registry: &Registry, sessions: Sessions, stats: Arc<Stats>) {
    registry.collect(move |samples| {
        // Shown also when there are none.
        let mut live: BTreeMap<(&str, &str), u64> = BTreeMap::from([(("rtmp", "play"), 0)]);
        for session in sessions.list() {
            *live.entry((session.protocol.as_str(), session.kind.as_str())).or_default() += 1;
        }
        for ((proto, kind), count) in live {
            let labels = [("proto", proto), ("kind", kind)];
            samples.gauge("sessions", "Sessions connected now.", &labels, count as f64);
        }
        for (reason, count) in stats.ended() {
            samples.counter("sessions_closed_total", "RTMP connections that ended.", &[("reason", reason)], count);
        }
        for (limit, count) in stats.limits() {
            let help = "RTMP connections that ended because the client reached this limit.";
            samples.counter("limits_reached_total", help, &[("limit", limit)], count);
        }
        let help = "From a connection to the end of its handshake.";
        samples.histogram("handshake_seconds", help, &[], stats.handshake.distribution());
        let help = "From a connection to its first message of media.";
        samples.histogram("connect_to_first_frame_seconds", help, &[], stats.first_frame.distribution());
        for (name, help, count) in counts(&stats) {
            samples.counter(name, help, &[], count);
        }
        for (dir, count) in [("in", &stats.frames_in), ("out", &stats.frames_out)] {
            let count = count.load(Ordering::Relaxed);
            samples.counter("frames_total", "Messages of media.", &[("dir", dir)], count);
        }
    });
}

/// Shows how late a runtime is that serves viewers, and what is done about it.
pub fn register_pressure(registry: &Registry, pressure: Pressure) {
    registry.collect(move |samples| {
        let help = "How late the tasks that send were last.";
        samples.gauge("send_lag_seconds", help, &[], pressure.lag().as_secs_f64());
        let help = "Frames are merged over at least this time, because the time to send runs short; 0 otherwise.";
        samples.gauge("flush_bound_widened_seconds", help, &[], pressure.widened().as_secs_f64());
        let help = "Times that the bound was widened.";
        samples.counter("flush_bound_widenings_total", help, &[], pressure.widenings());
    });
}

fn counts(stats: &Stats) -> [(&'static str, &'static str, u64); 14] {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    [
        ("sessions_opened_total", "RTMP connections taken.", of(&stats.accepted)),
        ("ingress_bytes_total", "Bytes received by RTMP.", of(&stats.bytes_in)),
        ("rtmp_egress_bytes_total", "Bytes sent by RTMP.", of(&stats.bytes_out)),
        ("publishes_total", "Publishes accepted.", of(&stats.publishes)),
        ("publishes_refused_total", "Publishes refused.", of(&stats.publishes_refused)),
        ("publishes_slowed_total", "Times that an encoder sent more than it may.", of(&stats.publishes_slowed)),
        ("plays_total", "Plays accepted.", of(&stats.plays)),
        ("plays_refused_total", "Plays refused.", of(&stats.plays_refused)),
        ("slow_reader_skips_total", "Times that a slow viewer went on at a keyframe.", of(&stats.skips)),
        ("frames_skipped_total", "Items that slow viewers missed.", of(&stats.frames_skipped)),
        ("frames_oversized_total", "Messages too long to be sent by RTMP.", of(&stats.oversized)),
        ("frames_stray_total", "Media on streams that nobody publishes.", of(&stats.stray_media)),
        ("data_damaged_total", "Data messages left out because they could not be read.", of(&stats.damaged_data)),
        ("commands_unknown_total", "Commands that nobody here knows.", of(&stats.unknown_commands)),
    ]
}

#[cfg(test)]
mod tests {
    use media::StreamName;

    use super::*;
    use crate::sessions::{Kind, Protocol};

    #[test]
    fn sessions_are_shown_once_by_protocol_and_kind() {
        let (registry, sessions) = (Registry::new(), Sessions::default());
        register(&registry, sessions.clone(), Arc::default());
        let shown = || -> Vec<String> {
            let page = registry.render();
            page.lines().filter(|line| line.starts_with("headwater_sessions{")).map(str::to_owned).collect()
        };
        assert_eq!(shown(), [r#"headwater_sessions{proto="rtmp",kind="play"} 0.0"#]);
        let viewer = sessions.open(Protocol::Rtmp, "192.0.2.1:1".parse().unwrap());
        viewer.set(Kind::Play, StreamName::from_app("_default", "live", "foo").unwrap());
        assert_eq!(shown(), [r#"headwater_sessions{proto="rtmp",kind="play"} 1.0"#]);
    }
}
