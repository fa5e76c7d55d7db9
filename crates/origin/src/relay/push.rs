//! One publication coming in from an edge.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::{StreamExt, stream};
use media::PublicationId;
use rpc::relay::{PublishRefusal, PushDown, PushHello, PushUp, RelayError, Stream};
use splice::Taken;
use tokio::{
    sync::watch,
    time::{Instant, Interval},
};

use super::{Relay, beats, deposed, epoch};
use crate::{
    live::{Feed, NotTaken, Source},
    role::Term,
};

/// How often the edge is told that we are there (REPLICATION P2).
const BEAT: Duration = Duration::from_millis(100);

/// Opens the publication; the answer takes its messages in as it is read.
pub(super) fn serve(relay: &Relay, hello: PushHello, up: Stream<PushUp>) -> Result<Stream<PushDown>, RelayError> {
    let source = Source { edge: Some(hello.edge), peer: hello.peer };
    let now = Instant::now().into_std();
    let feed = relay.streams.publish(&hello.stream, hello.publication, source, now).map_err(refusal)?;
    relay.stats.pushes_served.fetch_add(1, Ordering::Relaxed);
    let next_number = feed.next_number();
    let opened = PushDown::Opened { epoch: epoch(&relay.term)?, next_number };
    let intake =
        Intake { up, term: relay.term.clone(), publication: hello.publication, feed: Some(feed), beat: beats(BEAT) };
    let answers = stream::unfold(Some(intake), |intake| async {
        let mut intake = intake?;
        match intake.next().await {
            Ok(Some(down)) => Some((Ok(down), Some(intake))),
            Ok(None) => None,
            // What ends the call also ends our hold on the stream: the grace begins.
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(stream::iter([Ok(opened)]).chain(answers).boxed())
}

struct Intake {
    up: Stream<PushUp>,
    term: watch::Receiver<Term>,
    publication: PublicationId,
    /// None once the encoder has closed the publication.
    feed: Option<Feed>,
    beat: Interval,
}

impl Intake {
    /// The next thing to tell the edge; None when the publication is over.
    async fn next(&mut self) -> Result<Option<PushDown>, RelayError> {
        loop {
            tokio::select! {
                biased;
                error = deposed(&mut self.term) => return Err(error),
                up = self.up.next() => {
                    let Some(up) = up else { return Ok(None) };
                    if let Some(down) = self.handle(up?)? {
                        return Ok(Some(down));
                    }
                }
                _ = self.beat.tick() => return Ok(Some(PushDown::Beat { epoch: epoch(&self.term)? })),
            }
        }
    }

    fn handle(&mut self, up: PushUp) -> Result<Option<PushDown>, RelayError> {
        if let PushUp::Beat { .. } | PushUp::Skip { .. } = up {
            return Ok(None);
        }
        let Some(feed) = &self.feed else { return Err(RelayError::Gone) };
        let now = Instant::now().into_std();
        let gone = |why: NotTaken| {
            tracing::info!(publication = %self.publication, %why, "push.not_taken");
            match why {
                NotTaken::Gone(_) => RelayError::Gone,
                NotTaken::Superseded => RelayError::Transport(why.to_string()),
            }
        };
        let through = match up {
            PushUp::Beat { .. } | PushUp::Skip { .. } => return Ok(None),
            PushUp::Messages(messages) => {
                let mut through = None;
                for (number, message) in messages {
                    feed.handle_message(number, message, now).map_err(gone)?;
                    through = Some(number);
                }
                through
            }
            PushUp::MetadataCleared(number) => {
                feed.handle_metadata_cleared(number, now).map_err(gone)?;
                Some(number)
            }
            PushUp::Close(number) => {
                if let Some(feed) = self.feed.take() {
                    feed.close();
                }
                Some(number)
            }
        };
        let epoch = epoch(&self.term)?;
        Ok(through.map(|through| PushDown::Ack { through, epoch }))
    }
}

fn refusal(taken: Taken) -> RelayError {
    match taken {
        Taken::Busy => RelayError::Refused(PublishRefusal::NameTaken),
        Taken::Gone => RelayError::Gone,
    }
}
