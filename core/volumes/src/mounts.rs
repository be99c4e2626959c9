//! Where a container gets its volumes (CONTRACT 3.20).

use std::collections::BTreeSet;

use core_types::api::{Container, Pod, VolumeMount};
use core_types::expansion::{Room, expand};
use core_types::runtime::{KeyValue, MountPropagation, RecursiveReadOnly};

use crate::VolumeError;

/// One volume mount of a container, ready to be resolved to a host path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedMount {
    /// Volume.
    pub volume: String,
    /// Index among the container's volume mounts: the name of its sub path's bind mount.
    pub index: usize,
    /// Absolute path in the container.
    pub container_path: String,
    /// Path inside the volume after expansion; empty for the whole volume.
    pub sub_path: String,
    /// Read-only: asked for, or because the agent keeps the volume's files.
    pub read_only: bool,
    /// Read-only also for what is mounted below.
    pub recursive_read_only: bool,
    /// Propagation.
    pub propagation: MountPropagation,
    /// The volume is the pod's own, so the runtime may relabel it.
    pub selinux_relabel: bool,
}

/// The volume mounts of a container, in the order of its spec. `env` is the container's final environment;
/// `recursive_read_only` what the pod's runtime handler can do.
pub fn mounts(
    pod: &Pod,
    container: &Container,
    env: &[KeyValue],
    recursive_read_only: RecursiveReadOnly,
) -> Result<Vec<ResolvedMount>, VolumeError> {
    let resolver = Resolver { pod, container, env, recursive_read_only };
    let mounts = container.volume_mounts.iter().flatten().enumerate();
    mounts.map(|(index, mount)| resolver.resolve(index, mount)).collect()
}

struct Resolver<'a> {
    pod: &'a Pod,
    container: &'a Container,
    env: &'a [KeyValue],
    recursive_read_only: RecursiveReadOnly,
}

impl Resolver<'_> {
    fn resolve(&self, index: usize, mount: &VolumeMount) -> Result<ResolvedMount, VolumeError> {
        let volumes = self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let volume = volumes.into_iter().find(|volume| volume.name == mount.name).ok_or_else(|| {
            VolumeError::Missing { volume: mount.name.clone(), container: self.container.name.clone() }
        })?;
        let is_kept_by_agent =
            volume.downward_api.is_some() || volume.projected.is_some() || volume.image.is_some();
        let absolute = mount.mount_path.starts_with('/');
        Ok(ResolvedMount {
            volume: mount.name.clone(),
            index,
            container_path: if absolute {
                mount.mount_path.clone()
            } else {
                format!("/{}", mount.mount_path)
            },
            sub_path: self.sub_path(mount)?,
            read_only: mount.read_only.unwrap_or(false) || is_kept_by_agent,
            recursive_read_only: self.recursive(mount)?,
            propagation: self.propagation(mount)?,
            selinux_relabel: volume.host_path.is_none(),
        })
    }

    fn sub_path(&self, mount: &VolumeMount) -> Result<String, VolumeError> {
        let sub_path = match mount.sub_path_expr.as_deref() {
            Some(expression) if !expression.is_empty() => self.expand_path(mount, expression)?,
            _ => mount.sub_path.clone().unwrap_or_default(),
        };
        let rule = if sub_path.starts_with('/') {
            "must not be an absolute path"
        } else if sub_path.split('/').any(|part| part == "..") {
            "must not contain '..'"
        } else if sub_path.contains('\0') {
            "must not contain a zero byte"
        } else {
            return Ok(sub_path);
        };
        Err(VolumeError::SubPath {
            volume: mount.name.clone(),
            container: self.container.name.clone(),
            sub_path,
            rule,
        })
    }

    /// The path that an expression stands for. A variable without a value is an error, unlike in a command.
    fn expand_path(&self, mount: &VolumeMount, expression: &str) -> Result<String, VolumeError> {
        let mut missing = BTreeSet::new();
        let out = expand(expression, &mut Room::of_process(), |name| {
            let set = self.env.iter().find(|var| var.key == name).filter(|var| !var.value.is_empty());
            set.map(|var| var.value.clone()).unwrap_or_else(|| {
                missing.insert(name.to_owned());
                String::new()
            })
        });
        if missing.is_empty() {
            return out.map_err(|source| VolumeError::TooLong { volume: mount.name.clone(), source });
        }
        Err(VolumeError::Variables {
            volume: mount.name.clone(),
            container: self.container.name.clone(),
            names: missing.into_iter().collect::<Vec<_>>().join(", "),
        })
    }

    fn propagation(&self, mount: &VolumeMount) -> Result<MountPropagation, VolumeError> {
        match mount.mount_propagation.as_deref() {
            None | Some("" | "None") => Ok(MountPropagation::Private),
            Some("HostToContainer") => Ok(MountPropagation::HostToContainer),
            Some("Bidirectional") => Ok(MountPropagation::Bidirectional),
            Some(mode) => Err(VolumeError::Propagation {
                volume: mount.name.clone(),
                container: self.container.name.clone(),
                mode: mode.to_owned(),
            }),
        }
    }

    fn recursive(&self, mount: &VolumeMount) -> Result<bool, VolumeError> {
        let not = |reason: String| {
            Err(VolumeError::RecursiveReadOnly {
                volume: mount.name.clone(),
                container: self.container.name.clone(),
                reason,
            })
        };
        let mode = mount.recursive_read_only.as_deref().unwrap_or("Disabled");
        if mode == "Disabled" {
            return Ok(false);
        }
        if mount.read_only != Some(true) {
            return not("it is not read-only".to_owned());
        }
        if let Some(propagation) = mount.mount_propagation.as_deref().filter(|mode| *mode != "None") {
            return not(format!("it is not compatible with propagation {propagation:?}"));
        }
        let is_supported = self.recursive_read_only == RecursiveReadOnly::Supported;
        match mode {
            "IfPossible" => Ok(is_supported),
            "Enabled" if is_supported => Ok(true),
            "Enabled" => not("it is not supported by the runtime".to_owned()),
            other => not(format!("{other:?} is not a mode that is known")),
        }
    }
}
