//! Environment of a container, and `$(VAR)` references in its command and arguments (CONTRACT 3.19).
//!
//! Variables are read in their order; a value may refer to the ones before it, and to those of services. What is outside
//! the pod comes in with [`EnvSources`]. Whole Secrets and ConfigMaps come first, single variables override them.
//!
//! Guarantees: what comes out is never longer than Linux takes, however short the manifest that stands for it.

use std::collections::BTreeMap;

use core_types::api::{Container, EnvVar};
use core_types::downward::{DownwardError, PodFacts, field_value, resource_value};
use core_types::expansion::{Room, TooLong, expand};
use core_types::runtime::KeyValue;
use core_types::{ApiObjects, EnvFileRefs, KeyedKind, KeyedObject, KeyedRef, LookupError, Quantity, Secret};

use crate::env_files::{EnvFile, EnvFileError, EnvFileName, EnvFiles, value_of};

/// Why a container's environment cannot be made. The text becomes the message of `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A downward API reference has no value.
    #[error(transparent)]
    Downward(#[from] DownwardError),
    /// A Secret or ConfigMap is asked for, but there is no API server.
    #[error("couldn't get {} {namespace}/{name}, no kubeClient defined", camel_case(*kind))]
    NoClient {
        /// Which of the two.
        kind: KeyedKind,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// A Secret or ConfigMap cannot be had.
    #[error(transparent)]
    Object(#[from] LookupError),
    /// It has no such key.
    #[error("couldn't find key {key} in {} {namespace}/{name}", title_case(*kind))]
    Key {
        /// Which of the two.
        kind: KeyedKind,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// The key.
        key: String,
    },
    /// A value is no text, which variables must be.
    #[error("key {key} of {kind} {namespace}/{name} is no UTF-8 text: mount it as a volume instead")]
    Text {
        /// Which of the two.
        kind: KeyedKind,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// The key.
        key: String,
    },
    /// A file gives no value.
    #[error(transparent)]
    File(#[from] EnvFileError),
    /// The values are too long together.
    #[error("environment of container {container}, variable {variable}: {source}")]
    TooLong {
        /// Container.
        container: String,
        /// The variable with which they became too long.
        variable: String,
        /// How long is too long.
        source: TooLong,
    },
}

/// As upstream names a kind in this place.
fn camel_case(kind: KeyedKind) -> &'static str {
    match kind {
        KeyedKind::Secret => "secret",
        KeyedKind::ConfigMap => "configMap",
    }
}

/// As upstream names a kind in that place.
fn title_case(kind: KeyedKind) -> &'static str {
    match kind {
        KeyedKind::Secret => "Secret",
        KeyedKind::ConfigMap => "ConfigMap",
    }
}

/// Whether something may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Optional,
    Required,
}

impl Need {
    fn of(optional: Option<bool>) -> Self {
        if optional == Some(true) { Self::Optional } else { Self::Required }
    }
}

/// What a container's variables are made from.
#[derive(Clone, Copy, Debug)]
pub struct EnvSources<'a> {
    /// The pod and its addresses.
    pub facts: &'a PodFacts<'a>,
    /// What the node can give to pods.
    pub allocatable: &'a BTreeMap<String, Quantity>,
    /// The files that [`env_files`](crate::env_files::wanted) names.
    pub files: &'a EnvFiles,
    /// Whether they count.
    pub file_refs: EnvFileRefs,
    /// Variables of services, from [`crate::service_links`].
    pub services: &'a [KeyValue],
    /// Secrets and ConfigMaps.
    pub objects: ApiObjects<'a>,
}

/// Variables in their order, found by name.
#[derive(Default)]
struct Variables {
    list: Vec<KeyValue>,
    places: BTreeMap<String, usize>,
}

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.list[*place].value.as_str())
    }

    fn set(&mut self, key: &str, value: String) {
        match self.places.get(key) {
            Some(place) => self.list[*place].value = value,
            None => {
                self.places.insert(key.to_owned(), self.list.len());
                self.list.push(KeyValue { key: key.to_owned(), value });
            }
        }
    }
}

