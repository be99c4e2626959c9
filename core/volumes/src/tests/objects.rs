//! Volumes whose content comes from the API server.

use std::sync::Arc;

use core_references::TokenAsk;
use core_types::{KeyedKind, KeyedObject, KeyedRef, LookupError, Secret};

use super::*;

struct Place {
    objects: BTreeMap<KeyedRef, core_types::Lookup>,
    tokens: BTreeMap<TokenAsk, Result<Secret<String>, String>>,
}

fn keyed(data: &[(&str, &str)], binary: &[(&str, &[u8])]) -> KeyedObject {
    KeyedObject {
        data: data.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(v.as_bytes().to_vec()))).collect(),
        binary_data: binary.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(v.to_vec()))).collect(),
        ..KeyedObject::default()
    }
}

/// A Secret `s` and a ConfigMap `m`; `gone` does not exist.
fn place() -> Place {
    let not_found = |kind| Err(LookupError::NotFound { kind, name: "gone".to_owned() });
    Place {
        objects: [
            (KeyedRef::secret("ns", "s"), Ok(Arc::new(keyed(&[("user", "bob"), ("pass", "x1")], &[])))),
            (
                KeyedRef::config_map("ns", "m"),
                Ok(Arc::new(keyed(&[("a.conf", "1")], &[("b.bin", &[0, 255])]))),
            ),
            (KeyedRef::secret("ns", "gone"), not_found(KeyedKind::Secret)),
            (KeyedRef::config_map("ns", "gone"), not_found(KeyedKind::ConfigMap)),
        ]
        .into(),
        tokens: BTreeMap::new(),
    }
}

impl Place {
    fn payload(&self, pod: &Pod) -> Result<VolumePayload, String> {
        let allocatable = allocatable();
        let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
        let objects = ApiObjects::Read(&self.objects);
        let trust = core_references::trust::TrustBundles::NotYetRead;
        let content = Content {
            allocatable: &allocatable,
            objects,
            trust,
            certificates: &BTreeMap::new(),
            tokens: &self.tokens,
        };
        payload(pod, volume, &content).map(Option::unwrap).map_err(|error| error.to_string())
    }

    /// Path, content and mode of each file.
    fn files(&self, source: Value) -> Result<Vec<(String, String, u32)>, String> {
        let made = self.payload(&pod_with(source))?;
        let text = |content: &Secret<Vec<u8>>| String::from_utf8_lossy(content.expose()).into_owned();
        Ok(made.files.iter().map(|(path, file)| (path.clone(), text(&file.content), file.mode)).collect())
    }
}

fn file(path: &str, content: &str, mode: u32) -> (String, String, u32) {
    (path.to_owned(), content.to_owned(), mode)
}

#[test]
fn keys_become_files() {
    let place = place();
    let all = place.files(json!({"secret": {"secretName": "s", "defaultMode": 0o400}}));
    assert_eq!(all, Ok(vec![file("pass", "x1", 0o400), file("user", "bob", 0o400)]));
    let some = place.files(json!({"secret": {"secretName": "s", "items": [
        {"key": "user", "path": "who/name"}, {"key": "pass", "path": "p", "mode": 0o600}]}}));
    assert_eq!(some, Ok(vec![file("p", "x1", 0o600), file("who/name", "bob", 0o644)]));
    let map = place.files(json!({"configMap": {"name": "m"}}));
    assert_eq!(map, Ok(vec![file("a.conf", "1", 0o644), file("b.bin", "\0\u{fffd}", 0o644)]));
    let projected = place.files(json!({"projected": {"sources": [
        {"configMap": {"name": "m", "items": [{"key": "a.conf", "path": "x"}]}},
        {"secret": {"name": "s", "items": [{"key": "user", "path": "x"}]}}]}}));
    assert_eq!(projected, Ok(vec![file("x", "bob", 0o644)]));
}

