//! Commands out of order, without sense, or with names that could do harm.

use std::time::Duration;

use tests::{
    rtmp::{Connection, Publisher, Recorder, Url, Value},
    synthetic, until,
    wait::SOON,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{ANSWER, Beside, Case, Stage, call, message, text, unique};

/// Message streams a client may have open.
const MESSAGE_STREAMS: u32 = 16;
/// Requests out of order that are forgiven, as long as none is accepted between them.
const MISTAKES: usize = 32;
/// What a request out of order is told.
const OUT_OF_ORDER: &str = "NetStream.Failed";
/// Clients of a kind at each node.
const CLIENTS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_without_sense_are_answered_ignored_or_cost_the_connection() {
    let beside = Beside::start().await;
    let origin = beside.cluster.active();
    for node in ["edge-1", origin] {
        beside.try_all(node, Stage::Greeted, &first()).await;
        connects_with_odd_members_are_let_in(&beside, node).await;
        beside.check("odd connects");
        a_message_stream_does_one_thing_at_a_time(&beside, node).await;
        beside.check(&format!("{node}: two things on a message stream"));
        nobody_ends_what_another_publishes(&beside, node).await;
        beside.check(&format!("{node}: another's stream"));
        mistakes_are_forgiven_until_there_are_too_many(&beside, node).await;
        beside.check(&format!("{node}: mistakes"));
    }
    for stage in [Stage::Connected, Stage::Publishing] {
        beside.try_all("edge-1", stage, &later()).await;
    }
    message_streams_are_bounded(&beside).await;
    names_that_could_do_harm_are_refused(&beside).await;
    a_second_publisher_is_refused(&beside).await;
    media_after_an_end_is_nobodys(&beside).await;
    flash_media_encoders_ways_are_known(&beside).await;
    beside.finish();
}

/// Parameters that are too many are kept by nobody, and those that may be cost little for each play that waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_without_end_cost_the_connection_and_no_memory() {
    let beside = Beside::start().await;
    let too_many = plays_of_nothing(&parameters("live", 32_700), "rtmp://x/live", "nothing");
    let as_many_as_may_be =
        plays_of_nothing(&parameters("live", 64), &parameters("rtmp://x/live", 64), &parameters("nothing", 64));
    let mut held = Vec::new();
    for node in ["edge-1", beside.cluster.active()] {
        let address = beside.cluster.address(node, "rtmp");
        let before = beside.closed(node, "rejected");
        for bytes in [&too_many, &as_many_as_may_be].repeat(CLIENTS) {
            let mut socket = super::greeted(address).await;
            // The server may close before it has taken all.
            let _cut = socket.write_all(bytes).await;
            held.push(socket);
        }
        until(&format!("{node} to refuse {CLIENTS} connects"), SOON, || {
            (beside.closed(node, "rejected") >= before + CLIENTS as f64).then_some(())
        });
    }
    beside.finish();
}

/// Connects and waits for a stream on each message stream there may be.
fn plays_of_nothing(app: &str, tc_url: &str, name: &str) -> Vec<u8> {
    let mut bytes = connected_by(app, tc_url);
    for msid in 1..=MESSAGE_STREAMS {
        bytes.extend(message(20, 0, &call("createStream", msid.into(), &[])));
        bytes.extend(message(20, msid, &call("play", 0.0, &text(name.as_bytes()))));
    }
    bytes
}

/// What must not come before connect, and connects that are refused.
fn first() -> Vec<Case> {
    vec![
        Case::closed("a publish before connect", message(20, 1, &call("publish", 1.0, &text(b"a"))), "out_of_order"),
        Case::closed("a createStream before connect", message(20, 0, &call("createStream", 1.0, &[])), "out_of_order"),
        Case::closed("a connect without an application", connect(&[("tcUrl", text(b"rtmp://x/y"))]), "rejected"),
        Case::closed("an application without a name", connect(&[("app", text(b"//?x=y"))]), "rejected"),
        Case::closed("an application that is a number", connect(&[("app", vec![0; 9])]), "rejected"),
        Case::closed("32,700 parameters", connect(&[("app", text(parameters("live", 32_700).as_bytes()))]), "rejected"),
        Case::closed("65 parameters in tcUrl", connected_by("live", &parameters("rtmp://x/live", 65)), "rejected"),
        Case::closed("a flashVer of 64 KiB", connect(&[("flashVer", text(&[b'f'; 65_535]))]), "chunk"),
    ]
}

