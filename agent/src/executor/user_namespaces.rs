//! User namespaces of pods (CONTRACT 3.22): gives a pod its block of IDs, and keeps that in the pod's directory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use core_runtime::user_namespaces::{
    IdPool, MAX_FILE_BYTES, PodUsers, UserNamespaceError, UserNamespaces, encode,
};
use core_types::PodExt;
use core_types::api::Pod;
use tokio::sync::OnceCell;

use super::Executor;
use super::context::{Op, StepError, StepResult};
use crate::outside::Outside;

/// The blocks. They are read from the directories of pods when the first pod asks for one, so that a node without such pods
/// reads nothing.
pub(super) struct UserIds {
    pool: IdPool,
    blocks: OnceCell<Mutex<UserNamespaces>>,
}

impl UserIds {
    pub(super) fn new(pool: IdPool) -> Self {
        Self { pool, blocks: OnceCell::new() }
    }

    async fn blocks(&self, outside: &Outside) -> Result<&Mutex<UserNamespaces>, String> {
        self.blocks.get_or_try_init(|| self.restore(outside)).await
    }

    /// Takes up what every pod with a directory holds. A file that cannot be used is told; its pod fails when it asks.
    async fn restore(&self, outside: &Outside) -> Result<Mutex<UserNamespaces>, String> {
        let mut blocks = UserNamespaces::new(self.pool);
        for uid in outside.files.list_pod_dirs().await.map_err(|error| error.to_string())? {
            let content = outside.files.read_user_namespace(&uid, MAX_FILE_BYTES).await;
            let restored = match content {
                Ok(None) => continue,
                Ok(Some(content)) => blocks.restore(&uid, &content).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = restored {
                tracing::error!(pod_uid = %uid, %error, "the ID mapping of a pod cannot be used; no container of it can start");
            }
        }
        Ok(Mutex::new(blocks))
    }
}

/// The lock is held for a few instructions and never across an await.
fn lock(blocks: &Mutex<UserNamespaces>) -> MutexGuard<'_, UserNamespaces> {
    blocks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the pod asks for users of its own (`hostUsers: false`).
pub(super) fn wants_own_users(pod: &Pod) -> bool {
    pod.spec_ref().and_then(|spec| spec.host_users) == Some(false)
}

impl Executor {
    /// In which user namespace the pod runs with this runtime handler. The first call for a pod takes a block for it.
    pub(super) async fn pod_users(&self, op: &Op, pod: &Pod, handler: &str) -> Result<PodUsers, String> {
        if !wants_own_users(pod) {
            return Ok(PodUsers::OfHost);
        }
        let handlers = op.runtime.status.iter().flat_map(|status| &status.handlers);
        if !handlers.into_iter().any(|known| known.name == handler && known.user_namespaces) {
            return Err(UserNamespaceError::Unsupported { handler: handler.to_owned() }.to_string());
        }
        let files = &self.outside.files;
        let text = |error: UserNamespaceError| error.to_string();
        let blocks = self.user_ids.blocks(&self.outside).await?;
        let content =
            files.read_user_namespace(&op.uid, MAX_FILE_BYTES).await.map_err(|error| error.to_string())?;
        if let Some(content) = content.filter(|content| !content.is_empty()) {
            return lock(blocks).restore(&op.uid, &content).map(PodUsers::Own).map_err(text);
        }
        let own = lock(blocks).obtain(&op.uid).map_err(text)?;
        // The block stays the pod's when the file cannot be written: it is tried again with the same one.
        let written = files.write_user_namespace(&op.uid, &encode(&own)).await;
        written.map_err(|error| format!("create user namespace: {error}"))?;
        Ok(PodUsers::Own(own))
    }

    /// Gives the block of a stopped pod back: the file first, so that a killed agent does not take it up again.
    pub(super) async fn release_user_namespace(&self, op: &Op) -> StepResult<()> {
        let removed = self.outside.files.remove_user_namespace(&op.uid).await;
        removed.map_err(|error| StepError::failed("FailedRemove", error))?;
        if let Some(blocks) = self.user_ids.blocks.get() {
            lock(blocks).release(&op.uid);
        }
        Ok(())
    }
}
