//! Which volumes of a pod are measured, and which of them count as its local storage.

use core_types::PodExt;
use core_types::api::{Pod, Volume};
use core_volumes::{VolumePlugin, content_plugin};

/// A volume that the agent makes below the pod's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnVolume {
    /// Name in the pod.
    pub name: String,
    /// Where it lies.
    pub plugin: VolumePlugin,
    /// Whether it counts as local storage.
    pub counts: Counts,
}

/// Whether a volume's files count as local storage of its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// They lie on the node's disk for this pod.
    AsLocalStorage,
    /// They are in memory.
    ForNothing,
}

/// The volumes of a pod that the agent makes. Others (paths of the host, images) are nobody's to measure, as upstream.
pub fn own_volumes(pod: &Pod) -> Vec<OwnVolume> {
    let volumes = pod.spec_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    volumes
        .filter_map(|volume| {
            let plugin = match &volume.empty_dir {
                Some(_) => VolumePlugin::EmptyDir,
                None => content_plugin(volume)?,
            };
            let counts = if counts(volume) { Counts::AsLocalStorage } else { Counts::ForNothing };
            Some(OwnVolume { name: volume.name.clone(), plugin, counts })
        })
        .collect()
}

/// As upstream: an emptyDir without a medium, and a ConfigMap; of the rest the agent makes the files in memory.
fn counts(volume: &Volume) -> bool {
    let on_disk = |medium: Option<&String>| medium.is_none_or(String::is_empty);
    volume.empty_dir.as_ref().is_some_and(|source| on_disk(source.medium.as_ref()))
        || volume.config_map.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_makes_is_measured_and_what_is_on_disk_counts() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "a" },
            "spec": { "containers": [], "volumes": [
                { "name": "disk", "emptyDir": {} },
                { "name": "memory", "emptyDir": { "medium": "Memory" } },
                { "name": "files", "configMap": { "name": "c" } },
                { "name": "secret", "secret": { "secretName": "s" } },
                { "name": "host", "hostPath": { "path": "/" } },
            ] },
        }))
        .unwrap();
        let volumes = own_volumes(&pod);
        let names = |wanted| {
            let found = volumes.iter().filter(move |volume| wanted == volume.counts);
            found.map(|volume| volume.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names(Counts::AsLocalStorage), ["disk", "files"]);
        assert_eq!(names(Counts::ForNothing), ["memory", "secret"]);
        assert_eq!(volumes[3].plugin, VolumePlugin::Secret);
    }
}
