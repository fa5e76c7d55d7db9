//! The allow-list that the protos declare.

use crate::authz::v1::Caller;

/// One method of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// `/package.Service/Method`, as an HTTP/2 request's path.
    pub path: &'static str,
    /// Who may call it.
    pub callers: &'static [Caller],
}

/// Every method of every service, in the order of paths.
pub static METHODS: &[Method] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// Who may call the method at `path`; nothing where there is no such method.
pub fn callers(path: &str) -> Option<&'static [Caller]> {
    let at = METHODS.binary_search_by(|method| method.path.cmp(path)).ok()?;
    Some(METHODS[at].callers)
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn every_method_names_its_callers() {
        let pool = DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
        let mut methods = 0;
        for service in pool.services() {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let callers = callers(&path).unwrap_or_default();
                assert!(!callers.is_empty(), "{path} has no option headwater.authz.v1.allow");
                assert!(!callers.contains(&Caller::Unspecified), "{path} admits CALLER_UNSPECIFIED");
                methods += 1;
            }
        }
        assert_eq!(methods, METHODS.len());
        assert!(methods > 0);
    }

    #[test]
    fn an_unknown_method_has_no_callers() {
        assert_eq!(callers("/headwater.relay.v1.RelayService/Nothing"), None);
        assert_eq!(callers(""), None);
    }

    #[test]
    fn an_edge_cannot_kick_and_an_operator_cannot_push() {
        let kick = callers("/headwater.node.v1.NodeService/KickSession").unwrap();
        assert!(kick.contains(&Caller::Operator) && !kick.contains(&Caller::Edge));
        assert!(!callers("/headwater.relay.v1.RelayService/Push").unwrap().contains(&Caller::Operator));
    }
}
