//! Which Secrets and ConfigMaps a pod refers to: volumes, projections, environment, image pull secrets.

use std::collections::BTreeMap;

use core_types::api::{Container, Pod, Volume};
use core_types::{KeyedRef, PodExt};

/// How a pod uses an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// When a container is made: a change means nothing to what runs.
    AtStart,
    /// In a volume: a change is written into it.
    InVolume,
}

/// The objects that a pod refers to, each with its strongest use.
pub fn references(pod: &Pod) -> BTreeMap<KeyedRef, Use> {
    let mut found = BTreeMap::new();
    let Some(spec) = &pod.spec else { return found };
    let namespace = pod.key().namespace.to_string();
    let mut add = |object: KeyedRef, use_: Use| {
        let known = found.entry(object).or_insert(use_);
        *known = use_.max(*known);
    };
    for secret in spec.image_pull_secrets.iter().flatten().filter(|secret| !secret.name.is_empty()) {
        add(KeyedRef::secret(&namespace, &secret.name), Use::AtStart);
    }
    for container in pod.container_refs() {
        for object in container_references(&namespace, container.spec) {
            add(object, Use::AtStart);
        }
    }
    for volume in spec.volumes.iter().flatten() {
        for object in volume_references(&namespace, volume) {
            add(object, Use::InVolume);
        }
    }
    found
}

/// The objects that the environment of a container refers to.
pub fn container_references(namespace: &str, container: &Container) -> Vec<KeyedRef> {
    let mut found = Vec::new();
    for source in container.env_from.iter().flatten() {
        found.extend(source.secret_ref.iter().map(|secret| KeyedRef::secret(namespace, &secret.name)));
        found.extend(source.config_map_ref.iter().map(|map| KeyedRef::config_map(namespace, &map.name)));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        found.extend(source.secret_key_ref.iter().map(|key| KeyedRef::secret(namespace, &key.name)));
        found.extend(source.config_map_key_ref.iter().map(|key| KeyedRef::config_map(namespace, &key.name)));
    }
    found
}

/// The objects whose content a volume shows, or that its driver needs.
pub fn volume_references(namespace: &str, volume: &Volume) -> Vec<KeyedRef> {
    let mut found = Vec::new();
    let secret_name = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref());
    found.extend(secret_name.map(|name| KeyedRef::secret(namespace, name)));
    found.extend(volume.config_map.iter().map(|map| KeyedRef::config_map(namespace, &map.name)));
    let publish = volume.csi.as_ref().and_then(|csi| csi.node_publish_secret_ref.as_ref());
    found.extend(publish.map(|secret| KeyedRef::secret(namespace, &secret.name)));
    for part in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        found.extend(part.secret.iter().map(|secret| KeyedRef::secret(namespace, &secret.name)));
        found.extend(part.config_map.iter().map(|map| KeyedRef::config_map(namespace, &map.name)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_looked_at() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u"},
            "spec": {
                "imagePullSecrets": [{"name": "pull"}, {"name": ""}],
                "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "init"}}]}],
                "containers": [{"name": "c",
                    "envFrom": [{"secretRef": {"name": "env-all"}}],
                    "env": [
                        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "both", "key": "k"}}},
                        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env-map", "key": "k"}}},
                    ]}],
                "volumes": [
                    {"name": "s", "secret": {"secretName": "both"}},
                    {"name": "m", "configMap": {"name": "files"}},
                    {"name": "p", "projected": {"sources": [
                        {"secret": {"name": "part"}}, {"configMap": {"name": "root-ca"}},
                        {"serviceAccountToken": {"path": "token"}},
                    ]}},
                    {"name": "d", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "publish"}}},
                ],
            },
        }))
        .expect("pod");
        let found = references(&pod);
        let name = |(object, use_): (&KeyedRef, &Use)| {
            assert_eq!(object.namespace, "shop");
            format!("{}/{} {use_:?}", object.kind, object.name)
        };
        assert_eq!(
            found.iter().map(name).collect::<Vec<_>>(),
            [
                "secret/both InVolume",
                "secret/env-all AtStart",
                "secret/part InVolume",
                "secret/publish InVolume",
                "secret/pull AtStart",
                "configmap/env-map AtStart",
                "configmap/files InVolume",
                "configmap/init AtStart",
                "configmap/root-ca InVolume",
            ]
        );
    }
}
