//! A stream made of nothing: small, steady, and without an encoder.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{flv::Tag, rtmp::Publisher};

/// The time between two frames.
pub const FRAME: Duration = Duration::from_millis(100);
/// Every so many frames is a keyframe.
pub const GOP: u32 = 10;

/// A publication of small video frames, fed in the background.
pub struct Feed {
    task: JoinHandle<()>,
    sent: Arc<Mutex<Vec<Instant>>>,
}

impl Feed {
    /// Publishes ten frames a second; returns when the first keyframe has been sent.
    pub async fn start(url: &str) -> Self {
        Self::paced(url, FRAME).await
    }

    /// Publishes a frame each period.
    pub async fn paced(url: &str, period: Duration) -> Self {
        let mut publisher = Publisher::open(url).await.expect("the feed is welcome");
        publisher.send(&config()).await.expect("the set-up is taken");
        publisher.send(&frame(0, period)).await.expect("the first frame is taken");
        let sent = Arc::new(Mutex::new(vec![Instant::now()]));
        let task = tokio::spawn(feed(publisher, period, sent.clone()));
        Self { task, sent }
    }

    /// When the frame of this number was handed to the socket.
    pub fn sent(&self, number: u32) -> Option<Instant> {
        self.sent.lock().expect("no holder panics").get(number as usize).copied()
    }

    /// Whether the server has cut it.
    pub fn is_cut(&self) -> bool {
        self.task.is_finished()
    }

    /// Panics if the server has cut it.
    #[track_caller]
    pub fn assert_running(&self) {
        assert!(!self.is_cut(), "the feed was cut");
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn feed(mut publisher: Publisher, period: Duration, sent: Arc<Mutex<Vec<Instant>>>) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // The first tick comes at once, and its frame has been sent.
    ticks.tick().await;
    for number in 1.. {
        ticks.tick().await;
        let frame = frame(number, period);
        sent.lock().expect("no holder panics").push(Instant::now());
        if let Err(error) = publisher.send(&frame).await {
            eprintln!("the feed ended after {number} frames: {error:#}");
            return;
        }
    }
}

/// A decoder set-up for H.264 in baseline profile with one parameter set of each kind.
pub fn config() -> Tag {
    let (sps, pps) = ([0x67, 0x42, 0xc0, 0x0a, 0xda, 0x0a, 0x0b, 0x59], [0x68, 0xce, 0x3c, 0x80]);
    let mut payload = vec![0x17, 0, 0, 0, 0, 1, sps[1], sps[2], sps[3], 0xff, 0xe1, 0, sps.len() as u8];
    payload.extend(sps);
    payload.extend([1, 0, pps.len() as u8]);
    payload.extend(pps);
    Tag { type_id: 9, timestamp: 0, payload: payload.into() }
}

/// The frame of this number, one a period: its number is in it.
pub fn frame(number: u32, period: Duration) -> Tag {
    let key = number.is_multiple_of(GOP);
    let mut payload = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    let size: u32 = if key { 1500 } else { 400 };
    payload.extend(size.to_be_bytes());
    payload.push(if key { 0x65 } else { 0x41 });
    payload.extend(number.to_be_bytes());
    payload.resize(9 + size as usize, 0xa5);
    let timestamp = number.wrapping_mul(period.as_millis() as u32);
    Tag { type_id: 9, timestamp, payload: Bytes::from(payload) }
}

/// The number in a frame made by [`frame`].
pub fn number(tag: &Tag) -> Option<u32> {
    Some(u32::from_be_bytes(tag.payload.get(10..14)?.try_into().ok()?))
}
