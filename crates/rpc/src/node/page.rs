//! Pages of a list that is ordered by name.

use crate::status::Failure;

/// One page of `items`, and the token of the next page or nothing. The token is the last name that was told: what
/// comes and goes between two pages is neither told twice nor an error.
pub(crate) fn page<T>(
    mut items: Vec<T>,
    name: impl Fn(&T) -> String,
    size: u32,
    token: &str,
) -> Result<(Vec<T>, String), Failure> {
    if size > PAGE_SIZE_MAX {
        return Err(Failure::invalid_field("page_size", format!("is {size}; at most {PAGE_SIZE_MAX}")));
    }
    let size = if size == 0 { PAGE_SIZE } else { size } as usize;
    items.sort_by_cached_key(&name);
    items.retain(|item| token.is_empty() || name(item).as_str() > token);
    let more = items.len() > size;
    items.truncate(size);
    let next = items.last().filter(|_| more).map(&name).unwrap_or_default();
    Ok((items, next))
}

/// When the caller does not say.
const PAGE_SIZE: u32 = 100;
/// What fits into a message.
const PAGE_SIZE_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_tell_each_item_once() {
        let items = || (0..250).map(|n| format!("{n:03}")).collect::<Vec<_>>();
        let (mut told, mut token) = (Vec::new(), String::new());
        loop {
            let (items, next) = page(items(), String::clone, 0, &token).unwrap();
            assert!(items.len() <= 100);
            told.extend(items);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(told, items());
    }

    #[test]
    fn a_page_too_large_names_the_field() {
        assert_eq!(page(vec![1], i32::to_string, 1001, "").unwrap_err().fields[0].field, "page_size");
        assert_eq!(page(vec![1], i32::to_string, 1, "").unwrap(), (vec![1], String::new()));
    }
}
