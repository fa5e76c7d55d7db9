//! What is remembered of one chunk stream: the last header's fields and the message under way.

use super::{
    Error,
    header::{Body, Form, Header},
};
use crate::message::Message;

/// One chunk stream of a peer. Messages never share one half-way: there is one buffer.
#[derive(Debug)]
pub(super) struct ChunkStream {
    pub(super) csid: u32,
    pub(super) type_id: u8,
    pub(super) length: usize,
    /// The extended time of the last header that had a time, if that one was extended.
    pub(super) extended: Option<u32>,
    /// The message under way; its capacity stays within `length`.
    pub(super) buffer: Vec<u8>,
    /// The message under way was so when [`super::Reader::mark_parts`] was called last.
    pub(super) marked: bool,
    under_way: bool,
    timestamp: u32,
    delta: u32,
    msid: u32,
}

impl ChunkStream {
    /// A chunk stream that begins with this header, which is yet to be handled.
    ///
    /// Format 1 is accepted and leans on zeros: librtmp answers a ping so.
    pub(super) fn new(first: &Header) -> Result<Self, Error> {
        let csid = first.csid;
        if matches!(first.form, Form::SameBody { .. } | Form::Same) {
            return Err(Error::NoPreviousHeader { csid });
        }
        Ok(Self {
            csid,
            type_id: 0,
            length: 0,
            extended: None,
            buffer: Vec::new(),
            marked: false,
            under_way: false,
            timestamp: 0,
            delta: 0,
            msid: 0,
        })
    }

    /// Begins a message, or makes sure that the one under way goes on.
    pub(super) fn on_header(&mut self, header: &Header) -> Result<(), Error> {
        if self.under_way {
            self.check_same(&header.form)?
        } else {
            self.begin(&header.form)
        }
        if let Form::Full { timestamp: time, .. }
        | Form::SameStream { delta: time, .. }
        | Form::SameBody { delta: time } = header.form
        {
            self.extended = header.extended.then_some(time);
        }
        Ok(())
    }

    fn begin(&mut self, form: &Form) {
        match *form {
            Form::Full { timestamp, body, msid } => {
                // RTMP 1.0, 5.3.1.2.4: a format 3 that follows takes this timestamp for its delta.
                (self.timestamp, self.delta, self.msid) = (0, timestamp, msid);
                self.set_body(body);
            }
            Form::SameStream { delta, body } => {
                self.delta = delta;
                self.set_body(body);
            }
            Form::SameBody { delta } => self.delta = delta,
            Form::Same => {}
        }
        self.timestamp = self.timestamp.wrapping_add(self.delta);
        self.under_way = true;
    }

    fn set_body(&mut self, body: Body) {
        (self.length, self.type_id) = (body.length, body.type_id);
    }

    /// Only format 3 should go on with a message; some senders repeat the whole header, which is fine if it is the same.
    fn check_same(&self, form: &Form) -> Result<(), Error> {
        let ours = Body { length: self.length, type_id: self.type_id };
        let same = match *form {
            Form::Full { body, msid, .. } => body == ours && msid == self.msid,
            Form::SameStream { body, .. } => body == ours,
            Form::SameBody { .. } | Form::Same => true,
        };
        if same { Ok(()) } else { Err(Error::HeaderChanged { csid: self.csid }) }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    pub(super) fn is_whole(&self) -> bool {
        self.missing() == 0
    }

    /// Bytes of the message that have not come.
    pub(super) fn missing(&self) -> usize {
        self.length - self.buffer.len()
    }

    /// Ends the message, whole or not.
    pub(super) fn take_message(&mut self) -> Message {
        (self.under_way, self.marked) = (false, false);
        Message {
            type_id: self.type_id,
            timestamp: self.timestamp,
            msid: self.msid,
            payload: std::mem::take(&mut self.buffer).into(),
        }
    }
}
