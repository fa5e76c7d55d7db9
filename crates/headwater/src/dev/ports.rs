//! Ports that nobody else uses, for as long as the cluster lives.

use std::{
    env,
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};
use rand::Rng as _;

use super::plan::{FIXED, PORTS};

/// The first of the free ports. All lie below the range from which the kernel takes ports of outgoing connections, so
/// that none is gone when a process restarts.
const FIRST: u16 = 20_000;
/// How many clusters fit.
const BLOCKS: u16 = 500;

/// A file locked for as long as this lives; another process sees that it is taken.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

/// Locks the file, which is made if need be; `None` when somebody has it.
pub(super) fn lock(path: &Path) -> io::Result<Option<Lock>> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(Some(Lock { _file: file })),
        Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// The manual's ports, or what is in the way.
pub(super) fn fixed() -> anyhow::Result<[u16; PORTS]> {
    let taken: Vec<_> = FIXED.into_iter().filter(|port| !is_free(*port)).map(|port| port.to_string()).collect();
    if !taken.is_empty() {
        let taken = taken.join(", ");
        bail!(
            "port {taken} of 127.0.0.1 is taken (`ss -ltnp` names the processes): end them, or start with --ports free"
        );
    }
    Ok(FIXED)
}

/// Free ports, locked against other clusters of this user.
pub(super) fn free() -> anyhow::Result<([u16; PORTS], Lock)> {
    let dir = env::temp_dir().join(format!("headwater-ports-{}", nix::unistd::getuid()));
    if let Err(error) = fs::DirBuilder::new().mode(0o700).create(&dir)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("cannot make {}", dir.display()));
    }
    let start = rand::rng().random_range(0..BLOCKS);
    for block in (0..BLOCKS).map(|n| (start + n) % BLOCKS) {
        let first = FIRST + block * PORTS as u16;
        let ports: [u16; PORTS] = std::array::from_fn(|n| first + n as u16);
        let path = dir.join(first.to_string());
        let lock = lock(&path).with_context(|| format!("cannot lock {}", path.display()))?;
        if let Some(lock) = lock
            && ports.into_iter().all(is_free)
        {
            return Ok((ports, lock));
        }
    }
    bail!("none of {BLOCKS} blocks of {PORTS} ports from {FIRST} on is free")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_never_share_a_port() {
        let (first, _first_lock) = free().expect("free ports");
        let (second, _second_lock) = free().expect("free ports");
        assert!(first.iter().all(|port| !second.contains(port)), "{first:?} {second:?}");
    }

    #[test]
    fn locked_file_is_refused_until_it_is_released() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let held = lock(&path).expect("lockable").expect("nobody has it");
        assert!(lock(&path).expect("lockable").is_none());
        drop(held);
        assert!(lock(&path).expect("lockable").is_some());
    }
}
