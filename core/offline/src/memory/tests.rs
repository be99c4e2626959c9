//! What is kept, what is forgotten, and what is worth a write.

use core_types::{Secret, WallTime};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

use super::*;

fn pod(name: &str, more: &Value) -> Arc<Pod> {
    let mut text = json!({
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}")},
        "spec": {
            "serviceAccountName": "default",
            "containers": [{"name": "c", "volumeMounts": [{"name": "t", "mountPath": "/t"}]}],
            "volumes": [
                {"name": "s", "secret": {"secretName": format!("of-{name}")}},
                {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ],
        },
        "status": {"phase": "Running"},
    });
    for part in ["metadata", "spec", "status"] {
        let more = more[part].as_object().cloned().unwrap_or_default();
        text[part].as_object_mut().expect("a map").extend(more);
    }
    Arc::new(serde_json::from_value(text).expect("a pod"))
}

fn told(pods: &[Arc<Pod>]) -> Memory {
    let secret = |pod: &Arc<Pod>| (KeyedRef::secret("shop", &format!("of-{}", pod.key().name)), None);
    let token = |pod: &Arc<Pod>| {
        let issued = IssuedToken {
            token: Secret::new("t".to_owned()),
            expires_at: WallTime::from_unix_secs(5),
            lifetime: Duration::from_secs(5),
        };
        (core_volumes::token_asks(pod).remove(0), issued)
    };
    Memory {
        pods: pods.to_vec(),
        objects: pods.iter().map(secret).collect(),
        tokens: pods.iter().map(token).collect(),
        ..Memory::default()
    }
}

#[test]
fn only_what_a_start_needs_is_kept() {
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let pods = [
        pod("runs", &Value::Null),
        pod("done", &json!({"status": {"phase": "Succeeded"}})),
        pod("goes", &deleted),
        pod("gone", &Value::Null),
    ];
    let mut memory = told(&pods);
    memory.pods.pop();
    memory.prune();
    let objects: Vec<&str> = memory.objects.keys().map(|object| object.name.as_str()).collect();
    assert_eq!(objects, ["of-runs"]);
    assert_eq!(memory.tokens.len(), 1);
    assert_eq!(memory.pods.len(), 3, "who has ended or is deleted must be known as such");
}

#[test]
fn services_of_other_namespaces_are_forgotten_but_for_the_masters() {
    let service = |namespace: &str, name: &str| {
        let text = json!({"metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 1}]}});
        serde_json::from_value(text).expect("a service")
    };
    let mut book = ServiceBook::default();
    for (namespace, name) in [("shop", "db"), ("default", "kubernetes"), ("default", "x"), ("other", "y")] {
        book.put(&service(namespace, name));
    }
    let mut memory = told(&[pod("a", &Value::Null)]);
    memory.services = Some(book);
    memory.prune();
    let mut wanted = ServiceBook::default();
    wanted.put(&service("shop", "db"));
    wanted.put(&service("default", "kubernetes"));
    assert_eq!(memory.services, Some(wanted));
}

#[test]
fn a_status_is_no_news_unless_the_pod_has_ended() {
    let old = told(&[pod("a", &Value::Null)]);
    let news = |more: &Value| told(&[pod("a", more)]).news(&old);
    assert_eq!(news(&Value::Null), News::None);
    assert_eq!(news(&json!({"status": {"podIP": "10.0.0.1"}})), News::Statuses);
    assert_eq!(news(&json!({"metadata": {"resourceVersion": "7"}})), News::None);
    for content in [
        json!({"status": {"phase": "Failed"}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"uid": "other"}}),
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        json!({"spec": {"activeDeadlineSeconds": 5}}),
    ] {
        assert_eq!(news(&content), News::Content, "{content}");
    }
    assert_eq!(told(&[]).news(&old), News::Content);
    let mut other = old.clone();
    other.tokens.clear();
    assert_eq!(other.news(&old), News::Content);
}

#[test]
fn what_is_known_now_stands_before_what_was_kept() {
    let kept = told(&[pod("a", &Value::Null), pod("b", &Value::Null)]);
    let mut memory = Memory::default();
    let own = Some(Arc::new(KeyedObject { uid: "new".to_owned(), ..KeyedObject::default() }));
    memory.objects.insert(KeyedRef::secret("shop", "of-a"), own.clone());
    memory.recall(kept.clone());
    assert_eq!(memory.pods, kept.pods);
    assert_eq!(memory.tokens, kept.tokens);
    assert_eq!(memory.objects[&KeyedRef::secret("shop", "of-a")], own);
    assert_eq!(memory.objects[&KeyedRef::secret("shop", "of-b")], None);
}

#[test]
fn of_the_node_is_kept_what_pods_are_judged_by() {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}, "resourceVersion": "9", "annotations": {"x": "y"}},
        "spec": {"podCIDRs": ["10.0.0.0/24"], "taints": [{"key": "k", "effect": "NoExecute"}]},
        "status": {"nodeInfo": {"bootID": ""}},
    }))
    .unwrap_or_default();
    let kept = kept_of_node(&node);
    assert_eq!(kept.metadata.labels, node.metadata.labels);
    assert_eq!(kept.spec, node.spec);
    assert_eq!((kept.metadata.resource_version, kept.status), (None, None));
}

proptest! {
    /// Pruning twice is pruning once, and never takes what a pod that may start refers to.
    #[test]
    fn pruning_is_exact(kinds in proptest::collection::vec(0..4_u8, 0..8)) {
        let pods: Vec<Arc<Pod>> = kinds.iter().enumerate().map(|(index, kind)| {
            let more = match kind {
                0 => json!({"status": {"phase": "Failed"}}),
                1 => json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                _ => Value::Null,
            };
            pod(&format!("p{index}"), &more)
        }).collect();
        let mut memory = told(&pods);
        memory.prune();
        let wanted = told(&pods.iter().filter(|pod| may_start(pod)).cloned().collect::<Vec<_>>());
        prop_assert_eq!(&memory.objects, &wanted.objects);
        prop_assert_eq!(&memory.tokens, &wanted.tokens);
        let once = memory.clone();
        memory.prune();
        prop_assert_eq!(memory.news(&once), News::None);
    }
}
