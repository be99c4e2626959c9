//! Tables and properties for volumes, payloads and mounts.

mod objects;

use std::collections::BTreeMap;

use core_types::api::{Pod, Volume};
use core_types::runtime::{KeyValue, MountPropagation, RecursiveReadOnly};
use core_types::{ApiObjects, Quantity};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::*;

fn allocatable() -> BTreeMap<String, Quantity> {
    [("memory", "8Gi"), ("cpu", "4")].map(|(name, text)| (name.to_owned(), text.parse().unwrap())).into()
}

/// A pod whose container mounts the volume `v` with the given source.
fn pod_with(source: Value) -> Pod {
    let mut volume = source;
    volume["name"] = json!("v");
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "u", "labels": {"a": "1", "b": "2"},
            "annotations": {"note": "hi"}},
        "spec": {
            "volumes": [volume],
            "securityContext": {"fsGroup": 2000},
            "containers": [{"name": "main", "resources": {"limits": {"memory": "64Mi"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        },
    }))
    .unwrap()
}

fn plan(source: Value, pod_memory_limit_bytes: Option<u64>) -> Result<VolumeSetup, VolumeError> {
    let allocatable = allocatable();
    let facts = VolumeFacts { allocatable: &allocatable, pod_memory_limit_bytes };
    plan_volumes(&pod_with(source), &facts).map(|mut setups| setups.remove(0))
}

fn payload_of(pod: &Pod, volume: &Volume) -> Result<Option<VolumePayload>, VolumeError> {
    let (allocatable, tokens) = (allocatable(), BTreeMap::new());
    payload(
        pod,
        volume,
        &Content {
            allocatable: &allocatable,
            objects: ApiObjects::Standalone,
            trust: core_references::trust::TrustBundles::Standalone,
            certificates: &BTreeMap::new(),
            tokens: &tokens,
        },
    )
}

fn files(source: Value) -> Result<BTreeMap<String, (String, u32)>, VolumeError> {
    let pod = pod_with(source);
    let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
    let made = payload_of(&pod, volume)?.unwrap();
    assert_eq!(made.fs_group, Some(2000));
    Ok(made
        .files
        .into_iter()
        .map(|(path, file)| (path, (String::from_utf8(file.content.into_exposed()).unwrap(), file.mode)))
        .collect())
}

const MI: u64 = 1024 * 1024;

#[test]
fn each_source_has_its_setup() {
    let name = || "v".to_owned();
    let fs_group = Some(2000);
    let tmpfs = |plugin, size| VolumeSetup::Tmpfs { name: name(), plugin, size_bytes: Some(size), fs_group };
    let table = [
        (
            json!({"emptyDir": {}}),
            VolumeSetup::EmptyDir { name: name(), plugin: VolumePlugin::EmptyDir, fs_group },
        ),
        (json!({}), VolumeSetup::EmptyDir { name: name(), plugin: VolumePlugin::EmptyDir, fs_group }),
        (json!({"emptyDir": {"medium": "Memory"}}), tmpfs(VolumePlugin::EmptyDir, 8192 * MI)),
        (
            json!({"hostPath": {"path": "/srv", "type": "DirectoryOrCreate"}}),
            VolumeSetup::HostPath {
                name: name(),
                path: "/srv".into(),
                kind: HostPathKind::DirectoryOrCreate,
            },
        ),
        (
            json!({"hostPath": {"path": "/srv"}}),
            VolumeSetup::HostPath { name: name(), path: "/srv".into(), kind: HostPathKind::Unchecked },
        ),
        (json!({"downwardAPI": {}}), tmpfs(VolumePlugin::DownwardApi, 8192 * MI)),
        (json!({"projected": {"sources": [{"downwardAPI": {}}]}}), tmpfs(VolumePlugin::Projected, 8192 * MI)),
    ];
    for (source, wanted) in table {
        assert_eq!(plan(source.clone(), None), Ok(wanted), "{source}");
    }
}

