//! The page of tables: each set's in its place, a line for each case.

use super::{Row, row::HEAD, sets::Set};

/// The page with this row in its set's table, in the place of what the case had there; the rows of other cases stay. `None` when the
/// page has no place for the set.
pub fn with_row(page: &str, set: &Set, row: &Row, machine: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- drill: {} -->\n", set.name), format!("<!-- end: {} -->", set.name));
    let from = page.find(&begin)? + begin.len();
    let to = from + page[from..].find(&end)?;
    let kept = rows(&page[from..to]);
    let lines = set.cases.iter().filter_map(|case| match case.title == row.case.title {
        true => Some(row.line()),
        false => kept.iter().find(|lines| lines.starts_with(&format!("| {} |", case.title))).cloned(),
    });
    let table =
        format!("{machine}\n\n{}\n", std::iter::once(HEAD.to_owned()).chain(lines).collect::<Vec<_>>().join("\n"));
    Some([&page[..from], &table, &page[to..]].concat())
}

/// The rows of a table, each with the lines that belong to it. A table with another head than today's has none.
fn rows(table: &str) -> Vec<String> {
    let Some((_, body)) = table.split_once(HEAD) else { return Vec::new() };
    let mut rows: Vec<String> = Vec::new();
    for line in body.lines().filter(|line| line.starts_with('|')) {
        match rows.last_mut().filter(|_| line.starts_with("| - ")) {
            Some(row) => *row += &format!("\n{line}"),
            None => rows.push(line.to_owned()),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::{Round, sets};

    const EMPTY: &str = "# Page\n<!-- drill: crash -->\n<!-- end: crash -->\nmore\n";

    fn row(set: &'static Set, case: usize, rounds: usize) -> Row {
        let time = ("open", std::time::Duration::from_millis(7));
        let round = Round { times: vec![time], ..Round::default() };
        Row::of(&set.cases[case], vec![round; rounds], Vec::new())
    }

    #[test]
    fn a_row_is_put_in_its_place_and_the_others_stay() {
        let set = sets::find("crash").expect("a set");
        let page = with_row(EMPTY, set, &row(set, 1, 3), "one machine").expect("a place");
        let page = with_row(&page, set, &row(set, 0, 4), "another").expect("a place");
        let page = with_row(&page, set, &row(set, 1, 5), "the last").expect("a place");
        let [first, second] = [row(set, 0, 4).line(), row(set, 1, 5).line()];
        let table = format!("<!-- drill: crash -->\nthe last\n\n{HEAD}\n{first}\n{second}\n<!-- end: crash -->");
        assert_eq!(page, format!("# Page\n{table}\nmore\n"));
        assert!(with_row("no place", set, &row(set, 0, 1), "").is_none());
    }

    #[test]
    fn the_page_has_a_place_for_every_set_and_no_two_cases_share_a_title() {
        let page = std::fs::read_to_string(crate::root().join("docs/failover.md")).expect("the page is there");
        for set in sets::ALL {
            assert!(with_row(&page, set, &row(set, 0, 1), "").is_some(), "{}", set.name);
            for case in set.cases {
                let same = |other: &&crate::failover::Case| other.title == case.title || other.name == case.name;
                assert_eq!(set.cases.iter().filter(same).count(), 1, "{}", case.title);
            }
        }
    }
}
