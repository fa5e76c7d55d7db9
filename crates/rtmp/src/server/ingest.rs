//! What a publisher sends besides commands.

use media::{MediaMessage, Medium};

use super::{Closed, Event, Session, streams::Use};
use crate::{
    aggregate,
    data::{self, Data},
    message::{Message, type_id},
};

impl Session {
    pub(super) fn on_media(&mut self, message: Message) -> Result<(), Closed> {
        let Some(Use::Publishing { first_media_by, .. }) = self.streams.used_mut(message.msid) else {
            // After FCUnpublish, for one: what was under way then is nobody's.
            self.stats.stray_media += 1;
            return Ok(());
        };
        *first_media_by = None;
        match message.type_id {
            type_id::AGGREGATE => {
                for part in aggregate::split(message, &self.config.limits)? {
                    self.on_single(part);
                }
            }
            _ => self.on_single(message),
        }
        Ok(())
    }

    fn on_single(&mut self, message: Message) {
        let medium = match message.type_id {
            type_id::AUDIO => Medium::Audio,
            type_id::VIDEO => Medium::Video,
            _ => return self.on_data(&message),
        };
        self.push_media(medium, message);
    }

    fn on_data(&mut self, message: &Message) {
        match data::read(message, &self.config.limits) {
            Ok(Data::Relay(payload)) => self.push_media(Medium::Data, Message { payload, ..message.clone() }),
            Ok(Data::ClearMetadata) => self.events.push_back(Event::MetadataCleared { msid: message.msid }),
            Ok(Data::Nothing) => {}
            Err(_) => self.stats.damaged_data += 1,
        }
    }

    fn push_media(&mut self, medium: Medium, message: Message) {
        let Message { timestamp, msid, payload, .. } = message;
        self.events.push_back(Event::Media { msid, message: MediaMessage { medium, timestamp, payload } });
    }
}
