//! Every bound on what a peer may send, hold or delay.

use std::{num::NonZeroU64, time::Duration};

use media::Medium;

/// Every limit of an RTMP connection. The defaults suit a public port; all of them may be changed.
///
/// Reaching a limit ends the connection with an error that names the limit, unless its line says otherwise. The socket's
/// owner, `rtmp-net`, sees to `stall_timeout`, `publish_bytes_per_second` and `handshakes_per_address_max`, and counts
/// `handshake_timeout` for what comes before RTMP as well; a session sees to all others.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Time from an accepted connection to the last byte of its handshake.
    pub handshake_timeout: Duration,
    /// Time from the handshake to connect, from there to a publish or play, and to the next after one that was refused or has ended.
    pub request_timeout: Duration,
    /// Time in which a client that publishes nothing must finish a message that it has begun; at most twice that.
    pub message_timeout: Duration,
    /// Time from an accepted publish to its first audio, video or data message.
    pub first_media_timeout: Duration,
    /// Time in which a connection that has output waiting must take at least one byte.
    pub stall_timeout: Duration,

    /// Bytes of partial messages held for a peer of which no publish or play is accepted yet; its messages may not be
    /// longer either. The buffers take at most twice that.
    pub pre_auth_bytes_max: usize,
    /// Bytes of partial messages held for a peer. The buffers take at most twice that.
    pub partial_bytes_max: usize,
    /// Chunk streams a peer may use in a connection's life.
    pub chunk_streams_max: usize,
    /// The smallest chunk size a peer may announce; smaller chunks cost more work than they carry. There is no largest
    /// one: nothing is sized by it.
    pub chunk_size_min: u32,

    /// Longest video message (type 9) and aggregate (type 22), in bytes.
    pub video_bytes_max: usize,
    /// Longest audio message (type 8), in bytes.
    pub audio_bytes_max: usize,
    /// Longest data message (types 15 and 18), in bytes. One of type 15 that is longer as AMF0 is left out.
    pub data_bytes_max: usize,
    /// Longest command, shared object or unknown message, in bytes.
    pub command_bytes_max: usize,
    /// Longest protocol control message (types 1 to 6), in bytes.
    pub control_bytes_max: usize,
    /// Bytes of messages that one connection may publish in a second, each 64 more than its payload; more is read no
    /// faster than that. None: as fast as it is taken.
    pub publish_bytes_per_second: Option<NonZeroU64>,
    /// Messages in one aggregate.
    pub aggregate_messages_max: usize,

    /// What the AMF of one command may hold.
    pub amf_command: AmfLimits,
    /// What the AMF of one data message may hold.
    pub amf_data: AmfLimits,

    /// Message streams a peer may have open at once; one more createStream is answered with `_error`.
    pub message_streams_max: usize,

    /// Connections of one address that may be in the handshake at once; one more is closed, or the oldest
    /// if that is stale. 127.0.0.1 and ::1 are exempt.
    pub handshakes_per_address_max: usize,
}

/// What the AMF values of one message may hold, all together where nothing else is said.
#[derive(Debug, Clone, PartialEq)]
pub struct AmfLimits {
    /// Objects and arrays within each other; never more than [`AmfLimits::DEPTH_CEILING`] whatever is set.
    pub depth_max: usize,
    /// Members of one object, and names in one AMF3 trait.
    pub keys_max: usize,
    /// Items of one array, vector or dictionary.
    pub items_max: usize,
    /// Bytes of one string, key, XML text or byte array.
    pub string_bytes_max: usize,
    /// Values, counting a referenced value again each time it is referenced. Never more than 32 beyond the message's
    /// bytes, so that work is paid for with bytes.
    pub values_max: usize,
    /// Bytes of all strings and keys, counting referenced ones again. Never more than 64 beyond 16 times the message's
    /// bytes.
    pub text_bytes_max: usize,
}

impl AmfLimits {
    /// The decoder calls itself once a level, so no setting may go beyond this.
    pub const DEPTH_CEILING: usize = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(10),
            first_media_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(15),
            pre_auth_bytes_max: 256 * KIB,
            partial_bytes_max: 16 * MIB,
            chunk_streams_max: 64,
            chunk_size_min: 128,
            video_bytes_max: Medium::Video.message_bytes_max(),
            audio_bytes_max: Medium::Audio.message_bytes_max(),
            data_bytes_max: Medium::Data.message_bytes_max(),
            command_bytes_max: 64 * KIB,
            control_bytes_max: 16,
            publish_bytes_per_second: None,
            aggregate_messages_max: 4096,
            amf_command: AmfLimits::default(),
            amf_data: AmfLimits {
                keys_max: 1024,
                items_max: 32 * KIB,
                values_max: 64 * KIB,
                text_bytes_max: MIB,
                ..AmfLimits::default()
            },
            message_streams_max: 16,
            handshakes_per_address_max: 64,
        }
    }
}

impl Default for AmfLimits {
    /// What suits commands.
    fn default() -> Self {
        Self {
            depth_max: 16,
            keys_max: 256,
            items_max: 1024,
            string_bytes_max: 64 * KIB,
            values_max: 4096,
            text_bytes_max: 256 * KIB,
        }
    }
}

impl Limits {
    /// The longest message of a type, in bytes.
    pub fn message_bytes_max(&self, type_id: u8) -> usize {
        use crate::message::type_id as id;
        match type_id {
            id::SET_CHUNK_SIZE..=id::SET_PEER_BANDWIDTH => self.control_bytes_max,
            id::AUDIO => self.audio_bytes_max,
            id::VIDEO | id::AGGREGATE => self.video_bytes_max,
            id::DATA_AMF3 | id::DATA_AMF0 => self.data_bytes_max,
            _ => self.command_bytes_max,
        }
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