#[test]
fn memory_is_bounded_by_volume_pod_and_node() {
    let size = |limit: Option<&str>, pod: Option<u64>| {
        let source = json!({"emptyDir": {"medium": "Memory", "sizeLimit": limit}});
        match plan(source, pod).unwrap() {
            VolumeSetup::Tmpfs { size_bytes, .. } => size_bytes.unwrap() / MI,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(size(Some("10Mi"), Some(64 * MI)), 10);
    assert_eq!(size(Some("100Mi"), Some(64 * MI)), 64);
    assert_eq!(size(Some("0"), Some(64 * MI)), 64);
    assert_eq!(size(Some("100Gi"), None), 8192);
    assert_eq!(size(None, Some(0)), 8192);
}

#[test]
fn what_cannot_be_made_is_named() {
    let table = [
        (json!({"nfs": {"server": "x", "path": "/"}}), "volume \"v\": nfs is not supported by this agent"),
        (
            json!({"emptyDir": {"medium": "HugePages"}}),
            "medium HugePages: hugePages storage requested, but there is no resource request for huge pages",
        ),
        (
            json!({"emptyDir": {"medium": "Memory", "sizeLimit": "lots"}}),
            "volume \"v\": sizeLimit \"lots\" is not a quantity",
        ),
        (
            json!({"hostPath": {"path": "/a", "type": "Pipe"}}),
            "volume \"v\": hostPath type \"Pipe\" is unknown",
        ),
        (
            json!({"hostPath": {"path": "/a/../b"}}),
            "volume \"v\": hostPath \"/a/../b\" must be absolute and must not contain \"..\"",
        ),
        (
            json!({"hostPath": {"path": "a"}}),
            "volume \"v\": hostPath \"a\" must be absolute and must not contain \"..\"",
        ),
    ];
    for (source, text) in table {
        assert_eq!(plan(source, None).unwrap_err().to_string(), text);
    }
}

#[test]
fn volumes_come_in_the_pods_order_and_unmounted_ones_are_left_out() {
    let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {
        "volumes": [{"name": "z"}, {"name": "unused", "secret": {}}, {"name": "a"}, {"name": "e"}],
        "initContainers": [{"name": "i", "volumeMounts": [{"name": "a", "mountPath": "/a"}]}],
        "containers": [{"name": "c", "volumeMounts": [{"name": "z", "mountPath": "/z"}]}],
        "ephemeralContainers": [{"name": "d", "volumeMounts": [{"name": "e", "mountPath": "/e"}]}],
    }}))
    .unwrap();
    let allocatable = allocatable();
    let facts = VolumeFacts { allocatable: &allocatable, pod_memory_limit_bytes: None };
    let setups = plan_volumes(&pod, &facts).unwrap();
    assert_eq!(setups.iter().map(VolumeSetup::name).collect::<Vec<_>>(), ["z", "a", "e"]);
}

#[test]
fn downward_files_have_their_values_and_modes() {
    let made = files(json!({"downwardAPI": {"defaultMode": 0o400, "items": [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "./deep//name", "mode": 0o600, "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['note']"}},
        {"path": "limit", "resourceFieldRef":
            {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu"}},
    ]}}));
    let wanted = [
        ("labels", "a=\"1\"\nb=\"2\"", 0o400),
        ("deep/name", "web", 0o600),
        ("note", "hi", 0o400),
        ("limit", "64", 0o400),
        ("cpu", "4", 0o400),
    ];
    let wanted = wanted.map(|(path, text, mode)| (path.to_owned(), (text.to_owned(), mode)));
    assert_eq!(made, Ok(wanted.into()));
}

#[test]
fn projected_sources_are_merged_and_the_later_wins() {
    let item = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let made = files(json!({"projected": {"sources": [
        {"downwardAPI": {"items": [item("a", "metadata.name"), item("b", "metadata.name")]}},
        {"downwardAPI": {"items": [item("b", "metadata.namespace")]}},
    ]}}))
    .unwrap();
    assert_eq!(made["a"], ("web".to_owned(), 0o644));
    assert_eq!(made["b"], ("ns".to_owned(), 0o644));
}

#[test]
fn volumes_without_files_of_the_agent_have_no_payload() {
    for source in [json!({"emptyDir": {}}), json!({"hostPath": {"path": "/srv"}})] {
        let pod = pod_with(source);
        let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
        assert_eq!(payload_of(&pod, volume), Ok(None));
    }
}

