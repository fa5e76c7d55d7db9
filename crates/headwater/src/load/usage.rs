//! What processes use: CPU time and memory, as the kernel counts them.

use std::{fs, ops::Sub, time::Duration};

use anyhow::Context as _;
use nix::sys::resource::{UsageWho, getrusage};

/// CPU time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    /// In the program.
    pub user: Duration,
    /// In the kernel for it.
    pub system: Duration,
}

/// What some processes use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Since they started.
    pub cpu: Cpu,
    /// Memory that is in use now.
    pub resident_kb: u64,
}

/// The kernel counts in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// Where user time stands in `stat`, behind the name; system time follows.
const USER_TIME_FIELD: usize = 11;

impl Cpu {
    /// Of this process.
    pub(super) fn own() -> anyhow::Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).context("the kernel does not tell what this process uses")?;
        let time = |seconds: i64, micros: i64| {
            Duration::from_secs(seconds.unsigned_abs()) + Duration::from_micros(micros.unsigned_abs())
        };
        let (user, system) = (usage.user_time(), usage.system_time());
        Ok(Self { user: time(user.tv_sec(), user.tv_usec()), system: time(system.tv_sec(), system.tv_usec()) })
    }

    /// Both together, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        (self.user + self.system).as_secs_f64()
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user: self.user.saturating_sub(earlier.user), system: self.system.saturating_sub(earlier.system) }
    }
}

impl Usage {
    /// Of these processes.
    pub(super) fn of(pids: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
            let (stat, status) = read("stat")
                .and_then(|stat| Ok((stat, read("status")?)))
                .with_context(|| format!("cannot look at process {pid}"))?;
            let cpu = cpu(&stat).with_context(|| format!("/proc/{pid}/stat is not as expected"))?;
            sum.cpu.user += cpu.user;
            sum.cpu.system += cpu.system;
            sum.resident_kb += resident_kb(&status).unwrap_or(0);
        }
        Ok(sum)
    }
}

/// The name, in brackets, may hold anything, brackets too.
fn cpu(stat: &str) -> Option<Cpu> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(USER_TIME_FIELD);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(Cpu { user: TICK * ticks()?, system: TICK * ticks()? })
}

fn resident_kb(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 250 0 0 20 0 3 0 99";
        let (user, system) = (Duration::from_millis(1500), Duration::from_millis(2500));
        assert_eq!(cpu(stat), Some(Cpu { user, system }));
        assert_eq!(cpu("12 (a) S 1"), None);
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let own = Usage::of(&[std::process::id()]).expect("it runs");
        assert!(own.resident_kb > 100);
        let cpu = Cpu::own().expect("the kernel tells");
        assert!(cpu.seconds() >= 0.0 && cpu - cpu == Cpu::default());
        assert!(Usage::of(&[u32::MAX]).is_err());
    }
}
