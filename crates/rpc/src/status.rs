//! How an error of ours crosses the wire and comes back: a code, and exactly one `google.rpc.ErrorInfo`.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use tonic_types::{ErrorDetails, FieldViolation as WireViolation, PreconditionViolation, StatusExt};

/// The domain of every `ErrorInfo` that Headwater makes.
pub const ERROR_DOMAIN: &str = "headwater";

/// Why a call failed, in a form that crosses the wire whole.
///
/// Every variable in the message belongs in the metadata too, so that nobody has to take messages apart.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message} ({reason})")]
pub struct Failure {
    /// What kind of failure this is to someone who knows nothing of Headwater.
    pub code: Code,
    /// What kind of failure this is to someone who does: `UPPER_SNAKE`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// What the message speaks of, by name.
    pub metadata: BTreeMap<String, String>,
    /// Fields of the request that are wrong.
    pub fields: Vec<FieldViolation>,
    /// What few failures say: boxed, so that a result stays small.
    hints: Option<Box<Hints>>,
}

/// What a caller can do about a failure.
#[derive(Debug, Clone, PartialEq, Default)]
struct Hints {
    preconditions: Vec<Precondition>,
    retry_after: Option<Duration>,
}

/// A field of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path of the field, as written in the .proto: `route_entry.target.port`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

/// Something that must be made true before a call can succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// Its kind: `UPPER_SNAKE`.
    pub kind: String,
    /// The resource that it is about.
    pub subject: String,
    /// What to do.
    pub description: String,
}

impl Failure {
    /// A failure with nothing but its kind and what to tell people.
    pub fn new(code: Code, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            hints: None,
        }
    }

    /// A request with one wrong field; reason `INVALID_FIELD`.
    pub fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        Self::new(Code::InvalidArgument, "INVALID_FIELD", format!("{field}: {description}"))
            .with("field", &field)
            .with_field(field, description)
    }

    /// Adds a piece of metadata.
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds a wrong field.
    pub fn with_field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.fields.push(FieldViolation { field: field.into(), description: description.into() });
        self
    }

    /// Adds something that must be made true.
    pub fn with_precondition(mut self, kind: &str, subject: impl fmt::Display, description: &str) -> Self {
        self.hints.get_or_insert_default().preconditions.push(Precondition {
            kind: kind.to_owned(),
            subject: subject.to_string(),
            description: description.to_owned(),
        });
        self
    }

    /// Says when to try again.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.hints.get_or_insert_default().retry_after = Some(after);
        self
    }

    /// What must be made true before the call can succeed.
    pub fn preconditions(&self) -> &[Precondition] {
        self.hints.as_ref().map(|hints| hints.preconditions.as_slice()).unwrap_or_default()
    }

    /// When the same call may be tried again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.hints.as_ref().and_then(|hints| hints.retry_after)
    }

    /// A piece of metadata.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }
}

impl From<Failure> for tonic::Status {
    fn from(failure: Failure) -> Self {
        let Failure { code, reason, message, metadata, fields, hints } = failure;
        let metadata: HashMap<_, _> = metadata.into_iter().collect();
        let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
        if !fields.is_empty() {
            let wire = |wrong: FieldViolation| WireViolation::new(wrong.field, wrong.description);
            details.set_bad_request(fields.into_iter().map(wire).collect::<Vec<_>>());
        }
        let Hints { preconditions, retry_after } = hints.map(|hints| *hints).unwrap_or_default();
        if !preconditions.is_empty() {
            let wire = |must: Precondition| PreconditionViolation::new(must.kind, must.subject, must.description);
            details.set_precondition_failure(preconditions.into_iter().map(wire).collect::<Vec<_>>());
        }
        if retry_after.is_some() {
            details.set_retry_info(retry_after);
        }
        Self::with_error_details(code.into(), bounded(message), details)
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        // Details that do not decode are a stranger's: the code and the message still count.
        let details = status.check_error_details().unwrap_or_default();
        let mut failure = Self::new(status.code().into(), "UNKNOWN", status.message());
        if let Some(info) = details.error_info() {
            failure.reason.clone_from(&info.reason);
            failure.metadata = info.metadata.clone().into_iter().collect();
        }
        for wrong in details.bad_request().iter().flat_map(|bad| &bad.field_violations) {
            failure = failure.with_field(&wrong.field, &wrong.description);
        }
        for must in details.precondition_failure().iter().flat_map(|failed| &failed.violations) {
            failure = failure.with_precondition(&must.r#type, &must.subject, &must.description);
        }
        match details.retry_info().and_then(|info| info.retry_delay) {
            Some(after) => failure.with_retry_after(after),
            None => failure,
        }
    }
}

/// The message cut to what fits in HTTP/2 headers, at a character's end.
fn bounded(mut message: String) -> String {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}

/// What kind of failure a call met: the codes of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The caller gave up.
    Cancelled,
    /// A stranger's error.
    Unknown,
    /// The request is wrong whatever the state.
    InvalidArgument,
    /// It took too long; it may have happened.
    DeadlineExceeded,
    /// There is no such thing.
    NotFound,
    /// There is such a thing already.
    AlreadyExists,
    /// This caller may not.
    PermissionDenied,
    /// A limit is reached.
    ResourceExhausted,
    /// Something must be made true first; trying again alone does not help.
    FailedPrecondition,
    /// Someone else was faster: read again, then try again.
    Aborted,
    /// Beyond what there is.
    OutOfRange,
    /// Nothing here answers to this name.
    Unimplemented,
    /// A promise of ours is broken.
    Internal,
    /// Not now; try again.
    Unavailable,
    /// What was stored is lost or damaged.
    DataLoss,
    /// Nobody knows who calls.
    Unauthenticated,
}

