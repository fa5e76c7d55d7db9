//! What a client asks for.

use std::time::Duration;

use crate::{amf::Value, limits::Limits};

/// Settings of one client connection.
#[derive(Clone)]
pub struct Config {
    /// Bounds on what the server may send.
    pub limits: Limits,
    /// `app[/instance]`.
    pub app: String,
    /// The URL up to the stream's name. May hold keys.
    pub tc_url: String,
    /// How it introduces itself.
    pub flash_version: String,
    /// What it wants.
    pub purpose: Purpose,
    /// The size of chunks out.
    pub chunk_size: u32,
    /// How long the server may take for each answer.
    pub step_timeout: Duration,
    /// A server of which nothing came for so long is pinged.
    pub ping_after: Duration,
    /// The buffer a player says it has, in milliseconds.
    pub buffer_ms: u32,
}

/// What a client wants. Names may have a query and so hold keys.
#[derive(Clone, PartialEq)]
pub enum Purpose {
    /// To publish a live stream.
    Publish {
        /// `name[?query]`.
        name: String,
    },
    /// To play a stream.
    Play {
        /// `name[?query]`.
        name: String,
        /// What goes to the server: -1000 is live only, -2000 live or recorded, from 0 on milliseconds.
        start: f64,
    },
}

impl Config {
    /// Usual settings for this purpose.
    pub fn new(app: impl Into<String>, tc_url: impl Into<String>, purpose: Purpose) -> Self {
        Self {
            limits: Limits::default(),
            app: app.into(),
            tc_url: tc_url.into(),
            flash_version: match purpose {
                Purpose::Publish { .. } => "FMLE/3.0 (compatible; Headwater)".to_owned(),
                Purpose::Play { .. } => "LNX 9,0,124,2".to_owned(),
            },
            purpose,
            chunk_size: 65_536,
            step_timeout: Duration::from_secs(15),
            ping_after: Duration::from_secs(20),
            buffer_ms: 1000,
        }
    }

    /// Connect's command object.
    pub(super) fn connect_object(&self) -> Value {
        let mut members: Vec<(&str, Value)> = vec![("app", self.app.as_str().into())];
        if matches!(self.purpose, Purpose::Publish { .. }) {
            members.push(("type", "nonprivate".into()));
        }
        members.extend([
            ("flashVer", self.flash_version.as_str().into()),
            ("tcUrl", self.tc_url.as_str().into()),
            ("fpad", false.into()),
            ("capabilities", 15.0.into()),
            ("audioCodecs", 4071.0.into()),
            ("videoCodecs", 252.0.into()),
            ("videoFunction", 1.0.into()),
            ("objectEncoding", 0.0.into()),
            ("fourCcList", Value::StrictArray(vec!["*".into()])),
            ("videoFourCcInfoMap", Value::object([("*", 4.0.into())])),
            ("audioFourCcInfoMap", Value::object([("*", 4.0.into())])),
            // Multitrack, ModEx, nanosecond offset.
            ("capsEx", 14.0.into()),
        ]);
        Value::object(members)
    }
}
