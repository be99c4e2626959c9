//! Secrets, ConfigMaps and tokens of pods, as the Node authorizer lets a node have them: one object at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use core_references::{IssuedToken, TokenAsk};
use core_types::{KeyedKind, KeyedObject, KeyedRef, Mutability, Secret, WallTime};
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{self, ConfigMap, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ports::{ApiError, ApiResult, ObjectEvent, ReferencedObjects, ServiceAccountTokens};

use crate::{ApiClient, ApiObject, Follower, ObjectPath, Selector};

/// Secrets, ConfigMaps and tokens of pods.
#[derive(Clone, Debug)]
pub struct ApiReferences {
    client: ApiClient,
}

impl ApiReferences {
    /// Reads through this client.
    pub fn new(client: ApiClient) -> Self {
        Self { client }
    }

    fn follow_as<K>(&self, path: ObjectPath, name: &str) -> BoxStream<'static, ObjectEvent<KeyedObject>>
    where
        K: ApiObject + Into<Content>,
    {
        let selector = Selector { fields: format!("metadata.name={name}"), labels: String::new() };
        let follower = Follower::<K>::new(self.client.clone(), path, selector);
        follower.into_stream().map(translate).boxed()
    }
}

#[async_trait]
impl ReferencedObjects for ApiReferences {
    async fn read(&self, object: &KeyedRef) -> ApiResult<Option<KeyedObject>> {
        let KeyedRef { kind, namespace, name } = object;
        let read = match kind {
            KeyedKind::Secret => {
                let path = ObjectPath::namespaced::<v1::Secret>(namespace, name);
                self.client.get::<v1::Secret>(&path).await.map(Content::from)
            }
            KeyedKind::ConfigMap => {
                let path = ObjectPath::namespaced::<ConfigMap>(namespace, name);
                self.client.get::<ConfigMap>(&path).await.map(Content::from)
            }
        };
        match read {
            Ok(content) => Ok(Some(content.0)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn follow(&self, object: &KeyedRef) -> BoxStream<'static, ObjectEvent<KeyedObject>> {
        let KeyedRef { kind, namespace, name } = object;
        match kind {
            KeyedKind::Secret => {
                self.follow_as::<v1::Secret>(ObjectPath::collection::<v1::Secret>(namespace), name)
            }
            KeyedKind::ConfigMap => {
                self.follow_as::<ConfigMap>(ObjectPath::collection::<ConfigMap>(namespace), name)
            }
        }
    }
}

#[async_trait]
impl ServiceAccountTokens for ApiReferences {
    async fn request_token(&self, ask: &TokenAsk) -> ApiResult<IssuedToken> {
        let path = ObjectPath::namespaced::<ServiceAccount>(&ask.pod.namespace, &ask.service_account)
            .subresource("token");
        let request = TokenRequest {
            metadata: ObjectMeta::default(),
            spec: Some(TokenRequestSpec {
                attestations: None,
                audiences: Some(ask.audiences.clone()).filter(|audiences| !audiences.is_empty()),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(ask.pod.name.to_string()),
                    uid: Some(ask.pod_uid.to_string()),
                }),
                expiration_seconds: Some(ask.expiration_secs),
            }),
            status: None,
        };
        let answer: TokenRequest = self.client.create(&path, &request).await?;
        let status = answer.status.unwrap_or_default();
        let (Some(token), Some(end)) = (status.token, status.expiration_timestamp) else {
            let request = format!("POST serviceaccounts/{}/token", ask.service_account);
            return Err(ApiError::Malformed { request, problem: "the answer holds no token".to_owned() });
        };
        let secs = answer.spec.and_then(|spec| spec.expiration_seconds).unwrap_or(ask.expiration_secs);
        Ok(IssuedToken {
            token: Secret::new(token),
            expires_at: WallTime::from_api(&end),
            lifetime: Duration::from_secs(u64::try_from(secs).unwrap_or(0)),
        })
    }
}

/// The content of an object, whatever its kind.
struct Content(KeyedObject);

impl From<v1::Secret> for Content {
    fn from(secret: v1::Secret) -> Self {
        Self(KeyedObject {
            uid: secret.metadata.uid.unwrap_or_default(),
            data: bytes(secret.data),
            binary_data: BTreeMap::new(),
            type_: secret.type_.unwrap_or_default(),
            mutability: mutability(secret.immutable),
        })
    }
}

impl From<ConfigMap> for Content {
    fn from(map: ConfigMap) -> Self {
        let texts = map.data.unwrap_or_default().into_iter();
        Self(KeyedObject {
            uid: map.metadata.uid.unwrap_or_default(),
            data: texts.map(|(key, text)| (key, Secret::new(text.into_bytes()))).collect(),
            binary_data: bytes(map.binary_data),
            type_: String::new(),
            mutability: mutability(map.immutable),
        })
    }
}

fn bytes(data: Option<BTreeMap<String, ByteString>>) -> BTreeMap<String, Secret<Vec<u8>>> {
    let data = data.unwrap_or_default().into_iter();
    data.map(|(key, ByteString(value))| (key, Secret::new(value))).collect()
}

fn mutability(immutable: Option<bool>) -> Mutability {
    match immutable {
        Some(true) => Mutability::Immutable,
        _ => Mutability::Mutable,
    }
}

fn translate<K: Into<Content>>(event: ObjectEvent<K>) -> ObjectEvent<KeyedObject> {
    match event {
        ObjectEvent::Replaced(all) => {
            ObjectEvent::Replaced(all.into_iter().map(|object| object.into().0).collect())
        }
        ObjectEvent::Applied(object) => ObjectEvent::Applied(object.into().0),
        ObjectEvent::Deleted(object) => ObjectEvent::Deleted(object.into().0),
        ObjectEvent::Interrupted(error) => ObjectEvent::Interrupted(error),
    }
}

#[cfg(test)]
mod tests;
