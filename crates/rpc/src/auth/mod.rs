//! Who calls, and whether they may.
//!
//! Each kind of caller proves itself with a bearer token. One layer in front of all services looks up the
//! method's allow-list, which the .proto files declare, before anything of the request is decoded.

mod guard;
mod layer;
mod token;

pub use guard::{Auth, Refusal};
pub(crate) use layer::AuthLayer;
pub use token::{Token, TokenError, Tokens, write_tokens};

/// The kinds of callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Caller {
    /// A person, or a person's tool, who may change things.
    Operator,
    /// A person or a monitor that may only look.
    ViewerOps,
    /// A control plane.
    Control,
    /// An origin.
    Origin,
    /// An edge.
    Edge,
    /// A tool that brings streams in.
    PublisherTool,
}

impl Caller {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Operator, Self::ViewerOps, Self::Control, Self::Origin, Self::Edge, Self::PublisherTool];

    /// The name of the kind, which is that of its token's file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::ViewerOps => "viewer-ops",
            Self::Control => "control",
            Self::Origin => "origin",
            Self::Edge => "edge",
            Self::PublisherTool => "publisher-tool",
        }
    }

    /// The kind as the .proto files name it.
    fn on_the_wire(self) -> proto::authz::v1::Caller {
        use proto::authz::v1::Caller as Wire;
        match self {
            Self::Operator => Wire::Operator,
            Self::ViewerOps => Wire::ViewerOps,
            Self::Control => Wire::Control,
            Self::Origin => Wire::Origin,
            Self::Edge => Wire::Edge,
            Self::PublisherTool => Wire::PublisherTool,
        }
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
