//! The conversation with the control plane: beats and reports up, roles and commands down.

use std::time::Duration;

use cluster::Member;
use futures_util::StreamExt;
use tokio::{
    select,
    sync::{Notify, mpsc},
    time,
};
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use super::{Local, Standing, in_time, reports::Reports};
use crate::{
    beat::{self, LATE},
    control::{Client, Command, CommandResult, FromControl, FromControlStream, FromNode, Welcome},
    status::{Code, Failure},
};

/// Holds the conversation until it ends, and says why it did.
pub(super) async fn hold<L: Local>(
    client: &Client,
    member: &Member,
    local: &L,
    urgent: &Notify,
    standing: &Standing,
) -> Failure {
    let (up, said) = mpsc::channel(UNSENT_MAX);
    let opening = async {
        let mut down = client.converse(member.clone(), ReceiverStream::new(said)).await?;
        match down.next().await {
            Some(Ok(FromControl::Welcome(welcome))) => Ok((down, welcome)),
            Some(Err(failure)) => Err(failure),
            Some(Ok(_)) => Err(Failure::new(Code::Internal, "BAD_ANSWER", "the conversation began without a welcome")),
            None => Err(ended()),
        }
    };
    match in_time(opening).await {
        Ok((down, welcome)) => {
            standing.found();
            let talk = Talk { member, local, urgent, up };
            talk.go_on(down, welcome).await
        }
        Err(failure) => failure,
    }
}

/// A conversation that stands.
struct Talk<'a, L> {
    member: &'a Member,
    local: &'a L,
    urgent: &'a Notify,
    up: mpsc::Sender<FromNode>,
}

/// What was said last in a conversation.
#[derive(Debug, Default)]
struct Said {
    beat: u64,
    notice: u64,
    /// How late our own beats were since it was last said.
    late: Duration,
}

impl<L: Local> Talk<'_, L> {
    async fn go_on(&self, mut down: FromControlStream, welcome: Welcome) -> Failure {
        let interval = welcome.beat_interval.clamp(BEAT_MIN, BEAT_MAX);
        // Silence is counted in tenths of our own beats, of which late ones count one: who beats late himself suspects late.
        let silence_max = welcome.silence_max.as_millis().div_ceil(interval.as_millis()).max(2);
        let mut silence = 0;
        let mut said = Said::default();
        let mut beats = beat::beats(interval);
        let mut reporting = beat::beats(REPORT_INTERVAL);
        let mut reports = Reports::default();
        loop {
            let unsaid = select! {
                biased;
                heard = down.next() => {
                    silence = 0;
                    match heard {
                        Some(Ok(FromControl::Command { id: command_id, command })) => {
                            let affected = self.obey(command);
                            vec![FromNode::Result(CommandResult { command_id, affected, error: None })]
                        }
                        Some(Ok(other)) => { self.hear(other); vec![] }
                        Some(Err(failure)) => return failure,
                        None => return ended(),
                    }
                }
                () = self.urgent.notified() => self.news(&mut said),
                due = beats.tick() => {
                    let late = due.elapsed();
                    said.late = said.late.max(late);
                    silence += if late < LATE { ON_TIME } else { 1 };
                    if silence > silence_max * ON_TIME {
                        return Failure::new(Code::Unavailable, "CONTROL_SILENT", "the control plane has fallen silent");
                    }
                    self.news(&mut said)
                }
                _ = reporting.tick() => {
                    let register = self.local.register();
                    // Counted before they are looked at: what changes meanwhile is told next time.
                    let sessions = reports.wants_sessions(register.changes()).then(|| register.sessions());
                    reports.next(self.local.streams(), sessions)
                }
            };
            for message in unsaid {
                if let Err(failure) = self.say(message).await {
                    return failure;
                }
            }
        }
    }

    /// What the node has to say, then a beat that shows what it is by now.
    fn news(&self, said: &mut Said) -> Vec<FromNode> {
        let mut news: Vec<_> = std::iter::from_fn(|| self.local.poll_request()).take(REQUESTS_MAX).collect();
        for (number, notice) in self.local.notices_after(said.notice).into_iter().take(NOTICES_AT_A_TIME) {
            said.notice = number;
            news.push(FromNode::Notice { number, notice });
        }
        said.beat += 1;
        let mut beat = self.local.beat();
        beat.load.task_lag = beat.load.task_lag.max(std::mem::take(&mut said.late));
        news.push(FromNode::Beat { number: said.beat, beat: Box::new(beat) });
        news
    }

    fn hear(&self, said: FromControl) {
        match said {
            FromControl::Role(grant) if grant.member == *self.member => self.local.role(grant),
            FromControl::Role(grant) => debug!(meant = %grant.member.incarnation, "control.role_of_another_start"),
            FromControl::NoticesKept { through } => self.local.notices_kept(through),
            FromControl::Welcome(_) | FromControl::Beat { .. } | FromControl::Command { .. } => {}
        }
    }

    /// Does as told; returns how many sessions that concerned.
    fn obey(&self, command: Command) -> u32 {
        match command {
            Command::KickSession { session, reason } => {
                u32::from(self.local.register().kick_session(&session, &reason))
            }
            Command::KickStream { stream, reason, ban_for } => self.local.kick_stream(&stream, &reason, ban_for),
            Command::Drain { deadline, reason } => {
                self.local.begin_drain(deadline, &reason);
                self.local.register().connected() as u32
            }
        }
    }

    /// A control plane that takes nothing is as good as silent.
    async fn say(&self, message: FromNode) -> Result<(), Failure> {
        match time::timeout(SEND_WAIT, self.up.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(Failure::new(Code::Unavailable, "CONTROL_SILENT", "the control plane takes no messages")),
        }
    }
}

fn ended() -> Failure {
    Failure::new(Code::Unavailable, "CONVERSATION_ENDED", "the control plane ended the conversation")
}

/// How often streams and sessions are reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Whatever the control plane asks for.
const BEAT_MIN: Duration = Duration::from_millis(20);
/// Whatever the control plane asks for.
const BEAT_MAX: Duration = Duration::from_secs(5);
/// What a beat counts that came on time.
const ON_TIME: u128 = 10;
/// Messages that the connection has not taken yet.
const UNSENT_MAX: usize = 64;
/// How long the connection may take nothing.
const SEND_WAIT: Duration = Duration::from_secs(2);
/// Requests of the node that go out at a time; more wait for the next beat.
const REQUESTS_MAX: usize = 16;
/// Notices that go out at a time; more wait for the next beat.
const NOTICES_AT_A_TIME: usize = 32;
