//! Pods that use more local storage than they may: an emptyDir over its `sizeLimit`, a pod over the sum of its limits, a
//! container over its own (CONTRACT 5.10).

use core_cm::resources::amount;
use core_cm::{Overhead, pod_limits};
use core_types::api::Pod;
use core_types::{ContainerKind, PodExt, Quantity};

use crate::threshold::FsLayout;
use crate::usage::{PodUse, bytes};

const EPHEMERAL_STORAGE: &str = "ephemeral-storage";

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Of an emptyDir.
    EmptyDir,
    /// Of the pod as a whole.
    Pod,
    /// Of one container.
    Container,
}

impl LimitKind {
    /// The label `eviction_signal` of the metric that counts it.
    pub const fn signal(self) -> &'static str {
        match self {
            Self::EmptyDir => "emptydirfs.limit",
            Self::Pod => "ephemeralpodfs.limit",
            Self::Container => "ephemeralcontainerfs.limit",
        }
    }
}

/// A limit that a pod exceeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// Which.
    pub kind: LimitKind,
    /// What the pod's status and its event say.
    pub message: String,
}

/// The first limit that the pod exceeds.
pub fn over_limit(pod: &Pod, usage: &PodUse, layout: FsLayout) -> Option<OverLimit> {
    empty_dir(pod, usage).or_else(|| whole_pod(pod, usage)).or_else(|| container(pod, usage, layout))
}

/// Whether a pod has limits of local storage.
pub fn has_storage_limits(pod: &Pod) -> bool {
    let volumes = pod.spec_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    let mut empty_dirs = volumes.filter_map(|volume| volume.empty_dir.as_ref());
    let of_container = |container: &core_types::ContainerRef<'_>| {
        let limits = container.spec.resources.as_ref().map(|resources| &resources.limits);
        limits.is_some_and(|limits| !amount(limits, EPHEMERAL_STORAGE).is_zero())
    };
    empty_dirs.any(|empty_dir| empty_dir.size_limit.is_some())
        || pod.container_refs().iter().any(of_container)
}

fn empty_dir(pod: &Pod, usage: &PodUse) -> Option<OverLimit> {
    let volumes = pod.spec_ref()?.volumes.as_ref()?;
    volumes.iter().find_map(|volume| {
        let text = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
        let limit = Quantity::try_from(text).ok().filter(|limit| *limit > Quantity::ZERO)?;
        let used = bytes(usage.volumes.get(&volume.name)?.bytes?);
        let message = format!("Usage of EmptyDir volume {:?} exceeds the limit \"{limit}\". ", volume.name);
        (used > limit).then_some(OverLimit { kind: LimitKind::EmptyDir, message })
    })
}

fn whole_pod(pod: &Pod, usage: &PodUse) -> Option<OverLimit> {
    let limit = pod_limits(pod, Overhead::Included).get(EPHEMERAL_STORAGE).copied()?;
    let message =
        format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. ");
    (bytes(usage.ephemeral_bytes?) > limit).then_some(OverLimit { kind: LimitKind::Pod, message })
}

fn container(pod: &Pod, usage: &PodUse, layout: FsLayout) -> Option<OverLimit> {
    let containers = pod.container_refs();
    let limited = containers.iter().filter(|container| container.kind != ContainerKind::Init);
    let limits: Vec<(&str, Quantity)> = limited
        .filter_map(|container| {
            let limits = &container.spec.resources.as_ref()?.limits;
            Some((container.spec.name.as_str(), amount(limits, EPHEMERAL_STORAGE)))
        })
        .filter(|(_, limit)| !limit.is_zero())
        .collect();
    usage.containers.iter().find_map(|container| {
        let (name, limit) = limits.iter().find(|(name, _)| *name == container.name)?;
        let on_node = layout == FsLayout::Single;
        let layer = if on_node { container.rootfs.bytes.unwrap_or(0) } else { 0 };
        let used = bytes(layer.saturating_add(container.logs.bytes.unwrap_or(0)));
        let message = format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". ");
        (used > *limit).then_some(OverLimit { kind: LimitKind::Container, message })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Use, pod};
    use crate::usage::DiskUse;

    fn said(usage: &PodUse, layout: FsLayout) -> Option<(LimitKind, String)> {
        over_limit(&pod("pod", 0, &[]), usage, layout).map(|over| (over.kind, over.message))
    }

    #[test]
    fn each_limit_is_named_and_the_volume_comes_first() {
        assert_eq!(said(&Use::disk(10, 10, 100), FsLayout::Single), None);
        let volume = said(&Use::disk(10, 10, 101), FsLayout::Single);
        let text = "Usage of EmptyDir volume \"data\" exceeds the limit \"100Mi\". ";
        assert_eq!(volume, Some((LimitKind::EmptyDir, text.to_owned())));
        let pod = said(&Use::disk(90, 90, 90), FsLayout::Single);
        let text = "Pod ephemeral local storage usage exceeds the total limit of containers 200Mi. ";
        assert_eq!(pod, Some((LimitKind::Pod, text.to_owned())));
        let unsummed = PodUse { ephemeral_bytes: None, ..Use::disk(150, 51, 0) };
        let container = said(&unsummed, FsLayout::Single);
        let text = "Container main exceeded its local ephemeral storage limit \"200Mi\". ";
        assert_eq!(container, Some((LimitKind::Container, text.to_owned())));
        assert_eq!(said(&unsummed, FsLayout::SeparateImages), None);
    }

    #[test]
    fn what_was_not_measured_exceeds_nothing() {
        assert_eq!(said(&PodUse::default(), FsLayout::Single), None);
        let unknown =
            PodUse { volumes: [("data".to_owned(), DiskUse::default())].into(), ..PodUse::default() };
        assert_eq!(said(&unknown, FsLayout::Single), None);
    }
}
