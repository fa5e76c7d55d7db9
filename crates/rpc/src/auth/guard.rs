//! The decision: may this caller call this method?

use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use telemetry::metrics::Samples;

use super::{Caller, TokenError, Tokens};
use crate::{
    server::Failed,
    status::{Code, Failure},
};

/// What a process knows about its callers; without tokens, nobody is admitted. Shared by all its servers, so that new
/// tokens reach them all.
#[derive(Debug, Default)]
pub struct Auth {
    tokens: RwLock<Arc<Tokens>>,
    loopback_is_operator: bool,
    failed: Failed,
}

impl Auth {
    /// Callers prove themselves with these tokens.
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens: RwLock::new(Arc::new(tokens)), ..Self::default() }
    }

    /// As `new`, and whoever calls from this host without a token is an operator. For `--dev` only.
    pub fn dev(tokens: Tokens) -> Self {
        Self { loopback_is_operator: true, ..Self::new(tokens) }
    }

    /// Callers prove themselves with the tokens of this directory, as the settings of a service name it; without one,
    /// no token is known.
    pub fn open(dir: Option<&Path>, dev: bool) -> Result<Self, TokenError> {
        let tokens = dir.map_or_else(|| Ok(Tokens::default()), Tokens::read_dir)?;
        if tokens.is_empty() && !dev {
            tracing::warn!(help = "give the directory `tokens`: no caller can be admitted", "tokens.none");
        }
        Ok(if dev { Self::dev(tokens) } else { Self::new(tokens) })
    }

    /// Reads the directory again. When that fails, the tokens known so far stay.
    pub fn read_again(&self, dir: Option<&Path>) {
        let Some(dir) = dir else { return };
        match Tokens::read_dir(dir) {
            Ok(tokens) => self.replace(tokens),
            Err(error) => tracing::error!(%error, "tokens.not_reloaded"),
        }
    }

    /// Takes these tokens from now on. Calls that run go on.
    pub fn replace(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
    }

    /// Shows on a metrics page how many calls all its servers have answered with an error, and how many connections failed.
    pub fn sample(&self, samples: &mut Samples) {
        self.failed.sample(samples);
    }

    /// The calls that were answered with an error.
    pub(crate) fn failed(&self) -> &Failed {
        &self.failed
    }

    /// Who calls `path` from `peer` with this `authorization`, if they may. None: somebody who need not be known.
    pub fn admit(
        &self,
        path: &str,
        authorization: Option<&str>,
        peer: Option<IpAddr>,
    ) -> Result<Option<Caller>, Refusal> {
        if OPEN_SERVICES.iter().any(|service| path.starts_with(service)) {
            return Ok(self.identify(authorization, peer).ok());
        }
        let allowed = proto::callers(path).ok_or(Refusal::UnknownMethod)?;
        let caller = self.identify(authorization, peer)?;
        if allowed.contains(&caller.on_the_wire()) { Ok(Some(caller)) } else { Err(Refusal::NotAllowed(caller)) }
    }

    fn identify(&self, authorization: Option<&str>, peer: Option<IpAddr>) -> Result<Caller, Refusal> {
        let Some(authorization) = authorization else {
            let here = peer.is_some_and(|ip| ip.to_canonical().is_loopback());
            return if self.loopback_is_operator && here { Ok(Caller::Operator) } else { Err(Refusal::NoToken) };
        };
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone();
        let presented = bearer(authorization).ok_or(Refusal::BadToken)?;
        tokens.identify(presented).ok_or(Refusal::BadToken)
    }
}

/// The token in `Bearer TOKEN`; the scheme's case does not count.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No service has such a method.
    #[error("no such method")]
    UnknownMethod,
    /// The call carries no token.
    #[error("the call carries no token: send the header `authorization: Bearer TOKEN`")]
    NoToken,
    /// The token is nobody's.
    #[error("the token is not known here")]
    BadToken,
    /// This caller may not call this method.
    #[error("{0} may not call this method")]
    NotAllowed(Caller),
}

impl Refusal {
    /// The refusal as an answer.
    pub(crate) fn failure(self, path: &str) -> Failure {
        let (code, reason) = match self {
            Self::UnknownMethod => (Code::Unimplemented, "METHOD_UNKNOWN"),
            Self::NoToken => (Code::Unauthenticated, "TOKEN_MISSING"),
            Self::BadToken => (Code::Unauthenticated, "TOKEN_UNKNOWN"),
            Self::NotAllowed(_) => (Code::PermissionDenied, "CALLER_NOT_ALLOWED"),
        };
        let method: String = path.chars().take(PATH_CHARS_MAX).collect();
        let failure = Failure::new(code, reason, format!("{method}: {self}")).with("method", method);
        match self {
            Self::NotAllowed(caller) => failure.with("caller", caller),
            _ => failure,
        }
    }
}