async fn connects_with_odd_members_are_let_in(beside: &Beside, node: &str) {
    let address = beside.cluster.address(node, "rtmp");
    let number = |number: f64| [&[0][..], &number.to_be_bytes()].concat();
    let members = [
        ("tcUrl", text("://%zz/\u{202e}\r\n".as_bytes())),
        ("tcUrl", vec![5]),
        ("flashVer", text(&[b'f'; 60_000])),
        ("objectEncoding", number(3.0)),
        ("objectEncoding", number(f64::NAN)),
        ("capsEx", number(-1.0)),
        ("fourCcList", [&[10, 0, 0, 1, 0][..], &[5; 256]].concat()),
    ];
    for (name, value) in members {
        let mut socket = super::greeted(address).await;
        socket.write_all(&connect(&[("app", text(b"live")), (name, value)])).await.expect("a connect is taken");
        let mut heard = Vec::new();
        let success = b"NetConnection.Connect.Success";
        let told = timeout(ANSWER, async {
            while !heard.windows(success.len()).any(|window| window == success) {
                assert!(socket.read_buf(&mut heard).await.is_ok_and(|count| count > 0), "{node}: an odd {name}");
            }
        });
        told.await.unwrap_or_else(|_| panic!("{node}: no answer to an odd {name}"));
    }
}

/// A connect with these members of its object.
fn connect(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03".to_vec();
    for (name, value) in members {
        body.extend((name.len() as u16).to_be_bytes());
        body.extend(name.as_bytes());
        body.extend(value);
    }
    body.extend(b"\0\0\x09");
    message(20, 0, &body)
}

pub(super) fn connected_by(app: &str, tc_url: &str) -> Vec<u8> {
    connect(&[("app", text(app.as_bytes())), ("tcUrl", text(tc_url.as_bytes()))])
}

fn parameters(before: &str, count: usize) -> String {
    format!("{before}?{}", "a&".repeat(count))
}

/// What an orderly client never says after connect.
fn later() -> Vec<Case> {
    let wanted = |name: &str| message(20, 0, &call(name, 7.0, &text(b"rm -rf /")));
    let connect = connect(&[("app", text(b"live"))]);
    let mut cases: Vec<Case> =
        ["shutdown", "exec", "__proto__", "java.lang.Runtime.exec", "", "\u{0}", "onStatus", "_result"]
            .map(|name| Case::goes_on(format!("the command {name:?}"), wanted(name)))
            .into();
    cases.extend([
        Case::closed("a second connect", connect, "out_of_order"),
        Case::goes_on(
            "a deleteStream of another's",
            message(20, 0, &call("deleteStream", 0.0, b"\0\x41\xdf\xff\xff\xff\xc0\0\0")),
        ),
        Case::goes_on(
            "a deleteStream that is no number",
            message(20, 0, &call("deleteStream", 0.0, b"\0\x7f\xf8\0\0\0\0\0\0")),
        ),
        Case::goes_on("a closeStream of nothing", message(20, 77, &call("closeStream", 0.0, &[]))),
        Case::goes_on("a play of nothing's stream", message(20, 77, &call("play", 0.0, &text(b"x")))),
        Case::goes_on("a publish on the control stream", message(20, 0, &call("publish", 0.0, &text(b"x")))),
        Case::goes_on(
            "a publish of an unknown kind",
            message(20, 1, &call("publish", 0.0, &[text(b"x"), text(b"eternal")].concat())),
        ),
        Case::goes_on("a pause of nothing", message(20, 5, &call("pause", 0.0, &[1, 1]))),
        Case::goes_on("a shared object", message(19, 0, b"\0\x03foo\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0")),
        Case::goes_on("a damaged shared object", message(16, 0, b"\xff\xff\xff")),
        Case::goes_on("media on nothing's stream", message(9, 99, b"\x17\x01\0\0\0x")),
        Case::goes_on("a message of type 0", message(0, 0, b"abc")),
        Case::goes_on("a message of type 7", message(7, 0, b"abc")),
        Case::goes_on("a message of type 255", message(255, 0, &[0; 1000])),
    ]);
    // What Flash Player and its like send, and what nobody has documented.
    for event in [0u8, 1, 2, 3, 4, 5, 7, 8, 26, 27, 31, 32, 33, 255] {
        let body = [0, event, 0, 0, 0, 1, 0, 0, 0, 9];
        cases.push(Case::goes_on(format!("user control event {event}"), super::control(4, &body)));
        cases.push(Case::goes_on(format!("user control event {event} cut short"), super::control(4, &body[..2])));
    }
    cases
}

