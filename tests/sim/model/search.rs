//! Breadth-first search through everything that can happen: the first trace found is a shortest one.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use super::{Model, State, Step, state::Broken};

/// What a search found.
pub struct Outcome {
    pub states: usize,
    /// Nothing was left to look at.
    pub complete: bool,
    pub found: Option<Trace>,
}

/// How an invariant was broken.
pub struct Trace {
    pub broken: Broken,
    pub steps: Vec<Step>,
    pub state: State,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} after {} steps:", self.broken, self.steps.len())?;
        for step in &self.steps {
            writeln!(f, "  {step:?}")?;
        }
        let State { nodes, record, promised, acked, network, .. } = &self.state;
        nodes.iter().try_for_each(|node| writeln!(f, "{node:?}"))?;
        writeln!(f, "{record:?}\npromised {promised:?}\nacked {acked}, {network:?}")
    }
}

/// Looks at every state that can be reached, up to `states_max` of them.
pub fn search(model: &Model, states_max: usize) -> Outcome {
    let first = model.first();
    let mut seen: HashSet<u64, BuildHasherDefault<Same>> = HashSet::default();
    seen.insert(fingerprint(&first));
    // How each state was reached: from which, by what.
    let mut origins: Vec<(usize, Option<Step>)> = vec![(0, None)];
    let mut ahead = VecDeque::from([(0, first)]);
    while let Some((at, state)) = ahead.pop_front() {
        for step in model.steps(&state) {
            let Some(next) = model.after(&state, step) else { continue };
            if !seen.insert(fingerprint(&next)) {
                continue;
            }
            origins.push((at, Some(step)));
            if let Some(broken) = next.broken {
                let steps = path(&origins, origins.len() - 1);
                let found = Some(Trace { broken, steps, state: next });
                return Outcome { states: origins.len(), complete: false, found };
            }
            if origins.len() >= states_max {
                return Outcome { states: origins.len(), complete: false, found: None };
            }
            ahead.push_back((origins.len() - 1, next));
        }
    }
    Outcome { states: origins.len(), complete: true, found: None }
}

fn path(origins: &[(usize, Option<Step>)], mut at: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while let (from, Some(step)) = origins[at] {
        steps.push(step);
        at = from;
    }
    steps.reverse();
    steps
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = Mix(0);
    state.hash(&mut hasher);
    hasher.finish()
}

/// A hash that is fast on many small numbers, and the same in every run.
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are kept");
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
