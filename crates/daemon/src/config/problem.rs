//! What is wrong with a configuration, where, and what to write instead.

use std::{collections::BTreeMap, fmt};

use super::{Field, Shape, lines::Lines};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, e.g. `rtmp.listen` or `routes[2].to`; empty for the file as a whole.
    pub path: String,
    /// The line in the file, from 1, where it is known.
    pub line: Option<usize>,
    /// The environment variable that the value came from, if it did.
    pub variable: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do, when that can be told.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
        match (&self.variable, self.line) {
            (Some(variable), _) => write!(f, "environment variable {variable}: ")?,
            (None, Some(line)) => write!(f, "{file}:{line}: ")?,
            (None, None) => write!(f, "{file}: ")?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        writeln!(f, "{}", self.message)?;
        if let Some(help) = &self.help {
            writeln!(f, "    {help}")?;
        }
        Ok(())
    }
}

/// Collects mistakes.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one: the key and what is wrong with its value.
    pub fn add(&mut self, path: &str, message: impl Into<String>) {
        self.push(path, message.into(), None);
    }

    /// Adds one, with what to do about it.
    pub fn add_with_help(&mut self, path: &str, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.push(path, message.into(), help.into());
    }

    /// True when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn of_variable(&mut self, variable: &str, message: impl Into<String>, help: Option<String>) {
        self.push("", message.into(), help);
        if let Some(problem) = self.list.last_mut() {
            problem.variable = Some(variable.to_owned());
        }
    }

    /// The mistakes with the lines or variables that they stand in, in that order.
    pub(super) fn located(mut self, lines: &Lines, overrides: &BTreeMap<String, String>) -> Vec<Problem> {
        for problem in &mut self.list {
            if problem.variable.is_none() {
                problem.variable = overrides.get(&problem.path).cloned();
            }
            if problem.variable.is_none() {
                problem.line = lines.line_of(&problem.path);
            }
        }
        self.list.sort_by_key(|problem| (problem.variable.is_some(), problem.line));
        self.list
    }

    fn push(&mut self, path: &str, message: String, help: Option<String>) {
        self.list.push(Problem { path: path.to_owned(), line: None, variable: None, message, help });
    }
}

/// What to write instead of an unknown key: the nearest known one, or its place, or all that are known.
pub(super) fn nearest(name: &str, known: &[Field]) -> String {
    let near = known.iter().map(|field| (distance(name, field.name), field.name)).min();
    if let Some((distance, field)) = near
        && distance <= 1 + name.len() / 4
    {
        return format!("did you mean `{field}`?");
    }
    for field in known {
        if let Shape::Section(inner) = &field.shape
            && inner.iter().any(|inner| inner.name == name)
        {
            return format!("did you mean `{name}` inside `{}`?", field.name);
        }
    }
    let names: Vec<_> = known.iter().map(|field| field.name).collect();
    format!("known here: {}", names.join(", "))
}

/// What to write instead of a value of the wrong kind, told from the reader's message.
pub(super) fn advice(message: &str) -> Option<String> {
    let advice = if message.contains("socket address") {
        "write ADDRESS:PORT, e.g. 127.0.0.1:1935, or [::]:1935 for every IPv6 and IPv4 address"
    } else if message.contains("expected a string") {
        "put the value in quotes"
    } else if message.contains("expected a boolean") {
        "write true or false"
    } else {
        return None;
    };
    Some(advice.to_owned())
}

/// How many letters must be added, removed or changed to make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
