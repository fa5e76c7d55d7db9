//! Settings from the environment: `HEADWATER_RTMP__LISTEN=[::]:1935` is the key `rtmp.listen`.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::{Field, Problems, Section, Shape, problem};

/// What the variables begin with.
const PREFIX: &str = "HEADWATER_";
/// What stands for the dot of a path.
const SEPARATOR: &str = "__";

/// The variable that overrides the key at `path`.
pub fn variable_name(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', SEPARATOR).to_ascii_uppercase())
}

/// Lays the variables over the tree; returns which key came from which variable.
///
/// An unknown name with `__` in it is a mistake. One without may be somebody else's (Kubernetes makes
/// `HEADWATER_ORIGIN_SERVICE_HOST` for a Service of that name) and is passed over.
pub(super) fn overlay<S: Section>(
    tree: &mut Value,
    environment: impl IntoIterator<Item = (String, String)>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let fields = S::fields();
    let mut overrides = BTreeMap::new();
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        let parts: Vec<String> = name.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
        match find(&fields, &parts) {
            Ok(()) => {
                insert(tree, &parts, value_of::<S>(&parts, &value));
                overrides.insert(parts.join("."), variable);
            }
            Err(_) if parts.len() == 1 => {}
            Err(help) => problems.of_variable(&variable, "no such setting", Some(help)),
        }
    }
    overrides
}

/// Finds the setting, or says what to write instead.
fn find(fields: &[Field], parts: &[String]) -> Result<(), String> {
    let (first, rest) = parts.split_first().expect("split gives at least one part");
    let Some(field) = fields.iter().find(|field| field.name == first) else {
        return Err(problem::nearest(first, fields));
    };
    match &field.shape {
        _ if rest.is_empty() => Ok(()),
        Shape::Section(inner) => find(inner, rest),
        Shape::Value | Shape::List(_) => Err(format!("`{first}` has no keys of its own; give its whole value as YAML")),
    }
}

/// The value as YAML, so that numbers, lists and `null` can be given; as text where only that is taken.
fn value_of<S: Section>(parts: &[String], text: &str) -> Value {
    let plain = Value::from(text);
    let takes = |value: &Value| {
        let (mut alone, mut problems) = (Value::Null, Problems::new());
        insert(&mut alone, parts, value.clone());
        S::check(&mut alone, "", &mut problems);
        problems.is_empty()
    };
    match serde_yaml::from_str(text) {
        Ok(value) if takes(&value) || !takes(&plain) => value,
        _ => plain,
    }
}

fn insert(tree: &mut Value, parts: &[String], value: Value) {
    let (first, rest) = parts.split_first().expect("a path has at least one part");
    if !tree.is_mapping() {
        *tree = Value::Mapping(Mapping::new());
    }
    let mapping = tree.as_mapping_mut().expect("made a mapping above");
    let slot = mapping.entry(Value::from(first.as_str())).or_insert(Value::Null);
    match rest.is_empty() {
        true => *slot = value,
        false => insert(slot, rest, value),
    }
}
