//! What a plugin is asked, and what its answer says.
//!
//! No error shows any part of an answer: it may hold passwords.

use std::collections::BTreeMap;
use std::time::Duration;

use core_config::GoDuration;
use serde::{Deserialize, Serialize};

use super::AccountFacts;
use super::config::{ProtocolVersion, TokenCache};

const REQUEST: &str = "CredentialProviderRequest";
const RESPONSE: &str = "CredentialProviderResponse";

/// What an answer holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The image that was asked for.
    Image,
    /// Every image of its registry.
    Registry,
    /// Every image.
    Global,
}

/// How long an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// As the plugin's configuration says.
    Default,
    /// As the answer says; zero for not at all.
    For(Duration),
}

/// User name and password. `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// User name.
    #[serde(default)]
    pub username: String,
    /// Password.
    #[serde(default)]
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(hidden)")
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it holds for.
    pub scope: Scope,
    /// How long.
    pub hold: Hold,
    /// Credentials by registry and path, as in a docker configuration.
    pub logins: BTreeMap<String, Login>,
}

/// An answer that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not the JSON that it should be.
    #[error("error decoding credential provider plugin response from stdout")]
    Decode,
    /// Another version than the configuration names.
    #[error("apiVersion from credential plugin response did not match expected apiVersion:{wanted}")]
    Version {
        /// The version.
        wanted: &'static str,
    },
    /// No such scope.
    #[error("credential provider plugin did not return a valid cacheKeyType: use Image, Registry or Global")]
    Scope,
    /// The token came back as the password.
    #[error(
        "credential provider plugin returned the service account token as the password which is not allowed when service account cache type is not set to 'Token'"
    )]
    Echo,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    kind: &'static str,
    api_version: &'static str,
    image: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    service_account_token: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    service_account_annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Response {
    kind: String,
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(default)]
    cache_key_type: String,
    cache_duration: Option<GoDuration>,
    auth: Option<BTreeMap<String, Login>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
}

/// The standard input of a plugin that is asked for a repository, for a pod with or without a service account.
pub fn request(version: ProtocolVersion, repository: &str, account: Option<&AccountFacts>) -> Vec<u8> {
    let request = Request {
        kind: REQUEST,
        api_version: version.as_str(),
        image: repository,
        service_account_token: account.map_or("", |account| &account.token),
        service_account_annotations: account.map(|account| account.annotations.clone()).unwrap_or_default(),
    };
    // Strings and maps with string keys: nothing that JSON cannot say.
    let mut text = serde_json::to_vec(&request).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Reads the standard output of a plugin.
pub fn answer(version: ProtocolVersion, output: &[u8]) -> Result<Answer, AnswerError> {
    let head: Head = serde_json::from_slice(output).map_err(|_| AnswerError::Decode)?;
    if head.api_version != version.as_str() {
        return Err(AnswerError::Version { wanted: version.as_str() });
    }
    let response: Response = serde_json::from_slice(output).map_err(|_| AnswerError::Decode)?;
    if response.kind != RESPONSE {
        return Err(AnswerError::Decode);
    }
    Ok(Answer {
        scope: match response.cache_key_type.as_str() {
            "Image" => Scope::Image,
            "Registry" => Scope::Registry,
            "Global" => Scope::Global,
            _ => return Err(AnswerError::Scope),
        },
        hold: response.cache_duration.map_or(Hold::Default, |duration| Hold::For(duration.to_std())),
        logins: response.auth.unwrap_or_default(),
    })
}

/// Refuses an answer that hands out a token which it must not.
pub fn check_echo(answer: &Answer, token: &str, cache: TokenCache) -> Result<(), AnswerError> {
    let echoes = !token.is_empty() && answer.logins.values().any(|login| login.password == token);
    match cache {
        TokenCache::ServiceAccount if echoes => Err(AnswerError::Echo),
        TokenCache::ServiceAccount | TokenCache::Token => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::ObjectName;

    const V1: ProtocolVersion = ProtocolVersion::V1;

    #[test]
    fn requests_are_upstreams() {
        assert_eq!(
            String::from_utf8(request(ProtocolVersion::V1Beta1, "r.io/a", None)).unwrap(),
            "{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1beta1\",\"image\":\"r.io/a\"}\n"
        );
        let account = AccountFacts {
            name: ObjectName::default(),
            annotations: BTreeMap::from([("r.io/role".to_owned(), "x".to_owned())]),
            token: "t".to_owned(),
        };
        assert_eq!(
            String::from_utf8(request(V1, "r.io/a", Some(&account))).unwrap(),
            "{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"image\":\"r.io/a\",\"serviceAccountToken\":\"t\",\"serviceAccountAnnotations\":{\"r.io/role\":\"x\"}}\n"
        );
    }

    #[test]
    fn answers_are_read_and_never_shown() {
        let good = r#"{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry","cacheDuration":"6h","auth":{"r.io":{"username":"u","password":"hunter2"}}}"#;
        let read = answer(V1, good.as_bytes()).unwrap();
        assert_eq!((read.scope, read.hold), (Scope::Registry, Hold::For(Duration::from_secs(6 * 3600))));
        assert_eq!(read.logins["r.io"].password, "hunter2");
        assert!(!format!("{read:?}").contains("hunter2"));
        let no_duration = good.replace("\"cacheDuration\":\"6h\",", "");
        assert_eq!(answer(V1, no_duration.as_bytes()).unwrap().hold, Hold::Default);
        for (from, to, error) in [
            ("Registry", "Pod", AnswerError::Scope),
            ("k8s.io/v1", "k8s.io/v1alpha1", AnswerError::Version { wanted: V1.as_str() }),
            ("CredentialProviderResponse", "Pod", AnswerError::Decode),
            ("\"auth\"", "\"auths\"", AnswerError::Decode),
            ("\"hunter2\"", "7", AnswerError::Decode),
            ("{", "", AnswerError::Decode),
        ] {
            assert_eq!(answer(V1, good.replacen(from, to, 1).as_bytes()), Err(error), "{from}");
        }
        assert_eq!(check_echo(&read, "hunter2", TokenCache::ServiceAccount), Err(AnswerError::Echo));
        assert_eq!(check_echo(&read, "hunter2", TokenCache::Token), Ok(()));
        assert_eq!(check_echo(&read, "", TokenCache::ServiceAccount), Ok(()));
    }
}
