//! The ports of what pods refer to, with a memory: what they tell is learned, and what the memory holds is told when the server
//! is away.

use std::sync::Arc;

use async_trait::async_trait;
use core_references::{IssuedToken, TokenAsk};
use core_types::{KeyedObject, KeyedRef};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ports::{ApiResult, ObjectEvent, ReferencedObjects, ServiceAccountTokens};

use super::Offline;
use crate::outside::Cluster;

/// The cluster whose objects and tokens go through the memory.
pub(crate) fn with_memory(cluster: Cluster, offline: &Offline) -> Cluster {
    let objects = remembered_objects(cluster.objects, offline);
    let tokens = RememberedTokens { inner: cluster.tokens, offline: offline.clone() };
    Cluster { objects, tokens: Arc::new(tokens), ..cluster }
}

/// Objects that go through the memory.
pub(super) fn remembered_objects(
    inner: Arc<dyn ReferencedObjects>,
    offline: &Offline,
) -> Arc<dyn ReferencedObjects> {
    Arc::new(RememberedObjects { inner, offline: offline.clone() })
}

struct RememberedObjects {
    inner: Arc<dyn ReferencedObjects>,
    offline: Offline,
}

#[async_trait]
impl ReferencedObjects for RememberedObjects {
    async fn read(&self, object: &KeyedRef) -> ApiResult<Option<KeyedObject>> {
        if let Some(known) = self.offline.object(object) {
            return Ok(known.map(Arc::unwrap_or_clone));
        }
        let read = self.inner.read(object).await?;
        self.offline.learn_object(object, read.as_ref());
        Ok(read)
    }

    fn follow(&self, object: &KeyedRef) -> BoxStream<'static, ObjectEvent<KeyedObject>> {
        let following = Following {
            inner: self.inner.follow(object),
            object: object.clone(),
            offline: self.offline.clone(),
            is_told: false,
        };
        let next = |mut following: Following| async move { Some((following.next().await?, following)) };
        stream::unfold(following, next).boxed()
    }
}

struct Following {
    inner: BoxStream<'static, ObjectEvent<KeyedObject>>,
    object: KeyedRef,
    offline: Offline,
    /// Something was told of the object.
    is_told: bool,
}

impl Following {
    async fn next(&mut self) -> Option<ObjectEvent<KeyedObject>> {
        let known = self.offline.part(|memory| memory.objects.get(&self.object).cloned());
        let event = tokio::select! {
            biased;
            event = self.inner.next() => event?,
            known = known, if !self.is_told => {
                self.is_told = true;
                return Some(ObjectEvent::Replaced(known.map(Arc::unwrap_or_clone).into_iter().collect()));
            }
        };
        let content = match &event {
            ObjectEvent::Replaced(all) => all.last(),
            ObjectEvent::Applied(content) => Some(content),
            ObjectEvent::Deleted(_) => None,
            ObjectEvent::Interrupted(_) => return Some(event),
        };
        self.is_told = true;
        self.offline.learn_object(&self.object, content);
        Some(event)
    }
}

struct RememberedTokens {
    inner: Arc<dyn ServiceAccountTokens>,
    offline: Offline,
}

#[async_trait]
impl ServiceAccountTokens for RememberedTokens {
    async fn request_token(&self, ask: &TokenAsk) -> ApiResult<IssuedToken> {
        if let Some(known) = self.offline.token(ask) {
            return Ok(known);
        }
        let issued = self.inner.request_token(ask).await?;
        self.offline.learn_token(ask, &issued);
        Ok(issued)
    }
}
