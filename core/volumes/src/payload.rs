//! What the agent writes into a volume: the files of downwardAPI, secret, configMap and projected volumes (CONTRACT 6.5).

use std::collections::BTreeMap;

use core_certificates::pod::{NoBundle, PodBundle, PodCertificateAsk};
use core_references::TokenAsk;
use core_references::trust::{self, TrustBundles, TrustError};
use core_types::api::{Container, Pod, Volume};
use core_types::downward::{self, DownwardError, PodFacts};
use core_types::{ApiObjects, KeyedKind, KeyedObject, KeyedRef, LookupError, PodExt, Quantity, Secret};
use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, DownwardAPIVolumeFile, KeyToPath, PodCertificateProjection,
    ServiceAccountTokenProjection, VolumeProjection,
};

use crate::plan::{Source, fs_group, mounted_names, source_of};
use crate::{PayloadFile, VolumeError, VolumePayload, VolumePlugin};

/// Mode of a file for which the pod names none.
const DEFAULT_MODE: i32 = 0o644;
/// Mode of a file that belongs to the pod's user or group.
const OWN_MODE: i32 = 0o600;
/// Wanted life of a token for which the pod names none, in seconds; the API server's default.
const TOKEN_SECS: i64 = 60 * 60;
/// Longest path of a file in a volume, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// Longest component of such a path, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Where the content of volumes comes from, besides the pod.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// What the node can give to pods: it stands for limits that a container does not set.
    pub allocatable: &'a BTreeMap<String, Quantity>,
    /// Secrets and ConfigMaps.
    pub objects: ApiObjects<'a>,
    /// Trust bundles of the cluster.
    pub trust: TrustBundles<'a>,
    /// Certificates of the pod, or why there is none.
    pub certificates: &'a BTreeMap<PodCertificateAsk, Result<PodBundle, NoBundle>>,
    /// Tokens of service accounts, or why there is none.
    pub tokens: &'a BTreeMap<TokenAsk, Result<Secret<String>, String>>,
}

/// The tokens that the mounted volumes of a pod show.
pub fn token_asks(pod: &Pod) -> Vec<TokenAsk> {
    let mounted = mounted_names(pod);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mounted = volumes.filter(|volume| mounted.contains(volume.name.as_str()));
    let projected = mounted.filter_map(|volume| volume.projected.as_ref());
    let parts = projected.flat_map(|source| source.sources.iter().flatten());
    parts.filter_map(|part| Some(token_ask(pod, part.service_account_token.as_ref()?))).collect()
}

/// The Secrets and ConfigMaps that the mounted volumes of a pod show.
pub fn object_references(pod: &Pod) -> Vec<KeyedRef> {
    let mounted = mounted_names(pod);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mounted = volumes.filter(|volume| mounted.contains(volume.name.as_str()));
    mounted.flat_map(|volume| core_references::pod::volume_references(&pod.key().namespace, volume)).collect()
}

fn token_ask(pod: &Pod, source: &ServiceAccountTokenProjection) -> TokenAsk {
    let audience = source.audience.clone().filter(|audience| !audience.is_empty());
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    TokenAsk {
        pod: pod.key(),
        pod_uid: pod.uid(),
        service_account: account.unwrap_or_default(),
        audiences: audience.into_iter().collect(),
        expiration_secs: source.expiration_seconds.unwrap_or(TOKEN_SECS),
    }
}

/// The certificates that the mounted volumes of a pod show.
pub fn certificate_asks(pod: &Pod) -> Vec<PodCertificateAsk> {
    let mounted = mounted_names(pod);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mounted = volumes.filter(|volume| mounted.contains(volume.name.as_str()));
    let parts = mounted.flat_map(|volume| {
        let sources = volume.projected.iter().flat_map(|source| source.sources.iter().flatten());
        sources.enumerate().map(move |(index, part)| (volume, index, part))
    });
    parts
        .filter_map(|(volume, index, part)| {
            Some(certificate_ask(pod, volume, index, part.pod_certificate.as_ref()?))
        })
        .collect()
}

