use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use telemetry::metrics::Registry;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Admin, Inspect, Page, server::CONNECTIONS_MAX};
use crate::Shutdown;

/// A service whose epoch is 0 while it is not active.
#[derive(Default)]
struct Fake(AtomicU64);

impl Inspect for Fake {
    fn missing(&self) -> Vec<String> {
        match self.0.load(Ordering::Relaxed) {
            0 => vec!["no role yet".into()],
            _ => Vec::new(),
        }
    }

    fn active_epoch(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|epoch| *epoch > 0)
    }

    fn status(&self) -> Page {
        Page::new("<origin-1>").facts("Role", [("epoch", self.0.load(Ordering::Relaxed))])
    }
}

/// Runs the work against an admin port.
async fn with_admin<F: Future<Output = ()>>(work: impl FnOnce(Admin, Registry, Shutdown) -> F) {
    let (metrics, shutdown) = (Registry::new(), Shutdown::new(Duration::from_secs(1)));
    let address = "127.0.0.1:0".parse().expect("an address");
    let (admin, server) =
        Admin::bind("headwater-origin", address, metrics.clone(), shutdown.clone()).expect("a free port");
    tokio::select! {
        () = work(admin, metrics, shutdown) => {}
        () = server.run() => {}
    }
}

/// Status code, head and body of a GET.
async fn get(admin: &Admin, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(admin.address()).await.expect("listening");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (code, head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn process_is_healthy_before_it_is_ready_and_not_ready_while_it_drains() {
    with_admin(|admin, _, shutdown| async move {
        assert_eq!(get(&admin, "/healthz").await.0, 200);
        let (code, _, body) = get(&admin, "/readyz").await;
        assert_eq!((code, body.as_str()), (503, "starting\n"));
        let fake = Arc::new(Fake::default());
        admin.inspect(fake.clone());
        let (code, _, body) = get(&admin, "/readyz").await;
        assert_eq!((code, body.as_str()), (503, "no role yet\n"));
        fake.0.store(1, Ordering::Relaxed);
        assert_eq!(get(&admin, "/readyz").await.0, 200);
        shutdown.begin("a test");
        let (code, _, body) = get(&admin, "/readyz").await;
        assert_eq!((code, body.as_str()), (503, "draining\n"));
        assert_eq!(get(&admin, "/healthz").await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn active_is_200_with_the_epoch_exactly_while_active() {
    with_admin(|admin, _, _| async move {
        assert_eq!(get(&admin, "/active").await.0, 503);
        let fake = Arc::new(Fake::default());
        admin.inspect(fake.clone());
        assert_eq!(get(&admin, "/active").await.0, 503);
        fake.0.store(7, Ordering::Relaxed);
        let (code, _, body) = get(&admin, "/active").await;
        assert_eq!((code, body.as_str()), (200, "{\"epoch\":7}"));
        fake.0.store(0, Ordering::Relaxed);
        assert_eq!(get(&admin, "/active").await.0, 503);
    })
    .await;
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    with_admin(|admin, metrics, _| async move {
        metrics.counter("sessions_opened_total", "Sessions.").add(2);
        let (code, head, body) = get(&admin, "/metrics").await;
        assert_eq!(code, 200);
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
        assert!(body.contains("headwater_sessions_opened_total 2\n") && body.ends_with("# EOF\n"), "{body}");
    })
    .await;
}

#[tokio::test]
async fn status_is_an_escaped_page_without_scripts_and_the_same_as_json() {
    with_admin(|admin, _, _| async move {
        admin.inspect(Arc::new(Fake(AtomicU64::new(3))));
        let (code, head, body) = get(&admin, "/status").await;
        assert_eq!(code, 200);
        assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
        assert!(body.contains("&lt;origin-1&gt;") && !body.contains("<script") && body.contains("refresh"), "{body}");
        let (_, _, json) = get(&admin, "/status.json").await;
        assert_eq!(json, r#"{"title":"<origin-1>","role":{"epoch":3}}"#);
        assert_eq!(get(&admin, "/nothing").await.0, 404);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn client_that_never_finishes_its_request_is_cut() {
    with_admin(|admin, _, _| async move {
        let mut stream = TcpStream::connect(admin.address()).await.expect("listening");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ").await.expect("sent");
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "still open after 30 s");
    })
    .await;
}

#[tokio::test]
async fn clients_that_ask_nothing_keep_no_check_out() {
    with_admin(|admin, _, _| async move {
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS_MAX {
            silent.push(TcpStream::connect(admin.address()).await.expect("listening"));
        }
        let asked = tokio::time::timeout(Duration::from_secs(3), get(&admin, "/healthz")).await;
        assert_eq!(asked.expect("an answer before any deadline of theirs").0, 200);
        assert_eq!(silent[0].read(&mut [0]).await.unwrap_or(0), 0, "the oldest is gone");
    })
    .await;
}
