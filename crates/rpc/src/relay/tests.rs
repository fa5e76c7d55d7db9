//! All calls over loopback, with a made-up origin.

mod follow;
mod link;
mod payloads;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use cluster::{Epoch, NodeId, Role};
use futures_util::{StreamExt, stream};
use media::{Frame, Kind, MediaMessage, Medium, PublicationId, StreamName};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::{
    auth::Caller,
    testing::{Served, serve},
};

const EPOCH: Epoch = Epoch(7);

/// Keeps what is pushed, acks it, and hands out what the test puts in.
struct Origin {
    hellos: mpsc::UnboundedSender<PushHello>,
    ups: mpsc::UnboundedSender<Option<Result<PushUp, RelayError>>>,
    pulls: Mutex<Vec<Flow<PullDown>>>,
    /// What the next follower is told.
    follow: Mutex<Vec<FollowDown>>,
    followed: mpsc::UnboundedSender<Followed>,
}

/// What the origin hears of those who follow and link.
#[derive(Debug, PartialEq)]
enum Followed {
    Hello(FollowHello),
    Up(Result<FollowUp, RelayError>),
    LinkHello(LinkHello),
    LinkUp(Result<LinkUp, RelayError>),
    End,
}

impl Relay for Origin {
    async fn push(&self, hello: PushHello, up: Flow<PushUp>) -> Result<Flow<PushDown>, RelayError> {
        if hello.stream.name() == "taken" {
            return Err(RelayError::Refused(PublishRefusal::NameTaken));
        }
        let opened = PushDown::Opened { epoch: EPOCH, next_number: hello.first_number };
        self.hellos.send(hello).unwrap();
        let (acks, told) = mpsc::channel(1);
        tokio::spawn(take_in(up, self.ups.clone(), acks));
        let told = ReceiverStream::new(told);
        Ok(stream::iter([Ok(opened)]).chain(told).boxed())
    }

    async fn pull(&self, request: PullRequest) -> Result<Flow<PullDown>, RelayError> {
        match request.stream.name() {
            "absent" => Err(RelayError::NoStream),
            "elsewhere" => Err(RelayError::NotActive { active: Some("127.0.0.1:9001".into()), epoch: EPOCH }),
            _ => Ok(self.pulls.lock().await.pop().expect("the test put a stream in")),
        }
    }

    async fn follow(&self, hello: FollowHello, up: Flow<FollowUp>) -> Result<Flow<FollowDown>, RelayError> {
        self.followed.send(Followed::Hello(hello)).unwrap();
        tokio::spawn(tell(up, self.followed.clone(), Followed::Up));
        let downs = std::mem::take(&mut *self.follow.lock().await);
        Ok(stream::iter(downs).map(Ok).chain(stream::pending()).boxed())
    }

    async fn link(&self, hello: LinkHello, up: Flow<LinkUp>) -> Result<Flow<LinkDown>, RelayError> {
        self.followed.send(Followed::LinkHello(hello)).unwrap();
        tokio::spawn(tell(up, self.followed.clone(), Followed::LinkUp));
        let beats = [Role::Standby, Role::Active, Role::Fenced].map(|role| {
            let active = (role == Role::Standby).then(|| "127.0.0.1:9001".to_owned());
            Ok(LinkDown::Beat { epoch: EPOCH, role, active })
        });
        Ok(stream::iter(beats).chain(stream::pending()).boxed())
    }
}

/// Tells the test all that comes, and its end.
async fn tell<T>(
    mut up: Flow<T>,
    followed: mpsc::UnboundedSender<Followed>,
    tell: fn(Result<T, RelayError>) -> Followed,
) {
    while let Some(up) = up.next().await {
        followed.send(tell(up)).unwrap();
    }
    // A test that is over hears nothing.
    let _ = followed.send(Followed::End);
}

/// Tells the test what comes, `None` at the end, and acks each batch.
async fn take_in(
    mut up: Flow<PushUp>,
    ups: mpsc::UnboundedSender<Option<Result<PushUp, RelayError>>>,
    acks: mpsc::Sender<Result<PushDown, RelayError>>,
) {
    while let Some(up) = up.next().await {
        let through = match &up {
            Ok(PushUp::Messages(messages)) => messages.last().map(|(number, _)| *number),
            _ => None,
        };
        ups.send(Some(up)).unwrap();
        if let Some(through) = through {
            // An edge that left takes no acks.
            let _ = acks.send(Ok(PushDown::Ack { through, epoch: EPOCH })).await;
        }
    }
    ups.send(None).unwrap();
}

struct Made {
    served: Served,
    client: Client,
    origin: Arc<Origin>,
    hellos: mpsc::UnboundedReceiver<PushHello>,
    ups: mpsc::UnboundedReceiver<Option<Result<PushUp, RelayError>>>,
    followed: mpsc::UnboundedReceiver<Followed>,
}

