//! Environment of a container, and `$(VAR)` references in its command and arguments (CONTRACT 3.19).
//!
//! Variables are read in their order; a value may refer to the ones before it. There are no service variables: this
//! module serves pods without a cluster, where upstream sets none either. ConfigMaps, secrets and env files are not read
//! here; a reference to one is an error with upstream's words.

use std::collections::BTreeMap;

use core_types::Quantity;
use core_types::api::{Container, EnvVarSource};
use core_types::downward::{DownwardError, PodFacts, field_value, resource_value};
use core_types::expansion::expand;
use core_types::runtime::KeyValue;

/// Why a container's environment cannot be made. The text becomes the message of `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A downward API reference has no value.
    #[error(transparent)]
    Downward(#[from] DownwardError),
    /// A ConfigMap is asked for, but there is no API server.
    #[error("couldn't get configMap {namespace}/{name}, no kubeClient defined")]
    ConfigMap {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// A secret is asked for, but there is no API server.
    #[error("couldn't get secret {namespace}/{name}, no kubeClient defined")]
    Secret {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// A key of an env file is asked for.
    #[error(
        "environment variable {variable} comes from a file of volume {volume:?}, which this agent does not read"
    )]
    File {
        /// Variable.
        variable: String,
        /// Volume.
        volume: String,
    },
}

/// The environment of a container.
pub fn environment(
    container: &Container,
    facts: &PodFacts<'_>,
    allocatable: &BTreeMap<String, Quantity>,
) -> Result<Vec<KeyValue>, EnvError> {
    let namespace = facts.pod.metadata.namespace.clone().unwrap_or_default();
    for source in container.env_from.iter().flatten() {
        if let Some(map) = &source.config_map_ref {
            return Err(EnvError::ConfigMap { namespace, name: map.name.clone() });
        }
        if let Some(secret) = &source.secret_ref {
            return Err(EnvError::Secret { namespace, name: secret.name.clone() });
        }
    }
    let mut envs: Vec<KeyValue> = Vec::new();
    for variable in container.env.iter().flatten() {
        let literal = variable.value.as_deref().unwrap_or_default();
        let value = match (&variable.value_from, literal) {
            (Some(source), "") => source_value(&variable.name, source, container, facts, allocatable)?,
            _ => expand_with(literal, &envs),
        };
        match envs.iter_mut().find(|known| known.key == variable.name) {
            Some(known) => known.value = value,
            None => envs.push(KeyValue { key: variable.name.clone(), value }),
        }
    }
    Ok(envs)
}

/// `command` and `args` with their references replaced.
pub fn command_and_args(container: &Container, envs: &[KeyValue]) -> (Vec<String>, Vec<String>) {
    let expand_all =
        |texts: &Option<Vec<String>>| texts.iter().flatten().map(|text| expand_with(text, envs)).collect();
    (expand_all(&container.command), expand_all(&container.args))
}

/// Expands with the given variables; a reference to an unknown one stays as it is.
fn expand_with(text: &str, envs: &[KeyValue]) -> String {
    expand(text, |name| {
        let known = envs.iter().find(|env| env.key == name);
        known.map_or_else(|| format!("$({name})"), |env| env.value.clone())
    })
}

fn source_value(
    variable: &str,
    source: &EnvVarSource,
    container: &Container,
    facts: &PodFacts<'_>,
    allocatable: &BTreeMap<String, Quantity>,
) -> Result<String, EnvError> {
    let namespace = || facts.pod.metadata.namespace.clone().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        Ok(field_value(field, facts)?)
    } else if let Some(resource) = &source.resource_field_ref {
        Ok(resource_value(resource, facts.pod, Some(container), allocatable)?)
    } else if let Some(key) = &source.config_map_key_ref {
        Err(EnvError::ConfigMap { namespace: namespace(), name: key.name.clone() })
    } else if let Some(key) = &source.secret_key_ref {
        Err(EnvError::Secret { namespace: namespace(), name: key.name.clone() })
    } else if let Some(key) = &source.file_key_ref {
        Err(EnvError::File { variable: variable.to_owned(), volume: key.volume_name.clone() })
    } else {
        Ok(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_with;
    use serde_json::json;

    fn build(container: serde_json::Value) -> Result<Vec<(String, String)>, EnvError> {
        let pod = pod_with(json!({"nodeName": "n1", "containers": [container]}));
        let pod_ips = ["10.1.0.2".to_owned()];
        let facts = PodFacts { pod: &pod, host_ips: &[], pod_ips: &pod_ips };
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let allocatable = BTreeMap::from([("cpu".to_owned(), Quantity::from_value(4))]);
        let envs = environment(container, &facts, &allocatable)?;
        Ok(envs.into_iter().map(|env| (env.key, env.value)).collect())
    }

    #[test]
    fn values_see_the_variables_before_them() {
        let envs = build(json!({"name": "c", "env": [
            {"name": "LATE", "value": "$(FIRST)"},
            {"name": "FIRST", "value": "1"},
            {"name": "SECOND", "value": "$(FIRST)2"},
            {"name": "FIRST", "value": "$(SECOND)!"},
            {"name": "EMPTY"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "URL", "value": "http://$(IP)/$$(X)"}
        ]}))
        .unwrap();
        let expected = [
            ("LATE", "$(FIRST)"),
            ("FIRST", "12!"),
            ("SECOND", "12"),
            ("EMPTY", ""),
            ("IP", "10.1.0.2"),
            ("NODE", "n1"),
            ("CPU", "4"),
            ("URL", "http://10.1.0.2/$(X)"),
        ];
        assert_eq!(envs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_has_no_value_is_an_error_in_upstreams_words() {
        for (container, text) in [
            (
                json!({"name": "c", "envFrom": [{"configMapRef": {"name": "m"}}]}),
                "couldn't get configMap shop/m, no kubeClient defined",
            ),
            (
                json!({"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}),
                "couldn't get secret shop/s, no kubeClient defined",
            ),
            (
                json!({"name": "c", "env": [{"name": "A",
                    "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
                "couldn't get secret shop/s, no kubeClient defined",
            ),
            (
                json!({"name": "c", "env": [{"name": "A",
                    "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]}),
                "couldn't get configMap shop/m, no kubeClient defined",
            ),
            (
                json!({"name": "c", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
                "unsupported fieldPath: spec.x",
            ),
        ] {
            assert_eq!(build(container).unwrap_err().to_string(), text);
        }
    }
}
