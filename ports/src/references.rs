//! What pods refer to on the API server: Secrets and ConfigMaps, one at a time, and tokens of service accounts
//! (CONTRACT 6.10, 6.11). The node may read only objects that its own pods name.

use async_trait::async_trait;
use core_references::{IssuedToken, TokenAsk};
use core_types::{KeyedObject, KeyedRef};
use futures_core::stream::BoxStream;

use crate::api::{ApiResult, ObjectEvent};

/// Secrets and ConfigMaps.
#[async_trait]
pub trait ReferencedObjects: Send + Sync {
    /// Reads one object; `None` when it does not exist.
    async fn read(&self, object: &KeyedRef) -> ApiResult<Option<KeyedObject>>;
    /// Follows one object for as long as the stream is held. What it tells is the object alone or nothing.
    fn follow(&self, object: &KeyedRef) -> BoxStream<'static, ObjectEvent<KeyedObject>>;
}

/// Tokens of service accounts.
#[async_trait]
pub trait ServiceAccountTokens: Send + Sync {
    /// Asks for a token that is bound to the pod.
    async fn request_token(&self, ask: &TokenAsk) -> ApiResult<IssuedToken>;
}
