//! What an operation reads from the API server for a pod: Secrets, ConfigMaps, tokens of service accounts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_references::token::MAX_JITTER;
use core_references::trust::TrustBook;
use core_references::{IssuedToken, TokenAsk, container_references, references};
use core_runtime::runtime_class::{RuntimeClasses, RuntimeHandler, runtime_handler};
use core_runtime::service_links::ServiceBook;
use core_types::api::{Container, Pod};
use core_types::{ApiObjects, KeyedRef, Lookup, PodExt, Secret};

use super::Executor;
use super::context::Op;

/// Pause before a token that could not be renewed is asked for again, as long as the old one is good.
const RENEW_RETRY: Duration = Duration::from_secs(30);

/// Objects that were read for a pod; `None` without an API server.
pub(crate) struct ReadObjects(Option<BTreeMap<KeyedRef, Lookup>>);

impl ReadObjects {
    /// As planners take them.
    pub(crate) fn as_api(&self) -> ApiObjects<'_> {
        self.0.as_ref().map_or(ApiObjects::Standalone, ApiObjects::Read)
    }
}

impl Executor {
    /// Says what the pod refers to, and reads what its mounted volumes show.
    pub(super) async fn volume_objects(&self, op: &Op, pod: &Pod) -> ReadObjects {
        let Some(objects) = &self.objects else { return ReadObjects(None) };
        objects.register(&op.uid, references(pod)).await;
        ReadObjects(Some(objects.get_all(core_volumes::object_references(pod)).await))
    }

    /// What the environment of a container refers to.
    pub(super) async fn env_objects(&self, pod: &Pod, container: &Container) -> ReadObjects {
        let Some(objects) = &self.objects else { return ReadObjects(None) };
        let wanted = container_references(&pod.key().namespace, container);
        ReadObjects(Some(objects.get_all(wanted).await))
    }

    /// The tokens that the pod's volumes show, renewed when it is time. The operation comes back for the next renewal.
    pub(super) async fn tokens(
        &self,
        op: &mut Op,
        pod: &Pod,
    ) -> BTreeMap<TokenAsk, Result<Secret<String>, String>> {
        let Some(cluster) = self.outside.cluster.clone() else { return BTreeMap::new() };
        let mut tokens = BTreeMap::new();
        for ask in core_volumes::token_asks(pod) {
            let known = op.memory.tokens.remove(&ask);
            if let Some(known) = known.clone().filter(|known| known.renew_at > op.now().wall) {
                op.again_at_wall(known.renew_at);
                tokens.insert(ask.clone(), Ok(known.issued.token.clone()));
                op.memory.tokens.insert(ask, known);
                continue;
            }
            let token = match (cluster.tokens.request_token(&ask).await, known) {
                (Ok(issued), _) => {
                    // One that is due when it comes, by another clock or from memory, is not asked for without a pause.
                    let due = issued.renew_at(MAX_JITTER.mul_f64(fastrand::f64()));
                    let renew_at = due.max(op.now().wall + RENEW_RETRY);
                    Ok(KnownToken { issued, renew_at })
                }
                (Err(error), Some(old)) if !old.issued.is_expired(op.now().wall) => {
                    tracing::error!(pod = %op.key, %error, "couldn't update a token; the old one is still good");
                    Ok(KnownToken { renew_at: op.now().wall + RENEW_RETRY, ..old })
                }
                (Err(error), Some(_)) => Err(format!(
                    "token of service account {}/{} expired and refresh failed: {error}",
                    ask.pod.namespace, ask.service_account
                )),
                (Err(error), None) => Err(format!("failed to fetch token: {error}")),
            };
            let shown = token.as_ref().map(|known| known.issued.token.clone()).map_err(Clone::clone);
            if let Ok(known) = token {
                op.again_at_wall(known.renew_at);
                op.memory.tokens.insert(ask.clone(), known);
            }
            tokens.insert(ask, shown);
        }
        // What no volume asks for any more is not kept.
        op.memory.tokens.retain(|ask, _| tokens.contains_key(ask));
        tokens
    }
}

impl Executor {
    /// Services of the cluster: `None` without an API server, `Some(None)` when it has not told them. Static pods do not
    /// wait for it.
    pub(super) async fn services(&self, pod: &Pod) -> Option<Option<Arc<ServiceBook>>> {
        let services = &self.collections.as_ref()?.services;
        Some(if pod.is_static() { services.now() } else { services.get().await })
    }

    /// Trust bundles of the cluster, for a pod that shows any: `None` without an API server.
    pub(super) async fn trust_bundles(&self, pod: &Pod) -> Option<Option<Arc<TrustBook>>> {
        let trust = &self.collections.as_ref()?.trust;
        Some(if core_volumes::shows_trust_bundles(pod) { trust.get().await } else { None })
    }

    /// The runtime handler that the pod's class stands for.
    pub(super) async fn runtime_handler(&self, pod: &Pod) -> Result<RuntimeHandler, String> {
        let Some(spec) = pod.spec_ref().filter(|spec| spec.runtime_class_name.is_some()) else {
            return Ok(RuntimeHandler::Default);
        };
        let known = match &self.collections {
            Some(collections) => Some(collections.runtime_classes.get().await),
            None => None,
        };
        let known = known.as_ref().map_or(RuntimeClasses::Standalone, |known| match known {
            Some(known) => RuntimeClasses::Known(known),
            None => RuntimeClasses::NotYetRead,
        });
        runtime_handler(spec, known).map_err(|error| error.to_string())
    }
}

/// A token of a pod, kept between its operations.
#[derive(Clone, Debug)]
pub(crate) struct KnownToken {
    issued: IssuedToken,
    renew_at: core_types::WallTime,
}
