//! From and to the messages of `headwater.relay.v1`: what comes in is checked, and refused as
//! [`RelayError::Invalid`] where it makes no sense.

use cluster::{Epoch, NodeId};
use media::{PublicationId, StreamName};

use super::{BATCH_BYTES, RelayError};

pub(super) mod follow;
pub(super) mod frames;
pub(super) mod link;
pub(super) mod pull;
pub(super) mod push;

/// Cuts `items` into batches that close as soon as they hold [`BATCH_BYTES`] of payload. None is empty.
fn batches<T>(items: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches = Vec::new();
    let mut open = Vec::new();
    let mut held = 0;
    for item in items {
        let more = bytes(&item);
        if !open.is_empty() && held + more > BATCH_BYTES {
            batches.push(std::mem::take(&mut open));
            held = 0;
        }
        held += more;
        open.push(item);
    }
    if !open.is_empty() {
        batches.push(open);
    }
    batches
}

/// An epoch that makes sense: one that is too high would depose whoever hears of it, for good.
fn epoch_in(epoch: u64) -> Result<Epoch, RelayError> {
    if epoch > Epoch::MAX.0 {
        return Err(invalid(&format!("epoch {epoch}; no epoch is above {}", Epoch::MAX)));
    }
    Ok(Epoch(epoch))
}

/// A position or a number after which there is another one.
fn counter_in(what: &str, value: u64) -> Result<u64, RelayError> {
    if value == u64::MAX {
        return Err(invalid(&format!("{what} after which there is none")));
    }
    Ok(value)
}

fn stream_in(resource: &str) -> Result<StreamName, RelayError> {
    StreamName::from_resource(resource).map_err(|error| invalid(&format!("stream: {error}")))
}

fn publication_in(text: &str) -> Result<PublicationId, RelayError> {
    text.parse().map_err(|error| invalid(&format!("publication: {error}")))
}

fn node_in(id: &str) -> Result<NodeId, RelayError> {
    NodeId::from_resource(id).map_err(|error| invalid(&format!("node: {error}")))
}

fn path_in(path: &[String]) -> Result<Vec<NodeId>, RelayError> {
    if path.len() > PATH_NODES_MAX {
        return Err(RelayError::Loop);
    }
    path.iter().map(|node| node_in(node)).collect()
}

fn path_out(path: &[NodeId]) -> Vec<String> {
    path.iter().map(|node| node.as_str().to_owned()).collect()
}

/// A text that can be logged and listed.
fn text_in(field: &str, text: String, bytes_max: usize) -> Result<String, RelayError> {
    if text.len() > bytes_max || text.chars().any(char::is_control) {
        return Err(invalid(&format!("{field} is longer than {bytes_max} bytes or has control characters")));
    }
    Ok(text)
}

fn invalid(what: &str) -> RelayError {
    RelayError::Invalid(what.to_owned())
}

/// A longer key was not meant to be one.
const KEY_BYTES_MAX: usize = 1024;
/// An IPv6 address with zone and port is shorter.
const PEER_BYTES_MAX: usize = 128;
/// The protocol's bound: a call that names more nodes goes in a circle. How far calls are passed on is for origins to say.
const PATH_NODES_MAX: usize = 8;
