//! `CredentialProviderConfig` (CONTRACT 3.16): which plugins there are, for which images, and what they get.
//!
//! Reads: the bytes of one file, or of the files of a directory in the order of their names. What is wrong ends the start, as
//! upstream does it: a node that silently pulls without credentials is worse.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use core_config::GoDuration;
use core_types::api::ServiceAccount;
use core_yaml::{DuplicateKeys, Limits};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::credential::hex;
use crate::keyring::fits;

const GROUP: &str = "kubelet.config.k8s.io";
const KIND: &str = "CredentialProviderConfig";

/// Versions of the plugins' protocol; requests and answers of each say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// `v1alpha1`.
    V1Alpha1,
    /// `v1beta1`.
    V1Beta1,
    /// `v1`.
    V1,
}

impl ProtocolVersion {
    const ALL: [Self; 3] = [Self::V1, Self::V1Alpha1, Self::V1Beta1];

    /// As `apiVersion`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "credentialprovider.kubelet.k8s.io/v1alpha1",
            Self::V1Beta1 => "credentialprovider.kubelet.k8s.io/v1beta1",
            Self::V1 => "credentialprovider.kubelet.k8s.io/v1",
        }
    }
}

/// What an answer that came by a token holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCache {
    /// All pods of the service account.
    ServiceAccount,
    /// The token alone; it may be the password then.
    Token,
}

/// Whether a pod needs a service account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountNeed {
    /// Without one the plugin is not asked.
    Required,
    /// Without one the plugin is asked without a token.
    Optional,
}

/// A plugin that wants tokens of service accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAttributes {
    /// Audience of the token.
    pub audience: String,
    /// What answers hold for.
    pub cache: TokenCache,
    /// Whether a pod needs an account.
    pub need: AccountNeed,
    /// Annotations without which the plugin is not asked.
    pub required_annotations: Vec<String>,
    /// Annotations that it is told when they are there.
    pub optional_annotations: Vec<String>,
}

impl TokenAttributes {
    /// The account's annotations for the plugin.
    ///
    /// # Errors
    /// The required one that is missing.
    pub fn annotations_of(&self, account: &ServiceAccount) -> Result<BTreeMap<String, String>, String> {
        let has = account.metadata.annotations.clone().unwrap_or_default();
        let mut told = BTreeMap::new();
        for key in &self.required_annotations {
            let value = has.get(key).ok_or_else(|| format!("required annotation {key} not found"))?;
            told.insert(key.clone(), value.clone());
        }
        for key in &self.optional_annotations {
            told.extend(has.get(key).map(|value| (key.clone(), value.clone())));
        }
        Ok(told)
    }
}

/// One plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name, and that of its program.
    pub name: String,
    /// Images that it is asked for.
    pub match_images: Vec<String>,
    /// How long an answer holds that does not say it; zero for not at all.
    pub default_cache: Duration,
    /// Version of its protocol.
    pub version: ProtocolVersion,
    /// Arguments of its program.
    pub args: Vec<String>,
    /// Variables of its program.
    pub env: Vec<(String, String)>,
    /// What it wants of service accounts.
    pub tokens: Option<TokenAttributes>,
}

impl Provider {
    /// True when it is asked for images of this repository.
    pub fn covers(&self, repository: &str) -> bool {
        self.match_images.iter().any(|pattern| fits(pattern, repository))
    }
}

/// Whether plugins may want tokens: the gate KubeletServiceAccountTokenForCredentialProviders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSupport {
    /// They may.
    On,
    /// They may not.
    Off,
}