async fn made() -> Made {
    let (hello_sender, hellos) = mpsc::unbounded_channel();
    let (up_sender, ups) = mpsc::unbounded_channel();
    let (followed_sender, followed) = mpsc::unbounded_channel();
    let origin = Arc::new(Origin {
        hellos: hello_sender,
        ups: up_sender,
        pulls: Mutex::default(),
        follow: Mutex::default(),
        followed: followed_sender,
    });
    let served = serve(|builder| builder.relay(origin.clone())).await;
    let client = Client::connect(&served.target(Caller::Edge)).await.unwrap();
    Made { served, client, origin, hellos, ups, followed }
}

fn name(name: &str) -> StreamName {
    StreamName::from_app("_default", "live", name).unwrap()
}

fn hello(stream: &str) -> PushHello {
    PushHello {
        stream: name(stream),
        publication: PublicationId::from_bits(1),
        epoch: Epoch(6),
        edge: NodeId::new("edge-1").unwrap(),
        key: Some(PublishKey("secret".into())),
        first_number: 3,
        peer: "192.0.2.1:5000".into(),
        via: true,
        path: vec![NodeId::new("edge-1").unwrap()],
    }
}

fn message(bytes: usize) -> MediaMessage {
    MediaMessage { medium: Medium::Video, timestamp: u32::MAX, payload: vec![0x5a; bytes].into() }
}

fn pull(stream: &str) -> PullRequest {
    PullRequest {
        stream: name(stream),
        from: PullFrom::After(41),
        had_in: Epoch(2),
        epoch: EPOCH,
        path: vec![],
        via: true,
    }
}

fn frame(seq: u64, kind: Kind, payload: Bytes) -> Placed {
    let frame = Frame { medium: Medium::Video, kind, track: 255, dts: 1 << 33, composition_ms: -40, payload };
    Placed { seq, body: Body::Frame(frame) }
}

/// A push whose messages the test sends one by one.
async fn push(client: &Client) -> (mpsc::Sender<PushUp>, Flow<PushDown>) {
    let (sender, ups) = mpsc::channel(1);
    let mut down = client.push(hello("foo"), ReceiverStream::new(ups)).await.unwrap();
    let opened = down.next().await.unwrap().unwrap();
    assert_eq!(opened, PushDown::Opened { epoch: EPOCH, next_number: 3 });
    (sender, down)
}

#[tokio::test]
async fn what_is_pushed_arrives_unchanged_and_is_acked() {
    let mut made = made().await;
    let (sender, mut down) = push(&made.client).await;
    assert_eq!(made.hellos.recv().await.unwrap(), hello("foo"));
    let ups = [
        PushUp::Messages(vec![(3, message(0)), (4, message(8 << 20)), (5, message(10))]),
        PushUp::MetadataCleared(6),
        PushUp::Beat { epoch: Epoch(8) },
        PushUp::Skip { from: 7, to: 7 },
        PushUp::Skip { from: 8, to: 20 },
        PushUp::Close(21),
    ];
    let sent = ups.clone();
    let sending = async move {
        for up in sent {
            sender.send(up).await.unwrap();
        }
    };
    let receiving = async {
        let mut got = Vec::new();
        while let Some(up) = made.ups.recv().await.unwrap() {
            match (up.unwrap(), got.last_mut()) {
                (PushUp::Messages(more), Some(PushUp::Messages(messages))) => messages.extend(more),
                (up, _) => got.push(up),
            }
        }
        assert_eq!(got, ups);
    };
    let acking = async {
        let mut acked = Vec::new();
        while let Some(PushDown::Ack { through, .. }) = down.next().await.transpose().unwrap() {
            acked.push(through);
        }
        assert_eq!(acked, [3, 4, 5], "8 MiB travel alone");
    };
    tokio::join!(sending, receiving, acking);
}

#[tokio::test]
async fn a_refused_publication_says_why_and_keys_are_never_printed() {
    let made = made().await;
    let refused = made.client.push(hello("taken"), stream::pending()).await.map(drop);
    assert_eq!(refused, Err(RelayError::Refused(PublishRefusal::NameTaken)));
    assert!(!format!("{:?}", hello("foo")).contains("secret"));
}

#[tokio::test]
async fn a_lost_edge_ends_the_push_without_a_close() {
    let mut made = made().await;
    let (sender, down) = push(&made.client).await;
    sender.send(PushUp::Messages(vec![(3, message(1))])).await.unwrap();
    assert!(matches!(made.ups.recv().await.unwrap(), Some(Ok(PushUp::Messages(_)))));
    drop((sender, down));
    // Either the end of the requests or the reset of the call is seen first.
    let ended = made.ups.recv().await.unwrap();
    assert!(!matches!(ended, Some(Ok(_))), "{ended:?}");
}

