//! Registry credentials: docker configurations of files, secrets and plugins, and which of them fit an image
//! (CONTRACT 3.16).
//!
//! No error and no `Debug` text of this module shows any part of what was read.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use core_types::runtime::ImageAuth;
use serde::Deserialize;

use crate::credential::{Credential, CredentialSource};

/// Largest docker configuration that is read, in bytes. A secret cannot be larger, and no sane file is.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Key of the default registry.
const DEFAULT_REGISTRY: &str = "index.docker.io";

/// The two forms of a docker configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigForm {
    /// `config.json`, `.dockerconfigjson`: entries below `auths`.
    DockerConfigJson,
    /// `.dockercfg`: entries at the top.
    DockerCfg,
}

/// Why a docker configuration was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Too large.
    #[error(
        "registry credentials {origin}: {bytes} bytes are more than the {MAX_CONFIG_BYTES} that are read; not used"
    )]
    TooLarge {
        /// File or secret.
        origin: String,
        /// Size.
        bytes: usize,
    },
    /// Not the JSON it should be.
    #[error(
        "registry credentials {origin}: not a docker configuration (line {line}, column {column}); not used"
    )]
    NotJson {
        /// File or secret.
        origin: String,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// An `auth` field is not base64 of `user:password`.
    #[error("registry credentials {origin}: a field auth is not base64 of user:password; not used")]
    BadAuth {
        /// File or secret.
        origin: String,
    },
}

/// Credentials by registry and path.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    entries: BTreeMap<String, Vec<Credential>>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} registries)", self.entries.len())
    }
}

#[derive(Deserialize)]
struct ConfigJson {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    email: String,
    auth: String,
}

impl Keyring {
    /// Adds the credentials of a docker configuration that came from `source`. `origin` names it in errors.
    pub fn add(
        &mut self,
        origin: &str,
        form: ConfigForm,
        text: &[u8],
        source: &CredentialSource,
    ) -> Result<(), CredentialsError> {
        let origin = origin.to_owned();
        if text.len() > MAX_CONFIG_BYTES {
            return Err(CredentialsError::TooLarge { origin, bytes: text.len() });
        }
        let entries = match form {
            ConfigForm::DockerConfigJson => {
                serde_json::from_slice(text).map(|config: ConfigJson| config.auths.unwrap_or_default())
            }
            ConfigForm::DockerCfg => serde_json::from_slice(text),
        };
        let entries: BTreeMap<String, Entry> = match entries {
            Ok(entries) => entries,
            // The cause itself may quote the input.
            Err(cause) => {
                return Err(CredentialsError::NotJson { origin, line: cause.line(), column: cause.column() });
            }
        };
        let mut added = Vec::new();
        for (registry, entry) in entries {
            let (username, password) = match entry.auth.as_str() {
                "" => (entry.username, entry.password),
                auth => decode(auth).ok_or_else(|| CredentialsError::BadAuth { origin: origin.clone() })?,
            };
            let auth = ImageAuth { username, password, ..ImageAuth::default() };
            added.push((registry, Credential::new(auth, &entry.email, source.clone())));
        }
        for (registry, credential) in added {
            self.insert(&registry, credential);
        }
        Ok(())
    }

    /// Adds one credential for a registry, as a docker configuration spells it.
    pub fn insert(&mut self, registry: &str, credential: Credential) {
        self.entries.entry(key(registry)).or_default().push(credential);
    }

    /// Credentials to try for a repository (`registry/path`), most specific first. Without any, pull anonymously.
    pub fn lookup(&self, repository: &str) -> Vec<Credential> {
        let fitting = self.entries.iter().rev().filter(|(key, _)| fits(key, repository));
        let found: Vec<Credential> = fitting.flat_map(|(_, credentials)| credentials).cloned().collect();
        if found.is_empty() && is_default_registry(repository) {
            return self.entries.get(DEFAULT_REGISTRY).cloned().unwrap_or_default();
        }
        found
    }
}

