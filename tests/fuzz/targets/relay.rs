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
#[path = "../../../crates/rpc/src/relay/wire.rs"]
mod wire;

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 4 {
        0 => _ = pb::PushRequest::decode(data).map(wire::hello_in),
        1 => _ = pb::PushRequest::decode(data).map(wire::up_in),
        2 => _ = pb::PullRequest::decode(data).map(wire::pull_in),
        _ => {
            let _any = pb::PushResponse::decode(data).map(wire::push_down_in);
            let _any = pb::PullResponse::decode(data).map(wire::pull_down_in);
        }
    }
});
