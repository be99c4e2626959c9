//! Holds all pods together to what the node does not keep back (CONTRACT 5.5): the limits of the cgroup `kubepods`.
//!
//! Reads the settings and the runtime's cgroup driver. Publishes nothing. It sets the limits once, when the runtime is up; what
//! cannot be set is tried again each minute and told as upstream tells it.

use std::time::Duration;

use core_cm::cgroup::CgroupPath;
use core_cm::{NodeFacts, ResourceList, node_values};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::events::{Happening, Recorder};
use crate::outside::Outside;
use crate::runtime_watch::RuntimeUp;
use crate::settings::Settings;
use crate::timer;

/// Wait before another try; upstream's.
const RETRY: Duration = Duration::from_secs(60);

/// Sets the limits, and rests until it is stopped.
pub(crate) async fn enforce(
    outside: Outside,
    (settings, limits): (std::sync::Arc<Settings>, ResourceList),
    recorder: Recorder,
    mut up: watch::Receiver<RuntimeUp>,
    stop: CancellationToken,
) {
    let work = async {
        let driver = match up.wait_for(RuntimeUp::is_ready).await {
            Ok(up) => up.cgroup_driver.unwrap_or(settings.runtime.cgroup_driver),
            Err(_the_agent_stops) => return,
        };
        // A driver that cannot be used is told by the executor.
        let Ok(cgroups) = (outside.cgroups)(driver) else { return };
        let facts: &NodeFacts = &settings.node_facts;
        let values = node_values(&limits, facts);
        while let Err(error) = cgroups.ensure(&CgroupPath::kubepods(), &values).await {
            let root = &settings.runtime.cgroup_root;
            let message = format!("Failed to update Node Allocatable Limits {root:?}: {error}");
            recorder.node(&Happening::warning("FailedNodeAllocatableEnforcement", message));
            timer::until(outside.clock.as_ref(), Some(outside.clock.now() + RETRY)).await;
        }
        let message = "Updated Node Allocatable limit across pods";
        recorder.node(&Happening::normal("NodeAllocatableEnforced", message));
    };
    // A task that ends by itself would end the agent.
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = work => {}
    }
    stop.cancelled().await;
}