/// What is published on cannot be played on, nor the other way round; what was there goes on.
async fn a_message_stream_does_one_thing_at_a_time(beside: &Beside, node: &str) {
    let path = format!("live/both-{node}");
    let mut publisher = Publisher::open(&beside.cluster.rtmp(node, &path)).await.expect("a publication");
    let published = publisher.message(&synthetic::config()).msid;
    let connection = &mut publisher.connection;
    let play = [Value::Null, Value::text("beside"), Value::Number(-2000.0)];
    let publish = [Value::Null, Value::text("third"), Value::text("live")];
    connection.command("play", 0.0, published, &play).await.expect("taken");
    assert_eq!(connection.status().await.expect("an answer").code, OUT_OF_ORDER, "{node}: a play");
    let played = connection.create_stream().await.expect("a message stream");
    connection.command("play", 0.0, played, &play).await.expect("taken");
    while connection.status().await.expect("an answer").code != "NetStream.Play.Start" {}
    connection.command("publish", 0.0, played, &publish).await.expect("taken");
    assert_eq!(connection.status().await.expect("an answer").code, OUT_OF_ORDER, "{node}: a publish");
    let shown = async {
        loop {
            let heard = connection.next().await.expect("no error").expect("the connection goes on");
            if (heard.type_id, heard.msid) == (9, played) {
                break;
            }
        }
    };
    timeout(ANSWER, shown).await.unwrap_or_else(|_| panic!("{node}: what was played is not any more"));
    publisher.send(&synthetic::config()).await.expect("taken");
    publisher.send(&synthetic::frame(0, Duration::ZERO)).await.expect("taken");
    let viewer = Recorder::start(&beside.cluster.rtmp("edge-2", &path));
    viewer.wait_frames(1, SOON);
}

/// Neither by the stream's name nor by the number that its message stream has on the connection of who publishes.
async fn nobody_ends_what_another_publishes(beside: &Beside, node: &str) {
    let url = Url::parse(&beside.cluster.rtmp(node, "live/beside")).expect("an address");
    let mut stranger = Connection::open(&url).await.expect("a connection");
    for msid in 0..4 {
        stranger.command("deleteStream", 0.0, 0, &[Value::Null, Value::Number(msid.into())]).await.expect("taken");
        stranger.command("closeStream", 0.0, msid, &[Value::Null]).await.expect("taken");
    }
    ask_for_the_end_of_another(&mut stranger, node).await;
    // The same of one that publishes something else.
    let name = format!("another-{node}");
    let mut publisher = Publisher::on(stranger, &name).await.expect("a publication");
    ask_for_the_end_of_another(&mut publisher.connection, node).await;
    publisher.send(&synthetic::config()).await.expect("taken");
    publisher.send(&synthetic::frame(0, Duration::ZERO)).await.expect("taken");
    let viewer = Recorder::start(&beside.cluster.rtmp("edge-2", &format!("live/{name}")));
    viewer.wait_frames(1, SOON);
}

