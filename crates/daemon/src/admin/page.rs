//! A status page: described once, shown as HTML to people and as JSON to programs.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

/// A page of titled sections, each a list of facts or a table.
///
/// ```
/// # use daemon::admin::{Cell, Page};
/// let page = Page::new("edge-1")
///     .facts("Node", [("role", Cell::from("edge")), ("sessions", Cell::from(12u64))])
///     .table("Streams", &["stream", "viewers"], vec![vec!["live/a".into(), 7u64.into()]]);
/// ```
/// As JSON: `{"title":"edge-1","Node":{"role":"edge","sessions":12},"Streams":[{"stream":"live/a","viewers":7}]}`, with
/// titles in lower case and `_` for what is not a letter or digit.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    title: String,
    sections: Vec<(String, Body)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Facts(Vec<(String, Cell)>),
    Table(Vec<String>, Vec<Vec<Cell>>),
}

/// One value on a page.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Nothing known.
    None,
    /// Yes or no.
    Bool(bool),
    /// A count.
    Count(u64),
    /// A measure.
    Number(f64),
    /// A text; it is escaped where it is shown.
    Text(String),
}

impl Page {
    /// An empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), sections: Vec::new() }
    }

    /// Adds names with values.
    pub fn facts<K: Into<String>, V: Into<Cell>>(
        mut self,
        title: &str,
        facts: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let facts = facts.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.sections.push((title.to_owned(), Body::Facts(facts)));
        self
    }

    /// Adds how a node stands with the control plane: whether it hears it, where it has one, and how old its word is.
    pub fn control_plane(self, connected: Option<bool>, config_age: Option<Duration>) -> Self {
        let facts = [
            ("configured", Cell::from(connected.is_some())),
            ("connected", connected.unwrap_or(false).into()),
            ("config_age_seconds", config_age.map(|age| age.as_secs_f64()).into()),
        ];
        self.facts("Control plane", facts)
    }

    /// Adds a table; each row has as many cells as there are columns.
    pub fn table(mut self, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        self.sections.push((title.to_owned(), Body::Table(columns, rows)));
        self
    }

    /// The page as HTML, without scripts, loaded again every two seconds.
    pub(crate) fn html(&self) -> String {
        let mut html = String::with_capacity(4096);
        let title = Escaped(&self.title);
        let _ = write!(
            html,
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta http-equiv=\"refresh\" content=\"2\">\n\
             <title>{title}</title>\n<link rel=\"stylesheet\" href=\"/status.css\">\n<h1>{title}</h1>\n"
        );
        for (title, body) in &self.sections {
            let _ = writeln!(html, "<h2>{}</h2>", Escaped(title));
            match body {
                Body::Facts(facts) => facts_html(&mut html, facts),
                Body::Table(columns, rows) => table_html(&mut html, columns, rows),
            }
        }
        html.push_str("</html>\n");
        html
    }
}

fn facts_html(html: &mut String, facts: &[(String, Cell)]) {
    html.push_str("<table class=\"facts\">\n");
    for (name, value) in facts {
        let _ = writeln!(html, "<tr><th>{}<td>{}", Escaped(name), Escaped(&value.to_string()));
    }
    html.push_str("</table>\n");
}

fn table_html(html: &mut String, columns: &[String], rows: &[Vec<Cell>]) {
    if rows.is_empty() {
        html.push_str("<p>none</p>\n");
        return;
    }
    html.push_str("<table>\n<tr>");
    for column in columns {
        let _ = write!(html, "<th>{}", Escaped(column));
    }
    for row in rows {
        html.push_str("\n<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}", Escaped(&cell.to_string()));
        }
    }
    html.push_str("\n</table>\n");
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.sections.len() + 1))?;
        map.serialize_entry("title", &self.title)?;
        for (title, body) in &self.sections {
            map.serialize_entry(&key(title), body)?;
        }
        map.end()
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Facts(facts) => serializer.collect_map(facts.iter().map(|(name, value)| (key(name), value))),
            Self::Table(columns, rows) => {
                let mut list = serializer.serialize_seq(Some(rows.len()))?;
                for row in rows {
                    list.serialize_element(&Row(columns, row))?;
                }
                list.end()
            }
        }
    }
}

struct Row<'a>(&'a [String], &'a [Cell]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|column| key(column)).zip(self.1))
    }
}

/// A title as a JSON key: `Control plane` is `control_plane`.
fn key(title: &str) -> String {
    title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("–"),
            Self::Bool(true) => f.write_str("yes"),
            Self::Bool(false) => f.write_str("no"),
            Self::Count(count) => count.fmt(f),
            Self::Number(number) => write!(f, "{}", (number * 1000.0).round() / 1000.0),
            Self::Text(text) => f.write_str(text),
        }
    }
}

macro_rules! cell_from {
    ($($type:ty => $variant:ident($make:expr)),* $(,)?) => {
        $(impl From<$type> for Cell {
            fn from(value: $type) -> Self {
                let make: fn($type) -> _ = $make;
                Self::$variant(make(value))
            }
        })*
    };
}

cell_from! {
    bool => Bool(|v| v),
    u64 => Count(|v| v),
    u32 => Count(u64::from),
    u16 => Count(u64::from),
    usize => Count(|v| v as u64),
    f64 => Number(|v| v),
    &str => Text(str::to_owned),
    String => Text(|v| v),
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

/// Text that cannot become markup.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_the_same_in_json_and_in_its_order() {
        let page = Page::new("edge-1")
            .facts("Control plane", [("connected", Cell::from(true)), ("age_seconds", Cell::from(0.5))])
            .table("Streams", &["stream", "viewers", "lag"], vec![vec!["live/a".into(), 7u64.into(), Cell::None]]);
        let json = serde_json::to_string(&page).expect("plain data");
        assert_eq!(
            json,
            r#"{"title":"edge-1","control_plane":{"connected":true,"age_seconds":0.5},"streams":[{"stream":"live/a","viewers":7,"lag":null}]}"#
        );
    }

    #[test]
    fn names_cannot_become_markup() {
        let evil = "<script>alert('x')</script>\u{0}";
        let page = Page::new(evil).facts(evil, [(evil, evil)]).table(evil, &[evil], vec![vec![evil.into()]]);
        let html = page.html();
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{html}");
    }
}
