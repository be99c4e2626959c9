//! UIDs against those that upstream's kubelet gave to the same manifests.

use super::*;
use crate::manifest::defaults::with_defaults_as_written;
use crate::manifest::fnv::Fnv128;

/// Pods and their UIDs, one per line, as upstream's kubelet v1.37.2 gives them to the file /etc/m/a.yaml on node node-a.
const VECTORS: &str = include_str!("vectors.jsonl");

fn form(pod: Value) -> Option<String> {
    let (pod, _) = core_yaml::from_value::<Pod>(pod).expect("a pod");
    upstream_form(&with_defaults_as_written(&pod))
}

#[test]
fn uids_are_those_of_upstream() {
    for line in VECTORS.lines() {
        let mut vector: Value = serde_json::from_str(line).expect("JSON");
        let form = form(vector["pod"].take()).expect("a known form");
        let mut hash = Fnv128::new();
        hash.write(form.as_bytes());
        hash.write(b"host:node-afile:/etc/m/a.yaml");
        assert_eq!(Value::from(hash.hex()), vector["uid"], "{line}\n{form}");
    }
}

#[test]
fn what_has_no_known_form_is_left_to_our_own_uid() {
    let pod = |metadata: &str, quantity: &str| {
        let text = format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{{metadata}}}, "spec": {{"containers": [
                {{"name": "c", "image": "i", "resources": {{"limits": {{"cpu": "{quantity}"}}}}}}]}}}}"#
        );
        form(serde_json::from_str(&text).expect("JSON"))
    };
    assert!(pod("", "1").is_some());
    assert_eq!(pod(r#""creationTimestamp": "2026-01-01T00:00:00Z""#, "1"), None);
    assert_eq!(pod(r#""managedFields": [{"manager": "m"}]"#, "1"), None);
    assert_eq!(pod("", &"1".repeat(60)), None);
    assert_eq!(pod("", "lots"), None);
}

#[test]
fn every_type_is_known() {
    let types = Types::read(TYPES);
    let basic =
        ["string", "bool", "int32", "int64", "map[string]string", "resource.Quantity", "intstr.IntOrString"];
    for (name, fields) in &types.structs {
        for field in fields.iter().filter(|_| *name != "core.PodStatus") {
            let bare = field.type_name.trim_start_matches("[]").trim_start_matches('*');
            let known =
                types.structs.contains_key(bare) || types.aliases.contains_key(bare) || basic.contains(&bare);
            let left_out = ["v1.Time", "v1.ManagedFieldsEntry"].contains(&bare);
            assert!(known || left_out, "{name}.{}: {bare}", field.name);
        }
    }
}