#[test]
fn what_is_missing_is_told_in_upstreams_words_unless_it_is_optional() {
    let place = place();
    let item = json!([{"key": "none", "path": "x"}]);
    let table = [
        (json!({"secret": {"secretName": "gone"}}), r#"secret "gone" not found"#),
        (json!({"configMap": {"name": "gone"}}), r#"configmap "gone" not found"#),
        (json!({"secret": {"secretName": "s", "items": item}}), "references non-existent secret key: none"),
        (
            json!({"configMap": {"name": "m", "items": item}}),
            "configmap references non-existent config key: none",
        ),
        (json!({"secret": {"secretName": "other"}}), r#"object "ns"/"other" not registered"#),
        (
            json!({"projected": {"sources": [{"secret": {"name": "gone"}}, {"configMap": {"name": "gone"}}]}}),
            r#"[secret "gone" not found, configmap "gone" not found]"#,
        ),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
            "cannot use TokenManager when kubelet is in standalone mode",
        ),
    ];
    for (source, text) in table {
        assert_eq!(place.files(source.clone()), Err(text.to_owned()), "{source}");
    }
    for source in [
        json!({"secret": {"secretName": "gone", "optional": true}}),
        json!({"configMap": {"name": "gone", "optional": true}}),
        json!({"secret": {"secretName": "s", "optional": true, "items": item}}),
        json!({"projected": {"sources": [{"secret": {"name": "gone", "optional": true}}]}}),
    ] {
        assert_eq!(place.files(source.clone()), Ok(Vec::new()), "{source}");
    }
    let pod = pod_with(json!({"secret": {"secretName": "s"}}));
    let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
    let alone = payload_of(&pod, volume).unwrap_err().to_string();
    assert_eq!(alone, "cannot setup secret volume v because kube client is not configured");
}

#[test]
fn tokens_belong_to_the_pods_user_or_group() {
    let mut pod = pod_with(json!({"projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}}]}}));
    pod.spec.as_mut().unwrap().service_account_name = Some("robot".to_owned());
    let ask = TokenAsk {
        pod: core_types::PodKey::new("ns", "web"),
        pod_uid: "u".into(),
        service_account: "robot".to_owned(),
        audiences: vec!["vault".to_owned()],
        expiration_secs: 600,
    };
    assert_eq!(token_asks(&pod).first(), Some(&ask));
    let mut place = place();
    place.tokens.insert(ask, Ok(Secret::new("t".to_owned())));
    let token = |pod: &Pod| {
        let file = place.payload(pod).unwrap().files.remove("token").unwrap();
        assert!(!format!("{file:?}").contains('t') || format!("{file:?}").contains("Secret(..)"));
        (file.mode, file.owner)
    };
    assert_eq!(token(&pod), (0o600, None), "the group gets it");
    let set = |pod: &mut Pod, context: Value| {
        pod.spec.as_mut().unwrap().security_context = serde_json::from_value(context).unwrap();
    };
    set(&mut pod, json!({}));
    assert_eq!(token(&pod), (0o644, None));
    set(&mut pod, json!({"runAsUser": 1000}));
    assert_eq!(token(&pod), (0o600, Some(1000)));
    let sidecar = json!([{"name": "i", "securityContext": {"runAsUser": 7}}]);
    pod.spec.as_mut().unwrap().init_containers = serde_json::from_value(sidecar).unwrap();
    assert_eq!(token(&pod), (0o644, None), "two users");
}

#[test]
fn secrets_stand_in_memory_and_config_maps_on_disk() {
    let tmpfs = |plugin| VolumeSetup::Tmpfs {
        name: "v".to_owned(),
        plugin,
        size_bytes: Some(8192 * MI),
        fs_group: Some(2000),
    };
    assert_eq!(plan(json!({"secret": {"secretName": "s"}}), None), Ok(tmpfs(VolumePlugin::Secret)));
    let projected = json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}});
    assert_eq!(plan(projected, None), Ok(tmpfs(VolumePlugin::Projected)));
    let on_disk =
        VolumeSetup::EmptyDir { name: "v".to_owned(), plugin: VolumePlugin::ConfigMap, fs_group: Some(2000) };
    assert_eq!(plan(json!({"configMap": {"name": "m"}}), None), Ok(on_disk));
}
