//! Deadlines.

use std::time::Instant;

use super::{Closed, Phase, Session, streams::Use};

impl Session {
    /// When to call [`Session::handle_timeout`], unless something happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.phase == Phase::Closed {
            return None;
        }
        let (_, quiet_since) = self.wire.quiet_since();
        let ping_at = (self.phase == Phase::Connected).then(|| quiet_since + self.config.ping_after);
        let parts_look_at = self.keeps_parts().then_some(self.parts_look_at);
        self.deadlines().map(|(at, _)| at).chain(ping_at).chain(parts_look_at).min()
    }

    /// Looks at the time: late clients are cut, quiet ones pinged.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.phase == Phase::Closed {
            return;
        }
        let passed = self.deadlines().find(|(at, _)| *at <= now).map(|(_, why)| why());
        if let Some(closed) = passed {
            return self.fail(closed);
        }
        if self.keeps_parts() && self.parts_look_at <= now {
            self.parts_look_at = now + self.config.limits.message_timeout;
            if self.wire.mark_parts() {
                return self.fail(Closed::MessageTimeout);
            }
        }
        let (_, quiet_since) = self.wire.quiet_since();
        if self.phase == Phase::Connected && quiet_since + self.config.ping_after <= now {
            self.wire.ping(now);
        }
    }

    /// Nothing was read from the client until now because its owner was busy: that is no silence of the client's.
    pub fn excuse_silence(&mut self, now: Instant) {
        self.now = now;
        self.wire.excuse_silence(now);
    }

    /// Whether parts of messages are kept for a client that publishes nothing: what it sends is short, and would be kept for as
    /// long as it watches. An encoder's frames take what its uplink takes; what follows a request may wait for our decision.
    fn keeps_parts(&self) -> bool {
        let encodes = |used: &Use| matches!(used, Use::Publishing { .. } | Use::PublishAsked(_));
        let decided = self.phase != Phase::Deciding && !self.streams.iter().any(|stream| encodes(&stream.used));
        decided && self.wire.has_parts()
    }

    /// All that stand now, and what each one's passing means.
    fn deadlines(&self) -> impl Iterator<Item = (Instant, fn() -> Closed)> + '_ {
        type Why = fn() -> Closed;
        let limits = &self.config.limits;
        let start: Option<(Instant, Why)> = match self.phase {
            Phase::Handshake => Some((self.idle_since + limits.handshake_timeout, || Closed::HandshakeTimeout)),
            Phase::Greeting | Phase::Connected if self.streams.all_idle() => {
                Some((self.idle_since + limits.request_timeout, || Closed::RequestTimeout))
            }
            _ => None,
        };
        let first_media = self.streams.iter().filter_map(|stream| match stream.used {
            Use::Publishing { first_media_by, .. } => {
                first_media_by.map(|at| (at, (|| Closed::FirstMediaTimeout) as Why))
            }
            _ => None,
        });
        let silence = self.streams.is_publishing().then(|| {
            let (heard_at, _) = self.wire.quiet_since();
            (heard_at + self.config.publisher_silence_max, (|| Closed::Silent) as Why)
        });
        start.into_iter().chain(first_media).chain(silence)
    }
}