async fn ask_for_the_end_of_another(stranger: &mut Connection, node: &str) {
    for name in ["releaseStream", "FCUnpublish", "FCUnsubscribe"] {
        let answer = stranger.call(name, 0, &[Value::Null, Value::text("beside")]).await;
        assert!(answer.is_ok(), "{node}: {name}: {answer:?}");
    }
}

async fn mistakes_are_forgiven_until_there_are_too_many(beside: &Beside, node: &str) {
    let url = Url::parse(&beside.cluster.rtmp(node, "live/clumsy")).expect("an address");
    let mut client = Connection::open(&url).await.expect("a connection");
    let mistake = message(20, 77, &call("seek", 0.0, &[0; 9]));
    let before = beside.closed(node, "mistakes");
    for number in 1..=MISTAKES {
        client.send_raw(&mistake).await.expect("taken");
        let status = client.status().await.unwrap_or_else(|error| panic!("{node}: mistake {number}: {error:#}"));
        assert_eq!(status.code, OUT_OF_ORDER, "{node}: mistake {number}");
    }
    client.create_stream().await.expect("so many are forgiven");
    assert_eq!(beside.closed(node, "mistakes"), before, "{node}: closed too soon");
    client.send_raw(&mistake).await.expect("taken");
    let ended = timeout(ANSWER, async { while let Ok(Some(_)) = client.next().await {} }).await;
    assert!(ended.is_ok(), "{node}: one mistake more is forgiven");
    beside.wait_closed(node, "mistakes", before, "one mistake more");
}

async fn message_streams_are_bounded(beside: &Beside) {
    let url = Url::parse(&beside.cluster.rtmp("edge-1", "live/many")).expect("an address");
    let mut client = Connection::open(&url).await.expect("a connection");
    for number in 0..MESSAGE_STREAMS {
        client.create_stream().await.unwrap_or_else(|error| panic!("message stream {number}: {error:#}"));
    }
    assert!(client.create_stream().await.is_err(), "one message stream more than may be");
    let before = beside.closed("edge-1", "mistakes");
    // Ten thousand more: it is answered for a while, and then cut.
    let many: Vec<u8> = message(20, 0, &call("createStream", 3.0, &[])).repeat(10_000);
    let _cut = client.send_raw(&many).await;
    let ended = timeout(ANSWER, async { while let Ok(Some(_)) = client.next().await {} }).await;
    assert!(ended.is_ok(), "ten thousand createStream are answered");
    beside.wait_closed("edge-1", "mistakes", before, "ten thousand createStream");
    beside.check("message streams");
}

async fn names_that_could_do_harm_are_refused(beside: &Beside) {
    let long = "x".repeat(10_000);
    let past_limit = "x".repeat(256);
    let parameters = parameters("x", 65);
    let names = [
        "",
        ".",
        "..",
        "beside.",
        "../../tmp/x",
        "/etc/passwd/..",
        "%2e%2e",
        "%2e%2e%2fx",
        "..\\x",
        "a\\b",
        "a\0b",
        "a\r\nb",
        "a\tb",
        ";rm",
        "$(x)",
        "`x`",
        "a|b",
        "a b",
        "\u{202e}a",
        "<script>",
        "\"",
        "a%",
        "a%zz",
        &past_limit,
        &long,
        &parameters,
    ];
    for node in ["edge-1", beside.cluster.active()] {
        let address = beside.cluster.address(node, "rtmp");
        let url = Url::parse(&format!("rtmp://{address}/live/x")).expect("an address");
        for name in names {
            is_refused(&Url { name: name.to_owned(), ..url.clone() }).await;
        }
        for app in apps() {
            is_refused(&Url { app, ..url.clone() }).await;
        }
        for vhost in ["..", "example.", "%2e%2e", "a/b", "a%00b", &past_limit] {
            is_refused(&Url { name: format!("x?vhost={vhost}"), ..url.clone() }).await;
            is_refused(&Url { app: format!("live?vhost={vhost}"), ..url.clone() }).await;
        }
        a_name_that_is_no_text_is_refused(&url).await;
        beside.check(&format!("{node}: names"));
    }
    let at_limit = format!("{}-{}", "n".repeat(255 - 11), 1_000_000_000 + unique());
    let fits = Publisher::open(&beside.cluster.rtmp("edge-1", &format!("live/{at_limit}"))).await;
    assert!(fits.is_ok(), "a name of {} bytes", at_limit.len());
}