#[test]
fn wrong_files_are_named() {
    let one = |path: &str, rest: Value| {
        let mut item = rest;
        item["path"] = json!(path);
        files(json!({"downwardAPI": {"items": [item]}})).unwrap_err().to_string()
    };
    let name = || json!({"fieldRef": {"fieldPath": "metadata.name"}});
    let long = "x".repeat(256);
    let longest = format!("{}x", "abc/".repeat(1024));
    let table = [
        ("", "must not be empty"),
        (".", "must not be empty"),
        ("/etc/passwd", "must be relative"),
        ("a/../b", "must not contain \"..\""),
        ("..", "must not contain \"..\""),
        ("..data", "must not start with \"..\""),
        ("./..data", "must not start with \"..\""),
        (long.as_str(), "must not have a name longer than 255 bytes"),
        (longest.as_str(), "must not be longer than 4096 bytes"),
    ];
    for (path, rule) in table {
        assert_eq!(one(path, name()), format!("volume \"v\": file {path:?}: the path {rule}"));
    }
    assert_eq!(
        one("a", json!({"fieldRef": {"fieldPath": "status.podIP"}})),
        "volume \"v\": file \"a\": unsupported fieldPath: status.podIP"
    );
    assert_eq!(one("a", json!({})), "volume \"v\": file \"a\" needs a fieldRef or a resourceFieldRef");
    assert_eq!(
        one("a", json!({"mode": 0o1777, "fieldRef": {"fieldPath": "metadata.name"}})),
        "volume \"v\": file \"a\": mode 0o1777 must be between 0 and 0777"
    );
    let item = |path: &str| json!({"path": path, "fieldRef": {"fieldPath": "metadata.name"}});
    let clash = files(json!({"downwardAPI": {"items": [item("a/b"), item("a")]}})).unwrap_err();
    assert_eq!(clash.to_string(), "volume \"v\": file \"a/b\": the path must not lie below another file");
}

fn mount(fields: Value, support: RecursiveReadOnly) -> Result<ResolvedMount, String> {
    let mut pod = pod_with(json!({"emptyDir": {}}));
    let mut mount = fields;
    for (key, default) in [("name", "v"), ("mountPath", "/v")] {
        if mount[key].is_null() {
            mount[key] = json!(default);
        }
    }
    let container = &mut pod.spec.as_mut().unwrap().containers[0];
    container.volume_mounts = serde_json::from_value(json!([mount])).unwrap();
    let container = container.clone();
    let env = [("NAME", "web"), ("EMPTY", ""), ("UP", "../x")];
    let env = env.map(|(key, value)| KeyValue { key: key.to_owned(), value: value.to_owned() });
    mounts(&pod, &container, &env, support).map(|mut all| all.remove(0)).map_err(|error| error.to_string())
}

#[test]
fn mounts_are_resolved() {
    let plain = mount(json!({}), RecursiveReadOnly::Unsupported).unwrap();
    let wanted = ResolvedMount {
        volume: "v".to_owned(),
        index: 0,
        container_path: "/v".to_owned(),
        sub_path: String::new(),
        read_only: false,
        recursive_read_only: false,
        propagation: MountPropagation::Private,
        selinux_relabel: true,
    };
    assert_eq!(plain, wanted);
    let full = json!({
        "mountPath": "data", "readOnly": true, "subPathExpr": "$$a/$(NAME)/$b", "recursiveReadOnly": "IfPossible",
    });
    assert_eq!(
        mount(full, RecursiveReadOnly::Supported).unwrap(),
        ResolvedMount {
            container_path: "/data".to_owned(),
            sub_path: "$a/web/$b".to_owned(),
            read_only: true,
            recursive_read_only: true,
            ..wanted
        }
    );
    let shared = mount(json!({"mountPropagation": "Bidirectional"}), RecursiveReadOnly::Unsupported).unwrap();
    assert_eq!(shared.propagation, MountPropagation::Bidirectional);
}

#[test]
fn volumes_that_the_agent_writes_are_mounted_read_only() {
    let resolve = |source: Value| {
        let pod = pod_with(source);
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let made = mounts(&pod, container, &[], RecursiveReadOnly::Unsupported).unwrap().remove(0);
        (made.read_only, made.selinux_relabel)
    };
    assert_eq!(resolve(json!({"downwardAPI": {}})), (true, true));
    assert_eq!(resolve(json!({"projected": {}})), (true, true));
    assert_eq!(resolve(json!({"emptyDir": {}})), (false, true));
    assert_eq!(resolve(json!({"hostPath": {"path": "/srv"}})), (false, false));
}

