//! From parsed flags and the bytes of files to one validated [`Config`], in upstream's order (CONTRACT 1.3
//! and 1.4).
//!
//! ```text
//! --config given?  yes: file > nulls out > defaults > absolute paths > eviction defaults
//!                  no:  defaults > legacy defaults > flags
//! drop-ins         each merged over it (RFC 7386) > defaults again
//! flags            over all of it; featureGates key by key
//! meaning          features, validation, notices
//! ```
//!
//! As upstream does: `evictionHard` gets its default map from a `--config` file only, and before drop-ins,
//! which therefore add to it; relative paths are resolved in the `--config` file only.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use core_yaml::{Document, FieldPath, Limits, UnknownField};
use serde_json::{Map, Value};

use crate::error::{ConfigError, ConfigErrors};
use crate::features::FeatureSet;
use crate::flags::ParsedFlags;
use crate::kubelet_configuration::{
    API_VERSION, KIND, KubeletConfiguration, default_eviction_hard, read_fields,
};
use crate::notice::{Notice, NoticeKind};
use crate::options::Options;
use crate::validate::{HostFacts, validate};

/// A file that was read: its absolute path and its bytes.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// The configuration to run with. Every rule holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What file, drop-ins and flags say together.
    pub kubelet: KubeletConfiguration,
    /// What only flags say.
    pub options: Options,
    /// Which features are on.
    pub features: FeatureSet,
    /// What the user should know; to be logged as warnings.
    pub notices: Vec<Notice>,
    /// Every flag with the value of the command line, or else its default; secrets are masked.
    pub flags: BTreeMap<String, String>,
}

/// Whether a file of the drop-in directory is a drop-in, by its name.
pub fn is_drop_in(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "conf")
}

/// Puts a configuration together, or says everything that is wrong with it.
///
/// `config_file` is the file of `--config`; `drop_ins` are all files below `--config-dir`, in any order:
/// those whose name does not end in `.conf` are skipped.
pub fn assemble(
    flags: &ParsedFlags,
    config_file: Option<InputFile>,
    drop_ins: Vec<InputFile>,
    host: HostFacts,
) -> Result<Config, ConfigErrors> {
    let mut assembly = Assembly { flags, notices: flags.notices.clone() };
    let kubelet = assembly.configuration(config_file, drop_ins).map_err(|error| ConfigErrors(vec![error]))?;
    let mut errors = Vec::new();
    let features = match FeatureSet::resolve(&kubelet.feature_gates) {
        Ok((features, notices)) => {
            assembly.notices.extend(notices);
            features
        }
        Err(found) => {
            errors.extend(found.into_iter().map(ConfigError::from));
            FeatureSet::default()
        }
    };
    let options = flags.options().clone();
    errors.extend(validate(&kubelet, &options, &features, host).into_iter().map(ConfigError::from));
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    assembly.note_ineffective(&kubelet);
    Ok(Config { kubelet, options, features, notices: assembly.notices, flags: flags.values() })
}

struct Assembly<'a> {
    flags: &'a ParsedFlags,
    notices: Vec<Notice>,
}

