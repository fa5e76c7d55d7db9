//! What no honest peer sends.

use super::*;

#[test]
fn deep_nesting_ends_at_the_limit() {
    let deep = |level: &[u8]| level.repeat(100_000);
    let too_deep = Err(Error::TooDeep { max: 16 });
    assert_eq!(read0(&deep(&[3, 0, 1, b'a'])), too_deep);
    assert_eq!(read0(&deep(&[8, 0, 0, 0, 1, 0, 1, b'a'])), too_deep);
    assert_eq!(read0(&deep(&[0x0A, 0, 0, 0, 1])), too_deep);
    assert_eq!(read0(&deep(&[0x10, 0, 1, b'C', 0, 1, b'a'])), too_deep);
    assert_eq!(read3(&deep(&[9, 3, 1])), too_deep);
    assert_eq!(read3(&deep(&[9, 1, 3, b'a'])), too_deep);
    assert_eq!(read3(&deep(&[0x0A, 0x0B, 1, 3, b'a'])), too_deep);
    assert_eq!(read3(&deep(&[0x10, 3, 0, 1])), too_deep);
    assert_eq!(read3(&deep(&[0x11, 3, 0])), too_deep);
    let mixed = [[0x0A, 0, 0, 0, 1].repeat(10), vec![0x11], deep(&[9, 3, 1])].concat();
    assert_eq!(read0(&mixed), too_deep);
}

#[test]
fn depth_at_the_limit_is_read() {
    let nested = |depth: usize| [[0x0A, 0, 0, 0, 1].repeat(depth), vec![5]].concat();
    assert!(read0(&nested(16)).is_ok());
    assert_eq!(read0(&nested(17)), Err(Error::TooDeep { max: 16 }));
    let limits = AmfLimits { depth_max: usize::MAX, ..AmfLimits::default() };
    let max = AmfLimits::DEPTH_CEILING;
    assert!(amf0::decode_all(&nested(max), &limits).is_ok());
    assert_eq!(amf0::decode_all(&nested(max + 1), &limits), Err(Error::TooDeep { max }));
}

#[test]
fn lengths_beyond_the_bytes_are_errors() {
    assert_eq!(read0(&[&[2, 0xFF, 0xFF][..], &[b'x'; 7]].concat()), Err(Error::Truncated));
    assert_eq!(read0(&[0x0C, 0, 0, 0xFF, 0xFF, b'x']), Err(Error::Truncated));
    let too_long = Err(Error::StringTooLong { max: 65536 });
    assert_eq!(read0(&[0x0C, 0xFF, 0xFF, 0xFF, 0xFF]), too_long);
    assert_eq!(read0(&[0x0F, 0xFF, 0xFF, 0xFF, 0xFF]), too_long);
    assert_eq!(read3(&[6, 0xFF, 0xFF, 0xFF, 0xFF]), too_long);
    assert_eq!(read3(&[0x0C, 0xFF, 0xFF, 0xFF, 0xFF]), too_long);
}

#[test]
fn counts_are_hints_or_are_checked_before_anything_is_made() {
    let hint = [8, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1, b'a', 5, 0, 0, 9];
    assert_eq!(read0(&hint), Ok(vec![Value::EcmaArray(vec![("a".into(), Value::Null)])]));
    let too_many = Err(Error::TooManyItems { max: 1024 });
    assert_eq!(read0(&[&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF][..], &[6; 100]].concat()), too_many);
    for marker in [9, 0x0D, 0x0E, 0x0F, 0x11] {
        assert_eq!(read3(&[marker, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 1]), too_many, "{marker:#x}");
    }
    assert_eq!(read3(&[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 1]), too_many);
    assert_eq!(read3(&[0x0A, 0xFF, 0xFF, 0xFF, 0xF3, 1]), Err(Error::TooManyKeys { max: 256 }));
    // Allowed in number, and more than the bytes left can be.
    assert_eq!(read0(&[0x0A, 0, 0, 4, 0, 5, 5]), Err(Error::Truncated));
    assert_eq!(read3(&[0x0F, 0x90, 0x01, 0, 1, 2, 3]), Err(Error::Truncated));
}