fn certificate_ask(
    pod: &Pod,
    volume: &Volume,
    source_index: usize,
    source: &PodCertificateProjection,
) -> PodCertificateAsk {
    PodCertificateAsk {
        pod: pod.key(),
        pod_uid: pod.uid(),
        volume: volume.name.clone(),
        source_index,
        service_account: pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone())
            .unwrap_or_default(),
        signer: source.signer_name.clone(),
        key_type: source.key_type.clone(),
        max_expiration_secs: source.max_expiration_seconds,
        annotations: source.user_annotations.clone().unwrap_or_default(),
    }
}

/// Whether a mounted volume of the pod shows trust bundles.
pub fn shows_trust_bundles(pod: &Pod) -> bool {
    let mounted = mounted_names(pod);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mounted = volumes.filter(|volume| mounted.contains(volume.name.as_str()));
    let parts =
        mounted.flat_map(|volume| volume.projected.iter().flat_map(|source| source.sources.iter().flatten()));
    parts.into_iter().any(|part| part.cluster_trust_bundle.is_some())
}

/// The plugin of a volume into which the agent writes files; `None` for others.
pub fn content_plugin(volume: &Volume) -> Option<VolumePlugin> {
    match source_of(volume).ok()? {
        Source::EmptyDir(_) | Source::HostPath(_) => None,
        Source::DownwardApi(_) => Some(VolumePlugin::DownwardApi),
        Source::Secret(_) => Some(VolumePlugin::Secret),
        Source::ConfigMap(_) => Some(VolumePlugin::ConfigMap),
        Source::Projected(_) => Some(VolumePlugin::Projected),
    }
}

/// The files of a volume; `None` for one into which the agent writes nothing.
pub fn payload(
    pod: &Pod,
    volume: &Volume,
    content: &Content<'_>,
) -> Result<Option<VolumePayload>, VolumeError> {
    let mut files = Files { pod, volume, content: *content, files: BTreeMap::new() };
    let plugin = match source_of(volume)? {
        Source::EmptyDir(_) | Source::HostPath(_) => return Ok(None),
        Source::DownwardApi(source) => {
            files.add(source.items.as_deref().unwrap_or_default(), source.default_mode)?;
            VolumePlugin::DownwardApi
        }
        Source::Secret(source) => {
            let object = files.secret(source.secret_name.as_deref().unwrap_or_default());
            let keys = Keys { items: source.items.as_deref(), optional: source.optional == Some(true) };
            files.add_keys(&object, &keys, source.default_mode)?;
            VolumePlugin::Secret
        }
        Source::ConfigMap(source) => {
            let object = files.config_map(&source.name);
            let keys = Keys { items: source.items.as_deref(), optional: source.optional == Some(true) };
            files.add_keys(&object, &keys, source.default_mode)?;
            VolumePlugin::ConfigMap
        }
        Source::Projected(source) => {
            files.add_all(source.sources.as_deref().unwrap_or_default(), source.default_mode)?;
            VolumePlugin::Projected
        }
    };
    files.check_tree()?;
    Ok(Some(VolumePayload { plugin, files: files.files, fs_group: fs_group(pod) }))
}

/// Which keys of an object become files.
struct Keys<'a> {
    /// All, when there are none.
    items: Option<&'a [KeyToPath]>,
    /// An object or key that is missing is left out.
    optional: bool,
}

/// Files of one volume while they are collected.
struct Files<'a> {
    pod: &'a Pod,
    volume: &'a Volume,
    content: Content<'a>,
    files: BTreeMap<String, PayloadFile>,
}

