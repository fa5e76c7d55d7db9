//! Which cases are asked for.

use tests::failover::{
    Case,
    sets::{self, Set},
};

/// A case that is to be run.
pub struct Wanted {
    /// Where its row belongs.
    pub set: &'static Set,
    /// What is done.
    pub case: &'static Case,
}

/// The cases that these names ask for, in their order; all of them without a name.
pub fn wanted(names: &[String]) -> Result<Vec<Wanted>, String> {
    if names.is_empty() {
        return Ok(sets::ALL.iter().flat_map(all_of).collect());
    }
    let mut wanted = Vec::new();
    for name in names {
        let (set, case) = name.split_once(':').map_or((name.as_str(), None), |(set, case)| (set, Some(case)));
        let found: Vec<Wanted> = sets::find(set).into_iter().flat_map(all_of).collect();
        let found: Vec<Wanted> =
            found.into_iter().filter(|wanted| case.is_none_or(|case| wanted.case.name == case)).collect();
        if found.is_empty() {
            return Err(format!("there is no {name}; there are:\n{}", known()));
        }
        wanted.extend(found);
    }
    Ok(wanted)
}

fn all_of(set: &'static Set) -> impl Iterator<Item = Wanted> {
    set.cases.iter().map(move |case| Wanted { set, case })
}

/// Every name, a line for each set.
fn known() -> String {
    let names = |set: &Set| set.cases.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
    sets::ALL.iter().map(|set| format!("  {}: {}\n", set.name, names(set))).collect()
}
