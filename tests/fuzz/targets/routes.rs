//! Route entries in the one-line form, and their patterns.
#![no_main]

use cluster::{Pattern, parse_fms};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _parsed = parse_fms(text);
    let (pattern, text) = text.split_once('\n').unwrap_or((text, "live"));
    if let Ok(pattern) = pattern.parse::<Pattern>() {
        let _either = (pattern.matches(text), pattern.specificity());
    }
});