impl Files<'_> {
    fn secret(&self, name: &str) -> KeyedRef {
        KeyedRef::secret(&self.pod.key().namespace, name)
    }

    fn config_map(&self, name: &str) -> KeyedRef {
        KeyedRef::config_map(&self.pod.key().namespace, name)
    }

    /// Adds the parts of a projected volume; what is wrong with any of them is told.
    fn add_all(&mut self, parts: &[VolumeProjection], default_mode: Option<i32>) -> Result<(), VolumeError> {
        let mut problems = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            problems.extend(self.add_part(index, part, default_mode).err());
        }
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => {
                let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
                let text = format!("[{}]", texts.join(", "));
                let passing = |problem: &VolumeError| matches!(problem, VolumeError::Unavailable(_));
                Err(match problems.iter().all(passing) {
                    true => VolumeError::Unavailable(text),
                    false => VolumeError::Content(text),
                })
            }
        }
    }

    fn add_part(
        &mut self,
        index: usize,
        part: &VolumeProjection,
        default_mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        if let Some(source) = &part.secret {
            let keys = Keys { items: source.items.as_deref(), optional: source.optional == Some(true) };
            self.add_keys(&self.secret(&source.name), &keys, default_mode)
        } else if let Some(source) = &part.config_map {
            let keys = Keys { items: source.items.as_deref(), optional: source.optional == Some(true) };
            self.add_keys(&self.config_map(&source.name), &keys, default_mode)
        } else if let Some(source) = &part.service_account_token {
            self.add_token(source, default_mode)
        } else if let Some(source) = &part.downward_api {
            self.add(source.items.as_deref().unwrap_or_default(), default_mode)
        } else if let Some(source) = &part.cluster_trust_bundle {
            self.add_anchors(source, default_mode)
        } else if let Some(source) = &part.pod_certificate {
            self.add_certificate(index, source, default_mode)
        } else {
            Ok(())
        }
    }

    /// Adds the keys of a Secret or ConfigMap.
    fn add_keys(
        &mut self,
        object: &KeyedRef,
        keys: &Keys<'_>,
        default_mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        let nothing = KeyedObject::default();
        let found = match self.content.objects.get(object) {
            Some(Ok(found)) => found,
            Some(Err(LookupError::NotFound { .. })) if keys.optional => &nothing,
            Some(Err(error @ (LookupError::NotSynced { .. } | LookupError::Api(_)))) => {
                return Err(VolumeError::Unavailable(error.to_string()));
            }
            Some(Err(error)) => return Err(VolumeError::Content(error.to_string())),
            None => {
                return Err(VolumeError::NoClient { volume: self.volume.name.clone(), kind: object.kind });
            }
        };
        let Some(items) = keys.items.filter(|items| !items.is_empty()) else {
            let mut all = found.data.iter().chain(&found.binary_data);
            return all.try_for_each(|(key, value)| self.put(key, value.clone(), (None, default_mode), None));
        };
        for item in items {
            match found.data.get(&item.key).or_else(|| found.binary_data.get(&item.key)) {
                Some(value) => self.put(&item.path, value.clone(), (item.mode, default_mode), None)?,
                None if keys.optional => {}
                None => {
                    let key = &item.key;
                    return Err(VolumeError::Content(match object.kind {
                        KeyedKind::Secret => format!("references non-existent secret key: {key}"),
                        KeyedKind::ConfigMap => {
                            format!("configmap references non-existent config key: {key}")
                        }
                    }));
                }
            }
        }
        Ok(())
    }

    /// Adds a token.
    fn add_token(
        &mut self,
        source: &ServiceAccountTokenProjection,
        default_mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        let ask = token_ask(self.pod, source);
        let token = match self.content.tokens.get(&ask) {
            Some(Ok(token)) => Secret::new(token.expose().clone().into_bytes()),
            Some(Err(problem)) => return Err(VolumeError::Unavailable(problem.clone())),
            None => {
                let problem = "cannot use TokenManager when kubelet is in standalone mode";
                return Err(VolumeError::Content(problem.to_owned()));
            }
        };
        self.put_own(&source.path, token, default_mode)
    }

    /// Adds the authorities of trust bundles.
    fn add_anchors(
        &mut self,
        source: &ClusterTrustBundleProjection,
        default_mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        let anchors = trust::anchors(self.content.trust, source).map_err(|error| match error {
            TrustError::NotYetRead => VolumeError::Unavailable(error.to_string()),
            _ => VolumeError::Content(error.to_string()),
        })?;
        self.put_own(&source.path, Secret::new(anchors), default_mode)
    }

    /// Adds a certificate and its key, in one file, in two, or both.
    fn add_certificate(
        &mut self,
        index: usize,
        source: &PodCertificateProjection,
        default_mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        let ask = certificate_ask(self.pod, self.volume, index, source);
        let bundle = match self.content.certificates.get(&ask) {
            Some(Ok(bundle)) => bundle,
            Some(Err(error @ (NoBundle::NotYet | NoBundle::Unavailable(_)))) => {
                return Err(VolumeError::Unavailable(error.to_string()));
            }
            Some(Err(error)) => return Err(VolumeError::Content(error.to_string())),
            None => {
                let problem = "pod certificates are not supported in static kubelet mode";
                return Err(VolumeError::Content(problem.to_owned()));
            }
        };
        let (key, chain) = (bundle.key_pem.expose(), &bundle.chain_pem);
        let files = [
            (&source.credential_bundle_path, [key.as_slice(), chain].concat()),
            (&source.key_path, key.clone()),
            (&source.certificate_chain_path, chain.clone()),
        ];
        for (path, content) in files {
            if let Some(path) = path.as_deref().filter(|path| !path.is_empty()) {
                self.put_own(path, Secret::new(content), default_mode)?;
            }
        }
        Ok(())
    }

    /// Adds a file that is the pod's user's alone, when the pod has one user or a group for its volumes.
    fn put_own(
        &mut self,
        path: &str,
        content: Secret<Vec<u8>>,
        default_mode: Option<i32>,
    ) -> Result<(), VolumeError> {
        let owner = pod_user(self.pod);
        let own = (owner.is_some() || fs_group(self.pod).is_some()).then_some(OWN_MODE);
        self.put(path, content, (own, default_mode), owner)
    }

    /// Adds one file; of two with one path the later stays, as in upstream.
    fn put(
        &mut self,
        path: &str,
        content: Secret<Vec<u8>>,
        (own_mode, default_mode): (Option<i32>, Option<i32>),
        owner: Option<i64>,
    ) -> Result<(), VolumeError> {
        let clean = clean_path(path).map_err(|rule| self.path_error(path, rule))?;
        let mode = own_mode.or(default_mode).unwrap_or(DEFAULT_MODE);
        let mode = u32::try_from(mode).ok().filter(|mode| *mode <= 0o777).ok_or_else(|| {
            VolumeError::Mode { volume: self.volume.name.clone(), path: path.to_owned(), mode }
        })?;
        self.files.insert(clean, PayloadFile { content, mode, owner });
        Ok(())
    }

    /// Adds files of the downward API.
    fn add(&mut self, items: &[DownwardAPIVolumeFile], default_mode: Option<i32>) -> Result<(), VolumeError> {
        for item in items {
            // A wrong path is told before a wrong value.
            clean_path(&item.path).map_err(|rule| self.path_error(&item.path, rule))?;
            let content = Secret::new(self.value(item)?.into_bytes());
            self.put(&item.path, content, (item.mode, default_mode), None)?;
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
            (None, Some(resource)) => {
                downward::resource_value(resource, self.pod, None, self.content.allocatable)
            }
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

/// The one user that all containers run as; `None` when they differ or one names none.
fn pod_user(pod: &Pod) -> Option<i64> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let user = |container: &Container| {
        container.security_context.as_ref().and_then(|context| context.run_as_user).or(of_pod)
    };
    let mut users = spec.init_containers.iter().flatten().chain(&spec.containers).map(user);
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
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
