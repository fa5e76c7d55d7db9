//! Source text without what is not code: comments, literals, and what only tests compile.
//!
//! Everything taken out becomes blanks, so that offsets and lines stay.

/// The text with comments and the contents of string and character literals blanked.
pub fn bare(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !follows_word(bytes, at) => raw_string_end(bytes, at),
            b'\'' => char_end(bytes, at),
            _ => at,
        };
        if end == at {
            at += 1;
        } else {
            blank(&mut out, at, end);
            at = end;
        }
    }
    String::from_utf8(out).expect("whole literals and comments were blanked")
}

/// Bare text without the items under `#[cfg(test)]`.
pub fn without_tests(bare: &str) -> String {
    let mut out = bare.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = bare[from..].find("#[cfg(") {
        let start = from + found;
        let end = closing(bare.as_bytes(), start + 1).unwrap_or(bare.len());
        from = end;
        let condition = &bare[start..end];
        if has_word(condition, "test") && !condition.contains("not(test)") {
            from = item_end(bare.as_bytes(), end);
            blank(&mut out, start, from);
        }
    }
    String::from_utf8(out).expect("whole items were blanked")
}

/// The lines (from 1) where the words stand, not as a part of a longer word at either end that is a letter.
pub fn lines_with(text: &str, words: &str) -> Vec<usize> {
    text.lines().enumerate().filter(|(_, line)| has_word(line, words)).map(|(at, _)| at + 1).collect()
}

/// Whether the words stand in the text, not as a part of a longer word.
pub fn has_word(text: &str, words: &str) -> bool {
    let ends_open = !words.ends_with(is_word);
    let starts_open = !words.starts_with(is_word);
    text.match_indices(words).any(|(at, _)| {
        let before = starts_open || !text[..at].ends_with(is_word);
        before && (ends_open || !text[at + words.len()..].starts_with(is_word))
    })
}

/// Where the bracket that opens at `open` closes, one past it.
pub fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// One past the item that begins at `from`, its other attributes included.
fn item_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b';' => return at + 1,
            b'{' => return closing(bytes, at).unwrap_or(bytes.len()),
            b'(' | b'[' => at = closing(bytes, at).unwrap_or(bytes.len()),
            _ => at += 1,
        }
    }
    at
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end)
}

fn comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"…"` and `r#"…"#`; the start itself when this is another word with r.
fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let hashes = bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return start;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let end = bytes[open + 1..].windows(close.len()).position(|window| window == close);
    end.map_or(bytes.len(), |end| open + 1 + end + close.len())
}

/// A character literal's end; the start itself for a lifetime.
fn char_end(bytes: &[u8], start: usize) -> usize {
    if bytes.get(start + 1) == Some(&b'\\') {
        let rest = bytes.get(start + 3..).unwrap_or_default();
        return rest.iter().position(|byte| *byte == b'\'').map_or(bytes.len(), |end| start + 3 + end + 1);
    }
    let text = std::str::from_utf8(&bytes[start + 1..]).unwrap_or_default();
    let Some(char) = text.chars().next() else { return start };
    let close = start + 1 + char.len_utf8();
    if bytes.get(close) == Some(&b'\'') { close + 1 } else { start }
}

/// Whether the byte continues a word, the prefixes of literals aside.
fn follows_word(bytes: &[u8], at: usize) -> bool {
    let word = |at: usize| bytes.get(at).is_some_and(|byte| is_word(*byte as char));
    let prefix = at > 0 && matches!(bytes[at - 1], b'b' | b'c') && !(at > 1 && word(at - 2));
    at > 0 && word(at - 1) && !prefix
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn blank(out: &mut [u8], from: usize, to: usize) {
    let to = to.min(out.len());
    out[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        let source = "let a = \"b\\\"c\"; // d\n/* e /* f */ g */ h(r#\"i\"j\"#, 'k', '\\'', b\"l\", x: &'m str) /*";
        let bare = bare(source);
        assert_eq!(bare.len(), source.len());
        let words: Vec<&str> = bare.split_whitespace().collect();
        assert_eq!(words.join(" "), "let a = ; h( , , , b , x: &'m str)");
    }

    #[test]
    fn items_under_cfg_test_are_blanked() {
        let source = "use a;\n#[cfg(test)]\nuse b;\n#[cfg(test)] #[allow(x)]\nmod tests { fn c() { d[1] } }\n\
                      #[cfg(not(test))] fn e() {}\n#[cfg(all(test, unix))] mod f;\nfn g() {}";
        let live = without_tests(source);
        let gone: Vec<char> = "bcdf".chars().filter(|name| has_word(&live, &name.to_string())).collect();
        let kept: Vec<char> = "aeg".chars().filter(|name| !has_word(&live, &name.to_string())).collect();
        assert_eq!((gone, kept), (vec![], vec![]), "{live}");
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("x::sleep(1)", "sleep(") && !has_word("asleep(1)", "sleep("));
        assert_eq!(lines_with("a\nInstant::now()\nInstant::nowhere", "Instant::now"), [2]);
    }
}
