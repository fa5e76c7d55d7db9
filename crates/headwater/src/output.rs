//! What a command prints: its result on standard output, progress on standard error.

use std::io::{self, IsTerminal as _, Write as _, stderr, stdout};

/// Writes a command's result. A reader that has gone away is an error, not a panic.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Shows progress on standard error when that is a terminal; nothing otherwise.
#[derive(Debug)]
pub(crate) struct Line {
    terminal: bool,
    shown: bool,
}

impl Line {
    /// A line that has not been shown yet.
    pub(crate) fn new() -> Self {
        Self { terminal: stderr().is_terminal(), shown: false }
    }

    /// Writes the text over what was shown before.
    pub(crate) fn show(&mut self, text: &str) {
        if self.terminal {
            self.shown = true;
            // Progress that cannot be shown is no reason to stop.
            let _ = write!(stderr(), "\r\x1b[2K{text}").and_then(|()| stderr().flush());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shown {
            let _ = writeln!(stderr());
        }
    }
}
