//! The server's machine behind the handshake: commands in any order, all requests accepted or all refused.
#![no_main]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use rtmp::{
    command::status::Status,
    server::{Config, Event, Session},
};

fuzz_target!(|data: &[u8]| {
    let Some(([choice, piece], data)) = data.split_first_chunk() else { return };
    let mut now = Instant::now();
    let mut session = Session::new(Arc::new(Config::default()), now);
    session.handle_bytes(&[&[3; 1], &[0; 3072][..]].concat(), now);
    for part in data.chunks(usize::from(*piece) + 1) {
        now += Duration::from_millis(10);
        session.handle_bytes(part, now);
        while let Some(event) = session.poll_event() {
            decide(&mut session, event, choice & 1 == 0, now);
        }
        while session.poll_output().is_some() {}
    }
});

fn decide(session: &mut Session, event: Event, accept: bool, now: Instant) {
    let refusal = Status::failed("NetStream.Failed", "no");
    let _gone = match (event, accept) {
        (Event::Connect(request), true) => request.accept(session, now),
        (Event::Publish(request), true) => request.accept(session, now),
        (Event::Play(request), true) => request.accept(session),
        (Event::Publish(request), false) => request.refuse(session, &refusal, now),
        (Event::Play(request), false) => request.refuse(session, &refusal, now),
        (Event::Connect(request), false) => {
            request.reject(session, &refusal);
            Ok(())
        }
        _ => Ok(()),
    };
}
