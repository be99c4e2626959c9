//! Mirror pods: what stands for the node's static pods at the API server (CONTRACT 3.30).
//!
//! A planner: the static pods that run here and the mirrors that the server has go in, what to create and delete there comes out. A
//! mirror is deleted when its static pod is gone, when it stands for another version of it, or when somebody deletes it; then it is
//! made anew. Nothing that happens to a mirror changes the static pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_types::api::Pod;
use core_types::keys::{CONFIG_HASH_ANNOTATION, CONFIG_MIRROR_ANNOTATION};
use core_types::{PodExt, PodKey, PodUid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// One change at the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum MirrorAction {
    /// Make the mirror of this static pod.
    Create(Arc<Pod>),
    /// Delete this mirror.
    Delete {
        /// Its name.
        key: PodKey,
        /// Its UID at the server.
        uid: PodUid,
    },
}

/// Whether a pod of the API server is a mirror.
pub fn is_mirror(pod: &Pod) -> bool {
    pod.annotation(CONFIG_MIRROR_ANNOTATION).is_some()
}

/// What is missing and what is too much. `statics` are those that are not being stopped.
pub fn plan(statics: &BTreeMap<PodKey, Arc<Pod>>, mirrors: &BTreeMap<PodKey, Arc<Pod>>) -> Vec<MirrorAction> {
    let mut actions = Vec::new();
    for (key, mirror) in mirrors {
        let stands_for = statics.get(key).is_some_and(|pod| stands_for(mirror, pod));
        if !stands_for || mirror.metadata.deletion_timestamp.is_some() {
            actions.push(MirrorAction::Delete { key: key.clone(), uid: mirror.uid() });
        }
    }
    let missing = statics.iter().filter(|(key, _)| !mirrors.contains_key(*key));
    actions.extend(missing.map(|(_, pod)| MirrorAction::Create(Arc::clone(pod))));
    actions
}

/// Whether the mirror was made from this version of the static pod.
pub fn stands_for(mirror: &Pod, pod: &Pod) -> bool {
    mirror.annotation(CONFIG_MIRROR_ANNOTATION) == pod.annotation(CONFIG_HASH_ANNOTATION)
}

/// The mirror to create for a static pod of the node with this name and UID.
pub fn mirror_of(pod: &Pod, node_name: &str, node_uid: &str) -> Pod {
    let mut mirror = pod.clone();
    let hash = pod.annotation(CONFIG_HASH_ANNOTATION).unwrap_or_default().to_owned();
    mirror.metadata.annotations.get_or_insert_default().insert(CONFIG_MIRROR_ANNOTATION.to_owned(), hash);
    // NodeRestriction demands exactly this owner.
    mirror.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node_name.to_owned(),
        uid: node_uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    mirror
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str, key: &str, hash: &str) -> (PodKey, Arc<Pod>) {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("kube-system".to_owned());
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(uid.to_owned());
        pod.metadata.annotations = Some(BTreeMap::from([(key.to_owned(), hash.to_owned())]));
        (pod.key(), Arc::new(pod))
    }

    #[test]
    fn mirrors_follow_their_static_pods() {
        let statics: BTreeMap<_, _> = [
            pod("same", "s1", CONFIG_HASH_ANNOTATION, "h1"),
            pod("changed", "s2", CONFIG_HASH_ANNOTATION, "h2"),
            pod("new", "s3", CONFIG_HASH_ANNOTATION, "h3"),
        ]
        .into();
        let mirrors: BTreeMap<_, _> = [
            pod("same", "m1", CONFIG_MIRROR_ANNOTATION, "h1"),
            pod("changed", "m2", CONFIG_MIRROR_ANNOTATION, "old"),
            pod("orphan", "m4", CONFIG_MIRROR_ANNOTATION, "h4"),
        ]
        .into();
        let key = |name: &str| PodKey::new("kube-system", name);
        let actions = plan(&statics, &mirrors);
        let delete = |name: &str, uid: &str| MirrorAction::Delete { key: key(name), uid: uid.into() };
        assert_eq!(
            actions,
            [
                delete("changed", "m2"),
                delete("orphan", "m4"),
                MirrorAction::Create(Arc::clone(&statics[&key("new")]))
            ]
        );
    }

    #[test]
    fn a_mirror_is_owned_by_the_node_and_names_its_version() {
        let (_, pod) = pod("web-n1", "s1", CONFIG_HASH_ANNOTATION, "h1");
        let mirror = mirror_of(&pod, "n1", "node-uid");
        assert!(is_mirror(&mirror) && !is_mirror(&pod));
        assert!(stands_for(&mirror, &pod));
        let owner = &mirror.metadata.owner_references.unwrap()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.uid.as_str(), owner.controller),
            ("Node", "node-uid", Some(true))
        );
    }
}
