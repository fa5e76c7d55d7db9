//! Bearer tokens, in files of one directory.

use std::{
    fmt, fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::Caller;

/// A secret that proves a caller's kind. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new one, of 256 random bits.
    pub fn generate() -> Self {
        let bits: [u8; 32] = rand::random();
        Self(bits.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Checks a text: 16 to 256 printable characters without spaces.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }

    /// The first token in a file: the one to present.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let first = read_all(path)?.into_iter().next();
        first.ok_or_else(|| TokenError::Empty { path: path.to_owned() })
    }

    /// The token that a process of this kind presents: the first of its file in `dir`. Without a directory there is none.
    pub fn own(dir: Option<&Path>, caller: Caller) -> Result<Option<Self>, TokenError> {
        dir.map(|dir| Self::read(&dir.join(caller.name()))).transpose()
    }

    /// The secret itself, to be sent or written to a file and nowhere else.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The tokens that a server knows, as hashes. A kind may have several, so that they can be changed one node at a time.
#[derive(Clone, Default)]
pub struct Tokens {
    known: Vec<(Caller, [u8; 32])>,
}

impl Tokens {
    /// Reads the tokens of each kind that has a file in `dir`: `operator`, `viewer-ops`, `control`, `origin`, `edge`,
    /// `publisher-tool`; a line each, the first is the one that nodes present, `#` begins a comment.
    pub fn read_dir(dir: &Path) -> Result<Self, TokenError> {
        let mut tokens = Self::default();
        fs::read_dir(dir).map_err(|source| TokenError::Read { path: dir.to_owned(), source })?;
        for caller in Caller::ALL {
            let path = dir.join(caller.name());
            match read_all(&path) {
                Ok(found) => found.iter().for_each(|token| tokens.add(caller, token)),
                Err(TokenError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tokens)
    }

    /// Makes one more token known.
    pub fn add(&mut self, caller: Caller, token: &Token) {
        self.known.push((caller, hash(&token.0)));
    }

    /// No token is known: nobody can prove anything.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whose token this is. Takes the same time for every text of a length.
    pub fn identify(&self, presented: &str) -> Option<Caller> {
        let presented = hash(presented);
        let mut found = None;
        for (caller, known) in &self.known {
            if equal(known, &presented) {
                found = Some(*caller);
            }
        }
        found
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known.iter().map(|(caller, _)| caller)).finish()
    }
}

/// Makes `dir` with one new token for each kind of caller, readable by its owner alone. Files that exist stay as they are.
pub fn write_tokens(dir: &Path) -> Result<(), TokenError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| TokenError::Write { path, source }
    };
    fs::create_dir_all(dir).map_err(at(dir))?;
    for caller in Caller::ALL {
        let path = dir.join(caller.name());
        match private_file(&path) {
            Ok(mut file) => writeln!(file, "{}", Token::generate().secret()).map_err(at(&path))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at(&path)(error)),
        }
    }
    Ok(())
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn read_all(path: &Path) -> Result<Vec<Token>, TokenError> {
    let text = fs::read_to_string(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            let token = Token::parse(line);
            tokens.push(token.ok_or_else(|| TokenError::Malformed { path: path.to_owned(), line: number + 1 })?);
        }
    }
    Ok(tokens)
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Compares without stopping at the first difference.
fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let difference = a.iter().zip(b).fold(0, |so_far, (a, b)| so_far | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// Why tokens cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file or directory cannot be read.
    #[error("cannot read tokens from {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file or directory cannot be written.
    #[error("cannot write tokens to {}: {source}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not a token.
    #[error("{}:{line}: a token is {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} printable characters without spaces", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// The file holds no token.
    #[error("{} holds no token", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

/// Shorter ones are guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Longer ones do not fit into a header that anybody should send.
const TOKEN_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_tokens_identify_their_callers() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        write_tokens(dir.path()).unwrap();
        let edge = Token::read(&dir.path().join("edge")).unwrap();
        assert_eq!(edge.secret().len(), 64, "256 bits in hexadecimal");
        assert_eq!(fs::metadata(dir.path().join("edge")).unwrap().permissions().mode() & 0o777, 0o600);

        write_tokens(dir.path()).unwrap();
        assert_eq!(Token::read(&dir.path().join("edge")).unwrap(), edge, "existing tokens stay");
        let tokens = Tokens::read_dir(dir.path()).unwrap();
        assert_eq!(tokens.identify(edge.secret()), Some(Caller::Edge));
        assert_eq!(tokens.identify(&edge.secret()[1..]), None);
        assert_eq!(tokens.identify(""), None);
    }

    #[test]
    fn an_old_and_a_new_token_both_count() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("operator"),
            "# since May\nnew-token-0123456789\n\nold-token-0123456789 # until June\n",
        )
        .unwrap();
        let tokens = Tokens::read_dir(dir.path()).unwrap();
        assert_eq!(tokens.identify("old-token-0123456789"), Some(Caller::Operator));
        assert_eq!(Token::read(&dir.path().join("operator")).unwrap().secret(), "new-token-0123456789");
    }

    #[test]
    fn a_bad_line_is_named_without_being_shown() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("edge"), "\nshort\n").unwrap();
        let told = Tokens::read_dir(dir.path()).unwrap_err().to_string();
        assert!(told.contains("edge:2:") && !told.contains("short"), "{told}");
        assert!(!format!("{:?}", Token::generate()).contains(|c: char| c.is_ascii_digit()));
    }
}