/// The environment of a container: its own variables, and those of services that it does not set itself.
///
/// # Errors
/// A reference has no value, or the whole is too long.
pub fn environment(container: &Container, sources: &EnvSources<'_>) -> Result<Vec<KeyValue>, EnvError> {
    let services: BTreeMap<&str, &str> =
        sources.services.iter().map(|env| (env.key.as_str(), env.value.as_str())).collect();
    let mut room = Room::of_process();
    let mut variables = Variables::default();
    add_objects(container, sources, &mut room, &mut variables)?;
    for variable in container.env.iter().flatten() {
        let literal = variable.value.as_deref().unwrap_or_default();
        let value = match (&variable.value_from, literal) {
            (Some(_), "") => match source_value(variable, container, sources)? {
                Some(value) => room.take(&value).map(|()| value),
                None => continue,
            },
            _ => expand(literal, &mut room, |name| {
                let known = variables.get(name).or_else(|| services.get(name).copied());
                known.map_or_else(|| format!("$({name})"), str::to_owned)
            }),
        };
        let value = value.and_then(|value| room.take(&variable.name).map(|()| value));
        variables.set(
            &variable.name,
            value.map_err(|source| {
                let (container, variable) = (container.name.clone(), variable.name.clone());
                EnvError::TooLong { container, variable, source }
            })?,
        );
    }
    let Variables { list, places } = variables;
    let of_services = sources.services.iter().filter(|env| !places.contains_key(&env.key)).cloned();
    Ok(list.into_iter().chain(of_services).collect())
}

/// The variables of whole Secrets and ConfigMaps.
fn add_objects(
    container: &Container,
    sources: &EnvSources<'_>,
    room: &mut Room,
    variables: &mut Variables,
) -> Result<(), EnvError> {
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let (object, need) = if let Some(map) = &source.config_map_ref {
            (sources.config_map(&map.name), Need::of(map.optional))
        } else if let Some(secret) = &source.secret_ref {
            (sources.secret(&secret.name), Need::of(secret.optional))
        } else {
            continue;
        };
        for (key, value) in sources.object(&object, need)?.into_iter().flat_map(|object| &object.data) {
            let (name, value) = (format!("{prefix}{key}"), text(&object, key, value)?);
            room.take(&value).and_then(|()| room.take(&name)).map_err(|source| {
                let (container, variable) = (container.name.clone(), name.clone());
                EnvError::TooLong { container, variable, source }
            })?;
            variables.set(&name, value);
        }
    }
    Ok(())
}

impl<'a> EnvSources<'a> {
    fn namespace(&self) -> &'a str {
        self.facts.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn secret(&self, name: &str) -> KeyedRef {
        KeyedRef::secret(self.namespace(), name)
    }

    fn config_map(&self, name: &str) -> KeyedRef {
        KeyedRef::config_map(self.namespace(), name)
    }

    /// An object; `None` when it may be missing and is.
    fn object(&self, object: &KeyedRef, need: Need) -> Result<Option<&'a KeyedObject>, EnvError> {
        match self.objects.get(object) {
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(LookupError::NotFound { .. })) if need == Need::Optional => Ok(None),
            Some(Err(error)) => Err(error.into()),
            None => {
                let KeyedRef { kind, namespace, name } = object.clone();
                Err(EnvError::NoClient { kind, namespace, name })
            }
        }
    }

    /// One value of an object; `None` when it may be missing and is.
    fn key(&self, object: &KeyedRef, key: &str, need: Need) -> Result<Option<String>, EnvError> {
        let Some(found) = self.object(object, need)? else { return Ok(None) };
        match found.data.get(key) {
            Some(value) => text(object, key, value).map(Some),
            None if need == Need::Optional => Ok(None),
            None => {
                let KeyedRef { kind, namespace, name } = object.clone();
                Err(EnvError::Key { kind, namespace, name, key: key.to_owned() })
            }
        }
    }
}

fn text(object: &KeyedRef, key: &str, value: &Secret<Vec<u8>>) -> Result<String, EnvError> {
    String::from_utf8(value.expose().clone()).map_err(|_no_text| {
        let KeyedRef { kind, namespace, name } = object.clone();
        EnvError::Text { kind, namespace, name, key: key.to_owned() }
    })
}

/// `command` and `args` with their references replaced; one to an unknown variable stays as it is.
///
/// # Errors
/// They are too long together.
pub fn command_and_args(
    container: &Container,
    envs: &[KeyValue],
) -> Result<(Vec<String>, Vec<String>), TooLong> {
    let known: BTreeMap<&str, &str> = envs.iter().map(|env| (env.key.as_str(), env.value.as_str())).collect();
    let mut room = Room::of_process();
    let mut expand_all = |texts: &Option<Vec<String>>| -> Result<Vec<String>, TooLong> {
        let value = |name: &str| known.get(name).map_or_else(|| format!("$({name})"), |v| (*v).to_owned());
        texts.iter().flatten().map(|text| expand(text, &mut room, value)).collect()
    };
    Ok((expand_all(&container.command)?, expand_all(&container.args)?))
}

