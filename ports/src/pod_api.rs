//! The pods of this node at the API server (CONTRACT 3.1, 3.30, 4.5).

use async_trait::async_trait;
use core_types::api::Pod;
use core_types::{PodKey, PodUid};
use futures_core::stream::BoxStream;
use serde_json::Value;

use crate::api::{ApiResult, ObjectEvent};

/// Pods at the API server. Every call is bounded in time.
#[async_trait]
pub trait PodApi: Send + Sync {
    /// Follows the pods that are bound to this node. The stream never ends; it asks only while it is polled.
    fn follow(&self) -> BoxStream<'static, ObjectEvent<Pod>>;
    /// Strategic merge patch of a pod's status sub-resource; gives the pod as it is then.
    async fn patch_status(&self, key: &PodKey, patch: &Value) -> ApiResult<Pod>;
    /// Makes a (mirror) pod.
    async fn create(&self, pod: &Pod) -> ApiResult<Pod>;
    /// Deletes a pod at once, if it has this UID.
    async fn delete_now(&self, key: &PodKey, uid: &PodUid) -> ApiResult<()>;
    /// UID of this node's own object, which owns its mirror pods.
    async fn node_uid(&self) -> ApiResult<String>;
}
