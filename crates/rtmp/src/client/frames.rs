//! Audio, video and data in both directions.

use media::{MediaMessage, Medium, tag};

use super::{Closed, Event, Purpose, Session, Step};
use crate::{
    aggregate,
    amf::{Value, amf0},
    data::{self, Data},
    message::{Message, type_id},
};

impl Session {
    /// Publishes a message; its bytes are in [`Session::poll_output`]. Before [`Event::Started`] and after the end it
    /// is left out.
    pub fn send(&mut self, message: &MediaMessage) {
        if self.step != Step::Run || !matches!(self.config.purpose, Purpose::Publish { .. }) {
            return;
        }
        let MediaMessage { medium, timestamp, payload } = message;
        let payload = match medium {
            Medium::Data if tag::is_metadata(payload) => set_data_frame(payload),
            _ => payload.clone(),
        };
        self.wire.send(&Message { type_id: medium.type_id(), timestamp: *timestamp, msid: self.msid, payload });
    }

    pub(super) fn on_media(&mut self, message: Message) -> Result<(), Closed> {
        if message.msid != self.msid || self.step != Step::Run {
            return Ok(());
        }
        if message.type_id != type_id::AGGREGATE {
            self.on_single(message);
            return Ok(());
        }
        // An aggregate that lies about its parts shows nothing; the rest of the connection is sound.
        for part in aggregate::split(message, &self.config.limits).unwrap_or_default() {
            self.on_single(part);
        }
        Ok(())
    }

    fn on_single(&mut self, message: Message) {
        let (medium, payload) = match message.type_id {
            type_id::AUDIO => (Medium::Audio, message.payload),
            type_id::VIDEO => (Medium::Video, message.payload),
            type_id::DATA_AMF0 | type_id::DATA_AMF3 => match data::read(&message, &self.config.limits) {
                Ok(Data::Relay(payload)) if !is_about_playing(&payload) => (Medium::Data, payload),
                _ => return,
            },
            _ => return,
        };
        self.events.push_back(Event::Media(MediaMessage { medium, timestamp: message.timestamp, payload }));
    }
}

/// Metadata as servers expect it from a publisher. What begins with `@setDataFrame` already stays.
fn set_data_frame(payload: &bytes::Bytes) -> bytes::Bytes {
    if data::begins_with(payload, SET_DATA_FRAME) {
        return payload.clone();
    }
    let mut out = bytes::BytesMut::new();
    amf0::encode(&Value::from(SET_DATA_FRAME), &mut out);
    out.extend_from_slice(payload);
    out.freeze()
}

/// Data messages that the server says itself and that are no part of the stream.
fn is_about_playing(payload: &[u8]) -> bool {
    ["|RtmpSampleAccess", "onStatus"].iter().any(|word| data::begins_with(payload, word))
}

const SET_DATA_FRAME: &str = "@setDataFrame";