/// Registry and path of a configuration's entry, without scheme and without the API version.
fn key(registry: &str) -> String {
    let rest = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://"));
    let rest = rest.unwrap_or(registry).split(['?', '#']).next().unwrap_or_default();
    let (host, path) = split_host(rest);
    let path = match path.strip_prefix("/v1/").or_else(|| path.strip_prefix("/v2/")) {
        Some(path) => format!("/{path}"),
        None => path.to_owned(),
    };
    if path == "/" { host.to_owned() } else { format!("{host}{path}") }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let engine = if auth.trim_end().ends_with('=') { &STANDARD } else { &STANDARD_NO_PAD };
    // Go's decoder skips line breaks.
    let compact: String = auth.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let text = String::from_utf8(engine.decode(compact).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

/// Host (with port) and path (with its leading slash).
fn split_host(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}

fn split_port(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port),
        _ => (host, ""),
    }
}

/// True when every label of the key's host fits the image's, the ports are equal, and the key's path begins the image's.
pub(crate) fn fits(key: &str, repository: &str) -> bool {
    let ((key_host, key_path), (host, path)) = (split_host(key), split_host(repository));
    let ((key_name, key_port), (name, port)) = (split_port(key_host), split_port(host));
    let (globs, labels): (Vec<_>, Vec<_>) = (key_name.split('.').collect(), name.split('.').collect());
    key_port == port
        && path.starts_with(key_path)
        && globs.len() == labels.len()
        && globs.iter().zip(labels).all(|(glob, label)| glob_fits(glob.as_bytes(), label.as_bytes()))
}

