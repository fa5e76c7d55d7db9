use super::*;

/// A server's and a client's end of one connection, with their handshake done.
fn open() -> (Wire, Wire) {
    let (limits, now) = (Limits::default(), Instant::now());
    let (mut server, mut client) = (Wire::server(&limits, now), Wire::client(&limits, now));
    while !server.is_open() || !client.is_open() {
        carry(&mut client, &mut server);
        carry(&mut server, &mut client);
    }
    (server, client)
}

/// Brings all that one side has to say to the other.
fn carry(from: &mut Wire, to: &mut Wire) {
    while let Some(bytes) = from.poll_output() {
        to.handle_bytes(&bytes, Instant::now()).expect("both speak RTMP");
    }
}

#[test]
fn whoever_has_said_much_and_says_nothing_more_holds_no_memory() {
    let (mut server, mut client) = open();
    for number in 0..3000 {
        client.send_control(Control::Acknowledgement(number));
    }
    let said = std::iter::from_fn(|| client.poll_output()).collect::<Vec<_>>().concat();
    assert!(said.len() > 32 * 1024);
    server.handle_bytes(&said, Instant::now()).expect("it is RTMP");
    assert!(server.poll_input().expect("acknowledgements are read").is_none());
    assert!(!server.input.try_reclaim(1), "its buffer is given back");
}
