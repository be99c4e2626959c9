//! Finds the credentials for a pull, in the order in which they are tried: the pod's secrets, the node's docker
//! configuration, plugins.
//!
//! Secrets and files are read at each pull, so that a change needs no restart. As upstream does, the first file that can be
//! used is the only one: `config.json` in the root directory, the working directory, `~/.docker` and `/.docker`, then
//! `.dockercfg` in the root directory, the working directory, `~` and `/`.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_images::keyring::{ConfigForm, CredentialsError, MAX_CONFIG_BYTES};
use core_images::secrets::keyring_of;
use core_images::{Credential, CredentialSource, ImageReference, Keyring};
use core_types::api::Pod;
use core_types::{KeyedObject, KeyedRef, PodExt};

use super::providers::{PluginOutside, PluginSet};
use crate::metrics::ImageMetrics;
use crate::objects::Objects;
use crate::outside::Outside;
use crate::settings::Settings;

/// What was found for a pod and an image.
#[derive(Clone, Debug)]
pub(crate) struct FoundCredentials {
    /// Tried in this order.
    pub(crate) credentials: Vec<Credential>,
    /// Secrets that the pod names and that could not be had.
    pub(crate) missing_secrets: Vec<String>,
}

/// Where credentials come from.
#[derive(Clone)]
pub(crate) struct CredentialFinder {
    outside: Outside,
    /// Secrets; `None` without an API server.
    objects: Option<Objects>,
    /// Docker configurations of the node, the first that is there counts.
    files: Vec<(String, ConfigForm)>,
    plugins: PluginSet,
}

impl CredentialFinder {
    pub(crate) fn new(
        outside: Outside,
        objects: Option<Objects>,
        settings: &Settings,
        metrics: ImageMetrics,
    ) -> Self {
        let (root, host) = (&settings.runtime.root_dir, &settings.host);
        let (cwd, home) = (host.working_dir.trim_end_matches('/'), host.home_dir.trim_end_matches('/'));
        let json = [root, cwd, &format!("{home}/.docker"), "/.docker"]
            .map(|dir| (format!("{dir}/config.json"), ConfigForm::DockerConfigJson));
        let legacy = [root, cwd, home, ""].map(|dir| (format!("{dir}/.dockercfg"), ConfigForm::DockerCfg));
        let for_plugins = PluginOutside {
            clock: Arc::clone(&outside.clock),
            runner: Arc::clone(&outside.pulls.plugins),
            access: outside.pulls.access.clone(),
        };
        let plugins = PluginSet::new(for_plugins, &settings.pulls.plugins, metrics);
        Self { outside, objects, files: json.into_iter().chain(legacy).collect(), plugins }
    }

    /// The credentials to try for an image.
    ///
    /// # Errors
    /// A secret of the pod is no docker configuration: what it was meant to open is not known, so nothing is tried.
    pub(crate) async fn find(&self, pod: &Pod, image: &str) -> Result<FoundCredentials, CredentialsError> {
        let repository = image.parse::<ImageReference>().map(|image| image.repository()).unwrap_or_default();
        let (secrets, missing_secrets) = secrets_of(self.objects.as_ref(), pod).await;
        let secrets = secrets.iter().map(|(name, secret)| (name, secret.as_ref()));
        let mut credentials = keyring_of(secrets)?.lookup(&repository);
        credentials.extend(self.node_keyring().await.lookup(&repository));
        credentials.extend(self.plugins.lookup(pod, &repository).await);
        Ok(FoundCredentials { credentials, missing_secrets })
    }

    async fn node_keyring(&self) -> Keyring {
        for (path, form) in &self.files {
            // One byte more, so that a file that is too large is told from one that just fits.
            let content = match self.outside.files.read_host_file(path, MAX_CONFIG_BYTES + 1).await {
                Ok(Some(content)) => content,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "registry credentials cannot be read");
                    continue;
                }
            };
            let mut keyring = Keyring::default();
            match keyring.add(path, *form, &content, &CredentialSource::Node) {
                Ok(()) => return keyring,
                Err(error) => tracing::warn!("{error}"),
            }
        }
        Keyring::default()
    }
}

/// The Secrets that a pod names for its pulls, and the names of those that cannot be had.
async fn secrets_of(
    objects: Option<&Objects>,
    pod: &Pod,
) -> (BTreeMap<KeyedRef, Arc<KeyedObject>>, Vec<String>) {
    let (mut secrets, mut missing) = (BTreeMap::new(), Vec::new());
    let names = pod.spec_ref().and_then(|spec| spec.image_pull_secrets.as_ref()).into_iter().flatten();
    // The API lets entries without a name pass; they mean nothing.
    for name in names.map(|reference| reference.name.as_str()).filter(|name| !name.is_empty()) {
        let object = KeyedRef::secret(&pod.key().namespace, name);
        let why = match objects {
            Some(objects) => match objects.get(&object).await {
                Ok(secret) => {
                    secrets.insert(object, secret);
                    continue;
                }
                Err(error) => error.to_string(),
            },
            None => "there is no API server".to_owned(),
        };
        tracing::info!(pod = %pod.key(), secret = name, "a pull secret cannot be had, the pull may not succeed: {why}");
        missing.push(name.to_owned());
    }
    (secrets, missing)
}
