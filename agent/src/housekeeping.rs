//! What earlier lives of the agent left behind: directories, logs and cgroups of pods that are gone (CONTRACT 3.8, 5.12).

use std::collections::BTreeSet;
use std::sync::Arc;

use core_types::PodUid;

use crate::executor::Executor;
use crate::outside::Outside;

/// UIDs of all pods that have a directory, logs or a cgroup. The sync loop knows which of them are wanted. Links to logs that
/// are gone go right away.
pub(crate) async fn leftovers(outside: Outside, executor: Arc<Executor>) -> Vec<PodUid> {
    let mut uids = BTreeSet::new();
    for found in [outside.files.list_pod_dirs().await, outside.files.list_log_dirs().await] {
        match found {
            Ok(found) => uids.extend(found),
            Err(error) => tracing::warn!(%error, "cannot look for directories of removed pods"),
        }
    }
    if let Err(error) = outside.files.remove_dead_log_links().await {
        tracing::warn!(%error, "cannot look for links to logs that are gone");
    }
    if let Some(cgroups) = executor.cgroups() {
        match cgroups.list_pods().await {
            Ok(found) => uids.extend(found.into_iter().map(|(uid, _)| uid)),
            Err(error) => tracing::warn!(%error, "cannot look for cgroups of removed pods"),
        }
    }
    uids.into_iter().collect()
}