#[test]
fn members_and_items_are_bounded() {
    let member = [0, 1, b'a', 5];
    let object = |count: usize| [vec![3], member.repeat(count), vec![0, 0, 9]].concat();
    assert!(read0(&object(256)).is_ok());
    assert_eq!(read0(&object(257)), Err(Error::TooManyKeys { max: 256 }));
    let array = |count: u32| [&[0x0A][..], &count.to_be_bytes(), &vec![5; count as usize]].concat();
    assert!(read0(&array(1024)).is_ok());
    assert_eq!(read0(&array(1025)), Err(Error::TooManyItems { max: 1024 }));
    // 257 names in a trait; a dynamic object with as many.
    assert_eq!(read3(&[0x0A, 0xA0, 0x13, 1]), Err(Error::TooManyKeys { max: 256 }));
    let dynamic = [vec![0x0A, 0x0B, 1], [3, b'a', 1].repeat(257)].concat();
    assert_eq!(read3(&dynamic), Err(Error::TooManyKeys { max: 256 }));
}

#[test]
fn values_are_bounded_over_the_whole_message() {
    assert!(read0(&[5; 4096]).is_ok());
    assert_eq!(read0(&[5; 4097]), Err(Error::TooManyValues { max: 4096 }));
}

#[test]
fn references_to_nothing_and_to_oneself_are_errors() {
    assert_eq!(read0(&[7, 0, 0]), Err(Error::UnknownReference));
    assert_eq!(read0(&[7, 0xFF, 0xFF]), Err(Error::UnknownReference));
    assert_eq!(read0(&[0x0A, 0, 0, 0, 1, 7, 0, 0]), Err(Error::CyclicReference));
    assert_eq!(read3(&[6, 0]), Err(Error::UnknownReference));
    assert_eq!(read3(&[9, 0xFF, 0xFF, 0xFF, 0xFE]), Err(Error::UnknownReference));
    assert_eq!(read3(&[0x0A, 0x05]), Err(Error::UnknownReference));
    assert_eq!(read3(&[9, 3, 1, 9, 0]), Err(Error::CyclicReference));
    assert_eq!(read3(&[0x11, 3, 0, 1, 0x11, 0]), Err(Error::CyclicReference));
}

