//! Spans sent to an OpenTelemetry collector, when one is configured.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

/// Batches finished spans and sends them by OTLP over gRPC.
#[derive(Debug)]
pub(crate) struct Exporter {
    provider: SdkTracerProvider,
}

impl Exporter {
    /// Connects when the first span is sent; a collector that is away costs only the spans.
    pub(crate) fn new(service: &str, endpoint: &str) -> Result<Self, String> {
        let exporter =
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().map_err(|error| error.to_string())?;
        let resource = Resource::builder().with_service_name(service.to_owned()).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Self { provider })
    }

    /// The layer that turns spans into exported ones.
    pub(crate) fn layer<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer().with_tracer(self.provider.tracer("headwater"))
    }

    /// Sends what is left, for a bounded time.
    pub(crate) fn flush(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(std::time::Duration::from_secs(2)) {
            tracing::warn!(%error, "traces.not_flushed");
        }
    }
}