/// `*` stands for any number of characters, `[a-z]` for one of some: what of Go's `filepath.Match` can stand in a host.
fn glob_fits(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut pos, mut star) = (0, 0, None);
    while pos < text.len() {
        match one_of(&glob[at..], text[pos]) {
            Some(length) => (at, pos) = (at + length, pos + 1),
            None if glob.get(at) == Some(&b'*') => {
                star = Some((at, pos));
                at += 1;
            }
            None => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    (at, pos) = (star_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}

/// Length of the glob's first item when that item stands for this one byte.
fn one_of(glob: &[u8], byte: u8) -> Option<usize> {
    let (first, rest) = glob.split_first()?;
    match first {
        b'*' => None,
        b'[' => {
            let end = rest.iter().position(|b| *b == b']').filter(|end| *end > 0)?;
            class_has(&rest[..end], byte).then_some(end + 2)
        }
        _ => (*first == byte).then_some(1),
    }
}

/// Bytes and ranges of a class.
fn class_has(mut class: &[u8], byte: u8) -> bool {
    loop {
        match class {
            [] => return false,
            [low, b'-', high, rest @ ..] => {
                if (*low..=*high).contains(&byte) {
                    return true;
                }
                class = rest;
            }
            [only, rest @ ..] => {
                if *only == byte {
                    return true;
                }
                class = rest;
            }
        }
    }
}

fn is_default_registry(repository: &str) -> bool {
    match repository.split_once('/') {
        Some(("", _)) => false,
        Some(("docker.io" | "index.docker.io", _)) | None => !repository.is_empty(),
        Some((first, _)) => !first.contains(['.', ':']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keyring(registries: &[&str]) -> Keyring {
        let auths: BTreeMap<&str, _> =
            registries.iter().map(|r| (*r, serde_json::json!({"username": r, "password": "p"}))).collect();
        let text = serde_json::json!({ "auths": auths }).to_string();
        let mut keyring = Keyring::default();
        keyring.add("test", ConfigForm::DockerConfigJson, text.as_bytes(), &CredentialSource::Node).unwrap();
        keyring
    }

    fn users(registries: &[&str], repository: &str) -> Vec<String> {
        keyring(registries).lookup(repository).into_iter().map(|found| found.auth.username).collect()
    }

    #[test]
    fn the_longest_path_comes_first() {
        let registries = ["quay.io", "https://quay.io/coreos/v2", "quay.io/coreos", "gcr.io"];
        let found = users(&registries, "quay.io/coreos/v2/etcd");
        assert_eq!(found, ["https://quay.io/coreos/v2", "quay.io/coreos", "quay.io"]);
        assert_eq!(users(&registries, "quay.io/other"), ["quay.io"]);
        assert!(users(&registries, "ghcr.io/x").is_empty());
    }

    #[test]
    fn hosts_match_label_by_label() {
        for (registry, repository, is_match) in [
            ("*.docker.io", "blah.docker.io/a", true),
            ("*.docker.io", "docker.io/a", false),
            ("*.io", "a.b.io/x", false),
            ("pre*.*.com", "prefix.x.com/a", true),
            ("h*t*1.com", "host11.com/a", true),
            ("h*t*1.com", "host12.com/a", false),
            ("r[0-9x].com", "r7.com/a", true),
            ("r[0-9x]*.com", "rx-east.com/a", true),
            ("r[0-9x].com", "ry.com/a", false),
            ("r[.com", "r[.com/a", false),
            ("localhost:5000", "localhost:5000/a", true),
            ("localhost", "localhost:5000/a", false),
            ("http://r.com/v1/", "r.com/a", true),
            ("r.com/v2/x", "r.com/x/y", true),
            ("r.com/x", "r.com/y", false),
        ] {
            assert_eq!(!users(&[registry], repository).is_empty(), is_match, "{registry} {repository}");
        }
    }

    #[test]
    fn the_default_registry_has_many_names() {
        for repository in ["docker.io/library/busybox", "index.docker.io/a", "user/app", "busybox"] {
            assert_eq!(users(&["https://index.docker.io/v1/"], repository).len(), 1, "{repository}");
        }
        assert!(users(&["https://index.docker.io/v1/"], "quay.io/a").is_empty());
    }

    #[test]
    fn both_forms_and_both_ways_to_write_a_password_are_read() {
        let mut keyring = Keyring::default();
        let padded = br#"{"r.com": {"auth": "dXNlcjpwYXNzOndvcmQ=", "email": "x@y"}}"#;
        keyring.add("cfg", ConfigForm::DockerCfg, padded, &CredentialSource::Node).unwrap();
        let unpadded =
            br#"{"auths": {"s.com": {"auth": "dTpw"}}, "HttpHeaders": {"a": "b"}, "credsStore": "x"}"#;
        keyring.add("json", ConfigForm::DockerConfigJson, unpadded, &CredentialSource::Node).unwrap();
        let auth = &keyring.lookup("r.com/a")[0].auth;
        assert_eq!((auth.username.as_str(), auth.password.as_str()), ("user", "pass:word"));
        assert_eq!(keyring.lookup("s.com/a")[0].auth.password, "p");
    }

    #[test]
    fn errors_show_nothing_of_the_input() {
        for text in [
            r#"{"auths": "hunter2"}"#,
            r#"{"auths": {"r.com": {"auth": "hunter2"}}}"#,
            r#"{"auths": {"r.com": {"auth": "aHVudGVyMg=="}}}"#,
            r#"{"auths": {"r.com": {"username": ["hunter2"]}}}"#,
            "hunter2",
        ] {
            let mut keyring = Keyring::default();
            let node = CredentialSource::Node;
            let error = keyring
                .add("secret shop/x", ConfigForm::DockerConfigJson, text.as_bytes(), &node)
                .unwrap_err();
            let shown = format!("{error} {error:?} {keyring:?}");
            assert!(!shown.contains("hunter2") && shown.contains("secret shop/x"), "{shown}");
            assert_eq!(keyring, Keyring::default());
        }
        let large = vec![b' '; MAX_CONFIG_BYTES + 1];
        let error = Keyring::default().add("f", ConfigForm::DockerCfg, &large, &CredentialSource::Node);
        assert!(matches!(error, Err(CredentialsError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in proptest::collection::vec(any::<u8>(), 0..200), glob in "[a*\\[\\]-]{0,12}", label in "[ab]{0,12}") {
            let _ = Keyring::default().add("x", ConfigForm::DockerConfigJson, &text, &CredentialSource::Node);
            let _ = glob_fits(glob.as_bytes(), label.as_bytes());
        }
    }
}
