//! The cgroups of the QoS classes: they get what their pods request together, once in the agent's life and when it changed.

use std::sync::Arc;

use core_cm::cgroup::{CgroupPath, CgroupValues};
use core_cm::{ClassRequests, NodeFacts};
use core_types::QosClass;
use ports::{CgroupError, Cgroups};
use tokio::sync::{Mutex, watch};

/// What they should have and what they have.
pub(super) struct Classes {
    requests: watch::Receiver<ClassRequests>,
    /// What they were made from last. Whoever writes holds it, so that nothing older is written after.
    in_force: Mutex<Option<ClassRequests>>,
}

impl Classes {
    pub(super) fn new(requests: watch::Receiver<ClassRequests>) -> Self {
        Self { requests, in_force: Mutex::new(None) }
    }

    /// Gives the classes what the active pods request now.
    pub(super) async fn size(&self, cgroups: &Arc<dyn Cgroups>, node: &NodeFacts) -> Result<(), CgroupError> {
        let mut in_force = self.in_force.lock().await;
        let requests = *self.requests.borrow();
        if *in_force == Some(requests) {
            return Ok(());
        }
        *in_force = None;
        for class in QosClass::ALL {
            let values = core_cm::qos_values(class, &requests, node);
            if values != CgroupValues::default() {
                cgroups.ensure(&CgroupPath::qos(class), &values).await?;
            }
        }
        *in_force = Some(requests);
        Ok(())
    }
}
