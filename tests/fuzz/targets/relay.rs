//! Messages between edges and origins, from bytes to the types that services see.
#![no_main]

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
    match which % 9 {
        0 => _ = pb::PushRequest::decode(data).map(wire::push::hello_in),
        1 => _ = pb::PushRequest::decode(data).map(wire::push::up_in),
        2 => _ = pb::PullRequest::decode(data).map(wire::pull::request_in),
        3 => {
            let _any = pb::PushResponse::decode(data).map(wire::push::down_in);
            let _any = pb::PullResponse::decode(data).map(wire::pull::down_in);
        }
        4 => _ = pb::FollowRequest::decode(data).map(wire::follow::hello_in),
        5 => follower(data),
        6 => active(data),
        7 => {
            let _any = pb::LinkRequest::decode(data).map(wire::link::hello_in);
            let _any = pb::LinkRequest::decode(data).map(wire::link::up_in);
        }
        _ => _ = pb::LinkResponse::decode(data).map(wire::link::down_in),
    }
});

/// Requests one after another, each behind its length: what comes in parts is put together. What was understood is said
/// again, and understood the same.
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

/// As [`follower`], for what it is told.
fn active(mut data: &[u8]) {
    let mut downs = wire::follow::Downs::default();
    while let Ok(response) = pb::FollowResponse::decode_length_delimited(&mut data) {
        let Ok(read) = downs.read(response) else { return };
        let Some(down) = read else { continue };
        let mut again = wire::follow::Downs::default();
        for part in wire::follow::down_out(down) {
            again.read(part).expect("ours");
        }
    }
}
