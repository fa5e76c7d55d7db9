//! Why a relay call fails, on both sides of the wire.

use cluster::Epoch;

use crate::{
    channel::ConnectError,
    status::{Code, Failure},
};

/// Why a push or a pull did not begin, or ended.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RelayError {
    /// Ask another: this origin does not serve.
    #[error("the origin is not active in epoch {epoch}")]
    NotActive {
        /// The address of who does, where this origin knows.
        active: Option<String>,
        /// The highest epoch that it has heard of.
        epoch: Epoch,
    },
    /// There is no such stream here now.
    #[error("no such stream")]
    NoStream,
    /// This encoder may not publish on this name. Trying again does not help.
    #[error("the publication is refused: {0}")]
    Refused(PublishRefusal),
    /// The publication or the stream has ended.
    #[error("the publication has ended")]
    Gone,
    /// The request has come through this node before.
    #[error("the request goes in a circle")]
    Loop,
    /// The other side sent what makes no sense, or refused ours as such.
    #[error("bad message: {0}")]
    Invalid(String),
    /// The other side has not heard us for too long, and ended the call. It is there: it says so.
    #[error("we were not heard")]
    Unheard,
    /// The token does not admit this call.
    #[error("not admitted: {0}")]
    NotAdmitted(String),
    /// The connection is gone, or never was.
    #[error("{0}")]
    Transport(String),
}

/// Why a publication is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefusal {
    /// The key is missing or wrong, or nobody may publish here.
    #[error("publishing is denied")]
    Denied,
    /// A living encoder holds the name.
    #[error("the name is taken")]
    NameTaken,
    /// An operator ended it.
    #[error("an operator ended it")]
    Kicked,
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        let (code, reason) = match &error {
            RelayError::NotActive { .. } => (Code::FailedPrecondition, NOT_ACTIVE),
            RelayError::NoStream => (Code::NotFound, STREAM_NOT_FOUND),
            RelayError::Refused(PublishRefusal::Denied) => (Code::PermissionDenied, PUBLISH_DENIED),
            RelayError::Refused(PublishRefusal::NameTaken) => (Code::AlreadyExists, NAME_TAKEN),
            RelayError::Refused(PublishRefusal::Kicked) => (Code::Aborted, KICKED),
            RelayError::Gone => (Code::Aborted, PUBLICATION_GONE),
            RelayError::Loop => (Code::FailedPrecondition, LOOP),
            RelayError::Invalid(_) => (Code::InvalidArgument, INVALID_MESSAGE),
            RelayError::Unheard => (Code::DeadlineExceeded, UNHEARD),
            RelayError::NotAdmitted(_) => (Code::PermissionDenied, NOT_ADMITTED),
            RelayError::Transport(_) => (Code::Unavailable, UNAVAILABLE),
        };
        let failure = Self::new(code, reason, error.to_string());
        match error {
            RelayError::NotActive { active, epoch } => {
                let failure = failure.with("epoch", epoch);
                match active {
                    Some(active) => failure.with("active", active),
                    None => failure,
                }
            }
            RelayError::Invalid(what) => failure.with("what", what),
            _ => failure,
        }
    }
}

impl From<Failure> for RelayError {
    fn from(failure: Failure) -> Self {
        match (failure.reason.as_str(), failure.code) {
            (NOT_ACTIVE, _) => Self::NotActive {
                active: failure.get("active").map(str::to_owned),
                epoch: failure.get("epoch").and_then(epoch).unwrap_or_default(),
            },
            (STREAM_NOT_FOUND, _) => Self::NoStream,
            (PUBLISH_DENIED, _) => Self::Refused(PublishRefusal::Denied),
            (NAME_TAKEN, _) => Self::Refused(PublishRefusal::NameTaken),
            (KICKED, _) => Self::Refused(PublishRefusal::Kicked),
            (PUBLICATION_GONE, _) => Self::Gone,
            (LOOP, _) => Self::Loop,
            (UNHEARD, _) => Self::Unheard,
            (INVALID_MESSAGE, _) => Self::Invalid(failure.get("what").unwrap_or_default().to_owned()),
            (_, Code::InvalidArgument | Code::OutOfRange | Code::ResourceExhausted) => Self::Invalid(failure.message),
            (_, Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented) => {
                Self::NotAdmitted(failure.message)
            }
            _ => Self::Transport(failure.message),
        }
    }
}

/// An epoch that makes sense.
fn epoch(text: &str) -> Option<Epoch> {
    text.parse().ok().map(Epoch).filter(|epoch| *epoch <= Epoch::MAX)
}

impl From<RelayError> for tonic::Status {
    fn from(error: RelayError) -> Self {
        Failure::from(error).into()
    }
}

impl From<tonic::Status> for RelayError {
    fn from(status: tonic::Status) -> Self {
        Failure::from(status).into()
    }
}

impl From<ConnectError> for RelayError {
    fn from(error: ConnectError) -> Self {
        Self::Transport(error.to_string())
    }
}

const NOT_ACTIVE: &str = "NOT_ACTIVE";
const STREAM_NOT_FOUND: &str = "STREAM_NOT_FOUND";
const PUBLISH_DENIED: &str = "PUBLISH_DENIED";
const NAME_TAKEN: &str = "NAME_TAKEN";
const KICKED: &str = "KICKED";
const PUBLICATION_GONE: &str = "PUBLICATION_GONE";
const LOOP: &str = "LOOP";
const INVALID_MESSAGE: &str = "INVALID_MESSAGE";
const UNHEARD: &str = "UNHEARD";
const NOT_ADMITTED: &str = "NOT_ADMITTED";
const UNAVAILABLE: &str = "RELAY_UNAVAILABLE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_the_wire_and_come_back_the_same() {
        let refusals = [PublishRefusal::Denied, PublishRefusal::NameTaken, PublishRefusal::Kicked];
        let errors = refusals.map(RelayError::Refused).into_iter().chain([
            RelayError::NotActive { active: Some("10.0.0.6:1935".into()), epoch: Epoch::MAX },
            RelayError::NotActive { active: None, epoch: Epoch(0) },
            RelayError::NoStream,
            RelayError::Gone,
            RelayError::Loop,
            RelayError::Unheard,
            RelayError::Invalid("a batch without messages".into()),
        ]);
        for error in errors {
            assert_eq!(RelayError::from(tonic::Status::from(error.clone())), error);
        }
    }

    #[test]
    fn an_epoch_that_makes_no_sense_is_not_believed() {
        let too_high = RelayError::NotActive { active: None, epoch: Epoch(Epoch::MAX.0 + 1) };
        let unknown = RelayError::NotActive { active: None, epoch: Epoch(0) };
        assert_eq!(RelayError::from(tonic::Status::from(too_high)), unknown);
    }

    #[test]
    fn a_lost_connection_is_transport_and_a_wrong_token_is_not() {
        assert!(matches!(tonic::Status::unavailable("reset").into(), RelayError::Transport(_)));
        assert!(matches!(tonic::Status::unauthenticated("who").into(), RelayError::NotAdmitted(_)));
    }
}
