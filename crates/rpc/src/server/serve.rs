//! The loop that serves connections, and how it ends.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, Request, Response};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    rt::Executor,
    server::conn::http2,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::TaskTracker,
};
use tonic::{Status, body::Body};
use tracing::{debug, warn};

use super::{
    Admitted, Connection, Peer, Server,
    failed::method,
    trial::{OnTrial, Trials},
};
use crate::{
    auth::{Auth, AuthLayer},
    status::{Code, Failure},
};

impl Server {
    /// Serves the connections of a listener until `shutdown` completes, then ends every open answer, and what has not
    /// ended by the deadline.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        self.serve_connections(pin!(accept(listener)), shutdown).await;
    }

    /// As `serve`, with connections that someone else accepts. Ends by itself when there are no more of them and the last has closed.
    pub async fn serve_connections(
        &self,
        mut connections: impl Stream<Item = Connection> + Send + Unpin,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let serving = Serving::default();
        let _ends_with_us = serving.kill.clone().drop_guard();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut shutdown = pin!(shutdown);
        loop {
            let next = async {
                let place = serving.place(&places).await;
                connections.next().await.map(|connection| (connection, place))
            };
            let accepted = select! {
                biased;
                () = &mut shutdown => return serving.end(self.drain).await,
                accepted = next => accepted,
            };
            let Some((connection, place)) = accepted else { break };
            let driving = serving.clone().drive(connection, serving.trials.begin(), self.routes.clone());
            serving.execute(async move {
                driving.await;
                drop(place);
            });
        }
        serving.tasks.close();
        select! {
            () = &mut shutdown => serving.end(self.drain).await,
            () = serving.tasks.wait() => {}
        }
    }
}

/// The connections of a listener. An error of accept (no more file descriptors) is waited out.
fn accept(listener: TcpListener) -> impl Stream<Item = Connection> + Send {
    stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((Connection::tcp(stream, peer), listener)),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    warn!(%error, "rpc.accept_failed");
                    time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    })
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset)
}

/// What the tasks of one call of `serve` share.
#[derive(Clone, Default)]
struct Serving {
    tasks: TaskTracker,
    trials: Arc<Trials>,
    /// No new calls; open answers end.
    ending: CancellationToken,
    /// Every task is dropped.
    kill: CancellationToken,
}

impl Serving {
    async fn end(&self, deadline: Duration) {
        self.ending.cancel();
        self.tasks.close();
        if time::timeout(deadline, self.tasks.wait()).await.is_err() {
            warn!(tasks = self.tasks.len(), "rpc.cut_at_deadline");
            self.kill.cancel();
            self.tasks.wait().await;
        }
    }

    /// A place for one more connection. If there is none, the one that has been on trial longest makes room.
    async fn place(&self, places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        if let Ok(place) = places.clone().try_acquire_owned() {
            return place;
        }
        self.trials.end_oldest();
        places.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// One connection from its first byte to its last.
    async fn drive(self, connection: Connection, on_trial: OnTrial, routes: AuthLayer<tonic::service::Routes>) {
        let Connection { io, peer, trial } = connection;
        let auth = routes.auth().clone();
        let (admitted, ending) = (Admitted::default(), self.ending.child_token());
        let service = Calls {
            routes,
            peer,
            admitted: admitted.clone(),
            ending: ending.clone(),
            shutting_down: self.ending.clone(),
        };
        let mut http = pin!(http2(self.clone()).serve_connection(TokioIo::new(io), service));
        let ended = select! {
            biased;
            ended = &mut http => ended,
            left = on_trial.over(admitted, trial) => {
                auth.failed().count_unasked();
                debug!(?peer, "rpc.trial_over");
                ending.cancel();
                http.as_mut().graceful_shutdown();
                let Ok(ended) = time::timeout(left, http).await else { return };
                ended
            }
            () = self.ending.cancelled() => {
                http.as_mut().graceful_shutdown();
                http.await
            }
        };
        if let Err(error) = ended {
            auth.failed().count_broken();
            debug!(?peer, %error, "rpc.connection_failed");
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Serving {
    fn execute(&self, task: F) {
        let kill = self.kill.clone();
        self.tasks.spawn(async move { kill.run_until_cancelled(task).await });
    }
}

fn http2(tasks: Serving) -> http2::Builder<Serving> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// The calls of one connection.
struct Calls {
    routes: AuthLayer<tonic::service::Routes>,
    peer: Peer,
    admitted: Admitted,
    /// Open answers end: the server does, or this connection.
    ending: CancellationToken,
    shutting_down: CancellationToken,
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<Ending>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.admitted.clone());
        let (auth, method) = (self.routes.auth().clone(), method(request.uri().path()));
        let answer = TowerToHyperService::new(self.routes.clone()).call(request);
        let (ending, shutting_down) = (self.ending.clone(), self.shutting_down.clone());
        Box::pin(async move {
            let answer = answer.await?;
            auth.failed().note(method, answer.headers());
            let ending = Box::pin(ending.cancelled_owned());
            Ok(answer.map(|body| Ending { body, auth, method, ending, shutting_down, ended: false }))
        })
    }
}

/// An answer's body that ends when the server or its connection must: with a status that says so, once nothing is ready to
/// be sent. Errors at its end are counted.
struct Ending {
    body: Body,
    auth: Arc<Auth>,
    method: &'static str,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
    shutting_down: CancellationToken,
    ended: bool,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(trailers) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref()) {
                self.auth.failed().note(self.method, trailers);
            }
            return Poll::Ready(frame);
        }
        ready!(self.ending.as_mut().poll(cx));
        self.ended = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        let why = if self.shutting_down.is_cancelled() { shutting_down() } else { trial_over() };
        why.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn shutting_down() -> Status {
    Failure::new(Code::Unavailable, "SHUTTING_DOWN", "the server is shutting down").into()
}

fn trial_over() -> Status {
    let why = "a connection on which no call has carried a token is closed after 10 s: call again, or with a token";
    Failure::new(Code::Unavailable, "TRIAL_OVER", why).into()
}

/// Further connections wait in the listener's backlog, if none of these is on trial.
pub(super) const CONNECTIONS_MAX: usize = 4096;
/// Between two attempts to accept when the process is out of something.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// A connection that is quiet for so long is asked whether it lives.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// It has so long to answer.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Calls at a time on one connection.
const CONCURRENT_STREAMS_MAX: u32 = 256;
/// All headers of a call together.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// A batch fits into one HTTP/2 frame.
pub(crate) const FRAME_BYTES: u32 = 256 << 10;
/// What one call may send before its receiver takes it.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// What all calls of a connection may send before their receivers take it.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
