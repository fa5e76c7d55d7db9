use super::*;

/// C0 and a C1 of these version bytes and this filling.
fn opening(version: [u8; 4], filling: u8) -> Vec<u8> {
    let mut bytes = vec![filling; 1 + PACKET_BYTES];
    bytes[0] = 3;
    bytes[1..5].fill(0);
    bytes[5..9].copy_from_slice(&version);
    bytes
}

/// Hands over pieces of this size; returns all that is to be sent and what follows the handshake.
fn run(handshake: &mut Handshake, data: &[u8], piece: usize) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut sent, mut rest) = (Vec::new(), None::<Vec<u8>>);
    for piece in data.chunks(piece) {
        match &mut rest {
            Some(rest) => rest.extend_from_slice(piece),
            None => {
                let progress = handshake.handle_bytes(piece).unwrap();
                sent.extend_from_slice(&progress.to_send);
                rest = progress.done.map(<[u8]>::to_vec);
            }
        }
    }
    (sent, rest)
}

#[test]
fn our_client_and_server_agree_and_keep_what_follows() {
    for piece in [1, 7, 1536, 1537, 4096] {
        let mut server = Handshake::server();
        let (mut client, hello) = Handshake::client();
        let (answer, done) = run(&mut server, &hello, piece);
        assert_eq!((answer.len(), done), (TOTAL_BYTES, None));
        let (echo, done) = run(&mut client, &[&answer[..], b"first"].concat(), piece);
        assert_eq!((echo.len(), done.as_deref()), (PACKET_BYTES, Some(&b"first"[..])));
        let (nothing, done) = run(&mut server, &[&echo[..], b"second"].concat(), piece);
        assert_eq!((nothing.len(), done.as_deref()), (0, Some(&b"second"[..])));
    }
}

#[test]
fn a_simple_client_is_answered_with_its_own_packet() {
    let hello = opening([0; 4], 0x5A);
    let (answer, _) = run(&mut Handshake::server(), &hello, 100);
    assert_eq!(answer[0], 3);
    assert_eq!(&answer[1 + PACKET_BYTES..], &hello[1..]);
}

#[test]
fn a_digest_is_answered_with_a_digest() {
    let (_, hello) = Handshake::client();
    let (answer, _) = run(&mut Handshake::server(), &hello, 100);
    assert_ne!(&answer[1 + PACKET_BYTES..], &hello[1..]);
}

#[test]
fn a_digest_that_does_not_verify_is_answered_as_a_simple_packet() {
    // The filling is also the digest's place: the sums reach from 0 to 1020, past the 728 that the layouts allow.
    for filling in [0x00, 0x01, 0xB5, 0xB6, 0xFE, 0xFF] {
        let hello = opening([9, 0, 0x7C, 2], filling);
        let (answer, _) = run(&mut Handshake::server(), &hello, 1000);
        assert_eq!(&answer[1 + PACKET_BYTES..], &hello[1..], "{filling}");
    }
}

#[test]
fn an_echo_that_is_not_ours_is_accepted() {
    let mut server = Handshake::server();
    run(&mut server, &opening([0; 4], 1), 5000);
    assert_eq!(run(&mut server, &[0xEE; PACKET_BYTES], 5000).1.as_deref(), Some(&[][..]));
}

#[test]
fn other_versions_and_protocols_are_told_apart_at_the_first_byte() {
    for (first, error) in [
        (0, Error::Version(0)),
        (2, Error::Version(2)),
        (6, Error::Encrypted),
        (255, Error::Version(255)),
        (b'G', Error::Text),
        (b'P', Error::Text),
        (0x16, Error::Tls),
    ] {
        assert_eq!(Handshake::server().handle_bytes(&[first]), Err(error));
        assert_eq!(Handshake::client().0.handle_bytes(&[first, 0, 0]), Err(error));
    }
}

#[test]
fn a_half_open_handshake_holds_what_it_got_and_no_more() {
    let held = |server: &Handshake| match &server.stage {
        Stage::Opening(opening) => opening.capacity(),
        Stage::Asking(_) => panic!("a server asks nothing"),
        Stage::Answered => 0,
    };
    let mut server = Handshake::server();
    let hello = opening([0; 4], 7);
    for (at, byte) in hello[..PACKET_BYTES].chunks(1).enumerate() {
        let progress = server.handle_bytes(byte).unwrap();
        assert_eq!(progress, Progress { to_send: Bytes::new(), done: None });
        assert!(held(&server) <= (2 * (at + 1)).min(1 + PACKET_BYTES), "{} for {}", held(&server), at + 1);
    }
    assert_eq!(server.handle_bytes(&hello[PACKET_BYTES..]).unwrap().to_send.len(), TOTAL_BYTES);
    assert_eq!(held(&server), 0);
    server.handle_bytes(&[0xEE; PACKET_BYTES - 1]).unwrap();
    assert_eq!(held(&server), 0);
}
