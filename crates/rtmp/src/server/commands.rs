//! What each command does.

use std::time::Instant;

use media::Medium;

use super::{
    Closed, ConnectRequest, Event, Phase, PlayRequest, PlayStart, PublishKind, PublishRequest, Session,
    request::bare,
    streams::{Use, Wishes},
};
use crate::{
    amf::Value,
    command::{
        Command,
        status::{Status, code},
    },
    message::{Message, UserEvent},
};

impl Session {
    pub(super) fn on_command(&mut self, message: &Message) -> Result<(), Closed> {
        let command = Command::decode(message, &self.config.limits)?;
        let msid = message.msid;
        if self.phase == Phase::Greeting {
            return self.on_first_command(command);
        }
        match command.name.as_str() {
            "connect" => self.on_second_connect(&command),
            "createStream" => self.on_create_stream(&command),
            "deleteStream" => self.on_delete_stream(&command),
            "closeStream" => self.end_use(msid),
            "publish" => self.on_publish(msid, &command),
            "play" => self.on_play(msid, &command),
            "pause" | "pauseRaw" => self.on_pause(msid, &command),
            "seek" => self.on_seek(msid),
            "receiveAudio" => self.on_receive(msid, Medium::Audio, &command),
            "receiveVideo" => self.on_receive(msid, Medium::Video, &command),
            "FCPublish" => self.on_fc_publish(&command),
            "FCUnpublish" => self.on_fc_unpublish(&command),
            "FCSubscribe" => self.on_fc_subscribe(&command),
            "releaseStream" | "FCUnsubscribe" | "_checkbw" | "checkBandwidth" => {
                self.answer(&command, Value::Undefined)
            }
            "getStreamLength" => self.answer(&command, 0.0.into()),
            "_result" | "_error" | "onStatus" => Ok(()),
            _ => self.on_unknown(&command),
        }
    }

    fn on_first_command(&mut self, command: Command) -> Result<(), Closed> {
        if command.name != "connect" {
            self.answer_failed(&command, code::CALL_FAILED, "Connect first.");
            return Err(Closed::OutOfOrder("a command before connect"));
        }
        let member = |name| command.object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (app, tc_url) = (member("app"), member("tcUrl"));
        if bare(&app).trim_matches('/').is_empty() {
            let status = Status::failed(code::CONNECT_INVALID_APP, "The connect names no application.");
            self.reject_connect(command.transaction, &status);
            return Ok(());
        }
        let Command { transaction, object, arguments, .. } = command;
        self.phase = Phase::Deciding;
        self.events.push_back(Event::Connect(ConnectRequest { app, tc_url, object, arguments, transaction }));
        Ok(())
    }

    fn on_second_connect(&mut self, command: &Command) -> Result<(), Closed> {
        self.answer_failed(command, code::CONNECT_REJECTED, "The connection is connected.");
        Err(Closed::OutOfOrder("a second connect"))
    }

    fn on_create_stream(&mut self, command: &Command) -> Result<(), Closed> {
        match self.streams.create() {
            Some(msid) => self.answer(command, msid.into()),
            None => {
                self.answer_failed(command, code::CALL_FAILED, "Too many message streams.");
                self.on_mistake()
            }
        }
    }

    fn on_delete_stream(&mut self, command: &Command) -> Result<(), Closed> {
        let msid = command.number(0).map_or(0, |number| number as u32);
        self.end_use(msid)?;
        self.streams.remove(msid);
        Ok(())
    }

    /// The client is done with what the message stream is used for.
    fn end_use(&mut self, msid: u32) -> Result<(), Closed> {
        let Some(stream) = self.streams.get_mut(msid) else { return Ok(()) };
        let was = std::mem::replace(&mut stream.used, Use::Idle);
        match was {
            Use::Idle => return Ok(()),
            Use::PublishAsked(_) | Use::Publishing { .. } => self.events.push_back(Event::Unpublished { msid }),
            Use::PlayAsked(..) | Use::Playing => self.events.push_back(Event::PlayEnded { msid }),
        }
        self.idle_since = self.now;
        // Or whoever withdraws in time what would be refused could ask for ever.
        if was.undecided().is_some() { self.on_mistake() } else { Ok(()) }
    }

    fn on_publish(&mut self, msid: u32, command: &Command) -> Result<(), Closed> {
        if names_nothing(command) {
            return self.unpublish(msid);
        }
        let kind = match command.text(1) {
            None => Some(PublishKind::Live),
            Some(kind) => PublishKind::from_text(kind),
        };
        let Some(kind) = kind else { return self.on_misuse(msid, "The publish type is unknown.") };
        if !self.may_publish() {
            return self.on_misuse(msid, "The client publishes too often.");
        }
        let serial = self.streams.serial();
        match self.streams.get_mut(msid) {
            Some(stream) if stream.used == Use::Idle => stream.used = Use::PublishAsked(serial),
            Some(_) => return self.on_misuse(msid, "The message stream is in use."),
            None => return self.on_misuse(msid, "There is no such message stream."),
        }
        let name = command.text(0).unwrap_or_default().to_owned();
        self.events.push_back(Event::Publish(PublishRequest { msid, name, kind, serial }));
        Ok(())
    }

