//! What is kept of that which the API server told: its pods, what they refer to, and what of the node and the cluster a start needs.
//!
//! Guarantees: [`Memory::prune`] leaves no Secret, ConfigMap or token to which no pod that may still start refers;
//! [`Memory::news`] finds a status that says nothing new for a start not worth a write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use core_pods::merge::differs_semantically;
use core_references::trust::TrustBook;
use core_references::{IssuedToken, TokenAsk, references};
use core_runtime::runtime_class::RuntimeClassBook;
use core_runtime::service_links::ServiceBook;
use core_types::api::{Pod, PodStatus};
use core_types::{KeyedObject, KeyedRef, PodExt, PodUid};
use k8s_openapi::api::core::v1::{Node, NodeSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What the server told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The Node object, as far as [`kept_of_node`] keeps it.
    pub node: Option<Arc<Node>>,
    /// Pods bound to the node, in the order of their admission, without mirrors of static pods.
    pub pods: Vec<Arc<Pod>>,
    /// Secrets and ConfigMaps; `None` for one that does not exist.
    pub objects: BTreeMap<KeyedRef, Option<Arc<KeyedObject>>>,
    /// Tokens of service accounts.
    pub tokens: BTreeMap<TokenAsk, IssuedToken>,
    /// Services of the pods' namespaces; `None` when they were never told.
    pub services: Option<ServiceBook>,
    /// Runtime classes; `None` when they were never told.
    pub runtime_classes: Option<RuntimeClassBook>,
    /// Trust bundles; `None` when they were never told.
    pub trust: Option<TrustBook>,
}

/// What a memory holds that an older one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Nothing.
    None,
    /// Statuses that change nothing for a start.
    Statuses,
    /// Something that a start needs.
    Content,
}

impl Memory {
    /// Takes in what an earlier life of the agent kept, where this one knows nothing yet.
    pub fn recall(&mut self, kept: Self) {
        self.node = self.node.take().or(kept.node);
        for (object, content) in kept.objects {
            self.objects.entry(object).or_insert(content);
        }
        for (ask, token) in kept.tokens {
            self.tokens.entry(ask).or_insert(token);
        }
        if self.pods.is_empty() {
            self.pods = kept.pods;
        }
        self.services = self.services.take().or(kept.services);
        self.runtime_classes = self.runtime_classes.take().or(kept.runtime_classes);
        self.trust = self.trust.take().or(kept.trust);
    }

    /// Takes in which pods have ended here, though the server may not know it yet: they are not started again.
    pub fn end(&mut self, ended: impl Fn(&PodUid) -> Option<PodStatus>) {
        for pod in self.pods.iter_mut().filter(|pod| !has_ended(pod)) {
            if let Some(status) = ended(&pod.uid()) {
                Arc::make_mut(pod).status = Some(status);
            }
        }
    }

    /// Forgets what no pod that may still start refers to.
    pub fn prune(&mut self) {
        let starting = || self.pods.iter().filter(|pod| may_start(pod));
        let objects: BTreeSet<KeyedRef> = starting().flat_map(|pod| references(pod).into_keys()).collect();
        let tokens: BTreeSet<TokenAsk> = starting().flat_map(|pod| core_volumes::token_asks(pod)).collect();
        let namespaces: BTreeSet<Arc<str>> = starting().map(|pod| pod.key().namespace).collect();
        self.objects.retain(|object, _| objects.contains(object));
        self.tokens.retain(|ask, _| tokens.contains(ask));
        if let Some(services) = &mut self.services {
            services.keep_namespaces(|namespace| namespaces.contains(namespace));
        }
    }

    /// What this memory holds that `old` does not.
    pub fn news(&self, old: &Self) -> News {
        let rest_is_same = self.node == old.node
            && self.objects == old.objects
            && self.tokens == old.tokens
            && self.services == old.services
            && self.runtime_classes == old.runtime_classes
            && self.trust == old.trust;
        if !rest_is_same || self.pods.len() != old.pods.len() {
            return News::Content;
        }
        let news = self.pods.iter().zip(&old.pods).map(|(new, old)| news_of_pod(new, old));
        news.max().unwrap_or(News::None)
    }
}

/// Whether a pod may run again: it has not ended and nobody has deleted it.
pub fn may_start(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !has_ended(pod)
}

/// What is kept of the Node object: what pods are judged by, and the addresses that they get.
pub fn kept_of_node(node: &Node) -> Node {
    let spec = node.spec.as_ref();
    Node {
        metadata: ObjectMeta {
            name: node.metadata.name.clone(),
            uid: node.metadata.uid.clone(),
            labels: node.metadata.labels.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: spec.and_then(|spec| spec.taints.clone()),
            pod_cidr: spec.and_then(|spec| spec.pod_cidr.clone()),
            pod_cidrs: spec.and_then(|spec| spec.pod_cidrs.clone()),
            ..NodeSpec::default()
        }),
        status: None,
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn news_of_pod(new: &Arc<Pod>, old: &Arc<Pod>) -> News {
    if Arc::ptr_eq(new, old) {
        return News::None;
    }
    let is_same =
        new.uid() == old.uid() && has_ended(new) == has_ended(old) && !differs_semantically(old, new);
    match (is_same, new.status == old.status) {
        (false, _) => News::Content,
        (true, false) => News::Statuses,
        (true, true) => News::None,
    }
}

#[cfg(test)]
mod tests;