#[test]
fn wrong_mounts_are_named() {
    let refused = |fields: Value| mount(fields, RecursiveReadOnly::Unsupported).unwrap_err();
    let table = [
        (json!({"name": "w"}), "cannot find volume \"w\" to mount into container \"main\""),
        (
            json!({"subPath": "/etc"}),
            "container \"main\": subPath \"/etc\" of volume \"v\" must not be an absolute path",
        ),
        (
            json!({"subPath": "a/../b"}),
            "container \"main\": subPath \"a/../b\" of volume \"v\" must not contain '..'",
        ),
        (
            json!({"subPathExpr": "$(UP)"}),
            "container \"main\": subPath \"../x\" of volume \"v\" must not contain '..'",
        ),
        (
            json!({"subPathExpr": "$(NO)/$(EMPTY)/$(NO)"}),
            "container \"main\": subPathExpr of volume \"v\": missing value for EMPTY, NO",
        ),
        (
            json!({"mountPropagation": "Sideways"}),
            "container \"main\": mountPropagation \"Sideways\" of volume \"v\" is unknown",
        ),
        (
            json!({"readOnly": true, "recursiveReadOnly": "Enabled"}),
            "container \"main\": volume \"v\" requested recursive read-only mode, but it is not supported by the runtime",
        ),
        (
            json!({"recursiveReadOnly": "Enabled"}),
            "container \"main\": volume \"v\" requested recursive read-only mode, but it is not read-only",
        ),
        (
            json!({"readOnly": true, "recursiveReadOnly": "IfPossible", "mountPropagation": "HostToContainer"}),
            "container \"main\": volume \"v\" requested recursive read-only mode, but it is not compatible with \
             propagation \"HostToContainer\"",
        ),
    ];
    for (fields, text) in table {
        assert_eq!(refused(fields), text);
    }
}

#[test]
fn plugin_directories_are_the_names_with_tildes() {
    for plugin in [VolumePlugin::EmptyDir, VolumePlugin::DownwardApi, VolumePlugin::Projected] {
        assert_eq!(plugin.name().replace('/', "~"), plugin.dir_name());
    }
}

fn any_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        2 => "[a-c]{1,2}", 1 => Just(".".to_owned()), 1 => Just("..".to_owned()), 1 => Just(String::new()),
        1 => "\\.\\.[a-z]",
    ];
    proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

proptest! {
    /// Whatever the pod says, what is accepted stays inside the volume and can be written.
    #[test]
    fn accepted_payloads_are_safe(paths in proptest::collection::vec(any_path(), 1..5)) {
        let items: Vec<Value> =
            paths.iter().map(|path| json!({"path": path, "fieldRef": {"fieldPath": "metadata.name"}})).collect();
        if let Ok(made) = files(json!({"downwardAPI": {"items": items}})) {
            prop_assert!(!made.is_empty());
            for path in made.keys() {
                prop_assert!(!path.starts_with('/') && !path.starts_with(".."));
                prop_assert!(path.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
                prop_assert!(!made.keys().any(|other| other.starts_with(&format!("{path}/"))), "file and directory");
            }
        } else {
            let is_plain = |path: &String| path.split('/').all(|part| part.chars().all(char::is_alphabetic));
            let has_clash = paths.iter().any(|a| paths.iter().any(|b| b.starts_with(&format!("{a}/"))));
            let all_plain = paths.iter().all(|path| is_plain(path) && !path.starts_with('/') && !path.is_empty());
            let has_gap = paths.iter().any(|path| path.contains("//") || path.ends_with('/'));
            prop_assert!(!all_plain || has_clash || has_gap, "plain paths are accepted: {:?}", paths);
        }
    }

    /// An accepted sub path has no way out, whatever the environment holds.
    #[test]
    fn accepted_sub_paths_are_safe(value in any_path(), expression in "[a/$()NAME.]{0,12}") {
        let pod = pod_with(json!({"emptyDir": {}}));
        let mut container = pod.spec.as_ref().unwrap().containers[0].clone();
        container.volume_mounts =
            serde_json::from_value(json!([{"name": "v", "mountPath": "/v", "subPathExpr": expression}])).unwrap();
        let env = [KeyValue { key: "NAME".to_owned(), value }];
        if let Ok(made) = mounts(&pod, &container, &env, RecursiveReadOnly::Unsupported) {
            let sub_path = &made[0].sub_path;
            prop_assert!(!sub_path.starts_with('/') && sub_path.split('/').all(|part| part != ".."));
        }
    }
}
