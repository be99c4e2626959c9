//! Secrets of pods as credentials (CONTRACT 3.16): `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`.

use core_types::api::Secret;

use crate::credential::{CredentialSource, ObjectName};
use crate::keyring::{ConfigForm, CredentialsError, Keyring};

/// The two types of secrets that hold credentials, and the key that these lie under.
const TYPES: &[(&str, &str, ConfigForm)] = &[
    ("kubernetes.io/dockerconfigjson", ".dockerconfigjson", ConfigForm::DockerConfigJson),
    ("kubernetes.io/dockercfg", ".dockercfg", ConfigForm::DockerCfg),
];

/// The credentials of a pod's secrets. A secret of another type, or without its key, adds nothing.
///
/// # Errors
/// The first secret whose content is no docker configuration; nothing of the content is shown.
pub fn keyring_of(secrets: &[Secret]) -> Result<Keyring, CredentialsError> {
    let mut keyring = Keyring::default();
    for secret in secrets {
        let data = secret.data.as_ref();
        let found = TYPES.iter().find_map(|(kind, key, form)| {
            let content = data?.get(*key).filter(|content| !content.0.is_empty())?;
            (secret.type_.as_deref() == Some(kind)).then_some((form, content))
        });
        let Some((form, content)) = found else { continue };
        let name = name_of(secret);
        let origin = format!("secret {}/{}", name.namespace, name.name);
        keyring.add(&origin, *form, &content.0, &CredentialSource::Secret(name))?;
    }
    Ok(keyring)
}

fn name_of(secret: &Secret) -> ObjectName {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let metadata = &secret.metadata;
    ObjectName { namespace: text(&metadata.namespace), name: text(&metadata.name), uid: text(&metadata.uid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, kind: &str, key: &str, content: &str) -> Secret {
        serde_json::from_value(serde_json::json!({
            "metadata": { "namespace": "shop", "name": name, "uid": format!("uid-{name}") },
            "type": kind,
            "data": { key: base64::Engine::encode(&base64::engine::general_purpose::STANDARD, content) },
        }))
        .unwrap()
    }

    const JSON: &str = r#"{"auths": {"r.io": {"username": "u", "password": "p"}}}"#;
    const CFG: &str = r#"{"r.io": {"username": "v", "password": "q"}}"#;

    #[test]
    fn both_types_are_read_and_others_add_nothing() {
        let secrets = [
            secret("json", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", JSON),
            secret("cfg", "kubernetes.io/dockercfg", ".dockercfg", CFG),
            secret("key", "kubernetes.io/dockercfg", ".dockerconfigjson", JSON),
            secret("type", "Opaque", ".dockerconfigjson", JSON),
            secret("empty", "kubernetes.io/dockercfg", ".dockercfg", ""),
        ];
        let found = keyring_of(&secrets).unwrap().lookup("r.io/a");
        let users: Vec<_> = found.iter().map(|one| one.auth.username.as_str()).collect();
        assert_eq!(users, ["u", "v"]);
        let CredentialSource::Secret(name) = &found[0].source else { panic!("{:?}", found[0]) };
        assert_eq!(
            (name.namespace.as_str(), name.name.as_str(), name.uid.as_str()),
            ("shop", "json", "uid-json")
        );
    }

    #[test]
    fn a_broken_secret_is_named_and_not_shown() {
        let broken = secret("bad", "kubernetes.io/dockercfg", ".dockercfg", "hunter2");
        let error = keyring_of(&[broken]).unwrap_err().to_string();
        assert!(error.contains("secret shop/bad") && !error.contains("hunter2"), "{error}");
    }
}
