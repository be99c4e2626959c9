//! Finds the credentials for a pull: those of the node's docker configuration.
//!
//! Files are read at each pull, so that a changed file needs no restart. As upstream does, the first file that can be used
//! is the only one: `config.json` in the root directory, the working directory, `~/.docker` and `/.docker`, then
//! `.dockercfg` in the root directory, the working directory, `~` and `/`.

use core_images::keyring::{ConfigForm, MAX_CONFIG_BYTES};
use core_images::{Credential, CredentialSource, ImageReference, Keyring};

use crate::outside::Outside;
use crate::settings::Settings;

/// Where credentials come from.
#[derive(Clone)]
pub(crate) struct CredentialFinder {
    outside: Outside,
    /// Docker configurations of the node, the first that is there counts.
    files: Vec<(String, ConfigForm)>,
}

impl CredentialFinder {
    pub(crate) fn new(outside: Outside, settings: &Settings) -> Self {
        let (root, host) = (&settings.runtime.root_dir, &settings.host);
        let (cwd, home) = (host.working_dir.trim_end_matches('/'), host.home_dir.trim_end_matches('/'));
        let json = [root, cwd, &format!("{home}/.docker"), "/.docker"]
            .map(|dir| (format!("{dir}/config.json"), ConfigForm::DockerConfigJson));
        let legacy = [root, cwd, home, ""].map(|dir| (format!("{dir}/.dockercfg"), ConfigForm::DockerCfg));
        Self { outside, files: json.into_iter().chain(legacy).collect() }
    }

    /// The credentials to try for an image, in order.
    pub(crate) async fn find(&self, image: &str) -> Vec<Credential> {
        let repository = image.parse::<ImageReference>().map(|image| image.repository()).unwrap_or_default();
        self.node_keyring().await.lookup(&repository)
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
