//! Limits of the test process itself.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Allows as many open files as the system lets this process have, and says how many that is.
pub fn raise_open_files() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit can be read");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the limit can be raised to the hard one");
    usize::try_from(hard).unwrap_or(usize::MAX)
}
