//! What the agent writes into a volume: the files of downwardAPI and of projected volumes (CONTRACT 6.5).

use std::collections::BTreeMap;

use core_types::Quantity;
use core_types::api::{Pod, Volume};
use core_types::downward::{self, DownwardError, PodFacts};
use k8s_openapi::api::core::v1::DownwardAPIVolumeFile;

use crate::plan::{Source, fs_group, source_of};
use crate::{PayloadFile, VolumeError, VolumePayload, VolumePlugin};

/// Mode of a file for which the pod names none.
const DEFAULT_MODE: i32 = 0o644;
/// Longest path of a file in a volume, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// Longest component of such a path, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The files of a volume; `None` for one into which the agent writes nothing. `allocatable` is what the node can give
/// to pods: it stands for limits that a container does not set.
pub fn payload(
    pod: &Pod,
    volume: &Volume,
    allocatable: &BTreeMap<String, Quantity>,
) -> Result<Option<VolumePayload>, VolumeError> {
    let mut files = Files { pod, volume, allocatable, files: BTreeMap::new() };
    let plugin = match source_of(volume)? {
        Source::EmptyDir(_) | Source::HostPath(_) => return Ok(None),
        Source::DownwardApi(source) => {
            files.add(source.items.as_deref().unwrap_or_default(), source.default_mode)?;
            VolumePlugin::DownwardApi
        }
        Source::Projected(source) => {
            for part in source.sources.iter().flatten().filter_map(|part| part.downward_api.as_ref()) {
                files.add(part.items.as_deref().unwrap_or_default(), source.default_mode)?;
            }
            VolumePlugin::Projected
        }
    };
    files.check_tree()?;
    Ok(Some(VolumePayload { plugin, files: files.files, fs_group: fs_group(pod) }))
}

/// Files of one volume while they are collected.
struct Files<'a> {
    pod: &'a Pod,
    volume: &'a Volume,
    allocatable: &'a BTreeMap<String, Quantity>,
    files: BTreeMap<String, PayloadFile>,
}

impl Files<'_> {
    /// Adds files; of two with one path the later stays, as in upstream.
    fn add(&mut self, items: &[DownwardAPIVolumeFile], default_mode: Option<i32>) -> Result<(), VolumeError> {
        for item in items {
            let path = clean_path(&item.path).map_err(|rule| self.path_error(&item.path, rule))?;
            let mode = item.mode.or(default_mode).unwrap_or(DEFAULT_MODE);
            let mode = u32::try_from(mode).ok().filter(|mode| *mode <= 0o777).ok_or_else(|| {
                VolumeError::Mode { volume: self.volume.name.clone(), path: item.path.clone(), mode }
            })?;
            let content = self.value(item)?.into_bytes();
            self.files.insert(path, PayloadFile { content, mode });
        }
        Ok(())
    }

    fn value(&self, item: &DownwardAPIVolumeFile) -> Result<String, VolumeError> {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            // A volume shows what the pod's author wrote; addresses and the like are for the environment only.
            (Some(field), _) if !field.field_path.starts_with("metadata.") => {
                Err(DownwardError::Field(field.field_path.clone()))
            }
            (Some(field), _) => {
                downward::field_value(field, &PodFacts { pod: self.pod, host_ips: &[], pod_ips: &[] })
            }
            (None, Some(resource)) => downward::resource_value(resource, self.pod, None, self.allocatable),
            (None, None) => {
                return Err(VolumeError::NoReference {
                    volume: self.volume.name.clone(),
                    path: item.path.clone(),
                });
            }
        };
        value.map_err(|source| VolumeError::Downward {
            volume: self.volume.name.clone(),
            path: item.path.clone(),
            source,
        })
    }

    /// No file may stand where another one needs a directory.
    fn check_tree(&self) -> Result<(), VolumeError> {
        let parents = |path: &str| -> Vec<String> {
            path.match_indices('/').map(|(end, _)| path.get(..end).unwrap_or_default().to_owned()).collect()
        };
        match self
            .files
            .keys()
            .find(|path| parents(path).iter().any(|parent| self.files.contains_key(parent)))
        {
            Some(path) => Err(self.path_error(path, "must not lie below another file")),
            None => Ok(()),
        }
    }

    fn path_error(&self, path: &str, rule: &'static str) -> VolumeError {
        VolumeError::Path { volume: self.volume.name.clone(), path: path.to_owned(), rule }
    }
}

/// The path without empty and `.` components, or the rule that it breaks. Names that start with `..` at the top of the
/// volume are the atomic writer's own.
fn clean_path(path: &str) -> Result<String, &'static str> {
    if path.starts_with('/') {
        return Err("must be relative");
    }
    if path.len() > MAX_PATH_BYTES {
        return Err("must not be longer than 4096 bytes");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let Some(first) = parts.first() else { return Err("must not be empty") };
    if parts.contains(&"..") {
        return Err("must not contain \"..\"");
    }
    if first.starts_with("..") {
        return Err("must not start with \"..\"");
    }
    if parts.iter().any(|part| part.len() > MAX_NAME_BYTES) {
        return Err("must not have a name longer than 255 bytes");
    }
    if path.contains('\0') {
        return Err("must not contain a zero byte");
    }
    Ok(parts.join("/"))
}
