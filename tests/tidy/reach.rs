//! Which files a crate's `mod` lines reach.

use std::path::{Path, PathBuf};

use crate::{Finding, code, read, shown};

/// A file that some `mod` reaches, or a crate's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    pub path: PathBuf,
    /// Only compiled for tests.
    pub test_only: bool,
}

/// A `mod name;` line: the file that it asks for, in the order in which the compiler looks.
#[derive(Debug, PartialEq, Eq)]
struct Mod {
    candidates: Vec<PathBuf>,
    test_only: bool,
    /// It names its file with `#[path]`: that file's own children then lie beside it.
    by_path: bool,
}

/// The files reached from these roots, the roots included.
pub fn reached(roots: &[PathBuf]) -> Vec<Reached> {
    let root = |path: &PathBuf| (Reached { path: path.clone(), test_only: is_test_root(path) }, true);
    let mut todo: Vec<(Reached, bool)> = roots.iter().map(root).collect();
    let mut found: Vec<Reached> = Vec::new();
    while let Some((file, owns_dir)) = todo.pop() {
        let beside = file.path.parent().unwrap_or(Path::new("")).to_owned();
        let children = mods(&read(&file.path), &beside, &children_dir(&file.path, owns_dir));
        for child in children {
            let test_only = file.test_only || child.test_only;
            let Some(path) = child.candidates.into_iter().find(|path| path.is_file()) else { continue };
            let owns_dir = child.by_path || path.file_name().is_some_and(|name| name == "mod.rs");
            todo.push((Reached { path, test_only }, owns_dir));
        }
        found.push(file);
    }
    found
}

/// The files of a crate that nothing reaches.
pub fn unreached(files: &[PathBuf], reached: &[PathBuf]) -> Vec<Finding> {
    let lost = files.iter().filter(|file| !reached.contains(file));
    lost.map(|file| Finding::new(shown(file), "no `mod` reaches this file")).collect()
}

/// The `mod name;` lines of a file that lies in `beside` and whose children lie in `dir`.
fn mods(source: &str, beside: &Path, dir: &Path) -> Vec<Mod> {
    let bare = code::bare(source);
    let live = code::without_tests(&bare);
    let mut found = Vec::new();
    // Inline modules around the place that is looked at: where each ends, and the directory of its children.
    let mut inline: Vec<(usize, PathBuf)> = Vec::new();
    for (at, _) in
        bare.match_indices("mod ").filter(|(at, _)| !bare[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    {
        inline.retain(|(end, _)| *end > at);
        let dir = inline.last().map_or(dir, |(_, dir)| dir);
        let rest = &bare[at + 4..];
        let name: String = rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let after = at + 4 + (rest.len() - rest.trim_start().len()) + name.len();
        match bare[after..].trim_start().chars().next() {
            Some(';') => {
                let named = path_attribute(source, &bare, at);
                let by_path = named.is_some();
                let candidates = match named {
                    Some(path) if inline.is_empty() => vec![beside.join(path)],
                    Some(path) => vec![dir.join(path)],
                    None => vec![dir.join(format!("{name}.rs")), dir.join(&name).join("mod.rs")],
                };
                found.push(Mod { candidates, test_only: !live[at..].starts_with("mod "), by_path });
            }
            Some('{') => {
                let open = after + bare[after..].find('{').expect("just seen");
                let end = code::closing(bare.as_bytes(), open).unwrap_or(bare.len());
                let child = dir.join(&name);
                inline.push((end, child));
            }
            _ => {}
        }
    }
    found
}

/// The value of a `#[path = "…"]` that belongs to the `mod` at this offset.
fn path_attribute(source: &str, bare: &str, at: usize) -> Option<String> {
    let item = bare[..at].rfind([';', '}', '{']).map_or(0, |end| end + 1);
    let attribute = item + bare[item..at].find("#[path")?;
    source[attribute..at].split('"').nth(1).map(str::to_owned)
}

fn children_dir(path: &Path, owns_dir: bool) -> PathBuf {
    let dir = path.parent().unwrap_or(Path::new(""));
    if owns_dir { dir.to_owned() } else { dir.join(path.file_stem().unwrap_or_default()) }
}

/// Roots under `tests/` and `benches/` of a crate.
fn is_test_root(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|dir| dir == "tests" || dir == "benches")
}

mod tests {
    use super::*;

    fn candidates(source: &str) -> Vec<String> {
        let first = |line: Mod| line.candidates[0].display().to_string() + if line.test_only { " (test)" } else { "" };
        mods(source, Path::new("b"), Path::new("d")).into_iter().map(first).collect()
    }

    #[test]
    fn mod_lines_are_found_wherever_they_stand() {
        let source = "mod a;\npub(crate) mod b;\n// mod c;\nmod d { mod e; }\nmod f;\n#[path = \"x/y.rs\"]\nmod g;\n\
                      #[cfg(test)]\nmod tests;\nconst S: &str = \"mod h;\";\n#[cfg(test)] mod i { mod j; }";
        assert_eq!(
            candidates(source),
            ["d/a.rs", "d/b.rs", "d/d/e.rs", "d/f.rs", "b/x/y.rs", "d/tests.rs (test)", "d/i/j.rs (test)"]
        );
    }

    #[test]
    fn a_file_that_no_mod_reaches_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let (lib, a, b) = (file("lib.rs", "mod a;"), file("a.rs", "#[cfg(test)] mod tests;"), file("a/tests.rs", ""));
        let (stray, nested) = (file("b.rs", ""), file("tests.rs", ""));
        let reached = reached(std::slice::from_ref(&lib));
        assert_eq!(reached.iter().map(|file| file.test_only).collect::<Vec<_>>(), [false, false, true]);
        let reached: Vec<PathBuf> = reached.into_iter().map(|file| file.path).collect();
        let findings = unreached(&[lib, a, b, stray.clone(), nested.clone()], &reached);
        assert_eq!(findings.iter().map(|f| f.place.clone()).collect::<Vec<_>>(), [shown(&stray), shown(&nested)]);
    }
}
