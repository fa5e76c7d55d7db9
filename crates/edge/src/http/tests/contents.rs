//! What the files that viewers get say of themselves: players of browsers wait for all that is announced.

use super::*;

const AAC_CONFIG: &[u8] = &[0xaf, 0, 0x12, 0x10];
const AAC: &[u8] = &[0xaf, 1, 0x21];
const MP3: &[u8] = &[0x2f, 0xff, 0xfb];

/// Metadata with these members, each a number.
fn metadata(members: &[&str]) -> Body {
    let mut payload = b"\x02\0\x0aonMetaData\x08\0\0\0\0".to_vec();
    for member in members {
        payload.extend([0, member.len() as u8]);
        payload.extend(member.as_bytes());
        payload.extend([0; 9]);
    }
    payload.extend([0, 0, 9]);
    Body::Frame(Frame::classify(Medium::Data, 0, payload.into()))
}

impl Edge {
    fn stream_of(&self, path: &str, bodies: impl IntoIterator<Item = Body>) -> Writer {
        let mut writer = self.fake.hub.open(&media::url::parse_path(DEFAULT_VHOST, path).unwrap()).unwrap();
        append(&mut writer, Body::Event(Event::Open { publication: PublicationId::from_bits(1) }));
        bodies.into_iter().for_each(|body| append(&mut writer, body));
        writer
    }

    /// What the header of a stream of these says is in it.
    async fn announces(&self, bodies: impl IntoIterator<Item = Body>) -> u8 {
        let mut writer = self.stream_of("live/foo", bodies);
        let mut client = self.get("/live/foo.flv").await;
        assert_eq!(client.head().await.status, 200);
        append(&mut writer, close());
        drop(writer);
        client.rest().await[4]
    }
}

fn video(from: u64) -> [Body; 2] {
    [frame(Medium::Video, from, AVC_CONFIG), frame(Medium::Video, from, KEY)]
}

fn audio(from: u64) -> [Body; 2] {
    [frame(Medium::Audio, from, AAC_CONFIG), frame(Medium::Audio, from, AAC)]
}

#[tokio::test]
async fn a_file_announces_what_its_metadata_names_and_what_is_there() {
    let edge = Edge::start(Config::default()).await;
    let named = |members, rest: Vec<Body>| std::iter::once(metadata(members)).chain(rest);
    assert_eq!(edge.announces(named(&["width", "videocodecid"], video(0).into())).await, 1);
    assert_eq!(edge.announces(named(&["audiocodecid"], audio(0).into())).await, 4);
    assert_eq!(
        edge.announces(named(&["videocodecid", "audiocodecid"], video(0).into())).await,
        5,
        "its sound is to come"
    );
    assert_eq!(edge.announces(named(&["videocodecid", "audiosamplerate"], video(0).into())).await, 5);
    let both = video(0).into_iter().chain(audio(0)).collect();
    assert_eq!(edge.announces(named(&["videocodecid"], both)).await, 5, "it has more than it names");
}

#[tokio::test]
async fn a_file_of_which_nothing_is_known_announces_both() {
    let edge = Edge::start(Config::default()).await;
    // As with an origin of the first epoch: where a stream stands says nothing about how long it has been going.
    edge.fake.hub.raise_floor(1 << 40);
    assert_eq!(edge.announces([]).await, 5);
    assert_eq!(edge.announces(video(0)).await, 5, "its sound may begin a moment later");
    assert_eq!(edge.announces(audio(0)).await, 5);
    assert_eq!(edge.announces([metadata(&["width"])].into_iter().chain(video(0))).await, 5);
    let cut = frame(Medium::Data, 0, b"\x02\0\x0aonMetaData\x08\xff\xff\xff\xff\0\x0cvideocodec");
    assert_eq!(edge.announces([cut].into_iter().chain(video(0))).await, 5);
}

#[tokio::test]
async fn metadata_that_is_long_to_go_through_names_nothing() {
    let edge = Edge::start(Config::default()).await;
    let others: Vec<_> = (0..400).map(|n| format!("other{n}")).collect();
    let with_others = |count: usize| {
        let members = std::iter::once("videocodecid").chain(others[..count].iter().map(String::as_str));
        metadata(&members.collect::<Vec<_>>())
    };
    assert_eq!(edge.announces([with_others(100)].into_iter().chain(video(0))).await, 1);
    assert_eq!(edge.announces([with_others(400)].into_iter().chain(video(0))).await, 5);
}

#[tokio::test]
async fn a_stream_without_a_word_has_what_it_has_had_for_a_while() {
    let edge = Edge::start(Config::default()).await;
    edge.fake.hub.raise_floor(1 << 40);
    let sound = |n: u64| frame(Medium::Audio, 23 * n, AAC);
    let picture = |n: u64| frame(Medium::Video, 40 * n, if n.is_multiple_of(50) { KEY } else { DELTA });
    assert_eq!(edge.announces(audio(0).into_iter().chain((1..150).map(sound))).await, 4);
    assert_eq!(edge.announces(video(0).into_iter().chain((1..150).map(picture))).await, 1);
    assert_eq!(edge.announces(video(0).into_iter().chain((1..151).map(picture))).await, 5, "just at a keyframe");
    let with_mp3 = (1..150).flat_map(|n| [picture(n), frame(Medium::Audio, 40 * n, MP3)]);
    assert_eq!(edge.announces(video(0).into_iter().chain(with_mp3)).await, 5, "sound without a set-up");
}

#[tokio::test]
async fn files_say_the_same_however_they_are_asked_for() {
    let edge = Edge::start(Config::default()).await;
    let bodies = [metadata(&["videocodecid"])].into_iter().chain(video(0));
    let mut writer = edge.stream_of("live/foo", bodies);
    let mut viewers = Vec::new();
    let ways = ["HTTP/1.1\r\nHost: h", "HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c", UPGRADE];
    for way in ways {
        let mut viewer = edge.request(&format!("GET /live/foo.flv {way}")).await;
        viewer.head().await;
        viewers.push(viewer);
    }
    append(&mut writer, close());
    let mut websocket = viewers.pop().unwrap();
    let mut files = vec![websocket.message().await.1];
    for viewer in viewers {
        files.push(unchunked(&viewer.rest().await));
    }
    for file in files {
        assert_eq!(file[..5], *b"FLV\x01\x01");
    }
}
