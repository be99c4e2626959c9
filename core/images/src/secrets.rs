//! Secrets of pods as credentials (CONTRACT 3.16): `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`.

use core_types::{KeyedObject, KeyedRef};

use crate::credential::{CredentialSource, ObjectName};
use crate::keyring::{ConfigForm, CredentialsError, Keyring};

/// The two types of secrets that hold credentials, and the key that these lie under.
const TYPES: &[(&str, &str, ConfigForm)] = &[
    ("kubernetes.io/dockerconfigjson", ".dockerconfigjson", ConfigForm::DockerConfigJson),
    ("kubernetes.io/dockercfg", ".dockercfg", ConfigForm::DockerCfg),
];

/// The credentials of a pod's Secrets. A Secret of another type, or without its key, adds nothing.
///
/// # Errors
/// The first secret whose content is no docker configuration; nothing of the content is shown.
pub fn keyring_of<'a>(
    secrets: impl IntoIterator<Item = (&'a KeyedRef, &'a KeyedObject)>,
) -> Result<Keyring, CredentialsError> {
    let mut keyring = Keyring::default();
    for (KeyedRef { namespace, name, .. }, secret) in secrets {
        let found = TYPES.iter().find_map(|(kind, key, form)| {
            let content = secret.data.get(*key).map(|content| content.expose())?;
            (secret.type_ == *kind && !content.is_empty()).then_some((form, content))
        });
        let Some((form, content)) = found else { continue };
        let origin = format!("secret {namespace}/{name}");
        let name = ObjectName { namespace: namespace.clone(), name: name.clone(), uid: secret.uid.clone() };
        keyring.add(&origin, *form, content, &CredentialSource::Secret(name))?;
    }
    Ok(keyring)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, kind: &str, key: &str, content: &str) -> (KeyedRef, KeyedObject) {
        let object = KeyedObject {
            uid: format!("uid-{name}"),
            type_: kind.to_owned(),
            data: [(key.to_owned(), core_types::Secret::new(content.as_bytes().to_vec()))].into(),
            ..KeyedObject::default()
        };
        (KeyedRef::secret("shop", name), object)
    }

    fn keyring(secrets: &[(KeyedRef, KeyedObject)]) -> Result<Keyring, CredentialsError> {
        keyring_of(secrets.iter().map(|(name, object)| (name, object)))
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
        let found = keyring(&secrets).unwrap().lookup("r.io/a");
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
        let error = keyring(&[broken]).unwrap_err().to_string();
        assert!(error.contains("secret shop/bad") && !error.contains("hunter2"), "{error}");
    }
}
