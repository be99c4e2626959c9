//! Small readings of an API pod that many decisions need.

use crate::api::{Container, EphemeralContainer, Pod, PodSpec};
use crate::{PodKey, PodUid, keys};

/// Which list of the pod spec a container stands in, and how it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerKind {
    /// `spec.initContainers`, runs to its end before the next starts.
    Init,
    /// `spec.initContainers` with `restartPolicy: Always` (KEP-753).
    Sidecar,
    /// `spec.containers`.
    Regular,
    /// `spec.ephemeralContainers`.
    Ephemeral,
}

/// A container of a pod spec with its kind. Ephemeral containers are read elsewhere: their type differs.
#[derive(Clone, Copy, Debug)]
pub struct ContainerRef<'a> {
    /// The container's spec.
    pub spec: &'a Container,
    /// Its kind.
    pub kind: ContainerKind,
}

impl ContainerKind {
    /// `fieldPath` of an object reference to the container of this kind and name, e.g. `spec.containers{web}` (CONTRACT 0.2).
    pub fn field_path(self, name: &str) -> String {
        let list = match self {
            Self::Init | Self::Sidecar => "initContainers",
            Self::Regular => "containers",
            Self::Ephemeral => "ephemeralContainers",
        };
        format!("spec.{list}{{{name}}}")
    }
}

impl ContainerRef<'_> {
    /// `fieldPath` of an object reference to it.
    pub fn field_path(&self) -> String {
        self.kind.field_path(&self.spec.name)
    }
}

/// Readings of a pod. Pods inside the agent have passed decoding and defaulting, so missing parts read as empty.
pub trait PodExt {
    /// `metadata.uid`.
    fn uid(&self) -> PodUid;
    /// `metadata.namespace` and `metadata.name`.
    fn key(&self) -> PodKey;
    /// `spec`, when there is one.
    fn spec_ref(&self) -> Option<&PodSpec>;
    /// An annotation's value.
    fn annotation(&self, key: &str) -> Option<&str>;
    /// Init containers and sidecars in order, then regular containers in order.
    fn container_refs(&self) -> Vec<ContainerRef<'_>>;
    /// `fieldPath` of an object reference to a container of the two lists; empty for another name.
    fn field_path_of(&self, name: &str) -> String {
        let container = self.container_refs().into_iter().find(|container| container.spec.name == name);
        container.map(|container| container.field_path()).unwrap_or_default()
    }
    /// Names of the ephemeral containers in order.
    fn ephemeral_names(&self) -> Vec<&str>;
    /// An ephemeral container by its name, as a container with what such a one may have.
    fn ephemeral_container(&self, name: &str) -> Option<Container>;
    /// The container whose processes an ephemeral container sees.
    fn ephemeral_target(&self, name: &str) -> Option<&str>;
    /// Whether the pod comes from a manifest of the node instead of an API server.
    fn is_static(&self) -> bool;
    /// Whether a person runs the pod on the node, with `podwright run`. Such a pod is static, too.
    fn is_local(&self) -> bool;
    /// `spec.hostNetwork`.
    fn is_host_network(&self) -> bool;
    /// `spec.restartPolicy`, `Always` when unset.
    fn restart_policy(&self) -> &str;
    /// `spec.terminationGracePeriodSeconds`, 30 when unset, in seconds.
    fn grace_period_secs(&self) -> i64;
}

fn ephemeral<'a>(pod: &'a Pod, name: &str) -> Option<&'a EphemeralContainer> {
    pod.spec.as_ref()?.ephemeral_containers.iter().flatten().find(|container| container.name == name)
}

impl PodExt for Pod {
    fn uid(&self) -> PodUid {
        PodUid::from(self.metadata.uid.as_deref().unwrap_or_default())
    }

    fn key(&self) -> PodKey {
        PodKey::new(
            self.metadata.namespace.as_deref().unwrap_or_default(),
            self.metadata.name.as_deref().unwrap_or_default(),
        )
    }

    fn spec_ref(&self) -> Option<&PodSpec> {
        self.spec.as_ref()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    fn container_refs(&self) -> Vec<ContainerRef<'_>> {
        let Some(spec) = &self.spec else { return Vec::new() };
        let init = spec.init_containers.iter().flatten().map(|spec| ContainerRef {
            spec,
            kind: match spec.restart_policy.as_deref() {
                Some("Always") => ContainerKind::Sidecar,
                _ => ContainerKind::Init,
            },
        });
        init.chain(spec.containers.iter().map(|spec| ContainerRef { spec, kind: ContainerKind::Regular }))
            .collect()
    }

    fn ephemeral_names(&self) -> Vec<&str> {
        let all = self.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
        all.map(|container| container.name.as_str()).collect()
    }

    fn ephemeral_container(&self, name: &str) -> Option<Container> {
        let found = ephemeral(self, name)?.clone();
        Some(Container {
            name: found.name,
            image: found.image,
            image_pull_policy: found.image_pull_policy,
            command: found.command,
            args: found.args,
            working_dir: found.working_dir,
            env: found.env,
            env_from: found.env_from,
            volume_mounts: found.volume_mounts,
            volume_devices: found.volume_devices,
            security_context: found.security_context,
            stdin: found.stdin,
            stdin_once: found.stdin_once,
            tty: found.tty,
            termination_message_path: found.termination_message_path,
            termination_message_policy: found.termination_message_policy,
            ..Container::default()
        })
    }

    fn ephemeral_target(&self, name: &str) -> Option<&str> {
        ephemeral(self, name)?.target_container_name.as_deref().filter(|target| !target.is_empty())
    }

    fn is_static(&self) -> bool {
        self.annotation(keys::CONFIG_SOURCE_ANNOTATION).is_some_and(|source| source != "api")
    }

    fn is_local(&self) -> bool {
        self.is_static() && self.annotation(keys::LOCAL_SOURCE_ANNOTATION).is_some()
    }

    fn is_host_network(&self) -> bool {
        self.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
    }

    fn restart_policy(&self) -> &str {
        self.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
    }

    fn grace_period_secs(&self) -> i64 {
        self.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30)
    }
}