impl Assembly<'_> {
    fn configuration(
        &mut self,
        config_file: Option<InputFile>,
        drop_ins: Vec<InputFile>,
    ) -> Result<KubeletConfiguration, ConfigError> {
        let from_files = config_file.is_some() || !drop_ins.is_empty();
        let mut config = match config_file {
            Some(file) => self.read_file(&file)?,
            None => self.flags_alone(),
        };
        if !drop_ins.is_empty() {
            config = self.merge(&config, drop_ins)?;
        }
        if from_files {
            let gates = config.feature_gates.clone();
            config = self.flags.apply_over(config)?;
            config.feature_gates = self.with_flag_gates(gates);
        }
        config.seccomp_default |= self.flags.options().seccomp_default;
        Ok(config)
    }

    /// The command line alone. A gate that its flags switch off takes its defaults along.
    fn flags_alone(&self) -> KubeletConfiguration {
        let mut config = self.flags.target.config.clone();
        let features = self.features(&config);
        if !features.enabled(crate::Feature::KubeletCrashLoopBackOffMax) {
            config.crash_loop_back_off.max_container_restart_period = None;
        }
        if !features.enabled(crate::Feature::KubeletEnsureSecretPulledImages) {
            config.image_pull_credentials_verification_policy = String::new();
        }
        config
    }

    fn read_file(&mut self, file: &InputFile) -> Result<KubeletConfiguration, ConfigError> {
        let fields = self.document(file)?;
        let (mut config, unknown) =
            read_fields(Value::Object(fields)).map_err(|source| field_error(file, source))?;
        self.note_unknown(file, &unknown);
        let features = self.features(&config);
        config.fill_defaults(&features);
        resolve_paths(&mut config, file.path.parent().unwrap_or(Path::new("/")));
        match &mut config.eviction_hard {
            None => config.eviction_hard = Some(default_eviction_hard()),
            Some(given) if config.merge_default_eviction_settings => {
                for (signal, quantity) in default_eviction_hard() {
                    given.entry(signal).or_insert(quantity);
                }
            }
            Some(_) => {}
        }
        Ok(config)
    }

    fn merge(
        &mut self,
        base: &KubeletConfiguration,
        mut drop_ins: Vec<InputFile>,
    ) -> Result<KubeletConfiguration, ConfigError> {
        drop_ins.retain(|file| is_drop_in(&file.path));
        drop_ins.sort_by(|a, b| a.path.cmp(&b.path));
        let mut merged = base.to_fields();
        for file in &drop_ins {
            let patch = Value::Object(self.document(file)?);
            merge_patch(&mut merged, patch);
        }
        let (mut config, unknown) = read_fields(merged).map_err(|source| blame(&drop_ins, source))?;
        if !unknown.is_empty() {
            for file in &drop_ins {
                let document = core_yaml::decode(&file.bytes, Limits::default()).unwrap_or_default();
                let here = |field: &&UnknownField| stands_in(&document, &field.path);
                self.note_unknown(file, &unknown.iter().filter(here).cloned().collect::<Vec<_>>());
            }
        }
        let features = self.features(&config);
        config.fill_defaults(&features);
        Ok(config)
    }

    /// The fields of a file, its kind and version checked and taken out; keys given twice are noticed.
    fn document(&mut self, file: &InputFile) -> Result<Map<String, Value>, ConfigError> {
        let path = || file.path.clone();
        if file.bytes.is_empty() {
            return Err(ConfigError::Empty { path: path() });
        }
        let documents = core_yaml::decode_documents(&file.bytes, Limits::default())
            .map_err(|source| ConfigError::Decode { path: path(), source })?;
        let Some(Document { value, duplicates, .. }) = documents.into_iter().next() else {
            return Err(ConfigError::Empty { path: path() });
        };
        for duplicate in duplicates {
            let message = format!(
                "{}:{}: {:?} is given twice, the last one counts",
                file.path.display(),
                duplicate.at.line,
                duplicate.key
            );
            self.notices.push(Notice { kind: NoticeKind::UnknownField, message });
        }
        let mut fields = match value {
            Value::Object(fields) => fields,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Map::new()
            }
        };
        let mut text = |key: &str| match fields.remove(key) {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if api_version != API_VERSION || kind != KIND {
            return Err(ConfigError::WrongKind { path: path(), api_version, kind });
        }
        Ok(fields)
    }

    /// The features that defaults follow; errors in the gates are reported at the end.
    fn features(&self, config: &KubeletConfiguration) -> FeatureSet {
        let gates = self.with_flag_gates(config.feature_gates.clone());
        FeatureSet::resolve(&gates).map(|(features, _)| features).unwrap_or_default()
    }

    fn with_flag_gates(&self, mut gates: BTreeMap<String, bool>) -> BTreeMap<String, bool> {
        gates.extend(self.flags.target.config.feature_gates.clone());
        gates
    }

    fn note_unknown(&mut self, file: &InputFile, unknown: &[UnknownField]) {
        for field in unknown {
            let line = locate(file, &field.path).map(|line| format!(":{line}")).unwrap_or_default();
            let message = format!("{}{line}: {field}, it has no effect", file.path.display());
            self.notices.push(Notice { kind: NoticeKind::UnknownField, message });
        }
    }

    fn note_ineffective(&mut self, config: &KubeletConfiguration) {
        let mut note = |message: &str| {
            self.notices.push(Notice { kind: NoticeKind::IgnoredSetting, message: message.to_owned() });
        };
        let reserved = &config.kube_reserved_cgroup;
        if !config.kubelet_cgroups.is_empty()
            && !reserved.is_empty()
            && !config.kubelet_cgroups.starts_with(reserved)
        {
            note(
                "kubeletCgroups is not within kubeReservedCgroup: the kubelet's own use is not bounded by it",
            );
        }
        if config.tls_min_version == "VersionTLS13" && !config.tls_cipher_suites.is_empty() {
            note(
                "tlsCipherSuites has no effect with tlsMinVersion VersionTLS13: its suites cannot be chosen",
            );
        }
    }
}

/// JSON merge patch (RFC 7386): objects merge, null deletes, everything else replaces.
fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(&key);
        } else {
            merge_patch(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn resolve_paths(config: &mut KubeletConfiguration, root: &Path) {
    for path in [
        &mut config.static_pod_path,
        &mut config.authentication.x509.client_ca_file,
        &mut config.tls_cert_file,
        &mut config.tls_private_key_file,
        &mut config.resolv_conf,
        &mut config.volume_plugin_dir,
        &mut config.pod_logs_dir,
    ] {
        if !path.is_empty() && !path.starts_with('/') {
            *path = clean(&root.join(path.as_str())).to_string_lossy().into_owned();
        }
    }
}

/// Go's `filepath.Clean` for an absolute path.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

/// The line of a field for a notice. Each costs a pass over the file, so large files go without.
fn locate(file: &InputFile, path: &FieldPath) -> Option<usize> {
    const MAX_BYTES: usize = 256 << 10;
    if file.bytes.len() > MAX_BYTES {
        return None;
    }
    core_yaml::locate(&file.bytes, 0, path, Limits::default()).map(|at| at.line)
}

fn field_error(file: &InputFile, source: core_yaml::FieldError) -> ConfigError {
    let position = core_yaml::locate(&file.bytes, 0, &source.path, Limits::default());
    ConfigError::Field { path: file.path.clone(), position, source }
}

/// The last drop-in that has the field is the one to mend.
fn blame(drop_ins: &[InputFile], source: core_yaml::FieldError) -> ConfigError {
    let has_it = |file: &&InputFile| {
        core_yaml::decode(&file.bytes, Limits::default())
            .is_ok_and(|document| stands_in(&document, &source.path))
    };
    match drop_ins.iter().rev().find(has_it).or(drop_ins.last()) {
        Some(file) => field_error(file, source),
        None => ConfigError::Field { path: PathBuf::new(), position: None, source },
    }
}

/// Whether a document holds the field itself, not only something around it.
fn stands_in(document: &Value, path: &FieldPath) -> bool {
    path.0
        .iter()
        .try_fold(document, |value, segment| match segment {
            core_yaml::Segment::Key(key) => value.get(key),
            core_yaml::Segment::Index(index) => value.get(index),
        })
        .is_some()
}

#[cfg(test)]
mod tests;
