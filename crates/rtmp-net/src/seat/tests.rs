use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    task::Wake,
};

use super::*;

/// A socket with room for so many bytes.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) free: AtomicUsize,
    pub(crate) got: Mutex<Vec<u8>>,
}

impl Room {
    pub(crate) fn of(free: usize) -> Self {
        Self { free: AtomicUsize::new(free), got: Mutex::default() }
    }

    pub(crate) fn got(&self) -> Vec<u8> {
        self.got.lock().unwrap().clone()
    }
}

impl Take for Room {
    fn take(&self, bytes: &SharedBytes) -> io::Result<usize> {
        let bytes = bytes.bytes();
        let free = self.free.load(Ordering::Relaxed);
        if free == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = bytes.len().min(free);
        self.free.fetch_sub(taken, Ordering::Relaxed);
        self.got.lock().unwrap().extend(&bytes[..taken]);
        Ok(taken)
    }
}

/// Counts what it is told, and wakes.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) bytes: AtomicU64,
    pub(crate) wakes: AtomicU64,
}

impl Count for Counts {
    fn add_out(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    pub(crate) fn found(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.wakes.load(Ordering::Relaxed))
    }

    pub(crate) fn sitter(self: &Arc<Self>, next_seq: u64) -> Sitter {
        Sitter { next_seq, count: self.clone(), waker: self.clone().into() }
    }
}

fn piece(from: u64, bytes: &'static [u8]) -> Piece {
    Piece { shared: SharedBytes::new(Bytes::from_static(bytes), 1), from, next_seq: from + 1 }
}

#[test]
fn a_socket_that_is_full_is_left_to_its_connection_with_the_rest() {
    let (seat, counts) = (Seat::new(Room::of(8)), Arc::new(Counts::default()));
    let sitting = seat.sit(counts.sitter(5));
    assert_eq!(seat.serve(sitting, &piece(5, b"five"), false), Served::Whole);
    assert_eq!(counts.found(), (0, 0), "counted when it is time");
    assert_eq!(seat.serve(sitting, &piece(6, b"six"), true), Served::Whole);
    assert_eq!(counts.found(), (7, 0));
    assert_eq!(seat.serve(sitting, &piece(7, b"seven"), false), Served::Part(1));
    assert_eq!(counts.found(), (8, 1));
    assert_eq!(seat.serve(sitting, &piece(8, b"eight"), false), Served::Empty, "no byte before the rest");
    assert_eq!(seat.get_up(), Some(Left { rest: Bytes::from_static(b"even"), next_seq: 8 }));
    assert_eq!((seat.get_up(), seat.socket().got()), (None, b"fivesixs".to_vec()));
}

#[test]
fn who_is_not_where_a_piece_begins_goes_on_by_itself() {
    let (seat, counts) = (Seat::new(Room::of(100)), Arc::new(Counts::default()));
    let sitting = seat.sit(counts.sitter(6));
    assert_eq!(seat.serve(sitting, &piece(5, b"five"), false), Served::Empty);
    assert_eq!(seat.get_up(), Some(Left { rest: Bytes::new(), next_seq: 6 }));
    assert_eq!((seat.socket().got(), counts.found()), (Vec::new(), (0, 1)));
}

#[test]
fn who_gets_up_is_sent_nothing_more_and_one_who_sits_again_is_another() {
    let (seat, counts) = (Seat::new(Room::of(100)), Arc::new(Counts::default()));
    let first = seat.sit(counts.sitter(1));
    assert_eq!(seat.get_up(), Some(Left { rest: Bytes::new(), next_seq: 1 }));
    assert_eq!(seat.serve(first, &piece(1, b"one"), false), Served::Empty);
    let second = seat.sit(counts.sitter(1));
    assert_eq!(seat.serve(first, &piece(1, b"one"), false), Served::Empty, "it sits in another row, perhaps");
    assert_eq!(seat.serve(second, &piece(1, b"one"), false), Served::Whole);
    seat.dismiss(first);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(seat.poll_left(&mut cx).is_pending());
    seat.dismiss(second);
    assert_eq!(seat.poll_left(&mut cx), Poll::Ready(Some(Left { rest: Bytes::new(), next_seq: 2 })));
}