    /// Counts a publish, unless it comes too soon. Each beginning and end of a stream wakes all who wait for one.
    fn may_publish(&mut self) -> bool {
        let every = self.config.publish_every;
        let until = self.publishes_until.max(self.now) + every;
        let may = until <= self.now + every * self.config.limits.message_streams_max as u32;
        if may {
            self.publishes_until = until;
        }
        may
    }

    /// As Flash's `publish(false)` does.
    fn unpublish(&mut self, msid: u32) -> Result<(), Closed> {
        match self.streams.used_mut(msid) {
            Some(Use::Publishing { .. }) => {
                let status = Status::ok(code::UNPUBLISH_SUCCESS, "The stream is not published any more.");
                self.send_status(msid, &status);
            }
            Some(Use::PublishAsked(_)) => {}
            _ => return Ok(()),
        }
        self.end_use(msid)
    }

    /// As Flash's `play(false)` does.
    fn stop(&mut self, msid: u32) -> Result<(), Closed> {
        match self.streams.used_mut(msid) {
            Some(Use::Playing) => self.send_status(msid, &Status::ok(code::PLAY_STOP, "The stream is played no more.")),
            Some(Use::PlayAsked(..)) => {}
            _ => return Ok(()),
        }
        self.end_use(msid)
    }

    fn on_play(&mut self, msid: u32, command: &Command) -> Result<(), Closed> {
        if names_nothing(command) {
            return self.stop(msid);
        }
        match self.streams.get(msid).map(|stream| &stream.used) {
            Some(Use::Idle) => {}
            // A play on a message stream that plays replaces what it plays.
            Some(Use::PlayAsked(..) | Use::Playing) => self.end_use(msid)?,
            Some(_) => return self.on_misuse(msid, "The message stream is in use."),
            None => return self.on_misuse(msid, "There is no such message stream."),
        }
        let serial = self.streams.serial();
        if let Some(stream) = self.streams.get_mut(msid) {
            stream.used = Use::PlayAsked(serial, Wishes::default());
        }
        let request = PlayRequest {
            msid,
            name: command.text(0).unwrap_or_default().to_owned(),
            start: PlayStart::from_number(command.number(1)),
            duration_ms: command.number(2).filter(|duration| *duration >= 0.0),
            reset: command.flag(3).unwrap_or(true),
            serial,
        };
        self.events.push_back(Event::Play(request));
        Ok(())
    }

    fn on_pause(&mut self, msid: u32, command: &Command) -> Result<(), Closed> {
        let paused = command.flag(0).unwrap_or(true);
        match self.streams.used_mut(msid) {
            Some(Use::Playing) => self.pause(msid, paused),
            Some(Use::PlayAsked(_, wishes)) => wishes.paused = Some(paused),
            _ => return self.on_nothing_played(msid),
        }
        Ok(())
    }

    /// What is live has no position to seek to.
    fn on_seek(&mut self, msid: u32) -> Result<(), Closed> {
        let Some(Use::Playing | Use::PlayAsked(..)) = self.streams.used_mut(msid) else {
            return self.on_nothing_played(msid);
        };
        self.send_status(msid, &Status::failed(code::SEEK_FAILED, "A live stream cannot be sought in."));
        Ok(())
    }

    fn on_receive(&mut self, msid: u32, medium: Medium, command: &Command) -> Result<(), Closed> {
        let wanted = command.flag(0).unwrap_or(true);
        match self.streams.used_mut(msid) {
            Some(Use::Playing) => self.receive(msid, medium, wanted),
            Some(Use::PlayAsked(_, wishes)) => wishes.set_wanted(medium, wanted),
            _ => return self.on_nothing_played(msid),
        }
        Ok(())
    }

    /// What was asked for behind a play that is accepted now.
    pub(super) fn grant(&mut self, msid: u32, wishes: &Wishes) {
        if let Some(paused) = wishes.paused {
            self.pause(msid, paused);
        }
        for (medium, wanted) in [(Medium::Audio, wishes.audio), (Medium::Video, wishes.video)] {
            if let Some(wanted) = wanted {
                self.receive(msid, medium, wanted);
            }
        }
    }

    fn pause(&mut self, msid: u32, paused: bool) {
        let status = match paused {
            true => Status::ok(code::PAUSED, "The stream is paused."),
            false => Status::ok(code::UNPAUSED, "The stream goes on."),
        };
        self.send_status(msid, &status);
        self.events.push_back(Event::Paused { msid, paused });
    }

