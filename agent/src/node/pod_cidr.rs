//! Tells the runtime which addresses pods of this node get (CONTRACT 4.7): a runtime that writes the configuration of its network
//! itself waits for it.
//!
//! Reads: `spec.podCIDRs` of the Node object, whether the runtime is up. Publishes nothing. Calls `UpdateRuntimeConfig` once for
//! each new value.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use ports::{ContainerRuntime, RuntimeError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::SeenNode;
use crate::runtime_watch::RuntimeUp;
use crate::task;

/// Pause before the runtime is told again after it failed.
const RETRY: Duration = Duration::from_secs(10);

/// Runs until it is stopped. A runtime that does not want to know is not told again.
pub(super) async fn run(
    runtime: Arc<dyn ContainerRuntime>,
    seen: watch::Receiver<SeenNode>,
    up: watch::Receiver<RuntimeUp>,
    stop: CancellationToken,
) {
    task::until_stopped(&stop, tell(runtime.as_ref(), seen, up)).await;
}

async fn tell(
    runtime: &dyn ContainerRuntime,
    mut seen: watch::Receiver<SeenNode>,
    mut up: watch::Receiver<RuntimeUp>,
) {
    let mut told = String::new();
    loop {
        let news = seen.wait_for(|seen| ranges(seen.newest()) != told).await;
        let Ok(wanted) = news.map(|seen| ranges(seen.newest())) else { return };
        if up.wait_for(RuntimeUp::is_ready).await.is_err() {
            return;
        }
        match runtime.set_pod_cidr(&wanted).await {
            Ok(()) => {
                tracing::info!(old = told, new = wanted, "updating pod CIDR");
                told = wanted;
            }
            Err(RuntimeError::Unimplemented { .. }) => return,
            Err(error) => {
                tracing::error!(pod_cidr = wanted, %error, "the runtime cannot be told the pod CIDR, and is told again in {RETRY:?}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// The pods' ranges as the runtime takes them; empty while there are none.
fn ranges(node: Option<&Node>) -> String {
    let ranges = node.and_then(|node| node.spec.as_ref()).and_then(|spec| spec.pod_cidrs.as_deref());
    ranges.unwrap_or_default().join(",")
}