#[test]
fn references_that_multiply_use_up_the_budget() {
    // Ten arrays, each of eight references to the one before: 8^10 values if they were all made.
    let mut bytes = vec![0x0A, 0, 0, 0, 8, 5, 5, 5, 5, 5, 5, 5, 5];
    for before in 0..9u8 {
        bytes.extend([0x0A, 0, 0, 0, 8]);
        bytes.extend([7, 0, before].repeat(8));
    }
    assert_eq!(read0(&bytes), Err(Error::TooManyValues { max: bytes.len() + 32 }));

    let mut bytes = vec![9, 21, 1, 9, 17, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    for before in 1..10u8 {
        bytes.extend([9, 17, 1]);
        bytes.extend([9, before << 1].repeat(8));
    }
    assert_eq!(read3(&bytes), Err(Error::TooManyValues { max: bytes.len() + 32 }));
}

/// An unknown command of 118 bytes that means 4,078 values.
#[test]
fn a_short_message_cannot_mean_many_values() {
    let array = |items: &[u8]| [&[0x0A, 0, 0, 0, 16][..], items].concat();
    let nulls = array(&[5; 16]);
    let arrays = array(&[7, 0, 0].repeat(16));
    let bytes = [&[2, 0, 1, b'x', 5][..], &nulls, &arrays, &[7, 0, 1].repeat(13)].concat();
    assert_eq!(bytes.len(), 118);
    assert_eq!(read0(&bytes).err(), Some(Error::TooManyValues { max: 118 + 32 }));
}

#[test]
fn a_short_message_cannot_mean_much_text() {
    // One string of 100 bytes and 40 references to it.
    let string = [&[6, 0x81, 0x49][..], &[b'x'; 100]].concat();
    let bytes = [&[9, 83, 1][..], &string, &[6, 0].repeat(40)].concat();
    assert_eq!(read3(&bytes).err(), Some(Error::TooMuchText { max: 16 * bytes.len() + 64 }));
}

/// As players do that send a list: the names are in the first object alone.
#[test]
fn objects_that_share_their_names_are_read() {
    let names = [&[5][..], b"id", &[9], b"live", &[13], b"height"].concat();
    let values = [1, 3, 4, 7];
    let first = [&[0x0A, 0x33, 41][..], b"com.example.StreamVO", &names, &values].concat();
    let others = [&[0x0A, 0x01][..], &values].concat().repeat(99);
    let list = [&[9, 0x81, 0x49, 1][..], &first, &others].concat();
    let read = read3(&list).unwrap();
    let [Value::StrictArray(items)] = &read[..] else { panic!("no list") };
    assert_eq!(items.len(), 100);
    assert_eq!(items[99].get("height"), Some(&7.0.into()));
}

#[test]
fn repeated_text_uses_up_the_budget() {
    let too_much = Err(Error::TooMuchText { max: 262_144 });
    // One string of 65536 bytes, then references to it.
    let string = [vec![6, 0x88, 0x80, 0x01], vec![b'x'; 65_536]].concat();
    assert_eq!(read3(&string).map(|values| values.len()), Ok(1));
    let array = [vec![9, 21, 1], string, [6, 0].repeat(9)].concat();
    assert_eq!(read3(&array), too_much);
    // A trait with one long name, and objects of it.
    let name = [vec![0x88, 0x80, 0x01], vec![b'x'; 65_536]].concat();
    let objects = [vec![9, 21, 1, 0x0A, 0x13, 1], name, vec![1], [0x0A, 0x01, 1].repeat(9)].concat();
    assert_eq!(read3(&objects), too_much);
}

#[test]
fn missing_ends_and_unknown_markers_are_errors() {
    assert_eq!(read0(&[3, 0, 1, b'a', 5]), Err(Error::Truncated));
    assert_eq!(read0(&[3, 0, 1, b'a', 5, 0, 0]), Err(Error::Truncated));
    for marker in [0x04, 0x09, 0x0E].into_iter().chain(0x12..=0xFF) {
        assert_eq!(read0(&[marker]), Err(Error::UnknownMarker(marker)));
    }
    for marker in 0x12..=0xFF {
        assert_eq!(read3(&[marker]), Err(Error::UnknownMarker(marker)));
    }
}

#[test]
fn xml_is_a_text_and_nothing_more() {
    let bomb = "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>";
    let bytes = amf0::encode_all(&[Value::Xml(bomb.into())]);
    assert_eq!(read0(&bytes), Ok(vec![Value::Xml(bomb.into())]));
}

#[test]
fn classes_with_a_form_of_their_own_are_refused() {
    assert_eq!(read3(&[0x0A, 0x07, 3, b'C', 1, 1]), Err(Error::Externalizable));
}

#[test]
fn every_cut_of_a_value_is_truncated() {
    let value = Value::object([
        ("a", Value::StrictArray(vec![Value::Number(1.5), text("xy")])),
        ("b", Value::Date { unix_ms: 1.0, zone: 0 }),
        ("c", Value::Bytes(Bytes::from_static(b"123"))),
    ]);
    let (zero, three) = (amf0::encode_all(std::slice::from_ref(&value)), amf3::encode_all(&[value]));
    for end in 1..zero.len() {
        assert_eq!(read0(&zero[..end]), Err(Error::Truncated));
    }
    for end in 1..three.len() {
        assert_eq!(read3(&three[..end]), Err(Error::Truncated));
    }
}
