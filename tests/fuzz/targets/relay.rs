//! Messages between edges and origins, from bytes to the types that services see. What was understood is said again, and
//! understood the same.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use proto::relay::v1 as pb;
// What the conversions name.
#[allow(unused_imports)]
use rpc::relay::*;

// The conversions are private to their crate: they are compiled here once more.
#[allow(dead_code)]
#[path = "../../../crates/rpc/src/relay/wire/mod.rs"]
mod wire;

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 12 {
        0 => same(data, wire::push::hello_in, |hello| vec![wire::push::hello_out(hello)]),
        1 => push(data),
        2 => same(data, wire::pull::request_in, |request| vec![wire::pull::request_out(request)]),
        3 => same(data, wire::push::down_in, |down| vec![wire::push::down_out(down)]),
        4 => same(data, wire::follow::hello_in, |hello| vec![wire::follow::hello_out(hello)]),
        5 => follower(data),
        6 => active(data),
        7 => same(data, wire::link::hello_in, |hello| vec![wire::link::hello_out(hello)]),
        8 => same(data, wire::link::down_in, |down| vec![wire::link::down_out(down)]),
        9 => same(data, wire::link::up_in, |up| vec![wire::link::up_out(up)]),
        _ => same(data, wire::pull::down_in, wire::pull::down_out),
    }
});

/// What came in one message is said in one, or in none where nothing was in it.
fn same<W, T>(data: &[u8], read: impl Fn(W) -> Result<T, RelayError>, write: impl Fn(T) -> Vec<W>)
where
    W: Message + Default,
    T: Clone + Debug + PartialEq,
{
    let Some(Ok(understood)) = W::decode(data).ok().map(&read) else { return };
    let said = write(understood.clone());
    assert!(said.len() <= 1, "it came in one");
    for again in said {
        assert_eq!(read(again).expect("ours"), understood);
    }
}

/// Each says the edge's highest epoch, which only a beat is about.
fn push(data: &[u8]) {
    let Ok(request) = pb::PushRequest::decode(data) else { return };
    let epoch = cluster::Epoch(request.epoch);
    same(data, wire::push::up_in, |up| wire::push::up_out(up, epoch));
}

/// Requests one after another, each behind its length: what comes in parts is put together.
fn follower(mut data: &[u8]) {
    let mut ups = wire::follow::Ups::default();
    while let Ok(request) = pb::FollowRequest::decode_length_delimited(&mut data) {
        let Ok(read) = ups.read(request) else { return };
        let Some(up) = read else { continue };
        let mut again = wire::follow::Ups::default();
        let said = wire::follow::up_out(up.clone()).into_iter().filter_map(|part| again.read(part).expect("ours"));
        assert_eq!(said.collect::<Vec<_>>(), [up]);
    }
}

/// As [`follower`], for what it is told. Items are compared as they are said.
fn active(mut data: &[u8]) {
    let mut downs = wire::follow::Downs::default();
    while let Ok(response) = pb::FollowResponse::decode_length_delimited(&mut data) {
        let Ok(read) = downs.read(response) else { return };
        let Some(down) = read else { continue };
        let said = wire::follow::down_out(down);
        let mut again = wire::follow::Downs::default();
        let heard = said.iter().cloned().filter_map(|part| again.read(part).expect("ours"));
        assert_eq!(heard.flat_map(wire::follow::down_out).collect::<Vec<_>>(), said);
    }
}
