//! Holds all pods together to what the node does not keep back, and daemons to what is reserved for them (CONTRACT 5.5): the
//! limits of the cgroup `kubepods`, of `systemReservedCgroup` and of `kubeReservedCgroup`.
//!
//! Reads the settings and the runtime's cgroup driver. Publishes nothing. It sets the limits once, when the runtime is up; what
//! cannot be set is tried again each minute and told as upstream tells it. A reserved cgroup is never made: it is its daemons'.
//! Upstream's kubelet ends when there is none; here pods run, and the limits are set when it is there.

use std::sync::Arc;
use std::time::Duration;

use core_cm::cgroup::{CgroupPath, CgroupValues};
use core_cm::{node_values, reserved_values};
use core_types::runtime::CgroupDriver;
use ports::Cgroups;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::events::{Happening, Recorder};
use crate::outside::{CgroupBase, Outside};
use crate::runtime_watch::RuntimeUp;
use crate::settings::Settings;
use crate::{task, timer};

/// Wait before another try; upstream's.
const RETRY: Duration = Duration::from_secs(60);

/// Whether a cgroup may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Made,
    Awaited,
}

/// A cgroup that is to be held to limits.
struct Enforced {
    cgroups: Arc<dyn Cgroups>,
    path: CgroupPath,
    values: CgroupValues,
    presence: Presence,
    done: String,
    failed: String,
}

/// Sets the limits, and rests until it is stopped.
pub(crate) async fn enforce(
    outside: Outside,
    settings: Arc<Settings>,
    recorder: Recorder,
    mut up: watch::Receiver<RuntimeUp>,
    stop: CancellationToken,
) {
    let work = async {
        let driver = match up.wait_for(RuntimeUp::is_ready).await {
            Ok(up) => up.cgroup_driver.unwrap_or(settings.runtime.cgroup_driver),
            Err(_the_agent_stops) => return,
        };
        let mut waiting = wanted(&outside, &settings, driver);
        while !waiting.is_empty() {
            let mut failed = Vec::new();
            for one in waiting {
                match one.set().await {
                    Ok(()) => recorder.node(&Happening::normal("NodeAllocatableEnforced", one.done.clone())),
                    Err(problem) => {
                        let message = format!("{}: {problem}", one.failed);
                        recorder.node(&Happening::warning("FailedNodeAllocatableEnforcement", message));
                        failed.push(one);
                    }
                }
            }
            waiting = failed;
            if !waiting.is_empty() {
                timer::until(outside.clock.as_ref(), Some(outside.clock.now() + RETRY)).await;
            }
        }
    };
    task::until_stopped(&stop, work).await;
}

/// What is to be held to limits. A driver that cannot be used is told by the executor.
fn wanted(outside: &Outside, settings: &Settings, driver: CgroupDriver) -> Vec<Enforced> {
    let (Ok(of_pods), Ok(of_machine)) =
        ((outside.cgroups)(driver, CgroupBase::Pods), (outside.cgroups)(driver, CgroupBase::Machine))
    else {
        return Vec::new();
    };
    let root = &settings.runtime.cgroup_root;
    let pods = settings.reclaim.pods.iter().map(|limits| Enforced {
        cgroups: Arc::clone(&of_pods),
        path: CgroupPath::kubepods(),
        values: node_values(limits, &settings.node_facts),
        presence: Presence::Made,
        done: "Updated Node Allocatable limit across pods".to_owned(),
        failed: format!("Failed to update Node Allocatable Limits {root:?}"),
    });
    let reserved = settings.reclaim.reserved.iter().map(|reserved| {
        let (name, path) = (reserved.whose, &reserved.path);
        let title = if name == "system" { "System" } else { "Kube" };
        Enforced {
            cgroups: Arc::clone(&of_machine),
            path: CgroupPath::from_path(path, driver),
            values: reserved_values(&reserved.limits, &settings.node_facts),
            presence: Presence::Awaited,
            done: format!("Updated limits on {name} reserved cgroup {path}"),
            failed: format!("Failed to enforce {title} Reserved Cgroup Limits on {path:?}"),
        }
    });
    pods.chain(reserved).collect()
}

impl Enforced {
    async fn set(&self) -> Result<(), String> {
        let told = |error: ports::CgroupError| error.to_string();
        if self.presence == Presence::Awaited && !self.cgroups.exists(&self.path).await.map_err(told)? {
            return Err(
                "the cgroup is not there in every hierarchy: make it, or have its daemons make it".to_owned()
            );
        }
        self.cgroups.ensure(&self.path, &self.values).await.map_err(told)
    }
}
