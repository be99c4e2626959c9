//! What is kept comes back, and only to whom it belongs.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn identity() -> Identity {
    Identity { node_name: "n1".to_owned(), machine: "m".to_owned(), server: "https://api:6443".to_owned() }
}

fn pod(name: &str) -> Arc<Pod> {
    let text = json!({
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}"), "generation": 3},
        "spec": {
            "containers": [{"name": "c", "resources": {"limits": {"cpu": "100m"}},
                "volumeMounts": [{"name": "t", "mountPath": "/t"}]}],
            "volumes": [
                {"name": "s", "secret": {"secretName": "key"}},
                {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ],
        },
        "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z"},
    });
    Arc::new(serde_json::from_value(text).expect("a pod"))
}

fn memory(names: &[&str], value: &[u8]) -> Memory {
    let pods: Vec<_> = names.iter().map(|name| pod(name)).collect();
    let content = KeyedObject {
        uid: "u".to_owned(),
        data: BTreeMap::from([("k".to_owned(), Secret::new(value.to_vec()))]),
        binary_data: BTreeMap::from([("b".to_owned(), Secret::new(vec![0, 255]))]),
        type_: "Opaque".to_owned(),
        mutability: Mutability::Immutable,
    };
    let issued = IssuedToken {
        token: Secret::new("a.b.c".to_owned()),
        expires_at: WallTime::from_unix_secs(1_700_000_000),
        lifetime: Duration::from_secs(3607),
    };
    let asks = pods.iter().flat_map(|pod| core_volumes::token_asks(pod));
    Memory {
        node: Some(Arc::new(Node::default())),
        objects: BTreeMap::from([(KeyedRef::secret("shop", "key"), Some(Arc::new(content)))]),
        tokens: asks.map(|ask| (ask, issued.clone())).collect(),
        services: Some(ServiceBook::default()),
        runtime_classes: Some(RuntimeClassBook::default()),
        trust: None,
        pods,
    }
}

fn text(memory: &Memory) -> Vec<u8> {
    encode(memory, &identity(), WallTime::from_unix_secs(7)).expect("a text").text.into_exposed()
}

fn changed(memory: &Memory, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut document: Value = serde_json::from_slice(&text(memory)).expect("JSON");
    change(&mut document);
    serde_json::to_vec(&document).expect("a text")
}

#[test]
fn what_was_kept_comes_back() {
    let memory = memory(&["a", "b"], b"secret");
    let kept = decode(&text(&memory), &identity()).expect("a memory");
    assert_eq!(kept, Kept { memory, saved_at: WallTime::from_unix_secs(7) });
}

#[test]
fn what_is_not_this_nodes_is_refused_and_nothing_of_it_is_shown() {
    let memory = memory(&["a"], b"secret");
    let refusal = |text: &[u8]| decode(text, &identity()).expect_err("it is refused").to_string();
    let of = |field: &'static str| changed(&memory, |document| document["identity"][field] = json!("other"));
    assert_eq!(refusal(&of("nodeName")), r#"it is of node "other", and this is "n1""#);
    assert_eq!(refusal(&of("machine")), r#"it is of machine "other", and this is "m""#);
    assert_eq!(refusal(&of("server")), r#"it is of API server "other", and this is "https://api:6443""#);
    let newer = changed(&memory, |document| {
        document["version"] = json!(2);
        document["pods"] = json!("in another form");
    });
    assert_eq!(refusal(&newer), "it has form 2, and this agent reads form 1");
    let broken =
        changed(&memory, |document| document["tokens"][0]["expirationSecs"] = json!("a-secret-word"));
    let said = refusal(&broken);
    assert!(said.starts_with("it is no memory of a kubelet: Data error at line 1"), "{said}");
    assert!(!said.contains("a-secret-word"), "{said}");
    let not_base64 =
        changed(&memory, |document| document["objects"][0]["content"]["data"]["k"] = json!("%%"));
    assert!(refusal(&not_base64).contains("the value of key \"k\" is not base64"));
    assert!(refusal(b"").contains("Eof error"));
}

#[test]
fn pods_that_do_not_fit_are_left_out_with_what_they_refer_to() {
    let mut memory = memory(&["a", "b", "c"], b"small");
    let mut large = Arc::unwrap_or_clone(pod("large"));
    large.metadata.annotations = Some([("x".to_owned(), "y".repeat(MAX_POD_BYTES))].into());
    memory.pods.insert(1, Arc::new(large));
    let encoded = encode(&memory, &identity(), WallTime::default()).expect("a text");
    assert_eq!(encoded.left_out, [PodKey::new("shop", "large")]);
    let kept = decode(encoded.text.expose(), &identity()).expect("a memory").memory;
    assert_eq!(kept.pods.len(), 3);
    // A pod whose Secret is too large takes only itself out.
    let huge = self::memory(&["a"], &vec![0; MAX_POD_BYTES]);
    let encoded = encode(&huge, &identity(), WallTime::default()).expect("a text");
    assert_eq!(encoded.left_out, [PodKey::new("shop", "a")]);
    let kept = decode(encoded.text.expose(), &identity()).expect("a memory").memory;
    assert!(kept.pods.is_empty() && kept.objects.is_empty() && kept.tokens.is_empty());
}

#[test]
fn a_text_is_not_printed() {
    let encoded = encode(&memory(&["a"], b"x"), &identity(), WallTime::default()).expect("a text");
    assert_eq!(format!("{encoded:?}"), "Encoded { text: Secret(..), left_out: [] }");
}

proptest! {
    #[test]
    fn any_bytes_come_back(value in proptest::collection::vec(any::<u8>(), 0..64)) {
        let memory = memory(&["a"], &value);
        prop_assert_eq!(decode(&text(&memory), &identity()).expect("a memory").memory, memory);
    }

    #[test]
    fn any_text_is_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..256), cut in 0..4096_usize) {
        let _ = decode(&bytes, &identity());
        let whole = text(&memory(&["a"], b"x"));
        if cut < whole.len() {
            prop_assert!(decode(&whole[..cut], &identity()).is_err());
        }
    }
}
