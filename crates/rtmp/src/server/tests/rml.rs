//! The session against an independent client.

use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType, StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;

use super::*;

struct Independent {
    peer: Peer,
    client: ClientSession,
    said: Vec<ClientSessionEvent>,
}

impl Independent {
    fn connected() -> Self {
        let (client, results) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        let mut both = Self { peer: Peer::greeted(Config::default()), client, said: Vec::new() };
        both.take(results);
        let connect = both.client.request_connection("live".to_owned()).unwrap();
        both.take(vec![connect]);
        both.peer.accept_connect();
        both.exchange();
        assert!(both.said.contains(&ClientSessionEvent::ConnectionRequestAccepted));
        both
    }

    fn take(&mut self, results: Vec<ClientSessionResult>) {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    self.peer.session.handle_bytes(&packet.bytes, self.peer.now);
                }
                ClientSessionResult::RaisedEvent(event) => self.said.push(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }

    /// Moves bytes both ways until neither side has anything to say; what the session wants decided is returned.
    fn exchange(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            events.extend(std::iter::from_fn(|| self.peer.session.poll_event()));
            let Some(bytes) = self.peer.session.poll_output() else { return events };
            let results = self.client.handle_input(&bytes).unwrap();
            self.take(results);
        }
    }
}

#[test]
fn it_publishes() {
    let mut both = Independent::connected();
    let request = both.client.request_publishing("foo".to_owned(), PublishRequestType::Live).unwrap();
    both.take(vec![request]);
    let mut events = both.exchange();
    let Some(Event::Publish(request)) = events.pop() else { panic!("no publish: {events:?}") };
    request.accept(&mut both.peer.session, both.peer.now).unwrap();
    both.exchange();
    assert!(both.said.contains(&ClientSessionEvent::PublishRequestAccepted));

    let mut metadata = StreamMetadata::new();
    metadata.video_width = Some(640);
    let sent = [
        both.client.publish_metadata(&metadata).unwrap(),
        both.client.publish_video_data(vec![0x17; 5000].into(), RtmpTimestamp::new(0x0100_0000), false).unwrap(),
        both.client.publish_audio_data(vec![0xaf; 10].into(), RtmpTimestamp::new(0x0100_0010), false).unwrap(),
    ];
    both.take(sent.into());
    let seen: Vec<_> = both
        .exchange()
        .into_iter()
        .map(|event| match event {
            Event::Media { message, .. } => (message.medium.type_id(), message.timestamp, message.payload.len()),
            other => panic!("not media: {other:?}"),
        })
        .collect();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1..], [(9, 0x0100_0000, 5000), (8, 0x0100_0010, 10)]);
    let stop = both.client.stop_publishing().unwrap();
    both.take(stop);
    assert!(matches!(&both.exchange()[..], [Event::Unpublished { msid: 1 }]));
}

#[test]
fn it_plays() {
    let mut both = Independent::connected();
    let request = both.client.request_playback("foo".to_owned()).unwrap();
    both.take(vec![request]);
    let mut events = both.exchange();
    let Some(Event::Play(request)) = events.pop() else { panic!("no play: {events:?}") };
    request.accept(&mut both.peer.session).unwrap();
    both.exchange();
    assert!(both.said.contains(&ClientSessionEvent::PlaybackRequestAccepted));
    both.said.clear();
    for (type_id, timestamp, len) in [(9, 0xFF_FFFF, 70_000), (8, 0x0100_0000, 9)] {
        let bytes = [chunk::media_header(type_id, timestamp, len, 1), vec![type_id; len].into()].concat();
        let results = both.client.handle_input(&bytes).unwrap();
        both.take(results);
    }
    assert_eq!(
        both.said,
        [
            ClientSessionEvent::VideoDataReceived {
                timestamp: RtmpTimestamp::new(0xFF_FFFF),
                data: vec![9; 70_000].into()
            },
            ClientSessionEvent::AudioDataReceived {
                timestamp: RtmpTimestamp::new(0x0100_0000),
                data: vec![8; 9].into()
            },
        ]
    );
}
