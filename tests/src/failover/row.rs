//! Rounds of a case, added up to one row of the table.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{Case, crowd::Sight, ledger::Counts};

/// What one round of a case showed.
#[derive(Debug, Default, Clone)]
pub struct Round {
    /// What the viewers saw from the fault on.
    pub sight: Sight,
    /// Viewers who saw no frame again, long after it.
    pub stuck: usize,
    /// How often an encoder was cut.
    pub encoder_cuts: usize,
    /// Other times that were taken, by name.
    pub times: Vec<(&'static str, Duration)>,
    /// For how long the machine stood still at the longest.
    pub stood_still: Duration,
    /// What went wrong, in a round that did not come to its end.
    pub failed: Option<String>,
}

/// Half of the time from one frame to the next. Where the machine stood still for longer, times say nothing of the programs.
const STOOD_STILL_MAX: Duration = Duration::from_millis(16);

impl Round {
    /// Whether its times say anything.
    pub fn is_timed(&self) -> bool {
        self.stood_still <= STOOD_STILL_MAX
    }
}

/// All rounds of a case.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was done, and what is promised of it.
    pub case: &'static Case,
    /// How often.
    pub rounds: usize,
    /// In how many of these the machine stood still, so that their times are left out.
    pub untimed: usize,
    /// Viewers that were cut.
    pub viewer_cuts: Vec<String>,
    /// Viewers who saw no frame again.
    pub stuck: usize,
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
    /// Every viewer's longest pause in as long a time in which nothing happened, sorted.
    pub own: Vec<Duration>,
    /// What went wrong in rounds that did not come to their end.
    pub failures: Vec<String>,
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
    /// No encoder is cut and nothing comes twice, late or back in time; viewers may have to join again, and what is lost is named.
    ViewersJoinAgain,
    /// It is only measured.
    Nothing,
}

impl Promise {
    fn may_lose(self) -> bool {
        matches!(self, Self::EncoderComesBack | Self::NobodyIsCutWithLoss | Self::ViewersJoinAgain)
    }
}

/// No viewer may see nothing for so long, even on a busy machine.
pub const GAP_MAX: Duration = Duration::from_secs(5);

impl Row {
    /// Adds up rounds, beside pauses of the undisturbed stream.
    pub fn of(case: &'static Case, rounds: impl IntoIterator<Item = Round>, own: Vec<Duration>) -> Self {
        let mut row = Self {
            case,
            rounds: 0,
            untimed: 0,
            viewer_cuts: Vec::new(),
            stuck: 0,
            encoder_cuts: 0,
            counts: Counts::default(),
            gaps: Vec::new(),
            intervals: Vec::new(),
            times: BTreeMap::new(),
            own,
            failures: Vec::new(),
        };
        rounds.into_iter().for_each(|round| row.add(round));
        for durations in [&mut row.gaps, &mut row.intervals, &mut row.own] {
            durations.sort();
        }
        row.times.values_mut().for_each(|times| times.sort());
        row
    }

    fn add(&mut self, round: Round) {
        if let Some(failure) = round.failed {
            return self.failures.push(failure);
        }
        self.rounds += 1;
        let is_timed = round.is_timed();
        self.viewer_cuts.extend(round.sight.cuts);
        self.stuck += round.stuck;
        self.encoder_cuts += round.encoder_cuts;
        self.counts += round.sight.counts;
        if !is_timed {
            self.untimed += 1;
            return;
        }
        self.gaps.extend(round.sight.gaps);
        self.intervals.extend(round.sight.intervals);
        for (name, time) in round.times {
            self.times.entry(name).or_default().push(time);
        }
    }

    /// Fails unless what is promised has been kept. Times are promised for idle machines; here only that pauses are not long.
    #[track_caller]
    pub fn assert_promise(&self) {
        let title = self.case.title;
        assert_eq!(self.failures, Vec::<String>::new(), "{title}");
        let broken = self.broken();
        assert!(broken.is_empty(), "{title}: {}; viewers cut: {:?}", broken.join(", "), self.viewer_cuts);
        let may_pause = !matches!(self.case.promise, Promise::NobodyNotices | Promise::EncoderComesBack);
        let worst = quantile(&self.gaps, 1.0);
        assert!(may_pause || worst < GAP_MAX, "{title}: a viewer saw nothing for {worst:?}");
    }

    /// What is not as promised: who was cut, what was lost, which pauses were too long for an idle machine.
    pub fn unmet(&self) -> Vec<String> {
        let mut unmet = self.broken();
        unmet.extend(self.failures.first().map(|text| format!("a round failed: {}", one_line(text))));
        unmet.extend(self.case.goals.iter().filter_map(|goal| goal.unmet(self)));
        unmet.extend((self.untimed * 2 > self.rounds).then(|| "the machine stood still in most rounds".to_owned()));
        unmet
    }

    /// Which counts are not as promised.
    fn broken(&self) -> Vec<String> {
        let Counts { lost, repeated, out_of_order, fell } = self.counts;
        let promise = self.case.promise;
        let counts = [
            ("viewers cut", self.viewer_cuts.len(), promise != Promise::ViewersJoinAgain),
            ("viewers stuck", self.stuck, true),
            ("encoders cut", self.encoder_cuts, promise != Promise::EncoderComesBack),
            ("lost", lost, !promise.may_lose()),
            ("repeated", repeated, true),
            ("out of order", out_of_order, true),
            ("time fell", fell, true),
        ];
        let counts = counts.into_iter().filter(|(_, count, promised)| *promised && *count > 0);
        match promise {
            Promise::Nothing => Vec::new(),
            _ => counts.map(|(what, count, _)| format!("{count} {what}")).collect(),
        }
    }

