//! Configuration: YAML and environment in, plain data or every mistake at once out.
//!
//! ```text
//! defaults (the section! macro)  ◀─ file.yaml  ◀─ HEADWATER_SECTION__KEY
//!        └─▶ unknown keys, wrong types, Config::validate ─▶ config, or Problems with line and advice
//! ```

mod document;
mod env;
mod lines;
mod problem;
mod section;
mod values;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde_yaml::{Mapping, Value};

pub use document::{default_document, effective};
pub use env::variable_name;
pub use problem::{Problem, Problems};
pub use section::{Field, Section, Shape};
#[doc(hidden)]
pub use section::{check_leaf, check_section, probe};
pub use values::{Period, Secret, Size};

pub(crate) use document::differences;

/// The whole configuration of a service.
pub trait Config: Section {
    /// What may change by SIGHUP: paths of keys or sections, e.g. `["routes", "process.log"]`.
    const RELOADABLE: &'static [&'static str];

    /// The section that every process has.
    fn process(&self) -> &crate::Settings;

    /// The name of this node, shown in every log line.
    fn node(&self) -> &str;

    /// Rules that a type cannot express, all of them: never stops at the first.
    fn validate(&self, problems: &mut Problems) {
        let _ = problems;
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}; give a readable file with --config, see --print-default-config", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It was read, and is wrong.
    #[error("{0}")]
    Wrong(#[from] Wrong),
}

/// All that is wrong with a configuration.
#[derive(Debug)]
pub struct Wrong {
    /// The file, or `None` for defaults and environment alone.
    pub file: Option<PathBuf>,
    /// Each mistake, in the order of the file.
    pub problems: Vec<Problem>,
}

impl std::error::Error for Wrong {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().map_or("configuration".into(), |file| file.display().to_string());
        for problem in &self.problems {
            problem.write(f, &file)?;
        }
        let count = self.problems.len();
        write!(f, "{count} {} in {file}; nothing was started", if count == 1 { "problem" } else { "problems" })
    }
}

/// Loads the file, or only the defaults, and lays the process's environment over it.
pub fn load<C: Config>(file: Option<&Path>) -> Result<C, Error> {
    load_with(file, std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))))
}

/// [`load`] with the environment given.
pub fn load_with<C: Config>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<C, Error> {
    let text = match file {
        Some(path) => fs::read_to_string(path).map_err(|error| Error::Read { file: path.to_owned(), error })?,
        None => String::new(),
    };
    parse(&text, environment).map_err(|problems| Wrong { file: file.map(Path::to_owned), problems }.into())
}

/// Reads a configuration from text.
pub fn parse<C: Config>(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<C, Vec<Problem>> {
    let lines = lines::Lines::of(text);
    let mut tree: Value = serde_yaml::from_str(text).map_err(|error| vec![lines::syntax_problem(&error)])?;
    if tree.is_null() {
        tree = Value::Mapping(Mapping::new());
    }
    let mut problems = Problems::new();
    let overrides = env::overlay::<C>(&mut tree, environment, &mut problems);
    C::check(&mut tree, "", &mut problems);
    let config = match problems.is_empty() {
        false => None,
        true => document::over_defaults::<C>(tree).map_err(|error| problems.add("", error.to_string())).ok(),
    };
    if let Some(config) = &config {
        config.process().validate(&mut problems);
        config.validate(&mut problems);
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.located(&lines, &overrides)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