#[tokio::test]
async fn answers_that_are_dropped_end_the_push_although_there_is_more_to_say() {
    let mut made = made().await;
    let (sender, down) = push(&made.client).await;
    drop(down);
    let ended = made.ups.recv().await.unwrap();
    assert!(!matches!(ended, Some(Ok(_))), "{ended:?}");
    drop(sender);
}

#[tokio::test]
async fn numbers_that_fall_end_the_push() {
    for numbers in [vec![2], vec![3, 3], vec![5, 4], vec![u64::MAX]] {
        let mut made = made().await;
        let (sender, _down) = push(&made.client).await;
        let messages = numbers.iter().map(|number| (*number, message(1))).collect();
        sender.send(PushUp::Messages(messages)).await.unwrap();
        let up = made.ups.recv().await.unwrap().unwrap();
        assert!(matches!(up, Err(RelayError::Invalid(_))), "{numbers:?}: {up:?}");
        assert_eq!(made.ups.recv().await.unwrap(), None, "nothing follows an error");
    }
}

#[tokio::test]
async fn skips_that_fall_or_end_before_they_begin_end_the_push() {
    for skip in [(2, 4), (5, 4), (3, u64::MAX)] {
        let mut made = made().await;
        let (sender, _down) = push(&made.client).await;
        sender.send(PushUp::Skip { from: skip.0, to: skip.1 }).await.unwrap();
        let up = made.ups.recv().await.unwrap().unwrap();
        assert!(matches!(up, Err(RelayError::Invalid(_))), "{skip:?}: {up:?}");
    }
}

#[tokio::test]
async fn an_epoch_above_all_that_can_be_granted_is_refused() {
    let made = made().await;
    let epoch = Epoch(Epoch::MAX.0 + 1);
    let refused = made.client.push(PushHello { epoch, ..hello("foo") }, stream::pending()).await.map(drop);
    assert!(matches!(refused, Err(RelayError::Invalid(_))), "{refused:?}");
    let refused = made.client.pull(PullRequest { epoch, ..pull("foo") }).await.map(drop);
    assert!(matches!(refused, Err(RelayError::Invalid(_))), "{refused:?}");
    made.origin.pulls.lock().await.push(stream::iter([Ok(PullDown::Heartbeat { epoch, head: 0 })]).boxed());
    let told = made.client.pull(pull("foo")).await.unwrap().next().await.unwrap();
    assert!(matches!(told, Err(RelayError::Invalid(_))), "nor is it believed of an origin: {told:?}");
}

#[tokio::test]
async fn what_is_pulled_arrives_unchanged() {
    let made = made().await;
    let publication = PublicationId::from_bits(9);
    let setup = Frame { kind: Kind::Config, ..frame_of(frame(0, Kind::Key, Bytes::from_static(b"config"))) };
    let items = vec![
        Placed { seq: 42, body: Body::Setup(setup) },
        frame(42, Kind::Key, vec![1; 8 << 20].into()),
        frame(43, Kind::Delta, Bytes::new()),
        Placed { seq: 44, body: Body::Event(Event::MetadataCleared) },
        Placed { seq: 45, body: Body::Event(Event::Close { publication }) },
        Placed { seq: 46, body: Body::Event(Event::Open { publication }) },
        Placed { seq: 47, body: Body::Event(Event::Skip { publication, from: 3, to: 9 }) },
        Placed { seq: 8 << 40, body: Body::Event(Event::Loss { epoch: 8, from: 48, to: None }) },
        Placed { seq: 9 << 40, body: Body::Event(Event::Loss { epoch: 9, from: 49, to: Some(50) }) },
    ];
    let opened = PullDown::Opened { epoch: EPOCH, head: 46, rejoined: true, parted_from: None };
    let beat = PullDown::Heartbeat { epoch: EPOCH, head: 46 };
    // An origin that is granted the role again goes on in the next epoch.
    let later = Epoch(EPOCH.0 + 1);
    let sent = PullDown::Items { epoch: later, items: items.clone() };
    let downs = [opened.clone(), sent, beat.clone()].map(Ok);
    made.origin.pulls.lock().await.push(stream::iter(downs).boxed());

    let mut pulled = made.client.pull(pull("foo")).await.unwrap();
    assert_eq!(pulled.next().await.unwrap().unwrap(), opened);
    let mut got = Vec::new();
    let mut batches = 0;
    while let PullDown::Items { epoch, items: more } = pulled.next().await.unwrap().unwrap() {
        assert_eq!(epoch, later);
        got.extend(more);
        batches += 1;
    }
    assert_eq!((got, batches), (items, 3));
    assert!(pulled.next().await.is_none());
}

