//! Which line of a YAML file a key stands in.
//!
//! The YAML reader forgets lines once it has made a value; this finds them again from the indentation. It need only be
//! right for files that the reader has taken, and where it cannot tell (`{a: 1}` on one line) it gives the key above.

use std::collections::HashMap;

use super::Problem;

/// The lines of all keys of a file.
#[derive(Debug)]
pub(super) struct Lines {
    line_of: HashMap<String, usize>,
}

/// A key or list item that is still open at the current line.
struct Open {
    indent: usize,
    path: String,
    /// How many list items have been seen right under it.
    items: usize,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let mut scan = Scan { line_of: HashMap::new(), open: Vec::new(), block: None };
        for (at, line) in text.lines().enumerate() {
            scan.line(at + 1, line);
        }
        Self { line_of: scan.line_of }
    }

    /// The line of the key, or of the nearest key above it.
    pub(super) fn line_of(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.line_of.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

struct Scan {
    line_of: HashMap<String, usize>,
    open: Vec<Open>,
    /// The indentation of a key whose value is a block of text: deeper lines are not YAML.
    block: Option<usize>,
}

impl Scan {
    fn line(&mut self, number: usize, line: &str) {
        let content = line.trim_start_matches(' ');
        let mut indent = line.len() - content.len();
        let content = content.trim_end();
        if content.is_empty() || content.starts_with('#') || content.starts_with("---") {
            return;
        }
        if self.block.is_some_and(|block| indent > block) {
            return;
        }
        self.block = None;
        let mut content = content;
        while let Some(rest) = content.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with(' ')) {
            self.item(number, indent);
            let inner = rest.trim_start_matches(' ');
            indent += content.len() - inner.len();
            content = inner;
        }
        if let Some((key, value)) = key_of(content) {
            self.key(number, indent, key);
            if value.starts_with(['|', '>']) {
                self.block = Some(indent);
            }
        }
    }

    fn item(&mut self, number: usize, indent: usize) {
        // A list may stand at the indentation of its key, so the key stays open.
        while self.open.last().is_some_and(|open| open.indent > indent || open.indent == indent && is_item(&open.path))
        {
            self.open.pop();
        }
        let Some(parent) = self.open.last_mut() else { return };
        let path = format!("{}[{}]", parent.path, parent.items);
        parent.items += 1;
        self.line_of.entry(path.clone()).or_insert(number);
        self.open.push(Open { indent, path, items: 0 });
    }

    fn key(&mut self, number: usize, indent: usize, key: &str) {
        while self.open.last().is_some_and(|open| open.indent >= indent) {
            self.open.pop();
        }
        let path = match self.open.last() {
            Some(parent) => format!("{}.{key}", parent.path),
            None => key.to_owned(),
        };
        self.line_of.entry(path.clone()).or_insert(number);
        self.open.push(Open { indent, path, items: 0 });
    }
}

fn is_item(path: &str) -> bool {
    path.ends_with(']')
}

/// Splits `key: value`; quotes around the key are taken off.
fn key_of(content: &str) -> Option<(&str, &str)> {
    if let Some(quote @ ('"' | '\'')) = content.chars().next() {
        let (key, rest) = content[1..].split_once(quote)?;
        return Some((key, rest.trim_start().strip_prefix(':')?.trim_start()));
    }
    if let Some((key, value)) = content.split_once(": ") {
        return Some((key.trim_end(), value.trim_start()));
    }
    Some((content.strip_suffix(':')?, ""))
}

/// What the YAML reader itself could not take.
pub(super) fn syntax_problem(error: &serde_yaml::Error) -> Problem {
    let line = error.location().map(|location| location.line());
    let message = error.to_string();
    let help = if message.contains("duplicate entry") {
        "a key may be written once: keep one of them"
    } else if message.contains("tab") {
        "indent with spaces, not tabs"
    } else {
        "check the indentation, and put text with : # * & or { in quotes"
    };
    Problem { path: String::new(), line, variable: None, message, help: Some(help.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# a comment: with a colon
node: edge-1
rtmp:
  listen: \"[::]:1935\"   # trailing
  text: |
    not: a key
    listen: neither
  grace: 15s
routes:
- match: \"*:*\"
  to: [a, b]
-   match: live
    \"to\":
      - x
      - y
inline: {a: 1, b: 2}
";

    #[test]
    fn keys_are_found_by_their_path() {
        let lines = Lines::of(FILE);
        for (path, line) in [
            ("node", 2),
            ("rtmp", 3),
            ("rtmp.listen", 4),
            ("rtmp.grace", 8),
            ("routes", 9),
            ("routes[0].match", 10),
            ("routes[0].to", 11),
            ("routes[1]", 12),
            ("routes[1].to", 13),
            ("routes[1].to[1]", 15),
        ] {
            assert_eq!(lines.line_of(path), Some(line), "{path}");
        }
    }

    #[test]
    fn what_has_no_line_of_its_own_has_that_of_the_key_above() {
        let lines = Lines::of(FILE);
        assert_eq!(lines.line_of("inline.b"), Some(16));
        assert_eq!(lines.line_of("routes[0].to[1]"), Some(11));
        assert_eq!(lines.line_of("nowhere"), None);
    }
}
