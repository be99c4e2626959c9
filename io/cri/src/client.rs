//! The client: two channels (one when both services share a socket) and the rules that all calls share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use core_metrics::Registry;
use tonic::transport::Channel;

use crate::call::{Calls, Deadline};
use crate::connect;
use crate::endpoint::{Endpoint, EndpointError};
use crate::proto::image_service_client::ImageServiceClient;
use crate::proto::runtime_service_client::RuntimeServiceClient;

/// Largest reply that is read, upstream's limit. A list of some ten thousand containers fits.
const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;

/// Where the runtime is and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CriOptions {
    /// `containerRuntimeEndpoint`: `unix:///path` or a path.
    pub runtime_endpoint: String,
    /// `imageServiceEndpoint`; may be the runtime's.
    pub image_endpoint: String,
    /// `runtimeRequestTimeout`, the base of every call's deadline.
    pub request_timeout: Duration,
}

impl CriOptions {
    /// Both services on one socket, with upstream's request timeout of two minutes.
    pub fn new(endpoint: impl Into<String>) -> Self {
        let endpoint = endpoint.into();
        Self {
            runtime_endpoint: endpoint.clone(),
            image_endpoint: endpoint,
            request_timeout: Duration::from_secs(120),
        }
    }
}

/// The container runtime and image service behind CRI v1. Cheap to clone; clones share connections.
///
/// Deadlines (CONTRACT 0.3): the request timeout; twice that for `RunPodSandbox`; plus the grace period for
/// `StopContainer`; plus the exec timeout for `ExecSync`; none for `PullImage` and `GetContainerEvents`.
#[derive(Clone)]
pub struct CriClient {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    pub(crate) runtime_calls: Arc<Calls>,
    pub(crate) image_calls: Arc<Calls>,
    pub(crate) request_timeout: Duration,
}

impl CriClient {
    /// Prepares the connections. They are opened by the first call, so a runtime that is down is that call's
    /// error, not this one's. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When an endpoint is not a unix socket with an absolute path.
    pub fn connect(options: &CriOptions, metrics: &Registry) -> Result<Self, EndpointError> {
        let runtime_endpoint = Endpoint::parse(&options.runtime_endpoint)?;
        let image_endpoint = Endpoint::parse(&options.image_endpoint)?;
        let runtime = connect::channel(&runtime_endpoint);
        let images = if image_endpoint == runtime_endpoint {
            runtime.clone()
        } else {
            connect::channel(&image_endpoint)
        };
        Ok(Self {
            runtime: RuntimeServiceClient::new(runtime).max_decoding_message_size(MAX_REPLY_BYTES),
            images: ImageServiceClient::new(images).max_decoding_message_size(MAX_REPLY_BYTES),
            runtime_calls: Arc::new(Calls::new(runtime_endpoint.to_string(), metrics)),
            image_calls: Arc::new(Calls::new(image_endpoint.to_string(), metrics)),
            request_timeout: options.request_timeout,
        })
    }

    /// The generated client, which wants to be its caller's own.
    pub(crate) fn runtime(&self) -> RuntimeServiceClient<Channel> {
        self.runtime.clone()
    }

    /// The same for images.
    pub(crate) fn images(&self) -> ImageServiceClient<Channel> {
        self.images.clone()
    }

    /// The request timeout plus time that the call's own work may take.
    pub(crate) fn deadline_plus(&self, work: Duration) -> Deadline {
        Deadline::After(self.request_timeout.saturating_add(work))
    }

    /// The request timeout.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::After(self.request_timeout)
    }
}

impl fmt::Debug for CriClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CriClient").field("request_timeout", &self.request_timeout).finish_non_exhaustive()
    }
}
