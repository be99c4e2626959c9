//! The pods that count for the QoS cgroups, and what they request together: the executor reads it when it sizes the classes.

use core_cm::{ActiveRequests, ClassRequests};
use core_types::PodUid;
use core_types::api::Pod;
use tokio::sync::watch;

/// The pods, and where their sum is published.
#[derive(Default)]
pub(crate) struct Active {
    pods: ActiveRequests,
    sum: watch::Sender<ClassRequests>,
}

impl Active {
    /// What they request together, now and later.
    pub(crate) fn requests(&self) -> watch::Receiver<ClassRequests> {
        self.sum.subscribe()
    }

    /// The pod as it counts now; `None` when it does not.
    pub(crate) fn count(&mut self, uid: &PodUid, pod: Option<&Pod>) {
        match pod {
            Some(pod) => self.pods.put(uid, pod),
            None => self.pods.remove(uid),
        }
        let sum = self.pods.sum();
        self.sum.send_if_modified(|known| std::mem::replace(known, sum) != sum);
    }
}
