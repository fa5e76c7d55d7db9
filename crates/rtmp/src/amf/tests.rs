use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::limits::{AmfLimits, Limits};

mod hostile;

fn read0(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    amf0::decode_all(bytes, &AmfLimits::default())
}

fn read3(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    amf3::decode_all(bytes, &AmfLimits::default())
}

fn text(text: &str) -> Value {
    text.into()
}

#[test]
fn every_amf0_marker_is_read() {
    for (bytes, expected) in [
        (&[0, 0x40, 0x59, 0, 0, 0, 0, 0, 0][..], Value::Number(100.0)),
        (&[1, 7], Value::Bool(true)),
        (&[2, 0, 2, b'h', b'i'], text("hi")),
        (&[3, 0, 1, b'a', 5, 0, 0, 9], Value::object([("a", Value::Null)])),
        (&[5], Value::Null),
        (&[6], Value::Undefined),
        (&[8, 0, 0, 0, 99, 0, 1, b'a', 6, 0, 0, 9], Value::EcmaArray(vec![("a".into(), Value::Undefined)])),
        (&[0x0A, 0, 0, 0, 2, 5, 6], Value::StrictArray(vec![Value::Null, Value::Undefined])),
        (&[0x0B, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xC4], Value::Date { unix_ms: 0.0, zone: -60 }),
        (&[0x0C, 0, 0, 0, 1, b'x'], text("x")),
        (&[0x0D], Value::Undefined),
        (&[0x0F, 0, 0, 0, 4, b'<', b'a', b'/', b'>'], Value::Xml("<a/>".into())),
        (
            &[0x10, 0, 1, b'C', 0, 1, b'a', 5, 0, 0, 9],
            Value::Typed { class: "C".into(), members: vec![("a".into(), Value::Null)] },
        ),
        (&[0x11, 4, 5], Value::Number(5.0)),
    ] {
        assert_eq!(read0(bytes), Ok(vec![expected]), "{bytes:?}");
    }
}

#[test]
fn every_amf3_marker_is_read() {
    for (bytes, expected) in [
        (&[0][..], Value::Undefined),
        (&[1], Value::Null),
        (&[2], Value::Bool(false)),
        (&[3], Value::Bool(true)),
        (&[4, 0x7F], Value::Number(127.0)),
        (&[4, 0xFF, 0xFF, 0xFF, 0xFF], Value::Number(-1.0)),
        (&[4, 0xC0, 0x80, 0x80, 0x00], Value::Number(-268_435_456.0)),
        (&[5, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0], Value::Number(1.5)),
        (&[6, 5, b'h', b'i'], text("hi")),
        (&[7, 3, b'x'], Value::Xml("x".into())),
        (&[8, 1, 0, 0, 0, 0, 0, 0, 0, 0], Value::Date { unix_ms: 0.0, zone: 0 }),
        (&[9, 5, 1, 1, 2], Value::StrictArray(vec![Value::Null, Value::Bool(false)])),
        (&[9, 3, 3, b'a', 1, 1, 3], Value::EcmaArray(vec![("a".into(), Value::Null), ("0".into(), Value::Bool(true))])),
        (&[0x0A, 0x0B, 1, 3, b'a', 1, 1], Value::object([("a", Value::Null)])),
        (
            &[0x0A, 0x13, 3, b'C', 3, b'a', 3],
            Value::Typed { class: "C".into(), members: vec![("a".into(), Value::Bool(true))] },
        ),
        (&[0x0B, 3, b'x'], Value::Xml("x".into())),
        (&[0x0C, 5, 1, 2], Value::Bytes(Bytes::from_static(&[1, 2]))),
        (&[0x0D, 3, 0, 0xFF, 0xFF, 0xFF, 0xFE], Value::StrictArray(vec![Value::Number(-2.0)])),
        (&[0x0E, 3, 0, 0xFF, 0xFF, 0xFF, 0xFE], Value::StrictArray(vec![Value::Number(4294967294.0)])),
        (&[0x0F, 3, 0, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0], Value::StrictArray(vec![Value::Number(1.5)])),
        (&[0x10, 3, 0, 1, 1], Value::StrictArray(vec![Value::Null])),
        (&[0x11, 3, 0, 4, 1, 3], Value::Dictionary(vec![(Value::Number(1.0), Value::Bool(true))])),
    ] {
        assert_eq!(read3(bytes), Ok(vec![expected]), "{bytes:?}");
    }
}

#[test]
fn amf0_references_count_objects_and_arrays_as_they_begin() {
    // [{a: null}, reference 1]: 0 is the array itself.
    let bytes = [0x0A, 0, 0, 0, 2, 3, 0, 1, b'a', 5, 0, 0, 9, 7, 0, 1];
    let object = Value::object([("a", Value::Null)]);
    assert_eq!(read0(&bytes), Ok(vec![Value::StrictArray(vec![object.clone(), object])]));
}

#[test]
fn amf3_references_find_strings_objects_and_traits() {
    // [ "ab", "ab" by reference, C{x: "ab"}, C{x: null} by its trait, the third item again ]
    let bytes = [
        &[9, 11, 1, 6, 5, b'a', b'b', 6, 0][..],
        &[0x0A, 0x13, 3, b'C', 3, b'x', 6, 0],
        &[0x0A, 0x01, 1],
        &[0x0A, 0x02],
    ]
    .concat();
    let typed = |x| Value::Typed { class: "C".into(), members: vec![("x".into(), x)] };
    let items = vec![text("ab"), text("ab"), typed(text("ab")), typed(Value::Null), typed(text("ab"))];
    assert_eq!(read3(&bytes), Ok(vec![Value::StrictArray(items)]));
}

