//! Rounds of a case, added up to one row of the table.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{crowd::Sight, ledger::Counts};

/// What one round of a case showed.
#[derive(Debug, Default, Clone)]
pub struct Round {
    /// What the viewers saw from the fault on.
    pub sight: Sight,
    /// How often an encoder was cut.
    pub encoder_cuts: usize,
    /// Other times that were taken, by name.
    pub times: Vec<(&'static str, Duration)>,
}

/// All rounds of a case.
#[derive(Debug, Default, Clone)]
pub struct Row {
    /// What was done.
    pub case: String,
    /// How often.
    pub rounds: usize,
    /// Viewers that were cut.
    pub viewer_cuts: Vec<String>,
    /// Encoders that were cut.
    pub encoder_cuts: usize,
    /// What did not come as it was sent.
    pub counts: Counts,
    /// Every viewer's longest pause in every round, sorted.
    pub gaps: Vec<Duration>,
    /// Between any two video frames at a viewer, sorted.
    pub intervals: Vec<Duration>,
    /// Other times, by name, sorted.
    pub times: BTreeMap<&'static str, Vec<Duration>>,
    /// What is promised of it, or else to be known, for people.
    pub note: String,
    /// What is promised of it, for [`Row::assert_promise`].
    pub promise: Promise,
}

/// What may not happen in a case.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Nobody is cut, every frame comes once and in order, and no pause is long.
    #[default]
    NobodyNotices,
    /// The same, but that there is a pause, as long as it must be.
    NobodyIsCut,
    /// No viewer is cut and nothing comes twice, late or back in time; the encoder is cut, and what was on its way is lost.
    EncoderComesBack,
    /// Nobody is cut and nothing comes twice, late or back in time; what no origin has any more is lost.
    NobodyIsCutWithLoss,
    /// It is only measured.
    Nothing,
}

/// No viewer may see nothing for so long, even on a busy machine.
pub const GAP_MAX: Duration = Duration::from_secs(5);

impl Row {
    /// Adds up rounds.
    pub fn of(case: &str, note: &str, rounds: impl IntoIterator<Item = Round>) -> Self {
        let mut row = Self { case: case.to_owned(), note: note.to_owned(), ..Self::default() };
        for round in rounds {
            row.rounds += 1;
            row.viewer_cuts.extend(round.sight.cuts);
            row.encoder_cuts += round.encoder_cuts;
            row.counts += round.sight.counts;
            row.gaps.extend(round.sight.gaps);
            row.intervals.extend(round.sight.intervals);
            for (name, time) in round.times {
                row.times.entry(name).or_default().push(time);
            }
        }
        row.gaps.sort();
        row.intervals.sort();
        row.times.values_mut().for_each(|times| times.sort());
        row
    }

    /// The same row with another promise than that nobody notices.
    pub fn promising(self, promise: Promise) -> Self {
        Self { promise, ..self }
    }

    /// Fails unless what is promised has been kept. Times are promised for idle machines; here only that pauses are not long.
    #[track_caller]
    pub fn assert_promise(&self) {
        let Self { case, counts, .. } = self;
        if self.promise == Promise::Nothing {
            return;
        }
        assert_eq!(self.viewer_cuts, Vec::<String>::new(), "{case}: viewers cut");
        let may_lose = matches!(self.promise, Promise::EncoderComesBack | Promise::NobodyIsCutWithLoss);
        let lost = if may_lose { 0 } else { counts.lost };
        assert_eq!(Counts { lost, ..*counts }, Counts::default(), "{case}");
        let may_cut = self.promise == Promise::EncoderComesBack;
        assert!(may_cut || self.encoder_cuts == 0, "{case}: {} encoders cut", self.encoder_cuts);
        let may_pause = matches!(self.promise, Promise::NobodyIsCut | Promise::NobodyIsCutWithLoss);
        let worst = quantile(&self.gaps, 1.0);
        assert!(may_pause || worst < GAP_MAX, "{case}: a viewer saw nothing for {worst:?}");
    }

    /// The case in a line of the table.
    pub fn line(&self) -> String {
        let Counts { lost, repeated, out_of_order, fell } = self.counts;
        let gap = |share| milliseconds(quantile(&self.gaps, share));
        let mut line = format!(
            "| {} | {} | {} | {} | {lost} | {repeated} | {out_of_order} | {fell} | {} | {} | {} | {} |",
            self.case,
            self.rounds,
            self.viewer_cuts.len(),
            self.encoder_cuts,
            gap(0.5),
            gap(0.99),
            gap(1.0),
            self.note,
        );
        for (name, times) in &self.times {
            let at = |share| milliseconds(quantile(times, share));
            write!(line, "\n| - {name} | {} | | | | | | | {} | {} | {} | |", times.len(), at(0.5), at(0.99), at(1.0))
                .expect("text takes text");
        }
        line
    }
}

/// The head of the table.
pub const HEAD: &str = "\
| case | rounds | viewers cut | encoders cut | lost | repeated | out of order | time fell | gap median | gap p99 | worst | |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|";

/// The value below which this share lies; zero of nothing. The values are sorted.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_of_all_rounds() {
        let round = |gaps: &[u64]| Round {
            sight: Sight { gaps: gaps.iter().copied().map(Duration::from_millis).collect(), ..Sight::default() },
            times: vec![("accepted", Duration::from_millis(40))],
            ..Round::default()
        };
        let row = Row::of("kill", "0 lost", [round(&[10, 30]), round(&[20])]);
        row.assert_promise();
        let lines: Vec<String> = row.line().lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "| kill | 2 | 0 | 0 | 0 | 0 | 0 | 0 | 20 ms | 30 ms | 30 ms | 0 lost |");
        assert!(lines[1].starts_with("| - accepted | 2 |"), "{lines:?}");
        assert_eq!(lines[0].matches('|').count(), HEAD.lines().next().expect("two lines").matches('|').count());
    }
}
