//! The client's side of a connection: where to, as whom, and how its death is noticed.

use std::{error::Error, fmt::Write, sync::Arc, time::Duration};

use hyper_util::client::legacy::connect::HttpConnector;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Endpoint,
};
use tracing::debug;

use crate::{
    auth::Token,
    server::{CONNECTION_WINDOW_BYTES, FRAME_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES},
};

/// Where to connect, and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// `HOST:PORT` each, tried in this order; a host with several addresses has them tried in turn.
    pub addresses: Vec<String>,
    /// What to present, if anything.
    pub token: Option<Token>,
    /// How long each address has to accept.
    pub connect_timeout: Duration,
}

impl Target {
    /// These addresses, with a second for each.
    pub fn new(addresses: impl IntoIterator<Item = impl Into<String>>, token: Option<Token>) -> Self {
        let addresses = addresses.into_iter().map(Into::into).collect();
        Self { addresses, token, connect_timeout: CONNECT_TIMEOUT }
    }
}

/// A connection that calls can be made on; cheap to clone. When it breaks, its calls fail at once; a later call connects
/// to the same address again.
#[derive(Clone, Debug)]
pub struct Channel {
    inner: Authorised,
    address: Arc<str>,
}

impl Channel {
    /// Connects to the first address that accepts.
    pub async fn connect(target: &Target) -> Result<Self, ConnectError> {
        let mut tried = Vec::new();
        for address in &target.addresses {
            match open(address, target.connect_timeout).await {
                Ok(channel) => {
                    let inner = InterceptedService::new(channel, Bearer::new(target.token.as_ref()));
                    return Ok(Self { inner, address: address.as_str().into() });
                }
                Err(error) => {
                    let why = chain(error.as_ref());
                    debug!(%address, %why, "rpc.connect_failed");
                    tried.push((address.clone(), why));
                }
            }
        }
        Err(ConnectError { tried })
    }

    /// The address that accepted, as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What generated clients call through.
    pub(crate) fn service(&self) -> Authorised {
        self.inner.clone()
    }
}

/// A connection that presents a token with each call.
pub(crate) type Authorised = InterceptedService<tonic::transport::Channel, Bearer>;

async fn open(address: &str, timeout: Duration) -> Result<tonic::transport::Channel, Box<dyn Error + Send + Sync>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    if endpoint.uri().port().is_none() {
        return Err("the address has no port".into());
    }
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(timeout));
    connector.set_keepalive(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_interval(Some(KEEPALIVE_TIMEOUT / TCP_PROBES));
    connector.set_keepalive_retries(Some(TCP_PROBES));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
    let endpoint = endpoint
        .connect_timeout(timeout)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    Ok(endpoint.connect_with_connector(connector).await?)
}

/// An error with what caused it: "transport error" alone helps nobody.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !told.contains(&cause) {
            let _ = write!(told, ": {cause}");
        }
        source = error.source();
    }
    told
}

/// Puts the token into each call.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    authorization: Option<MetadataValue<Ascii>>,
}

impl Bearer {
    fn new(token: Option<&Token>) -> Self {
        let authorization = token.map(|token| {
            let mut value = MetadataValue::try_from(format!("Bearer {}", token.secret()))
                .expect("tokens are printable, which a header allows");
            value.set_sensitive(true);
            value
        });
        Self { authorization }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

/// No address accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot connect: {}", told(tried))]
pub struct ConnectError {
    /// Each address and what became of it.
    pub tried: Vec<(String, String)>,
}

fn told(tried: &[(String, String)]) -> String {
    if tried.is_empty() {
        return "no address is given".to_owned();
    }
    tried.iter().map(|(address, why)| format!("{address}: {why}")).collect::<Vec<_>>().join("; ")
}

/// How long an address has to accept, unless said otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Data that the other side has not acknowledged for so long breaks the connection: a host that vanished is noticed.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(1);
/// Unanswered probes that break an idle connection.
const TCP_PROBES: u32 = 2;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_first_address_that_accepts_is_taken() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::new([closed.to_string(), open.local_addr().unwrap().to_string()], None);
        assert_eq!(Channel::connect(&target).await.unwrap().address(), target.addresses[1]);
    }

    #[tokio::test]
    async fn a_failure_names_each_address_and_why() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Channel::connect(&Target::new([closed.to_string(), "no-port".into()], None)).await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains(&closed.to_string()) && told.contains("refused"), "{told}");
        assert!(told.contains("no-port: the address has no port"), "{told}");
        assert!(Channel::connect(&Target::new([""; 0], None)).await.unwrap_err().to_string().contains("no address"));
    }
}
