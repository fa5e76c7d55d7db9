//! A configuration written out: the documented defaults, what is in force, and how two differ.

use std::fmt::Write as _;

use serde_yaml::{Mapping, Value};

use super::{Config, Field, Section, Shape};

/// The default configuration as YAML, every key with its documentation above it.
pub fn default_document<C: Config>() -> String {
    let mut page = String::new();
    comment(&mut page, 0, C::doc());
    let _ = writeln!(
        page,
        "#\n# Each key can also be given in the environment: process.log as HEADWATER_PROCESS__LOG, lists as [a, b].\n"
    );
    section(&mut page, 0, &C::fields(), &tree(&C::default()));
    page
}

/// The configuration in force as YAML; secrets are masked.
pub fn effective<S: Section>(config: &S) -> String {
    serde_yaml::to_string(config).expect("a configuration that was read can be written")
}

/// The paths at which two configurations differ.
pub(crate) fn differences<S: Section>(before: &S, after: &S) -> Vec<String> {
    let mut paths = Vec::new();
    compare(&tree(before), &tree(after), &S::fields(), "", &mut paths);
    paths
}

/// Lays what was written over the defaults, key by key: a section written in part keeps the rest of *its place's* defaults.
pub(super) fn over_defaults<S: Section>(written: Value) -> Result<S, serde_yaml::Error> {
    let mut whole = tree(&S::default());
    lay(&mut whole, written, &S::fields());
    serde_yaml::from_value(whole)
}

fn lay(whole: &mut Value, written: Value, fields: &[Field]) {
    let (Some(below), Value::Mapping(above)) = (whole.as_mapping_mut(), written) else { return };
    for (key, value) in above {
        let shape = fields.iter().find(|field| key.as_str() == Some(field.name)).map(|field| &field.shape);
        match (shape, below.get_mut(&key)) {
            (Some(Shape::Section(inner)), Some(slot)) if slot.is_mapping() && value.is_mapping() => {
                lay(slot, value, inner)
            }
            _ => drop(below.insert(key, value)),
        }
    }
}

fn tree<S: Section>(config: &S) -> Value {
    serde_yaml::to_value(config).expect("a configuration is plain data")
}

fn compare(before: &Value, after: &Value, fields: &[Field], path: &str, paths: &mut Vec<String>) {
    for field in fields {
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        match (before.get(field.name), after.get(field.name)) {
            (Some(Value::Mapping(a)), Some(Value::Mapping(b))) if matches!(field.shape, Shape::Section(_)) => {
                let Shape::Section(inner) = &field.shape else { continue };
                compare(&Value::Mapping(a.clone()), &Value::Mapping(b.clone()), inner, &path, paths);
            }
            (a, b) if a != b => paths.push(path),
            _ => {}
        }
    }
}

fn section(page: &mut String, indent: usize, fields: &[Field], values: &Value) {
    for field in fields {
        comment(page, indent, field.doc);
        let value = values.get(field.name).cloned().unwrap_or(Value::Null);
        let margin = " ".repeat(indent);
        match (&field.shape, &value) {
            (Shape::Section(inner), Value::Mapping(_)) => {
                let _ = writeln!(page, "{margin}{}:", field.name);
                section(page, indent + 2, inner, &value);
            }
            (Shape::Section(inner), _) => {
                commented_keys(page, indent, inner);
                let _ = writeln!(page, "{margin}{}: null", field.name);
            }
            (Shape::List(inner), _) => {
                commented_keys(page, indent, inner);
                plain(page, &margin, field.name, value);
            }
            (Shape::Value, _) => plain(page, &margin, field.name, value),
        }
        if indent == 0 {
            page.push('\n');
        }
    }
}

/// The keys of something that is not there by default.
fn commented_keys(page: &mut String, indent: usize, fields: &[Field]) {
    for field in fields {
        let mut lines = field.doc.trim().lines().map(str::trim);
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(page, "{}#   {}: {first}", " ".repeat(indent), field.name);
        for line in lines {
            let _ = writeln!(page, "{}#     {line}", " ".repeat(indent));
        }
    }
}

fn plain(page: &mut String, margin: &str, name: &str, value: Value) {
    let pair = Mapping::from_iter([(Value::from(name), value)]);
    let text = serde_yaml::to_string(&pair).expect("a default is plain data");
    for line in text.lines() {
        let _ = writeln!(page, "{margin}{line}");
    }
}

fn comment(page: &mut String, indent: usize, doc: &str) {
    for line in doc.trim().lines() {
        let line = format!("{}# {}", " ".repeat(indent), line.trim());
        let _ = writeln!(page, "{}", line.trim_end());
    }
}
