//! Lists: filtered, ordered, and cut into pages.

use crate::status::Failure;

/// A thing that lists show.
pub(super) trait Listed {
    /// The keys that a filter may name; one that ends in a dot stands for all that begin so.
    const KEYS: &'static [&'static str];
    /// What lists are ordered by.
    const ORDER: &'static str = "name";

    /// The values that a key can have at all, where they are few; none: anything.
    fn words(_key: &str) -> &'static [&'static str] {
        &[]
    }

    /// What it is ordered by, as a text that sorts right.
    fn position(&self) -> String;

    /// The values that a filter compares with; one of them must fit.
    fn values(&self, key: &str) -> Vec<String>;
}

/// What a list request says.
pub(super) struct Request<'a> {
    pub page_size: u32,
    pub page_token: &'a str,
    pub filter: &'a str,
    pub order_by: &'a str,
}

/// One page of the things, and the token of the next one or nothing. The token names the last thing that was told: what
/// comes and goes between two pages is neither told twice nor an error.
pub(super) fn page<T: Listed>(mut things: Vec<T>, request: &Request<'_>) -> Result<(Vec<T>, String), Failure> {
    let size = match request.page_size {
        0 => PAGE_SIZE,
        size if size <= PAGE_SIZE_MAX => size,
        size => return Err(Failure::invalid_field("page_size", format!("is {size}; at most {PAGE_SIZE_MAX}"))),
    } as usize;
    let descending = descending(request.order_by, T::ORDER)?;
    let filter = Filter::parse::<T>(request.filter)?;
    let after = read_token(request.page_token)?;
    things.retain(|thing| filter.admits(thing));
    if let Some(after) = &after {
        things.retain(|thing| if descending { thing.position() < *after } else { thing.position() > *after });
    }
    things.sort_by_cached_key(T::position);
    if descending {
        things.reverse();
    }
    let more = things.len() > size;
    things.truncate(size);
    let next = things.last().filter(|_| more).map(|last| write_token(&last.position()));
    Ok((things, next.unwrap_or_default()))
}

fn descending(order_by: &str, key: &str) -> Result<bool, Failure> {
    let mut words = order_by.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(false),
        (Some(name), None | Some("asc"), None) if name == key => Ok(false),
        (Some(name), Some("desc"), None) if name == key => Ok(true),
        _ => Err(Failure::invalid_field("order_by", format!("is \"{key}\" or \"{key} desc\""))),
    }
}

/// A token is opaque: hexadecimal digits, so that nobody is tempted to make one.
fn write_token(position: &str) -> String {
    position.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read_token(token: &str) -> Result<Option<String>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let wrong = || Failure::invalid_field("page_token", "is not a next_page_token of this list");
    if token.len() > TOKEN_BYTES_MAX || !token.is_ascii() || !token.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let byte = |at: usize| u8::from_str_radix(&token[at..at + 2], 16);
    let bytes: Result<Vec<u8>, _> = (0..token.len()).step_by(2).map(byte).collect();
    bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()).map(Some).ok_or_else(wrong)
}

/// Terms `KEY=VALUE` joined by ` AND `.
struct Filter {
    terms: Vec<Term>,
}

struct Term {
    key: String,
    value: String,
    prefix: bool,
}

