//! Encoders and players at this origin's own public port.

use std::sync::Arc;

use daemon::Admission;
use hub::{Reader, Start};
use media::{MediaMessage, PublicationId};
use rand::Rng;
use replica::{NotTaken, Refused, Source};
use rtmp_net::{IngestEnded, Play, PlayRefusal, Publish, PublishRefusal};
use tokio::{sync::watch, time::timeout};

use crate::{
    pulse::BEAT,
    role::Duty,
    streams::{Hold, Streams},
};

/// How long a player waits for a stream that is not there yet.
const PLAY_WAIT: std::time::Duration = std::time::Duration::from_secs(10);
/// The most payload bytes that a player may be behind before it skips to a newer keyframe.
const LAG_BYTES_MAX: u64 = 4 << 20;

/// The service behind the public port's RTMP.
#[derive(Debug)]
pub struct Service {
    /// The streams.
    pub streams: Arc<Streams>,
    /// Who may publish.
    pub admission: Arc<Admission>,
    /// Whether this origin serves.
    pub duty: watch::Receiver<Duty>,
}

impl rtmp_net::Service for Service {
    type Ingest = Ingest;

    async fn publish(&self, request: Publish) -> Result<Ingest, PublishRefusal> {
        let peer = request.peer.to_string();
        if !self.admission.admits(&request.stream, request.query.get("key"), &peer) {
            return Err(PublishRefusal::Denied);
        }
        let publication = PublicationId::from_bits(rand::rng().random());
        let source = Source { edge: None, peer };
        let publish = replica::Publish { name: request.stream, publication, source, first_number: 0 };
        match self.streams.publish(publish).await {
            Ok(feed) => Ok(Ingest { feed, duty: self.duty.clone(), next_number: 0 }),
            Err(Refused::NotActive | Refused::HeldUp) => Err(PublishRefusal::Unavailable),
            Err(Refused::Busy | Refused::Gone | Refused::Ending) => Err(PublishRefusal::Taken),
        }
    }

    async fn play(&self, request: Play) -> Result<Reader, PlayRefusal> {
        let mut lookout = self.streams.look_for(request.stream);
        let stream = async {
            loop {
                if let Some(stream) = lookout.look() {
                    return Some(stream);
                }
                if !lookout.changed().await {
                    return None;
                }
            }
        };
        let stream = timeout(PLAY_WAIT, stream).await.ok().flatten().ok_or(PlayRefusal::NotFound)?;
        Ok(stream.subscribe(Start::LastKeyframe).with_lag_bytes_max(LAG_BYTES_MAX))
    }
}

/// One encoder's messages on their way into its stream.
#[derive(Debug)]
pub struct Ingest {
    feed: Hold,
    duty: watch::Receiver<Duty>,
    next_number: u64,
}

impl Ingest {
    /// While another is about to take over, or nothing is committed for long, nothing more is taken: the encoder waits.
    async fn room(&mut self) -> Result<(), IngestEnded> {
        loop {
            self.duty.wait_for(|duty| !duty.is_yielding()).await.map_err(|_| IngestEnded::CalledOff)?;
            if !self.feed.is_held_up() {
                return Ok(());
            }
            // What holds us up may be another's, and nothing of ours may be left to be committed.
            match timeout(BEAT, self.feed.committed()).await {
                Ok(committed) => committed.map_err(ended).map(drop)?,
                Err(_looks_again) => {}
            }
        }
    }

    fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }
}

impl rtmp_net::Ingest for Ingest {
    async fn message(&mut self, message: MediaMessage) -> Result<(), IngestEnded> {
        self.room().await?;
        let number = self.number();
        self.feed.handle_message(number, message).map_err(ended)
    }

    async fn metadata_cleared(&mut self) -> Result<(), IngestEnded> {
        self.room().await?;
        let number = self.number();
        self.feed.handle_metadata_cleared(number).map_err(ended)
    }

    async fn close(mut self) {
        let number = self.number();
        if let Err(why) = self.feed.handle_close(number) {
            tracing::debug!(%why, "publish.close_not_taken");
        }
    }
}

fn ended(why: NotTaken) -> IngestEnded {
    match why {
        NotTaken::Gone => IngestEnded::TakenOver,
        // No encoder here comes back with the same publication: this origin is not active any more, or is anew.
        NotTaken::Superseded => IngestEnded::CalledOff,
    }
}

#[cfg(test)]
mod tests {
    use cluster::{Epoch, Surroundings};
    use media::StreamName;
    use rtmp_net::Ingest as _;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        role::Stage,
        streams::tests::{ack, active_of_two, follow, key, streams},
    };

    const A: PublicationId = PublicationId::from_bits(0xa);
    const B: PublicationId = PublicationId::from_bits(0xb);

    async fn ingest(streams: &Arc<Streams>, name: &str, publication: PublicationId) -> Ingest {
        let name = StreamName::from_app(media::DEFAULT_VHOST, "live", name).unwrap();
        let source = Source { edge: None, peer: "test".into() };
        let feed = streams.publish(replica::Publish { name, publication, source, first_number: 0 }).await.unwrap();
        Ingest { feed, duty: watch::channel(Duty::default()).1, next_number: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn an_encoder_with_nothing_to_be_committed_goes_on_when_all_do() {
        let (streams, other) = active_of_two();
        let run = streams.clone();
        let _running = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            run.run(Surroundings::default, CancellationToken::new()).await;
        }));
        let follower = follow(&streams, &other);
        let acking = async {
            loop {
                ack(&streams, follower);
                tokio::task::yield_now().await;
            }
        };
        let (mut one, mut two) = tokio::select! {
            both = async { (ingest(&streams, "a", A).await, ingest(&streams, "b", B).await) } => both,
            () = acking => unreachable!(),
        };
        streams.with(|replica, _| replica.follower_closed(follower));
        one.message(key(0)).await.unwrap();
        while !two.feed.is_held_up() {
            tokio::time::advance(BEAT).await;
        }
        let goes_on = two.message(key(0));
        tokio::pin!(goes_on);
        assert!(timeout(BEAT * 20, &mut goes_on).await.is_err(), "it waits");
        let back = follow(&streams, &other);
        ack(&streams, back);
        timeout(BEAT * 2, goes_on).await.expect("it is looked after").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_encoder_waits_where_another_is_about_to_take_over_and_not_where_it_has() {
        let duty = watch::Sender::new(Duty { stage: Stage::Yielding, ..Duty::default() });
        let mut ingest = Ingest { duty: duty.subscribe(), ..ingest(&streams(), "a", A).await };
        assert!(timeout(BEAT * 20, ingest.message(key(0))).await.is_err(), "it waits");
        duty.send_replace(Duty::default());
        timeout(BEAT, ingest.message(key(0))).await.expect("nothing holds it up").unwrap();
    }

    #[tokio::test]
    async fn an_encoder_is_told_who_took_its_place_only_where_one_did() {
        let streams = streams();
        let mut first = ingest(&streams, "a", A).await;
        first.message(key(0)).await.unwrap();
        streams.with(|replica, _| replica.handle_epoch(Epoch(9)));
        assert_eq!(first.message(key(1)).await, Err(IngestEnded::CalledOff), "another origin is active");
    }
}
