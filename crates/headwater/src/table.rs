//! Text for a terminal: rows with their columns aligned, nothing in them that a terminal would obey.

use std::fmt::Write as _;

use serde_json::Value;

/// Writes objects that have the same keys, each as a line below a line with the keys.
pub(crate) fn write_rows(text: &mut String, rows: &[Value]) {
    let Some(columns) = rows.first().and_then(Value::as_object).map(|row| row.keys().cloned().collect::<Vec<_>>())
    else {
        return;
    };
    let mut lines = vec![columns.clone()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|column| plain(&row[column])).collect()));
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    for line in &lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
}

/// A value as it is shown on a terminal.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => harmless(text),
        other => other.to_string(),
    }
}

/// Control characters, which could be a peer's, are taken out.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
