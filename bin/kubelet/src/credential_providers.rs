//! `--image-credential-provider-config` and `--image-credential-provider-bin-dir` (CONTRACT 3.16): reads the configuration
//! and looks for the programs before anything starts, as upstream does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agent::PluginSettings;
use anyhow::{Context, Result, bail};
use core_config::{Config, Feature};
use core_images::providers::config::{TokenSupport, read};
use core_metrics::{Desc, Registry};

/// Largest configuration file, in bytes. One with a hundred plugins has some ten thousand.
const MAX_FILE_BYTES: u64 = 10 << 20;

const CONFIG_INFO: Desc = Desc {
    name: "kubelet_credential_provider_config_info",
    help: "[ALPHA] Information about the last applied credential provider configuration with hash as label",
    labels: &["hash"],
};

/// The plugins that are configured; none without the flags.
pub(crate) fn read_settings(config: &Config, registry: &Registry) -> Result<PluginSettings> {
    let options = &config.options;
    let (path, bin_dir) =
        (&options.image_credential_provider_config, &options.image_credential_provider_bin_dir);
    if path.is_none() && bin_dir.is_none() {
        return Ok(PluginSettings::default());
    }
    let bin_dir = bin_dir.clone().unwrap_or_default();
    if !bin_dir.is_dir() {
        bail!(
            "--image-credential-provider-bin-dir: plugin binary directory {} did not exist",
            bin_dir.display()
        );
    }
    let bin_dir = std::path::absolute(&bin_dir).context("--image-credential-provider-bin-dir")?;
    let Some(path) = path else {
        bail!("--image-credential-provider-config: credential provider config path is empty");
    };
    let files = read_files(path).context("--image-credential-provider-config")?;
    let support = match config.features.enabled(Feature::KubeletServiceAccountTokenForCredentialProviders) {
        true => TokenSupport::On,
        false => TokenSupport::Off,
    };
    let providers = read(&files, support).context("--image-credential-provider-config")?;
    for provider in &providers.list {
        check_program(&bin_dir.join(&provider.name))?;
        tracing::info!(provider = provider.name, "registered a credential provider");
    }
    registry.gauge(CONFIG_INFO).set(&[&providers.hash], 1.0);
    Ok(PluginSettings { providers: providers.list, bin_dir })
}

/// The file, or those of the directory whose names end as configuration does, in the order of their names.
fn read_files(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let metadata = fs::metadata(path).with_context(|| format!("unable to access path {path:?}"))?;
    let mut paths: Vec<PathBuf> = vec![path.to_owned()];
    if metadata.is_dir() {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = entries.with_context(|| format!("unable to read directory {path:?}"))?;
        let is_config = |path: &PathBuf| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            matches!(ending, Some("json" | "yaml" | "yml")) && !path.is_dir()
        };
        paths = entries.iter().map(fs::DirEntry::path).filter(is_config).collect();
        paths.sort();
        if paths.is_empty() {
            bail!("no configuration files found in directory {path:?}");
        }
    }
    paths.into_iter().map(|path| Ok((path.display().to_string(), read_file(&path)?))).collect()
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let unreadable = || format!("unable to read file {path:?}");
    let length = fs::metadata(path).with_context(unreadable)?.len();
    if length > MAX_FILE_BYTES {
        bail!("{}: it is larger than {MAX_FILE_BYTES} bytes", unreadable());
    }
    fs::read(path).with_context(unreadable)
}

fn check_program(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::metadata(path) else {
        bail!("plugin binary executable {} did not exist", path.display());
    };
    if metadata.is_dir() || metadata.permissions().mode() & 0o111 == 0 {
        bail!("error inspecting binary executable {}: it is not executable", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_read_by_name_and_programs_must_run() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        for (name, content) in [("b.yaml", "2"), ("a.json", "1"), ("c.txt", "3"), ("d.yml", "4")] {
            fs::write(dir.join(name), content).unwrap();
        }
        fs::create_dir(dir.join("e.yaml")).unwrap();
        let contents: Vec<_> = read_files(dir).unwrap().into_iter().map(|(_, content)| content).collect();
        assert_eq!(contents, [b"1", b"2", b"4"]);
        assert_eq!(read_files(&dir.join("c.txt")).unwrap().len(), 1, "a file that is named is read");
        let error = format!("{:#}", read_files(&dir.join("e.yaml")).unwrap_err());
        assert!(error.contains("no configuration files found"), "{error}");
        assert!(read_files(&dir.join("none")).is_err());
        let error = check_program(&dir.join("none")).unwrap_err().to_string();
        assert!(error.contains("did not exist"), "{error}");
        assert!(check_program(&dir.join("a.json")).unwrap_err().to_string().contains("not executable"));
        assert!(check_program(Path::new("/bin/sh")).is_ok());
    }
}