/// Applications and instances.
fn apps() -> Vec<String> {
    let long = "x".repeat(256);
    [
        "..",
        ".",
        "live.",
        "live/a.",
        "live/..",
        "live/../..",
        "live/a/b",
        "%2e%2e",
        "live/%2e%2e",
        "a%2fb",
        "a\\b",
        "a\0b",
        "a\r\nb",
        "live/a\0b",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([long.clone(), format!("live/{long}")])
    .collect()
}

/// Neither a publish nor a play is served there.
async fn is_refused(url: &Url) {
    let connection = Connection::open(url).await.expect("a connection");
    let (publisher, status) = Publisher::ask(connection, &url.name).await.expect("an answer");
    assert_eq!(status.code, "NetStream.Publish.BadName", "publish at {url:?}");
    let mut connection = publisher.connection;
    let play = [Value::Null, Value::text(&url.name), Value::Number(-2000.0)];
    connection.command("play", 0.0, 1, &play).await.expect("the command is taken");
    let status = connection.status().await.expect("an answer");
    assert_eq!(status.code, "NetStream.Play.StreamNotFound", "play at {url:?}");
}

async fn a_name_that_is_no_text_is_refused(url: &Url) {
    let mut connection = Connection::open_as(url, false, 128).await.expect("a connection");
    let msid = connection.create_stream().await.expect("a message stream");
    for (command, code) in [("publish", "NetStream.Publish.BadName"), ("play", "NetStream.Play.StreamNotFound")] {
        let asks = message(20, msid, &call(command, 0.0, &text(b"a\xff\xfe\xc0\xafb")));
        connection.send_raw(&asks).await.expect("the command is taken");
        assert_eq!(connection.status().await.expect("an answer").code, code, "{url:?}");
    }
}

async fn a_second_publisher_is_refused(beside: &Beside) {
    for node in ["edge-1", "edge-2", beside.cluster.active()] {
        let url = Url::parse(&beside.cluster.rtmp(node, "live/beside")).expect("an address");
        let connection = Connection::open(&url).await.expect("a connection");
        let (_, status) = Publisher::ask(connection, "beside").await.expect("an answer");
        assert_eq!(status.code, "NetStream.Publish.BadName", "{node}");
        beside.check(&format!("{node}: a second publisher"));
    }
}

/// FCUnpublish ends the publication; what the encoder still sends is counted and thrown away.
async fn media_after_an_end_is_nobodys(beside: &Beside) {
    let mut publisher = Publisher::open(&beside.cluster.rtmp("edge-1", "live/ended")).await.expect("a publication");
    publisher.send(&synthetic::config()).await.expect("taken");
    publisher.connection.command("FCUnpublish", 0.0, 0, &[Value::Null, Value::text("ended")]).await.expect("taken");
    for number in 0..50 {
        let frame = synthetic::frame(number, Duration::from_millis(40));
        publisher.send(&frame).await.expect("taken");
    }
    publisher.connection.create_stream().await.expect("the connection goes on");
    beside.check("media after an end");
}

/// releaseStream and FCPublish in the other order, more than once, and calls that want answers.
async fn flash_media_encoders_ways_are_known(beside: &Beside) {
    let url = Url::parse(&beside.cluster.rtmp("edge-1", "live/fmle")).expect("an address");
    let mut client = Connection::open(&url).await.expect("a connection");
    for name in ["FCPublish", "releaseStream", "FCPublish", "_checkbw", "FCSubscribe", "getStreamLength"] {
        client
            .call(name, 0, &[Value::Null, Value::text("fmle")])
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
    let mut publisher = Publisher::on(client, "fmle").await.expect("a publication");
    publisher.send_metadata(("width", 16.0), false).await.expect("taken");
    publisher.connection.create_stream().await.expect("the connection goes on");
    beside.check("an old encoder's ways");
}
