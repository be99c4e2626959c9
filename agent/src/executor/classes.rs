//! The cgroups of the QoS classes: they get what their pods request together, when it changed and while pods are synced once a minute.

use std::time::Duration;

use core_cm::ClassRequests;
use core_cm::cgroup::{CgroupPath, CgroupValues};
use core_types::{MonoTime, QosClass};
use ports::CgroupError;
use tokio::sync::{Mutex, watch};

use super::Executor;
use super::context::Op;

/// How long they are taken to be as they were made (CONTRACT 5.2: upstream makes them anew every minute): somebody may change them.
const TRUSTED: Duration = Duration::from_secs(60);

/// What they should have and what they have.
pub(super) struct Classes {
    requests: watch::Receiver<ClassRequests>,
    /// What they were made from last, and when. Whoever writes holds it, so that nothing older is written after.
    in_force: Mutex<Option<(ClassRequests, MonoTime)>>,
}

impl Classes {
    pub(super) fn new(requests: watch::Receiver<ClassRequests>) -> Self {
        Self { requests, in_force: Mutex::new(None) }
    }
}

impl Executor {
    /// Gives the classes what the active pods request now.
    pub(super) async fn size_classes(&self, op: &Op) -> Result<(), CgroupError> {
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        let mut in_force = self.classes.in_force.lock().await;
        let (requests, now) = (*self.classes.requests.borrow(), op.now().mono);
        if in_force.is_some_and(|(known, since)| known == requests && now.since(since) < TRUSTED) {
            return Ok(());
        }
        *in_force = None;
        for class in QosClass::ALL {
            let values = core_cm::qos_values(class, &requests, &self.settings.node_facts);
            if values != CgroupValues::default() {
                cgroups.ensure(&CgroupPath::qos(class), &values).await?;
            }
        }
        *in_force = Some((requests, now));
        Ok(())
    }
}
