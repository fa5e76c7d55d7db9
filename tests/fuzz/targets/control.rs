//! Messages of the control plane and of those who ask it: what was understood is said again, and understood the same. Lists
//! by any filter tell each thing once.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use prost::Message;
// What the conversions name.
#[allow(unused_imports)]
use rpc::{control::*, node, status};

// They are private to their crate: they are compiled here once more.
#[allow(dead_code)]
#[path = "../../../crates/rpc/src/control/fields.rs"]
mod fields;
#[allow(dead_code)]
#[path = "../../../crates/rpc/src/control/list.rs"]
mod list;
#[allow(dead_code)]
#[path = "../../../crates/rpc/src/span.rs"]
mod span;
#[allow(dead_code)]
#[path = "../../../crates/rpc/src/control/wire/mod.rs"]
mod wire;

use list::{Listed, Request};
use status::Failure;
use wire::{events, members, pools, routes, session, streams};

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 26 {
        0 => same(data, |request| session::hello(Some(request)), session::wire_hello),
        1 => same(data, some(session::from_node), session::wire_from_node),
        2 => same(data, some(session::from_control), session::wire_from_control),
        3 => same(data, members::registration, members::wire_registration),
        4 => same(data, members::read_registered, members::registered),
        5 => same(data, members::read_info, members::info),
        6 => read(data, members::deregister),
        7 => read(data, members::drain),
        8 => same(data, pools::read_info, pools::info),
        9 => same(data, pools::promote, pools::wire_promote),
        10 => same(data, pools::fail_back, pools::wire_fail_back),
        11 => same(data, pools::hold, pools::wire_hold),
        12 => same(data, pools::release, pools::wire_release),
        13 => same(data, pools::fence, pools::wire_fence),
        14 => read(data, routes::create),
        15 => read(data, routes::update),
        16 => same(data, routes::read_info, routes::info),
        17 => same(data, routes::read_resolution, routes::resolution),
        18 => same(data, streams::read_located, streams::located),
        19 => read(data, streams::kick_stream),
        // What names no node is given one in writing, and may be too long then.
        20 => read(data, |session| streams::read_session(session).map(streams::session)),
        21 => same(data, events::read_event, events::event),
        22 => same(data, wire::status::read_status, wire::status::status),
        24 => read(data, streams::kick_session),
        25 => same(data, pools::unfence, pools::wire_unfence),
        _ => walk(data),
    }
});

fn read<W: Message + Default, T>(data: &[u8], read: impl Fn(W) -> Result<T, Failure>) {
    if let Ok(wire) = W::decode(data) {
        // A field that is wrong is named.
        assert!(read(wire).err().is_none_or(|failure| !failure.fields.is_empty()));
    }
}

fn same<W, T>(data: &[u8], read: impl Fn(W) -> Result<T, Failure>, write: impl Fn(T) -> W)
where
    W: Message + Default,
    T: Clone + Debug + PartialEq,
{
    let Ok(wire) = W::decode(data) else { return };
    match read(wire) {
        Ok(understood) => assert_eq!(read(write(understood.clone())), Ok(understood)),
        Err(failure) => assert!(!failure.fields.is_empty(), "a field that is wrong is named: {failure}"),
    }
}

/// Of what may be a message of a kind that is not known here.
fn some<W, T>(read: impl Fn(W) -> Result<Option<T>, Failure>) -> impl Fn(W) -> Result<T, Failure> {
    move |wire| read(wire)?.ok_or_else(|| Failure::invalid_field("message", "is of no known kind"))
}

/// Something to list.
struct Thing(usize);

impl Listed for Thing {
    const KEYS: &'static [&'static str] = &["name", "kind", "label."];

    fn words(key: &str) -> &'static [&'static str] {
        if key == "kind" { &["even", "odd"] } else { &[] }
    }

    fn position(&self) -> String {
        format!("{:03}", self.0)
    }

    fn values(&self, key: &str) -> Vec<String> {
        match key {
            "name" => vec![self.position()],
            "kind" => vec![if self.0.is_multiple_of(2) { "even" } else { "odd" }.to_owned()],
            _ => vec!["a".to_owned(), "b".to_owned()],
        }
    }
}

/// From any token on, by any filter, in either order: each thing is told once, and it comes to an end.
fn walk(data: &[u8]) {
    const THINGS: usize = 250;
    let Some((size, Ok(text))) = data.split_first().map(|(size, text)| (size, std::str::from_utf8(text))) else {
        return;
    };
    let mut parts = text.splitn(3, '\0').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let (filter, order_by, mut token) = (part(), part(), part());
    let mut told: Vec<usize> = Vec::new();
    loop {
        let request = Request { page_size: (*size).into(), page_token: &token, filter: &filter, order_by: &order_by };
        let Ok((things, next)) = list::page((0..THINGS).map(Thing).collect(), &request) else { return };
        told.extend(things.iter().map(|thing| thing.0));
        let in_order = told.is_sorted_by(|one, next| one < next) || told.is_sorted_by(|one, next| one > next);
        assert!(told.len() <= THINGS && in_order);
        if next.is_empty() {
            return;
        }
        token = next;
    }
}
