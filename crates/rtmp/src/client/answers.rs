//! What the server answers, and what is asked next.

use std::time::Instant;

use super::{Closed, Event, Purpose, Session, Step, transaction};
use crate::{
    amf::Value,
    command::{
        Command,
        status::{Level, Status, code},
    },
    message::{Message, type_id},
};

impl Session {
    pub(super) fn on_message(&mut self, message: Message, now: Instant) -> Result<(), Closed> {
        match message.type_id {
            type_id::COMMAND_AMF0 | type_id::COMMAND_AMF3 => {
                let command = Command::decode(&message, &self.config.limits)?;
                self.on_command(&command, now)
            }
            _ => self.on_media(message),
        }
    }

    fn on_command(&mut self, command: &Command, now: Instant) -> Result<(), Closed> {
        let id = command.transaction;
        match (command.name.as_str(), self.step) {
            ("_result", Step::Connect) if id == transaction::CONNECT => self.create_stream(now),
            ("_result", Step::CreateStream) if id == transaction::CREATE_STREAM => return self.start(command, now),
            ("_error", Step::Connect) if id == transaction::CONNECT => return Err(refused(command)),
            ("_error", Step::CreateStream) if id == transaction::CREATE_STREAM => return Err(refused(command)),
            ("_error", Step::Start) if id == transaction::START => return Err(refused(command)),
            ("onStatus", _) => return self.on_status(command, now),
            // Answers to releaseStream and FCPublish make no difference; other calls are not ours to answer.
            ("_result" | "_error", _) => {}
            _ => self.on_call(command),
        }
        Ok(())
    }

    fn create_stream(&mut self, now: Instant) {
        let window = 2_500_000;
        self.wire.announce_window(window);
        self.wire.set_chunk_size(self.config.chunk_size);
        if let Purpose::Publish { name } = &self.config.purpose {
            for (call, id) in [("releaseStream", transaction::RELEASE), ("FCPublish", transaction::FC_PUBLISH)] {
                self.wire.send_command(0, &Command::call(call, id, Value::Null, vec![name.as_str().into()]));
            }
        }
        self.wire.send_command(0, &Command::call("createStream", transaction::CREATE_STREAM, Value::Null, vec![]));
        self.enter(Step::CreateStream, now);
    }

    fn start(&mut self, command: &Command, now: Instant) -> Result<(), Closed> {
        let msid = command.number(0).filter(|id| *id >= 1.0).ok_or_else(|| refused(command))?;
        self.msid = msid as u32;
        let (call, arguments) = match &self.config.purpose {
            Purpose::Publish { name } => ("publish", vec![name.as_str().into(), "live".into()]),
            Purpose::Play { name, start } => ("play", vec![name.as_str().into(), (*start).into()]),
        };
        if call == "play" {
            self.send_buffer_length();
        }
        self.wire.send_command(self.msid, &Command::call(call, transaction::START, Value::Null, arguments));
        self.enter(Step::Start, now);
        Ok(())
    }

    fn on_status(&mut self, command: &Command, now: Instant) -> Result<(), Closed> {
        let Some(status) = command.arguments.first().and_then(Status::read) else { return Ok(()) };
        match status.code.as_str() {
            code::PUBLISH_START | code::PLAY_START if self.step == Step::Start => {
                self.enter(Step::Run, now);
                self.events.push_back(Event::Started);
            }
            code::PLAY_UNPUBLISHED | code::PLAY_STOP if self.step == Step::Run => self.events.push_back(Event::Ended),
            _ if status.level == Level::Error => return Err(Closed::Refused(status)),
            _ => self.events.push_back(Event::Status(status)),
        }
        Ok(())
    }

    /// The server calls us: there is nothing that it could call.
    fn on_call(&mut self, command: &Command) {
        if command.transaction != 0.0 {
            let status = Status::failed(code::CALL_FAILED, "Method not found.");
            self.wire.send_command(0, &Command::error(command.transaction, status.info()));
        }
    }
}

fn refused(command: &Command) -> Closed {
    let status = command.arguments.first().and_then(Status::read);
    Closed::Refused(status.unwrap_or_else(|| Status::failed(code::CALL_FAILED, "The server gave no reason.")))
}
