//! What several targets check.

use rtmp::{AmfLimits, amf::Value};

/// Values may take what was paid for with bytes, and no more: memory is bounded by what came, and by the limits.
pub fn assert_paid(values: &[Value], bytes: usize, limits: &AmfLimits) {
    let (mut count, mut text) = (0, 0);
    values.iter().for_each(|value| weigh(value, &mut count, &mut text));
    // The bounds that `AmfLimits` names.
    let count_max = limits.values_max.min(bytes + 32);
    let text_max = limits.text_bytes_max.min(16 * bytes + 64);
    assert!(count <= count_max, "{count} values of {bytes} bytes");
    // A byte that is not UTF-8 becomes three. Items beside members are called by their place, which nobody has sent.
    assert!(text <= 3 * text_max + PLACE_BYTES * count, "{text} bytes of text of {bytes} bytes");
}

/// Bounds within which whatever was decoded within these can be read again: bytes that are not UTF-8 have become three each, and
/// items beside members are members.
pub fn wider(limits: &AmfLimits) -> AmfLimits {
    AmfLimits {
        keys_max: limits.keys_max + limits.items_max,
        string_bytes_max: 3 * limits.string_bytes_max,
        text_bytes_max: 3 * limits.text_bytes_max + PLACE_BYTES * limits.values_max,
        ..limits.clone()
    }
}

fn weigh(value: &Value, count: &mut usize, text: &mut usize) {
    *count += 1;
    match value {
        Value::String(own) | Value::Xml(own) => *text += own.len(),
        Value::Bytes(bytes) => *text += bytes.len(),
        Value::Object(members) | Value::EcmaArray(members) => weigh_members(members, count, text),
        Value::Typed { class, members } => {
            *text += class.len();
            weigh_members(members, count, text);
        }
        Value::StrictArray(items) => items.iter().for_each(|item| weigh(item, count, text)),
        Value::Dictionary(pairs) => pairs.iter().for_each(|(key, value)| {
            weigh(key, count, text);
            weigh(value, count, text);
        }),
        Value::Null | Value::Undefined | Value::Bool(_) | Value::Number(_) | Value::Date { .. } => {}
    }
}

fn weigh_members(members: &[(String, Value)], count: &mut usize, text: &mut usize) {
    for (key, value) in members {
        *text += key.len();
        weigh(value, count, text);
    }
}

/// The longest name of a place.
const PLACE_BYTES: usize = 5;