/// All plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Providers {
    /// In the order of the files.
    pub list: Vec<Provider>,
    /// `sha256:<hash>` of the files, as upstream's metric shows it.
    pub hash: String,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderConfigError {
    /// A file is not what it should be.
    #[error("error decoding config {path:?}: {problem}")]
    Decode {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// Two plugins of the same name.
    #[error("duplicate provider name {name:?} found in configuration file(s)")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Fields that cannot be.
    #[error("failed to validate credential provider config: {}", problems.join("; "))]
    Invalid {
        /// Each with its field.
        problems: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    providers: Vec<ProviderFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ProviderFile {
    name: String,
    match_images: Vec<String>,
    default_cache_duration: Option<GoDuration>,
    api_version: String,
    args: Vec<String>,
    env: Vec<EnvFile>,
    token_attributes: Option<TokenFile>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EnvFile {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TokenFile {
    service_account_token_audience: String,
    cache_type: String,
    require_service_account: Option<bool>,
    required_service_account_annotation_keys: Vec<String>,
    optional_service_account_annotation_keys: Vec<String>,
}

/// Reads the files (path and content).
///
/// # Errors
/// The first file that cannot be read, or everything that is wrong with what they say.
pub fn read(files: &[(String, Vec<u8>)], tokens: TokenSupport) -> Result<Providers, ProviderConfigError> {
    let mut hasher = Sha256::new();
    let mut all: Vec<ProviderFile> = Vec::new();
    for (path, content) in files {
        hasher.update(u64::try_from(content.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(content);
        let decoded =
            decode(content).map_err(|problem| ProviderConfigError::Decode { path: path.clone(), problem })?;
        for provider in decoded {
            if all.iter().any(|known| known.name == provider.name) {
                return Err(ProviderConfigError::Duplicate { name: provider.name });
            }
            all.push(provider);
        }
    }
    let mut problems = Vec::new();
    if all.is_empty() {
        problems.push("providers: Required value: at least 1 item in plugins is required".to_owned());
    }
    let list = all.into_iter().filter_map(|file| provider(file, tokens, &mut problems)).collect();
    match problems.is_empty() {
        true => Ok(Providers { list, hash: format!("sha256:{}", hex(&hasher.finalize())) }),
        false => Err(ProviderConfigError::Invalid { problems }),
    }
}

fn decode(content: &[u8]) -> Result<Vec<ProviderFile>, String> {
    let limits = Limits { duplicate_keys: DuplicateKeys::Refuse, ..Limits::default() };
    let value = core_yaml::decode(content, limits).map_err(|error| error.to_string())?;
    let (file, unknown) = core_yaml::from_value::<ConfigFile>(value).map_err(|error| error.to_string())?;
    if file.kind != KIND {
        return Err(format!("failed to decode {:?} (wrong Kind)", file.kind));
    }
    let version = file.api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/'));
    if !matches!(version, Some("v1" | "v1beta1" | "v1alpha1")) {
        return Err(format!(
            "no kind {KIND:?} is registered for version {:?}: use {GROUP}/v1",
            file.api_version
        ));
    }
    if let Some(field) = unknown.first() {
        return Err(format!("strict decoding error: {field}"));
    }
    if version != Some("v1") && file.providers.iter().any(|provider| provider.token_attributes.is_some()) {
        return Err(
            "strict decoding error: unknown field \"providers[].tokenAttributes\": it needs version v1"
                .to_owned(),
        );
    }
    Ok(file.providers)
}

/// Collects what is wrong; `None` when something is that has no meaning.
fn provider(file: ProviderFile, support: TokenSupport, problems: &mut Vec<String>) -> Option<Provider> {
    let mut problem = |field: &str, text: String| problems.push(format!("providers.{field}: {text}"));
    let name_rules = [
        (file.name.is_empty(), "provider name cannot be empty"),
        (file.name.contains('/'), "provider name cannot contain '/'"),
        (file.name.contains(' '), "provider name cannot contain spaces"),
        (file.name == ".", "provider name cannot be '.'"),
        (file.name == "..", "provider name cannot be '..'"),
    ];
    for (_, rule) in name_rules.iter().filter(|(broken, _)| *broken) {
        problem("name", format!("Invalid value: {:?}: {rule}", file.name));
    }
    let version = ProtocolVersion::ALL.into_iter().find(|version| version.as_str() == file.api_version);
    match (file.api_version.as_str(), version) {
        ("", _) => problem("apiVersion", "Required value".to_owned()),
        (other, None) => {
            let known = ProtocolVersion::ALL.map(|version| format!("{:?}", version.as_str())).join(", ");
            problem("apiVersion", format!("Unsupported value: {other:?}: supported values: {known}"));
        }
        (_, Some(_)) => {}
    }
    if file.match_images.is_empty() {
        let text = "Required value: at least 1 item in matchImages is required";
        problem("matchImages", text.to_owned());
    }
    for pattern in file.match_images.iter().filter(|pattern| !is_pattern(pattern)) {
        problem(
            "matchImages",
            format!("Invalid value: {pattern:?}: match image is invalid: no host and path"),
        );
    }
    let default_cache = match file.default_cache_duration {
        None => {
            problem("defaultCacheDuration", "Required value".to_owned());
            Duration::ZERO
        }
        Some(duration) if duration < GoDuration::ZERO => {
            let text = format!("Invalid value: \"{duration}\": must be greater than or equal to 0");
            problem("defaultCacheDuration", text);
            Duration::ZERO
        }
        Some(duration) => duration.to_std(),
    };
    let tokens = match file.token_attributes {
        Some(tokens) => Some(token_attributes(tokens, version, support, problems)?),
        None => None,
    };
    Some(Provider {
        name: file.name,
        match_images: file.match_images,
        default_cache,
        version: version?,
        args: file.args,
        env: file.env.into_iter().map(|var| (var.name, var.value)).collect(),
        tokens,
    })
}

fn token_attributes(
    file: TokenFile,
    version: Option<ProtocolVersion>,
    support: TokenSupport,
    problems: &mut Vec<String>,
) -> Option<TokenAttributes> {
    let mut problem =
        |field: &str, text: &str| problems.push(format!("providers.tokenAttributes{field}: {text}"));
    if support == TokenSupport::Off {
        problem(
            "",
            "Forbidden: tokenAttributes is not supported when KubeletServiceAccountTokenForCredentialProviders feature gate is disabled",
        );
    }
    if file.service_account_token_audience.is_empty() {
        problem(".serviceAccountTokenAudience", "Required value");
    }
    if version != Some(ProtocolVersion::V1) {
        let only = ProtocolVersion::V1.as_str();
        problem("", &format!("Forbidden: tokenAttributes is only supported for {only} API version"));
    }
    let (required, optional) =
        (&file.required_service_account_annotation_keys, &file.optional_service_account_annotation_keys);
    match file.require_service_account {
        None => problem(".requireServiceAccount", "Required value"),
        Some(false) if !required.is_empty() => problem(
            ".requiredServiceAccountAnnotationKeys",
            "Forbidden: requireServiceAccount cannot be false when requiredServiceAccountAnnotationKeys is set",
        ),
        Some(_) => {}
    }
    for (field, keys) in [("required", required), ("optional", optional)] {
        check_keys(keys, &mut |text| problem(&format!(".{field}ServiceAccountAnnotationKeys"), &text));
    }
    if required.iter().any(|key| optional.contains(key)) {
        problem("", "Invalid value: annotation keys cannot be both required and optional");
    }
    let cache = match file.cache_type.as_str() {
        "ServiceAccount" => Some(TokenCache::ServiceAccount),
        "Token" => Some(TokenCache::Token),
        "" => {
            problem(
                ".cacheType",
                "Required value: cacheType is required to be set when tokenAttributes is specified. Supported values are: ServiceAccount, Token",
            );
            None
        }
        other => {
            problem(
                ".cacheType",
                &format!("Unsupported value: {other:?}: supported values: \"ServiceAccount\", \"Token\""),
            );
            None
        }
    };
    Some(TokenAttributes {
        audience: file.service_account_token_audience,
        cache: cache?,
        need: match file.require_service_account? {
            true => AccountNeed::Required,
            false => AccountNeed::Optional,
        },
        required_annotations: file.required_service_account_annotation_keys,
        optional_annotations: file.optional_service_account_annotation_keys,
    })
}

/// Annotation keys are qualified names, each given once.
fn check_keys(keys: &[String], problem: &mut dyn FnMut(String)) {
    let mut seen = BTreeSet::new();
    for key in keys {
        if !is_qualified_name(&key.to_lowercase()) {
            problem(format!("Invalid value: {key:?}: must be a qualified name, such as example.com/name"));
        }
        if !seen.insert(key) {
            problem(format!("Duplicate value: {key:?}"));
        }
    }
}

/// A host with an optional port and path, without a scheme.
fn is_pattern(pattern: &str) -> bool {
    let host = pattern.split('/').next().unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    !pattern.contains([' ', '\\', '^', '"', '\n', '\t'])
        && !pattern.contains("://")
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// `[prefix/]name` as Kubernetes wants keys of annotations.
fn is_qualified_name(key: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric();
    let is_name = |name: &str, inner: &[u8], longest: usize| {
        let bytes = name.as_bytes();
        !bytes.is_empty()
            && bytes.len() <= longest
            && bytes.first().copied().is_some_and(is_word)
            && bytes.last().copied().is_some_and(is_word)
            && bytes.iter().all(|byte| is_word(*byte) || inner.contains(byte))
    };
    match key.split_once('/') {
        Some((prefix, name)) => {
            prefix.len() <= 253
                && prefix.split('.').all(|label| is_name(label, b"-", 253))
                && is_name(name, b"-_.", 63)
        }
        None => is_name(key, b"-_.", 63),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: registry-login
  matchImages: ['*.r.io', 'r.io:5000/shop']
  defaultCacheDuration: 12h
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  args: [get]
  env: [{name: REGION, value: here}]
  tokenAttributes:
    serviceAccountTokenAudience: r.io
    cacheType: Token
    requireServiceAccount: true
    requiredServiceAccountAnnotationKeys: [r.io/role]
    optionalServiceAccountAnnotationKeys: [R.io/Zone]
";

    fn one(text: &str) -> Result<Providers, ProviderConfigError> {
        read(&[("c.yaml".to_owned(), text.as_bytes().to_vec())], TokenSupport::On)
    }

    #[test]
    fn a_full_configuration_is_read() {
        let providers = one(GOOD).unwrap();
        assert!(providers.hash.starts_with("sha256:") && providers.hash.len() == 7 + 64);
        let provider = &providers.list[0];
        assert_eq!(provider.default_cache, Duration::from_secs(12 * 3600));
        assert_eq!(provider.env, [("REGION".to_owned(), "here".to_owned())]);
        assert!(provider.covers("a.r.io/x") && provider.covers("r.io:5000/shop/x"));
        assert!(!provider.covers("r.io/x") && !provider.covers("r.io:5000/bar"));
        let tokens = provider.tokens.as_ref().unwrap();
        assert_eq!((tokens.cache, tokens.need), (TokenCache::Token, AccountNeed::Required));
        let account = |annotations: serde_json::Value| {
            serde_json::from_value::<ServiceAccount>(
                serde_json::json!({ "metadata": { "annotations": annotations } }),
            )
            .unwrap()
        };
        let told = tokens.annotations_of(&account(serde_json::json!({ "r.io/role": "x", "other": "y" })));
        assert_eq!(told.unwrap(), BTreeMap::from([("r.io/role".to_owned(), "x".to_owned())]));
        let error = tokens.annotations_of(&account(serde_json::json!({}))).unwrap_err();
        assert_eq!(error, "required annotation r.io/role not found");
    }

    #[test]
    fn files_are_merged_in_order_and_names_are_unique() {
        let file = |name: &str, text: String| (name.to_owned(), text.into_bytes());
        let other = GOOD.replace("registry-login", "second");
        let both = read(&[file("1", GOOD.to_owned()), file("2", other)], TokenSupport::On).unwrap();
        let names: Vec<_> = both.list.iter().map(|provider| provider.name.as_str()).collect();
        assert_eq!(names, ["registry-login", "second"]);
        let twice = read(&[file("1", GOOD.to_owned()), file("2", GOOD.to_owned())], TokenSupport::On);
        assert_eq!(twice, Err(ProviderConfigError::Duplicate { name: "registry-login".to_owned() }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, part) in [
            ("name: registry-login", "name: a/b", "provider name cannot contain '/'"),
            ("name: registry-login", "name: a b", "provider name cannot contain spaces"),
            ("name: registry-login", "name: ..", "provider name cannot be '..'"),
            ("['*.r.io', 'r.io:5000/shop']", "[]", "at least 1 item in matchImages"),
            ("'*.r.io'", "'https://r.io'", "match image is invalid"),
            ("defaultCacheDuration: 12h", "args: []", "already set in this map"),
            ("  defaultCacheDuration: 12h\n", "", "providers.defaultCacheDuration: Required value"),
            ("12h", "-1s", "must be greater than or equal to 0"),
            ("credentialprovider.kubelet.k8s.io/v1\n", "v3\n", "Unsupported value: \"v3\""),
            (
                "credentialprovider.kubelet.k8s.io/v1\n",
                "credentialprovider.kubelet.k8s.io/v1beta1\n",
                "only supported for",
            ),
            ("cacheType: Token", "cacheType: Pod", "Unsupported value: \"Pod\""),
            ("    cacheType: Token\n", "", "cacheType is required"),
            ("requireServiceAccount: true", "requireServiceAccount: false", "cannot be false when"),
            ("[R.io/Zone]", "[r.io/role]", "both required and optional"),
            ("[r.io/role]", "['a b']", "qualified name"),
            ("kind: CredentialProviderConfig", "kind: Pod", "wrong Kind"),
            ("config.k8s.io/v1\n", "config.k8s.io/v7\n", "is registered for version"),
            ("args: [get]", "arguments: [get]", "unknown field"),
            ("config.k8s.io/v1\n", "config.k8s.io/v1beta1\n", "tokenAttributes"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = one(&text).expect_err(&text).to_string();
            assert!(error.to_lowercase().contains(&part.to_lowercase()), "{part}: {error}");
        }
        let empty = "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders: []\n";
        assert!(one(empty).unwrap_err().to_string().contains("at least 1 item in plugins is required"));
        let off = read(&[("c".to_owned(), GOOD.as_bytes().to_vec())], TokenSupport::Off).unwrap_err();
        assert!(off.to_string().contains("feature gate is disabled"), "{off}");
    }
}
