//! Requests to a node: names of sessions, spans of time, and pages of a list.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use proto::node::v1 as pb;
// What the conversions name.
#[allow(unused_imports)]
use rpc::{node::*, status};

// They are private to their crate: they are compiled here once more.
#[allow(dead_code)]
#[path = "../../../crates/rpc/src/node/page.rs"]
mod page;
#[allow(dead_code)]
#[path = "../../../crates/rpc/src/span.rs"]
mod span;
#[allow(dead_code)]
#[path = "../../../crates/rpc/src/node/wire.rs"]
mod wire;

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 4 {
        0 => {
            let Ok(request) = pb::KickSessionRequest::decode(data) else { return };
            if let Ok(id) = wire::id(&request.name, "sessions/") {
                assert_eq!(wire::id(&format!("sessions/{id}"), "sessions/"), Ok(id));
            }
        }
        1 => {
            let Ok(request) = pb::ListLocalStreamsRequest::decode(data) else { return };
            walk(request.page_size, &request.page_token);
        }
        2 => _ = pb::DrainRequest::decode(data).map(|request| request.deadline.map(spanned)),
        _ => _ = pb::SetLogLevelRequest::decode(data).map(|request| request.ttl.map(spanned)),
    }
});

/// From any token on each thing is told once, and it comes to an end.
fn walk(size: u32, token: &str) {
    const THINGS: usize = 250;
    let things = || (0..THINGS).map(|number| format!("{number:03}")).collect::<Vec<_>>();
    let mut told: Vec<String> = Vec::new();
    let mut token = token.to_owned();
    loop {
        let Ok((page, next)) = page::page(things(), String::clone, size, &token) else { return };
        told.extend(page);
        assert!(told.len() <= THINGS && told.is_sorted_by(|one, next| one < next));
        if next.is_empty() {
            return;
        }
        token = next;
    }
}

fn spanned(given: prost_types::Duration) {
    if let Ok(span) = span::read("span", given) {
        assert!(span < Duration::MAX);
        assert_eq!(span::read("span", span::wire(span)), Ok(span));
    }
}