/// The value that a source gives; `None` leaves the variable out.
fn source_value(
    variable: &EnvVar,
    container: &Container,
    sources: &EnvSources<'_>,
) -> Result<Option<String>, EnvError> {
    let Some(source) = &variable.value_from else { return Ok(Some(String::new())) };
    if let Some(field) = &source.field_ref {
        Ok(Some(field_value(field, sources.facts)?))
    } else if let Some(resource) = &source.resource_field_ref {
        let (pod, allocatable) = (sources.facts.pod, sources.allocatable);
        Ok(Some(resource_value(resource, pod, Some(container), allocatable)?))
    } else if let Some(key) = &source.config_map_key_ref {
        sources.key(&sources.config_map(&key.name), &key.key, Need::of(key.optional))
    } else if let Some(key) = &source.secret_key_ref {
        sources.key(&sources.secret(&key.name), &key.key, Need::of(key.optional))
    } else if let Some(key) = source.file_key_ref.as_ref().filter(|_| sources.file_refs == EnvFileRefs::Read)
    {
        let file: Option<&EnvFile> = sources.files.get(&EnvFileName::of(key));
        Ok(value_of(key, file)?)
    } else {
        Ok(Some(String::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_with;
    use serde_json::json;

    fn build_with(
        container: serde_json::Value,
        files: &EnvFiles,
        services: &[KeyValue],
    ) -> Result<Vec<(String, String)>, EnvError> {
        build_from(container, (files, EnvFileRefs::Read, services), ApiObjects::Standalone)
    }

    fn build_from(
        container: serde_json::Value,
        (files, file_refs, services): (&EnvFiles, EnvFileRefs, &[KeyValue]),
        objects: ApiObjects<'_>,
    ) -> Result<Vec<(String, String)>, EnvError> {
        let pod = pod_with(json!({"nodeName": "n1", "containers": [container]}));
        let pod_ips = ["10.1.0.2".to_owned()];
        let facts = PodFacts { pod: &pod, host_ips: &[], pod_ips: &pod_ips };
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let allocatable = BTreeMap::from([("cpu".to_owned(), Quantity::from_value(4))]);
        let sources =
            EnvSources { facts: &facts, allocatable: &allocatable, files, file_refs, services, objects };
        let envs = environment(container, &sources)?;
        Ok(envs.into_iter().map(|env| (env.key, env.value)).collect())
    }

    fn build(container: serde_json::Value) -> Result<Vec<(String, String)>, EnvError> {
        build_with(container, &EnvFiles::new(), &[])
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
    fn services_are_seen_and_never_in_the_way() {
        let service = |key: &str, value: &str| KeyValue { key: key.to_owned(), value: value.to_owned() };
        let services = [service("DB_SERVICE_HOST", "10.0.0.9"), service("DB_SERVICE_PORT", "5432")];
        let container = json!({"name": "c", "env": [
            {"name": "URL", "value": "$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)"},
            {"name": "DB_SERVICE_PORT", "value": "1"},
            {"name": "OWN", "value": "$(DB_SERVICE_PORT)"}
        ]});
        let envs = build_with(container, &EnvFiles::new(), &services).unwrap();
        let expected = [
            ("URL", "10.0.0.9:5432"),
            ("DB_SERVICE_PORT", "1"),
            ("OWN", "1"),
            ("DB_SERVICE_HOST", "10.0.0.9"),
        ];
        assert_eq!(envs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn files_that_do_not_count_give_an_empty_variable() {
        let var = json!({"name": "X", "valueFrom": {"fileKeyRef":
            {"volumeName": "v", "path": "env", "key": "A"}}});
        let container = json!({"name": "c", "env": [var]});
        let (none, objects) = (EnvFiles::new(), ApiObjects::Standalone);
        let build = |refs| build_from(container.clone(), (&none, refs, &[]), objects);
        assert_eq!(build(EnvFileRefs::Ignored), Ok(vec![("X".to_owned(), String::new())]));
        assert!(build(EnvFileRefs::Read).is_err(), "no such volume");
    }

    #[test]
    fn files_give_values_by_their_key() {
        let name = EnvFileName { volume: "v".to_owned(), path: "d/env".to_owned() };
        let content = b"# comment\nA='one'\nB='two\nlines'\n".to_vec();
        let file = EnvFile { host_path: "/host/d/env".to_owned(), content: Some(content) };
        let files = EnvFiles::from([(name, file)]);
        let var = |name: &str, key: &str, path: &str, optional: bool| {
            json!({"name": name, "valueFrom": {"fileKeyRef":
                {"volumeName": "v", "path": path, "key": key, "optional": optional}}})
        };
        let envs = build_with(
            json!({"name": "c", "env": [var("X", "A", "d/env", false), var("Y", "B", "d/env", false),
                var("Z", "C", "d/env", true), {"name": "ALL", "value": "$(X)-$(Z)"}]}),
            &files,
            &[],
        );
        let expected = [("X", "one"), ("Y", "two\nlines"), ("ALL", "one-$(Z)")];
        assert_eq!(envs.unwrap(), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        for (variable, text) in [
            (
                var("Z", "C", "d/env", false),
                "environment variable key \"C\" not found in file \"/host/d/env\"",
            ),
            (var("Z", "C", "other", false), "cannot find the volume \"v\" referenced by FileKeyRef"),
        ] {
            let error = build_with(json!({"name": "c", "env": [variable]}), &files, &[]).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn many_variables_are_no_problem_and_endless_ones_are_refused() {
        let many: Vec<_> = (0..10_000).map(|n| json!({"name": format!("V{n}"), "value": "$(V0)"})).collect();
        let envs = build(json!({"name": "c", "env": many})).unwrap();
        assert_eq!((envs.len(), envs[9_999].1.as_str()), (10_000, "$(V0)"));
        let mut doubled = vec![json!({"name": "V0", "value": "x".repeat(1024)})];
        doubled.extend(
            (1..40).map(|n| json!({"name": format!("V{n}"), "value": format!("$(V{0})$(V{0})", n - 1)})),
        );
        let error = build(json!({"name": "c", "env": doubled})).unwrap_err().to_string();
        assert!(error.starts_with("environment of container c, variable V12: "), "{error}");
        let pod = pod_with(json!({"containers": [{"name": "c", "args": vec!["$(BIG)"; 100]}]}));
        let big = [KeyValue { key: "BIG".to_owned(), value: "x".repeat(100_000) }];
        assert_eq!(command_and_args(&pod.spec.unwrap().containers[0], &big), Err(TooLong));
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

    #[test]
    fn whole_objects_come_first_and_single_variables_override_them() {
        let object = |entries: &[(&str, &[u8])]| {
            let data = entries.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(v.to_vec())));
            Ok(std::sync::Arc::new(KeyedObject { data: data.collect(), ..KeyedObject::default() }))
        };
        let not_found = |kind| Err(LookupError::NotFound { kind, name: "gone".to_owned() });
        let objects = BTreeMap::from([
            (KeyedRef::config_map("shop", "m"), object(&[("A", b"1"), ("B", b"2")])),
            (KeyedRef::secret("shop", "s"), object(&[("pass", b"x1"), ("raw", &[0xff])])),
            (KeyedRef::secret("shop", "gone"), not_found(KeyedKind::Secret)),
            (KeyedRef::config_map("shop", "gone"), not_found(KeyedKind::ConfigMap)),
        ]);
        let none = EnvFiles::new();
        let build =
            |container| build_from(container, (&none, EnvFileRefs::Read, &[]), ApiObjects::Read(&objects));
        let envs = build(json!({"name": "c",
            "envFrom": [{"prefix": "M_", "configMapRef": {"name": "m"}},
                {"secretRef": {"name": "gone", "optional": true}}],
            "env": [
                {"name": "M_B", "value": "own $(M_A)"},
                {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pass"}}},
                {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "no", "optional": true}}},
                {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "k", "optional": true}}},
            ]}))
        .unwrap();
        let expected = [("M_A", "1"), ("M_B", "own 1"), ("PASS", "x1")];
        assert_eq!(envs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let from = |source| json!({"name": "c", "env": [{"name": "A", "valueFrom": source}]});
        for (container, text) in [
            (
                json!({"name": "c", "envFrom": [{"secretRef": {"name": "gone"}}]}),
                r#"secret "gone" not found"#,
            ),
            (
                from(json!({"secretKeyRef": {"name": "s", "key": "no"}})),
                "couldn't find key no in Secret shop/s",
            ),
            (
                from(json!({"configMapKeyRef": {"name": "m", "key": "no"}})),
                "couldn't find key no in ConfigMap shop/m",
            ),
            (
                from(json!({"secretKeyRef": {"name": "s", "key": "raw"}})),
                "key raw of secret shop/s is no UTF-8 text: mount it as a volume instead",
            ),
            (from(json!({"secretKeyRef": {"name": "x", "key": "k"}})), r#"object "shop"/"x" not registered"#),
        ] {
            assert_eq!(build(container).unwrap_err().to_string(), text);
        }
    }
}
