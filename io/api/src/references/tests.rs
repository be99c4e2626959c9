//! Secrets, ConfigMaps and tokens from a server that answers as the test says.

use serde_json::{Value, json};

use super::*;
use crate::testing::{FakeServer, Reply};

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

#[tokio::test]
async fn objects_are_read_and_followed_one_by_one() {
    let secret = |value: &str, version: &str| {
        json!({
            "kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": { "k": value },
            "metadata": { "namespace": "shop", "name": "s", "resourceVersion": version },
        })
    };
    let (first, second) = (secret("b25l", "1"), secret("dHdv", "2"));
    let server = FakeServer::start(move |seen| {
        let (first, second) = (first.clone(), second.clone());
        async move {
            if seen.line.ends_with("/secrets/s") {
                return Reply::new(200, first.to_string());
            }
            if !seen.line.contains("watch=true") {
                return Reply::new(404, r#"{"kind":"Status","reason":"NotFound","code":404,"message":"no"}"#);
            }
            let (body, reply) = Reply::open();
            let end = json!({ "kind": "Secret", "metadata": { "resourceVersion": "1",
                "annotations": { "k8s.io/initial-events-end": "true" } } });
            for text in [
                line("ADDED", &first),
                line("BOOKMARK", &end),
                line("MODIFIED", &second),
                line("DELETED", &second),
            ] {
                body.send(text.into()).unwrap();
            }
            // The watch stays open as long as the test runs.
            std::mem::forget(body);
            reply
        }
    })
    .await;
    let references = ApiReferences::new(server.client());
    let object = KeyedRef::secret("shop", "s");
    let read = references.read(&object).await.unwrap().unwrap();
    assert_eq!((read.data["k"].expose().as_slice(), read.type_.as_str()), (b"one".as_slice(), "Opaque"));
    assert_eq!(references.read(&KeyedRef::config_map("shop", "gone")).await.unwrap(), None);

    let mut told = references.follow(&object);
    let value = |object: &KeyedObject| String::from_utf8(object.data["k"].expose().clone()).unwrap();
    let Some(ObjectEvent::Replaced(all)) = told.next().await else { panic!("no list") };
    assert_eq!(all.iter().map(value).collect::<Vec<_>>(), ["one"]);
    let Some(ObjectEvent::Applied(changed)) = told.next().await else { panic!("no change") };
    assert_eq!(value(&changed), "two");
    assert!(matches!(told.next().await, Some(ObjectEvent::Deleted(_))));
    let asked = server.lines().pop().unwrap();
    assert!(asked.starts_with("GET /api/v1/namespaces/shop/secrets?"), "{asked}");
    assert!(asked.contains("fieldSelector=metadata.name%3Ds"), "the node may see no other: {asked}");
    assert!(!format!("{read:?} {changed:?}").contains("two"));
}

#[tokio::test]
async fn tokens_are_bound_to_the_pod() {
    let server = FakeServer::start(|seen| async move {
        let mut answer: Value = serde_json::from_slice(&seen.body).unwrap();
        answer["spec"]["expirationSeconds"] = json!(3607);
        answer["status"] = json!({ "token": "t0ken", "expirationTimestamp": "2026-11-28T20:00:00Z" });
        Reply::new(201, answer.to_string())
    })
    .await;
    let ask = TokenAsk {
        pod: core_types::PodKey::new("shop", "web"),
        pod_uid: "u1".into(),
        service_account: "robot".to_owned(),
        audiences: vec!["vault".to_owned()],
        expiration_secs: 3600,
    };
    let token = ApiReferences::new(server.client()).request_token(&ask).await.unwrap();
    assert_eq!(token.token.expose(), "t0ken");
    assert_eq!(token.lifetime, Duration::from_secs(3607));
    assert_eq!(token.expires_at.to_string(), "2026-11-28T20:00:00Z");
    assert!(!format!("{token:?}").contains("t0ken"));
    let seen = server.seen.lock().unwrap()[0].clone();
    assert_eq!(seen.line, "POST /api/v1/namespaces/shop/serviceaccounts/robot/token");
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(
        (&body["kind"], &body["apiVersion"]),
        (&json!("TokenRequest"), &json!("authentication.k8s.io/v1"))
    );
    assert_eq!(
        body["spec"],
        json!({ "audiences": ["vault"], "expirationSeconds": 3600,
            "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u1" } })
    );
}