/// Each code of ours with gRPC's.
const CODES: [(Code, tonic::Code); 16] = [
    (Code::Cancelled, tonic::Code::Cancelled),
    (Code::Unknown, tonic::Code::Unknown),
    (Code::InvalidArgument, tonic::Code::InvalidArgument),
    (Code::DeadlineExceeded, tonic::Code::DeadlineExceeded),
    (Code::NotFound, tonic::Code::NotFound),
    (Code::AlreadyExists, tonic::Code::AlreadyExists),
    (Code::PermissionDenied, tonic::Code::PermissionDenied),
    (Code::ResourceExhausted, tonic::Code::ResourceExhausted),
    (Code::FailedPrecondition, tonic::Code::FailedPrecondition),
    (Code::Aborted, tonic::Code::Aborted),
    (Code::OutOfRange, tonic::Code::OutOfRange),
    (Code::Unimplemented, tonic::Code::Unimplemented),
    (Code::Internal, tonic::Code::Internal),
    (Code::Unavailable, tonic::Code::Unavailable),
    (Code::DataLoss, tonic::Code::DataLoss),
    (Code::Unauthenticated, tonic::Code::Unauthenticated),
];

impl From<Code> for tonic::Code {
    fn from(code: Code) -> Self {
        CODES.iter().find(|(ours, _)| *ours == code).map_or(Self::Unknown, |(_, theirs)| *theirs)
    }
}

impl From<tonic::Code> for Code {
    fn from(code: tonic::Code) -> Self {
        CODES.iter().find(|(_, theirs)| *theirs == code).map_or(Self::Unknown, |(ours, _)| *ours)
    }
}

/// The longest message that is sent: it travels in a header, percent-encoded, and once more in the details.
const MESSAGE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_crosses_the_wire_whole() {
        let failure = Failure::new(Code::FailedPrecondition, "STALE_EPOCH", "the epoch is 7, not 6")
            .with("epoch", 7)
            .with("expected_epoch", 6)
            .with_field("expected_epoch", "give the epoch that GetOriginPool shows")
            .with_precondition("EPOCH", "originPools/main", "read the pool again")
            .with_retry_after(Duration::from_millis(1500));
        assert_eq!(Failure::from(tonic::Status::from(failure.clone())), failure);
    }

    #[test]
    fn every_failure_carries_exactly_one_error_info() {
        let status = tonic::Status::from(Failure::invalid_field("name", "is empty"));
        let details = status.get_error_details_vec();
        let infos = details.iter().filter(|detail| matches!(detail, tonic_types::ErrorDetail::ErrorInfo(_)));
        assert_eq!(infos.count(), 1);
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn a_strangers_error_keeps_its_code_and_message() {
        let failure = Failure::from(tonic::Status::unavailable("gone fishing"));
        assert_eq!((failure.code, failure.message.as_str()), (Code::Unavailable, "gone fishing"));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let status = tonic::Status::from(Failure::new(Code::Internal, "LONG", "é".repeat(5000) + "x"));
        assert_eq!(status.message().len(), 1024);
    }
}
