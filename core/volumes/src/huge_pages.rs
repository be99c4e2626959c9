//! The page size of an `emptyDir` on huge pages (CONTRACT 6.8): what its medium says, or the only size that the pod asks for.

use std::collections::BTreeSet;

use core_types::api::{Pod, ResourceRequirements};
use core_types::{PodExt, Quantity};

use crate::VolumeError;

/// The medium without a size.
const MEDIUM: &str = "HugePages";
/// What resources and media with a size begin with.
const RESOURCE_PREFIX: &str = "hugepages-";
const MEDIUM_PREFIX: &str = "HugePages-";

/// The page size for this medium in bytes.
pub(crate) fn page_bytes(pod: &Pod, medium: &str) -> Result<u64, VolumeError> {
    let asked = requested_sizes(pod);
    let medium = || medium.to_owned();
    let size = if medium() == MEDIUM {
        if asked.len() > 1 {
            return Err(VolumeError::SeveralPageSizes { medium: medium() });
        }
        asked.first().copied()
    } else {
        let text = medium();
        let unknown = || VolumeError::Medium { medium: medium() };
        let size = text.strip_prefix(MEDIUM_PREFIX).ok_or_else(unknown)?;
        let size = size.parse::<Quantity>().map_err(|_| unknown())?;
        asked.get(&size.value()).copied()
    };
    size.and_then(|bytes| u64::try_from(bytes).ok())
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| VolumeError::NoHugePages { medium: medium() })
}

/// Sizes of huge pages that the pod or one of its containers requests, in bytes.
fn requested_sizes(pod: &Pod) -> BTreeSet<i64> {
    let whole = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let of_containers =
        pod.container_refs().into_iter().filter_map(|container| container.spec.resources.as_ref());
    let names = |resources: &ResourceRequirements| -> Vec<String> {
        resources.requests.iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let all = whole.into_iter().chain(of_containers).flat_map(names);
    all.filter_map(|name| Some(name.strip_prefix(RESOURCE_PREFIX)?.parse::<Quantity>().ok()?.value()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn size(requests: &[&str], medium: &str) -> Result<u64, String> {
        let containers: Vec<_> = requests
            .iter()
            .map(|name| json!({"name": "c", "resources": {"requests": {*name: "4Mi", "cpu": "1"}}}))
            .collect();
        let pod = serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap();
        page_bytes(&pod, medium).map_err(|error| error.to_string())
    }

    #[test]
    fn the_medium_or_the_only_request_says_the_size() {
        let (two, gig) = ("hugepages-2Mi", "hugepages-1Gi");
        assert_eq!(size(&[two], "HugePages"), Ok(2 << 20));
        assert_eq!(size(&[two, two], "HugePages"), Ok(2 << 20));
        assert_eq!(size(&[two, gig], "HugePages-1Gi"), Ok(1 << 30));
        assert_eq!(size(&[two], "HugePages-2048Ki"), Ok(2 << 20));
        for (requests, medium, says) in [
            (
                &[two, gig][..],
                "HugePages",
                "medium: HugePages can't be used if container requests multiple huge page sizes",
            ),
            (
                &[][..],
                "HugePages",
                "medium HugePages: hugePages storage requested, but there is no resource request for huge pages",
            ),
            (
                &[two][..],
                "HugePages-1Gi",
                "medium HugePages-1Gi: hugePages storage requested, but there is no resource request for huge pages",
            ),
            (&[two][..], "Floppy", "unknown storage medium \"Floppy\""),
            (&[two][..], "HugePages-x", "unknown storage medium \"HugePages-x\""),
        ] {
            assert_eq!(size(requests, medium), Err(says.to_owned()));
        }
    }
}