impl Filter {
    fn parse<T: Listed>(text: &str) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::invalid_field("filter", why);
        if text.len() > FILTER_BYTES_MAX {
            return Err(wrong(format!("has {} bytes; at most {FILTER_BYTES_MAX}", text.len())));
        }
        let mut terms = Vec::new();
        for term in text.split(" AND ").map(str::trim).filter(|term| !term.is_empty()) {
            let (key, value) = term
                .split_once('=')
                .ok_or_else(|| wrong(format!("\"{term}\" is not KEY=VALUE; join several by \" AND \"")))?;
            let (key, value) = (key.trim(), value.trim().trim_matches('"'));
            let known = |known: &&str| key == *known || known.ends_with('.') && key.starts_with(*known);
            if !T::KEYS.iter().any(known) {
                return Err(wrong(format!("\"{key}\" is not a key; there are {}", T::KEYS.join(", "))));
            }
            let words = T::words(key);
            if !words.is_empty() && !value.ends_with('*') && !words.contains(&value) {
                return Err(wrong(format!("\"{value}\" is no {key}; there are {}", words.join(", "))));
            }
            let (value, prefix) = value.strip_suffix('*').map_or((value, false), |value| (value, true));
            terms.push(Term { key: key.to_owned(), value: value.to_owned(), prefix });
        }
        if terms.len() > TERMS_MAX {
            return Err(wrong(format!("has {} terms; at most {TERMS_MAX}", terms.len())));
        }
        Ok(Self { terms })
    }

    fn admits<T: Listed>(&self, thing: &T) -> bool {
        self.terms.iter().all(|term| {
            let fits = |value: &String| if term.prefix { value.starts_with(&term.value) } else { *value == term.value };
            thing.values(&term.key).iter().any(fits)
        })
    }
}

/// When the caller does not say.
const PAGE_SIZE: u32 = 100;
/// What fits into a message.
const PAGE_SIZE_MAX: u32 = 1000;
/// Longer than any filter that a person means.
const FILTER_BYTES_MAX: usize = 2048;
/// As many as there are keys, about.
const TERMS_MAX: usize = 16;
/// Twice the longest name.
const TOKEN_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(usize);

    impl Listed for Thing {
        const KEYS: &'static [&'static str] = &["name", "kind", "label."];

        fn words(key: &str) -> &'static [&'static str] {
            if key == "kind" { &["even", "odd"] } else { &[] }
        }

        fn position(&self) -> String {
            format!("{:03}", self.0)
        }

        fn values(&self, key: &str) -> Vec<String> {
            match key {
                "name" => vec![self.position()],
                "kind" => vec![if self.0.is_multiple_of(2) { "even" } else { "odd" }.to_owned()],
                "label.zone" => vec!["a".to_owned(), "b".to_owned()],
                _ => vec![],
            }
        }
    }

    fn all(page_size: u32, filter: &str, order_by: &str) -> Vec<usize> {
        let (mut told, mut token) = (vec![], String::new());
        loop {
            let request = Request { page_size, page_token: &token, filter, order_by };
            let (things, next) = page((0..250).rev().map(Thing).collect(), &request).unwrap();
            told.extend(things.iter().map(|thing| thing.0));
            if next.is_empty() {
                return told;
            }
            token = next;
        }
    }

    fn field(page_size: u32, page_token: &str, filter: &str, order_by: &str) -> String {
        let request = Request { page_size, page_token, filter, order_by };
        page(vec![Thing(1)], &request).err().expect("it is wrong").fields.remove(0).field
    }

    #[test]
    fn pages_tell_each_thing_once_in_order() {
        assert_eq!(all(0, "", ""), (0..250).collect::<Vec<_>>());
        assert_eq!(all(7, "", "name desc"), (0..250).rev().collect::<Vec<_>>());
    }

    #[test]
    fn filters_join_terms_and_compare_beginnings() {
        assert_eq!(all(0, "kind=even AND name=00*", ""), [0, 2, 4, 6, 8]);
        assert_eq!(all(0, "name=\"017\" AND label.zone=b", ""), [17]);
        assert_eq!(all(0, "label.zone=c", "").len(), 0);
        assert_eq!(all(0, "kind=o* AND name=00*", ""), [1, 3, 5, 7, 9]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(field(1001, "", "", ""), "page_size");
        assert_eq!(field(0, "zz", "", ""), "page_token");
        assert_eq!(field(0, "", "colour=red", ""), "filter");
        assert_eq!(field(0, "", "name", ""), "filter");
        assert_eq!(field(0, "", "kind=prime", ""), "filter");
        assert_eq!(field(0, "", "", "age"), "order_by");
    }
}
