//! Calls that were answered with an error, and connections that failed, counted: who is refused can be seen from outside.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use http::HeaderMap;
use telemetry::metrics::Samples;
use tonic::Code;

/// How many calls of which method were answered with which error, and how many connections came to no good end.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    counts: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// Connections that asked for nothing in time.
    unasked: AtomicU64,
    /// Connections that broke, or broke the rules of HTTP/2.
    broken: AtomicU64,
}

impl Failed {
    /// Looks at what ends an answer: its headers, if it has nothing else, or its trailers.
    pub(crate) fn note(&self, method: &'static str, end: &HeaderMap) {
        let Some(status) = end.get("grpc-status") else { return };
        let code = Code::from_bytes(status.as_bytes());
        if code != Code::Ok {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry((method, name(code))).or_default() += 1;
        }
    }

    pub(crate) fn count_unasked(&self) {
        self.unasked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sample(&self, samples: &mut Samples) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, code), count) in counts.iter() {
            let labels = [("method", *method), ("code", *code)];
            samples.counter("rpc_failed_total", "Calls answered with an error.", &labels, *count);
        }
        for (reason, count) in [("unasked", &self.unasked), ("broken", &self.broken)] {
            let help = "gRPC connections that asked for nothing in time, or broke.";
            samples.counter("rpc_connections_failed_total", help, &[("reason", reason)], count.load(Ordering::Relaxed));
        }
    }
}

/// `Service/Method` of a path; all that no service has are one.
pub(crate) fn method(path: &str) -> &'static str {
    let known = proto::METHODS.iter().find(|method| method.path == path);
    known.and_then(|method| method.path.rsplit('.').next()).unwrap_or("other")
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::Registry;

    use super::*;

    #[test]
    fn errors_are_counted_by_method_and_code_and_good_ends_are_not() {
        let failed = std::sync::Arc::new(Failed::default());
        let promote = method("/headwater.control.v1.OriginPoolService/PromoteMember");
        for (method, status) in [(promote, "7"), (promote, "7"), (promote, "0"), (method("/made/up"), "12")] {
            let mut end = HeaderMap::new();
            end.insert("grpc-status", status.parse().expect("a value"));
            failed.note(method, &end);
        }
        failed.note(promote, &HeaderMap::new());
        let registry = Registry::new();
        registry.collect(move |samples| failed.sample(samples));
        let page = registry.render();
        let counted: Vec<&str> = page.lines().filter(|line| line.contains("rpc_failed_total{")).collect();
        assert_eq!(counted.len(), 2, "{page}");
        assert!(counted[0].contains("OriginPoolService/PromoteMember") && counted[0].contains("PERMISSION_DENIED"));
        assert!(counted[0].ends_with(" 2") && counted[1].contains("\"other\""), "{page}");
    }
}