    /// The case in a line of the table.
    pub fn line(&self) -> String {
        let Counts { lost, repeated, out_of_order, fell } = self.counts;
        let gap = |share| milliseconds(quantile(&self.gaps, share));
        let rounds = match self.untimed {
            0 => self.rounds.to_string(),
            untimed => format!("{}, {untimed} not timed", self.rounds),
        };
        let mut line = format!(
            "| {} | {rounds} | {} | {} | {lost} | {repeated} | {out_of_order} | {fell} | {} | {} | {} | {} | {} |",
            self.case.title,
            self.viewer_cuts.len(),
            self.encoder_cuts,
            gap(0.5),
            gap(0.99),
            gap(1.0),
            self.case.promised(),
            self.verdict(),
        );
        let own = (!self.own.is_empty()).then_some((OWN, &self.own));
        for (name, times) in self.times.iter().map(|(name, times)| (*name, times)).chain(own) {
            let at = |share| milliseconds(quantile(times, share));
            write!(line, "\n| - {name} | {} | | | | | | | {} | {} | {} | | |", times.len(), at(0.5), at(0.99), at(1.0))
                .expect("text takes text");
        }
        line
    }

    fn verdict(&self) -> String {
        let unmet = self.unmet();
        match (self.case.promise, unmet.is_empty()) {
            (Promise::Nothing, true) => String::new(),
            (_, true) => "yes".to_owned(),
            (_, false) => format!("no: {}", unmet.join(", ")),
        }
    }
}

/// The head of the table.
pub const HEAD: &str = "\
| case | rounds | viewers cut | encoders cut | lost | repeated | out of order | time fell | gap median | gap p99 | worst | promised | kept |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---|";

/// The line of the undisturbed stream's pauses.
const OWN: &str = "undisturbed";

/// So much of a failure stands in a table.
const TEXT_MAX: usize = 120;

fn one_line(text: &str) -> String {
    text.replace(['\n', '|'], " ").chars().take(TEXT_MAX).collect()
}

/// The value below which this share lies; zero of nothing. The values are sorted.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
}

/// Whole milliseconds, as the table has them.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::{Act, Goal};

    static CASE: Case = Case {
        name: "kill",
        title: "kill -9",
        note: "0 lost",
        promise: Promise::NobodyNotices,
        goals: &[Goal::Median(20), Goal::P99(25)],
        act: Act::Alone(|_| Vec::new()),
    };

    fn round(gaps: &[u64]) -> Round {
        Round {
            sight: Sight { gaps: gaps.iter().copied().map(Duration::from_millis).collect(), ..Sight::default() },
            times: vec![("accepted", Duration::from_millis(40))],
            ..Round::default()
        }
    }

    #[test]
    fn a_row_tells_of_all_rounds_and_whether_the_promise_was_kept() {
        let row = Row::of(&CASE, [round(&[10, 30]), round(&[20])], Vec::new());
        row.assert_promise();
        let lines: Vec<String> = row.line().lines().map(str::to_owned).collect();
        let told = "0 lost; median ≤ 20 ms, p99 ≤ 25 ms | no: p99 30 ms > 25 ms |";
        assert_eq!(lines[0], format!("| kill -9 | 2 | 0 | 0 | 0 | 0 | 0 | 0 | 20 ms | 30 ms | 30 ms | {told}"));
        assert!(lines[1].starts_with("| - accepted | 2 |"), "{lines:?}");
        for line in &lines {
            assert_eq!(line.matches('|').count(), HEAD.lines().next().expect("two lines").matches('|').count());
        }
        assert!(Row::of(&CASE, [round(&[10, 15, 25])], Vec::new()).line().contains("| yes |"));
    }

    #[test]
    fn a_round_in_which_the_machine_stood_still_counts_and_is_not_timed() {
        let still = Round { stood_still: Duration::from_millis(17), encoder_cuts: 1, ..round(&[500]) };
        let row = Row::of(&CASE, [round(&[10]), still.clone(), round(&[12])], Vec::new());
        assert_eq!((row.rounds, row.untimed, row.gaps.len(), row.times["accepted"].len()), (3, 1, 2, 2));
        assert_eq!(row.unmet(), ["1 encoders cut"]);
        assert!(row.line().starts_with("| kill -9 | 3, 1 not timed |"), "{}", row.line());
        let unmet = Row::of(&CASE, [round(&[10]), still.clone(), still], Vec::new()).unmet();
        assert_eq!(unmet, ["2 encoders cut", "the machine stood still in most rounds"]);
    }

    #[test]
    fn a_round_that_failed_is_told_and_not_counted() {
        let failed = Round { failed: Some("waited | in vain".to_owned()), ..Round::default() };
        let row = Row::of(&CASE, [round(&[10]), failed], Vec::new());
        assert_eq!(row.rounds, 1);
        assert_eq!(row.unmet(), ["a round failed: waited   in vain"]);
    }

    #[test]
    fn a_viewer_who_sees_no_frame_again_breaks_what_lets_pauses_pass_too() {
        static MAY_PAUSE: Case = Case { promise: Promise::ViewersJoinAgain, ..CASE };
        let stuck = Round { stuck: 1, ..round(&[10]) };
        assert_eq!(Row::of(&MAY_PAUSE, [stuck], Vec::new()).unmet(), ["1 viewers stuck"]);
    }

    #[test]
    fn pauses_are_measured_against_the_streams_own() {
        let own = vec![Duration::from_millis(40)];
        let over = |gap| {
            let row = Row::of(&CASE, [round(&[gap])], own.clone());
            Goal::FramesAboveOwn(2).unmet(&row).is_some()
        };
        assert!(!over(100));
        assert!(over(110));
    }
}
