//! What earlier lives of the agent left behind: directories and cgroups of pods that are gone (CONTRACT 3.8).

use std::collections::BTreeSet;
use std::sync::Arc;

use core_types::PodUid;

use crate::executor::Executor;
use crate::outside::Outside;

/// UIDs of all pods that have a directory or a cgroup. The sync loop knows which of them are wanted.
pub(crate) async fn leftovers(outside: Outside, executor: Arc<Executor>) -> Vec<PodUid> {
    let mut uids = BTreeSet::new();
    match outside.files.list_pod_dirs().await {
        Ok(found) => uids.extend(found),
        Err(error) => tracing::warn!(%error, "cannot look for directories of removed pods"),
    }
    if let Some(cgroups) = executor.cgroups() {
        match cgroups.list_pods().await {
            Ok(found) => uids.extend(found.into_iter().map(|(uid, _)| uid)),
            Err(error) => tracing::warn!(%error, "cannot look for cgroups of removed pods"),
        }
    }
    uids.into_iter().collect()
}
