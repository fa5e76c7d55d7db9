//! A viewer's way into rows and out of them.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hub::Reader;

use super::{Row, Rows};
use crate::seat::{Count, Left, Seat, Sitter, Take};

/// Which row a viewer sits in, or has sat in. While it sits, its reader rests, and its connection writes nothing.
#[derive(Debug, Default)]
pub struct Ticket {
    row: Option<Arc<Row>>,
    seated: bool,
}

impl Ticket {
    /// Whether a row writes for the viewer.
    pub fn is_seated(&self) -> bool {
        self.seated
    }

    /// Leaves the writing to a row from the next frame on, if there is one that is no further than this viewer. Nothing that
    /// the viewer is to get may wait to be written. The waker is told when the row can write no more.
    pub fn sit(
        &mut self,
        rows: &Rows,
        reader: &mut Reader,
        (seat, count): (Arc<Seat<dyn Take>>, Arc<dyn Count>),
        waker: &Waker,
    ) -> bool {
        let Some(next_seq) = reader.next_seq() else { return false };
        let row = match self.row.take().filter(|row| row.is_open()) {
            Some(row) => row,
            None => rows.row(reader.stream(), next_seq),
        };
        self.seated = row.sit(seat, Sitter { next_seq, count, waker: waker.clone() });
        self.row = Some(row);
        if self.seated {
            reader.rest();
        }
        self.seated
    }

    /// Ready once the row cannot go on, with what it has left to be written first.
    pub fn poll_left(&mut self, seat: &Seat<dyn Take>, reader: &mut Reader, cx: &mut Context<'_>) -> Poll<Bytes> {
        seat.poll_left(cx).map(|left| self.on_left(left, reader))
    }

    /// From now on the connection writes; if it did not, there is what the row has left to be written first.
    pub fn get_up(&mut self, seat: &Seat<dyn Take>, reader: &mut Reader) -> Option<Bytes> {
        self.seated.then(|| self.on_left(seat.rise(), reader))
    }

    fn on_left(&mut self, left: Option<Left>, reader: &mut Reader) -> Bytes {
        let Left { rest, next_seq } = left.expect("whoever sits got up nowhere else");
        self.seated = false;
        reader.go_on_at(next_seq);
        rest
    }
}