/// Services that everybody may call: probes have no tokens, and the protos are no secret.
const OPEN_SERVICES: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];
/// How much of an unknown path is told back.
const PATH_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Token;

    const PING: &str = "/headwater.node.v1.NodeService/Ping";
    const CHECK: &str = "/grpc.health.v1.Health/Check";
    const PUSH: &str = "/headwater.relay.v1.RelayService/Push";

    /// A guard that knows one token of each kind, and those tokens.
    fn tokens() -> (Tokens, Vec<(Caller, String)>) {
        let mut tokens = Tokens::default();
        let mut headers = Vec::new();
        for caller in Caller::ALL {
            let token = Token::generate();
            tokens.add(caller, &token);
            headers.push((caller, format!("Bearer {}", token.secret())));
        }
        (tokens, headers)
    }

    #[test]
    fn every_method_admits_exactly_the_callers_that_its_proto_names() {
        let (tokens, headers) = tokens();
        let auth = Auth::new(tokens);
        for method in proto::METHODS {
            for (caller, header) in &headers {
                let expected = if method.callers.contains(&caller.on_the_wire()) {
                    Ok(Some(*caller))
                } else {
                    Err(Refusal::NotAllowed(*caller))
                };
                assert_eq!(auth.admit(method.path, Some(header), None), expected, "{caller} {}", method.path);
            }
            assert_eq!(auth.admit(method.path, None, Some(IpAddr::from([127, 0, 0, 1]))), Err(Refusal::NoToken));
            assert_eq!(auth.admit(method.path, Some("Bearer wrong-token-0123456"), None), Err(Refusal::BadToken));
            assert_eq!(auth.admit(method.path, Some("Basic b3BlcmF0b3I6"), None), Err(Refusal::BadToken));
        }
    }

    #[test]
    fn without_a_token_only_dev_and_loopback_make_an_operator() {
        let auth = Auth::dev(Tokens::default());
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        for here in [IpAddr::from([127, 0, 0, 1]), "::1".parse().unwrap(), mapped] {
            assert_eq!(auth.admit(PING, None, Some(here)), Ok(Some(Caller::Operator)));
            assert_eq!(auth.admit(PUSH, None, Some(here)), Err(Refusal::NotAllowed(Caller::Operator)));
        }
        assert_eq!(auth.admit(PING, None, Some(IpAddr::from([10, 0, 0, 1]))), Err(Refusal::NoToken));
        assert_eq!(auth.admit(PING, None, None), Err(Refusal::NoToken));
        let wrong = auth.admit(PING, Some("Bearer wrong-token-0123456"), Some(mapped));
        assert_eq!(wrong, Err(Refusal::BadToken), "a wrong token is not the same as none");
    }

    #[test]
    fn unknown_methods_are_unimplemented_and_probes_need_no_token() {
        let auth = Auth::new(Tokens::default());
        assert_eq!(auth.admit("/headwater.node.v1.NodeService/Nothing", None, None), Err(Refusal::UnknownMethod));
        assert_eq!(Refusal::UnknownMethod.failure("/x").code, Code::Unimplemented);
        assert_eq!(auth.admit(CHECK, None, None), Ok(None));
        assert_eq!(auth.admit(CHECK, Some("Bearer wrong-token-0123456"), None), Ok(None));
    }

    #[test]
    fn whoever_has_a_token_is_known_to_open_services_too() {
        let (tokens, headers) = tokens();
        let auth = Auth::new(tokens);
        for (caller, header) in &headers {
            assert_eq!(auth.admit(CHECK, Some(header), None), Ok(Some(*caller)));
        }
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(Auth::dev(Tokens::default()).admit(CHECK, None, here), Ok(Some(Caller::Operator)));
    }

    #[test]
    fn new_tokens_count_at_once() {
        let (tokens, headers) = tokens();
        let auth = Auth::new(tokens);
        auth.replace(Tokens::default());
        assert_eq!(auth.admit(PING, Some(&headers[0].1), None), Err(Refusal::BadToken));
    }
}