#[test]
fn each_switch_to_amf3_begins_with_empty_tables() {
    let bytes = [0x11, 6, 3, b'a', 0x11, 6, 0];
    assert_eq!(read0(&bytes), Err(Error::UnknownReference));
}

#[test]
fn members_keep_their_order_and_their_repetitions() {
    let members = ["z", "a", "m", "a", ""].map(|key| (key, Value::Null));
    let object = Value::object(members);
    assert_eq!(read0(&amf0::encode_all(std::slice::from_ref(&object))), Ok(vec![object.clone()]));
    assert_eq!(read3(&amf3::encode_all(std::slice::from_ref(&object))), Ok(vec![object]));
}

#[test]
fn text_that_is_not_utf8_is_replaced() {
    assert_eq!(read0(&[2, 0, 3, b'a', 0xFF, b'b']), Ok(vec![text("a\u{FFFD}b")]));
    assert_eq!(read3(&[6, 5, b'a', 0xC3]), Ok(vec![text("a\u{FFFD}")]));
}

#[test]
fn what_amf0_cannot_say_is_put_in_as_amf3() {
    let values = [Value::Bytes(Bytes::from_static(b"xyz")), Value::Dictionary(vec![(Value::Null, text("v"))])];
    assert_eq!(read0(&amf0::encode_all(&values)), Ok(values.to_vec()));
}

#[test]
fn long_text_takes_the_long_form_and_long_keys_are_cut() {
    let limits = AmfLimits { string_bytes_max: 1 << 20, text_bytes_max: 1 << 22, ..AmfLimits::default() };
    let long = "é".repeat(40_000);
    let bytes = amf0::encode_all(&[text(&long), Value::object([(long.as_str(), Value::Null)])]);
    let values = amf0::decode_all(&bytes, &limits).unwrap();
    assert_eq!(values[0], text(&long));
    assert_eq!(values[1].members().unwrap()[0].0.len(), 65534);
}

#[test]
fn data_of_type_15_becomes_amf0() {
    let limits = Limits::default().amf_data;
    let plain = [2, 0, 1, b'x', 5];
    let with_format_byte = Bytes::from([&[0][..], &plain].concat());
    let converted = data::amf3_to_amf0(&with_format_byte, &limits).unwrap();
    assert_eq!(converted, plain[..]);
    assert_eq!(converted.as_ptr(), with_format_byte[1..].as_ptr());
    assert_eq!(data::amf3_to_amf0(&Bytes::copy_from_slice(&plain), &limits), Ok(Bytes::copy_from_slice(&plain)));

    // "x", then an AMF3 array {a: 1}.
    let switched = Bytes::from([&[0][..], &plain[..4], &[0x11, 9, 1, 3, b'a', 4, 1, 1]].concat());
    let expected = amf0::encode_all(&[text("x"), Value::EcmaArray(vec![("a".into(), 1.0.into())])]);
    assert_eq!(data::amf3_to_amf0(&switched, &limits), Ok(expected));
    assert_eq!(data::amf3_to_amf0(&Bytes::new(), &limits), Ok(Bytes::new()));
    assert_eq!(data::amf3_to_amf0(&switched.slice(..8), &limits), Err(Error::Truncated));
}

/// Any value that both versions can say; with an AMF3 array's rules where that is asked for.
fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<f64>().prop_filter("NaN is not equal to itself", |number| !number.is_nan()),
        any::<i32>().prop_map(f64::from),
        (-300..300i32).prop_map(f64::from),
        Just(-0.0),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(Value::Undefined),
        any::<bool>().prop_map(Value::Bool),
        number.clone().prop_map(Value::Number),
        ".{0,20}".prop_map(Value::String),
        "[a-z<>]{0,300}".prop_map(Value::Xml),
        number.prop_map(|unix_ms| Value::Date { unix_ms, zone: 0 }),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let members = prop::collection::vec(("[a-zé]{0,6}", inner.clone()), 0..6);
        let named = prop::collection::vec(("[a-zé]{1,6}", inner.clone()), 1..6);
        prop_oneof![
            members.clone().prop_map(Value::Object),
            named.prop_map(Value::EcmaArray),
            ("[A-Z]{1,9}", members).prop_map(|(class, members)| Value::Typed { class, members }),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::StrictArray),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Value::Dictionary),
        ]
    })
}

proptest! {
    #[test]
    fn values_round_trip(values in prop::collection::vec(any_value(), 0..5)) {
        prop_assert_eq!(read0(&amf0::encode_all(&values)), Ok(values.clone()));
        prop_assert_eq!(read3(&amf3::encode_all(&values)), Ok(values));
    }

    #[test]
    fn no_bytes_break_the_decoders(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = read0(&bytes);
        let _ = read3(&bytes);
        let _ = data::amf3_to_amf0(&bytes.into(), &AmfLimits::default());
    }

    #[test]
    fn no_damage_to_values_breaks_the_decoders(
        values in prop::collection::vec(any_value(), 1..4),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..5),
        end: usize,
    ) {
        for mut bytes in [amf0::encode_all(&values).to_vec(), amf3::encode_all(&values).to_vec()] {
            for (at, byte) in &damage {
                let at = at % bytes.len();
                bytes[at] = *byte;
            }
            bytes.truncate(end % (bytes.len() + 1));
            let _ = read0(&bytes);
            let _ = read3(&bytes);
        }
    }
}