    fn receive(&mut self, msid: u32, medium: Medium, wanted: bool) {
        if wanted {
            self.send_status(msid, &Status::ok(code::SEEK_NOTIFY, "The stream goes on."));
            self.send_status(msid, &Status::ok(code::PLAY_START, "The stream is played."));
        }
        self.events.push_back(Event::Receive { msid, medium, wanted });
    }

    fn on_fc_publish(&mut self, command: &Command) -> Result<(), Closed> {
        self.answer(command, Value::Undefined)?;
        self.send_notice("onFCPublish", code::PUBLISH_START, command);
        Ok(())
    }

    /// Ends what is published under this name, or the only thing that is published if no name is given.
    fn on_fc_unpublish(&mut self, command: &Command) -> Result<(), Closed> {
        let name = command.text(0).map(bare);
        let found = self.streams.iter().find(|stream| match &stream.used {
            Use::Publishing { name: published, .. } => name.as_ref().is_none_or(|name| name == published),
            _ => false,
        });
        let msid = found.map(|stream| stream.msid);
        self.answer(command, Value::Undefined)?;
        msid.map_or(Ok(()), |msid| self.unpublish(msid))
    }

    fn on_fc_subscribe(&mut self, command: &Command) -> Result<(), Closed> {
        self.answer(command, Value::Undefined)?;
        self.send_notice("onFCSubscribe", code::PLAY_START, command);
        Ok(())
    }

    fn on_unknown(&mut self, command: &Command) -> Result<(), Closed> {
        self.stats.unknown_commands += 1;
        // The name is the client's own and it alone sees the answer; a long one is cut.
        let name: String = command.name.chars().take(64).collect();
        self.answer_failed(command, code::CALL_FAILED, &format!("Method not found ({name})."));
        Ok(())
    }

    /// A command that the message stream cannot take now.
    fn on_misuse(&mut self, msid: u32, description: &str) -> Result<(), Closed> {
        self.send_status(msid, &Status::failed(code::STREAM_FAILED, description));
        self.on_mistake()
    }

    fn on_nothing_played(&mut self, msid: u32) -> Result<(), Closed> {
        self.on_misuse(msid, "Nothing is played on the message stream.")
    }

    /// `_result` with null and this value, if an answer is wanted.
    fn answer(&mut self, command: &Command, value: Value) -> Result<(), Closed> {
        if command.transaction != 0.0 {
            self.wire.send_command(0, &Command::result(command.transaction, Value::Null, vec![value]));
        }
        Ok(())
    }

    /// `_error`, if an answer is wanted.
    fn answer_failed(&mut self, command: &Command, code: &str, description: &str) {
        if command.transaction != 0.0 {
            let info = Status::failed(code, description).info();
            self.wire.send_command(0, &Command::error(command.transaction, info));
        }
    }

    /// `onFCPublish` and its like: a notice on message stream 0 about the name in the command.
    fn send_notice(&mut self, notice: &str, code: &str, command: &Command) {
        let status = Status::ok(code, bare(command.text(0).unwrap_or_default()));
        self.wire.send_command(0, &Command::notice(notice, vec![status.info()]));
    }

    /// The stream that a play shows has ended: tells the client, whose message stream is free again.
    pub fn end_play(&mut self, msid: u32, now: Instant) {
        let Some(stream) = self.streams.get_mut(msid) else { return };
        if stream.used != Use::Playing || self.phase == Phase::Closed {
            return;
        }
        stream.used = Use::Idle;
        self.idle_since = now;
        self.send_status(msid, &Status::ok(code::PLAY_UNPUBLISHED, "The stream is not published any more."));
        self.send_user(UserEvent::StreamEof(msid));
    }

    /// A publish ends by our word: tells the client, whose message stream is free again.
    pub fn end_publish(&mut self, msid: u32, status: &Status, now: Instant) {
        let Some(stream) = self.streams.get_mut(msid) else { return };
        if !matches!(stream.used, Use::Publishing { .. }) || self.phase == Phase::Closed {
            return;
        }
        stream.used = Use::Idle;
        self.idle_since = now;
        self.send_status(msid, status);
    }
}

/// Whether `false` stands where the name of a stream should: the client is done with the one it has.
fn names_nothing(command: &Command) -> bool {
    command.arguments.first() == Some(&Value::Bool(false))
}

impl PublishKind {
    fn from_text(text: &str) -> Option<Self> {
        [
            ("live", Self::Live),
            ("", Self::Live),
            ("record", Self::Record),
            ("append", Self::Append),
            ("appendWithGap", Self::Append),
        ]
        .into_iter()
        .find_map(|(name, kind)| name.eq_ignore_ascii_case(text).then_some(kind))
    }
}

impl PlayStart {
    /// The specification says seconds, players send milliseconds: -1 and -1000 are the same.
    fn from_number(start: Option<f64>) -> Self {
        match start {
            Some(start) if start == -1.0 || start == -1000.0 => Self::LiveOnly,
            Some(start) if start >= 0.0 => Self::At(start),
            _ => Self::LiveOrRecorded,
        }
    }
}