#[tokio::test]
async fn the_largest_set_up_comes_in_one_batch() {
    let made = made().await;
    let setup = |bytes| {
        let frame = frame_of(frame(42, Kind::Delta, vec![1; bytes].into()));
        Placed { seq: 42, body: Body::Setup(Frame { kind: Kind::Config, ..frame }) }
    };
    // Metadata, and as many tracks as are kept.
    let setups = [Medium::Data.message_bytes_max()].into_iter().chain([media::tag::CONFIG_BYTES_MAX; 64]).map(setup);
    let key = frame(42, Kind::Key, vec![1; BATCH_BYTES].into());
    let items: Vec<_> = setups.chain([key, frame(43, Kind::Delta, vec![1; 1].into())]).collect();
    let sent = PullDown::Items { epoch: EPOCH, items: items.clone() };
    made.origin.pulls.lock().await.push(stream::iter([Ok(sent)]).boxed());
    let mut pulled = made.client.pull(pull("foo")).await.unwrap();
    let mut batches = Vec::new();
    while let Some(down) = pulled.next().await {
        let PullDown::Items { items, .. } = down.unwrap() else { panic!("only items were sent") };
        batches.push(items);
    }
    assert!(batches.iter().map(Vec::len).eq([66, 1]) && batches.concat() == items);
}

fn frame_of(item: Placed) -> Frame {
    match item.body {
        Body::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pull_that_cannot_be_served_says_where_to_go() {
    let made = made().await;
    assert_eq!(made.client.pull(pull("absent")).await.map(drop), Err(RelayError::NoStream));
    let elsewhere = RelayError::NotActive { active: Some("127.0.0.1:9001".into()), epoch: EPOCH };
    assert_eq!(made.client.pull(pull("elsewhere")).await.map(drop), Err(elsewhere));
    let node = NodeId::new("edge-1").unwrap();
    let circle = PullRequest { path: vec![node; 9], ..pull("foo") };
    assert_eq!(made.client.pull(circle).await.map(drop), Err(RelayError::Loop));
}

#[tokio::test]
async fn an_edge_that_does_not_read_holds_the_origin_back_and_nobody_else() {
    const FRAME: usize = 64 << 10;
    let made = made().await;
    let endless = |taken: Arc<AtomicUsize>| {
        let items = (0u64..4096).map(move |seq| {
            taken.fetch_add(1, Ordering::Relaxed);
            let items = vec![frame(seq, Kind::Delta, vec![0; FRAME].into())];
            Ok(PullDown::Items { epoch: EPOCH, items })
        });
        stream::iter(items).boxed()
    };
    let (lazy, eager) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    *made.origin.pulls.lock().await = vec![endless(eager.clone()), endless(lazy.clone())];
    let mut unread = made.client.pull(pull("foo")).await.unwrap();
    let read = made.client.pull(pull("foo")).await.unwrap();
    assert_eq!(read.take(512).count().await, 512, "32 MiB on the same connection");
    assert!(lazy.load(Ordering::Relaxed) * FRAME <= 8 << 20, "took {} frames", lazy.load(Ordering::Relaxed));
    assert!(unread.next().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_message_larger_than_any_frame_is_refused() {
    let mut made = made().await;
    let (sender, mut down) = push(&made.client).await;
    sender.send(PushUp::Messages(vec![(3, message(17 << 20))])).await.unwrap();
    let ended = down.next().await;
    assert!(!matches!(ended, Some(Ok(_))), "{ended:?}");
    assert!(!matches!(made.ups.recv().await.unwrap(), Some(Ok(_))));
    let (_sender, _down) = push(&made.client).await;
}

#[tokio::test]
async fn only_nodes_are_admitted() {
    let made = made().await;
    for caller in [Caller::Operator, Caller::ViewerOps, Caller::Control] {
        let client = Client::connect(&made.served.target(caller)).await.unwrap();
        let refused = client.pull(pull("absent")).await.map(drop);
        assert!(matches!(refused, Err(RelayError::NotAdmitted(_))), "{caller}: {refused:?}");
    }
    let stranger = Client::over(&made.served.stranger().await);
    let refused = stranger.push(hello("foo"), stream::pending()).await.map(drop);
    assert!(matches!(refused, Err(RelayError::NotAdmitted(_))), "{refused:?}");
}

#[tokio::test]
async fn a_dead_origin_ends_what_it_served() {
    let made = made().await;
    made.origin.pulls.lock().await.push(stream::pending().boxed());
    let mut pulled = made.client.pull(pull("foo")).await.unwrap();
    made.served.kill().await;
    let ended = pulled.next().await.unwrap();
    assert!(matches!(ended, Err(RelayError::Transport(_))), "{ended:?}");
}
