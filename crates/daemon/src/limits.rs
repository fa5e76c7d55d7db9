//! How many files the kernel lets this process open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one and returns it: every session is a file.
pub fn raise_open_files() -> Result<u64, nix::Error> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_limit_becomes_the_hard_one() {
        let raised = raise_open_files().expect("raising to the hard limit needs no privilege");
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("readable"), (raised, raised));
    }
}
