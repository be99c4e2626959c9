//! Following against a scripted server: lists in both forms, resumed and expired watches, refusals.

use std::sync::Mutex;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::testing::{FakeServer, Reply};

fn pod(name: &str, version: &str) -> Value {
    json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "namespace": "d", "name": name, "resourceVersion": version } })
}

fn line(kind: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{}\n", json!({ "type": kind, "object": object })))
}

fn end_of_list(version: &str) -> Bytes {
    let annotations = json!({ "k8s.io/initial-events-end": "true" });
    line(
        "BOOKMARK",
        &json!({ "kind": "Pod", "metadata": { "resourceVersion": version, "annotations": annotations } }),
    )
}

fn expired() -> Bytes {
    line("ERROR", &json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old" }))
}

fn names(pods: &[Pod]) -> Vec<&str> {
    pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
}

/// Answers with what is scripted, one after another; then never.
async fn scripted(replies: Vec<Reply>) -> FakeServer {
    let replies = Mutex::new(replies.into_iter().collect::<std::collections::VecDeque<_>>());
    FakeServer::start(move |_seen| {
        let next = replies.lock().unwrap().pop_front();
        async move {
            match next {
                Some(reply) => reply,
                None => std::future::pending().await,
            }
        }
    })
    .await
}

fn watch(lines: &[Bytes]) -> (mpsc::UnboundedSender<Bytes>, Reply) {
    let (sender, reply) = Reply::open();
    for line in lines {
        sender.send(line.clone()).unwrap();
    }
    (sender, reply)
}

fn follower(server: &FakeServer) -> Follower<Pod> {
    let selector = Selector { fields: "spec.nodeName=n1".to_owned(), labels: String::new() };
    Follower::new(server.client(), ObjectPath::all::<Pod>(), selector)
}

fn query_of(server: &FakeServer, request: usize) -> String {
    server.lines()[request].clone()
}

#[tokio::test]
async fn a_streaming_list_comes_whole_and_a_broken_watch_goes_on_from_its_version() {
    let (first, reply) = watch(&[
        line("ADDED", &pod("a", "3")),
        line("ADDED", &pod("b", "4")),
        line("DELETED", &pod("a", "5")),
        end_of_list("7"),
        line("MODIFIED", &pod("b", "8")),
    ]);
    // One event in two pieces.
    let event = line("BOOKMARK", &json!({ "metadata": { "resourceVersion": "9" } }));
    let (left, right) = event.split_at(20);
    first.send(Bytes::copy_from_slice(left)).unwrap();
    first.send(Bytes::copy_from_slice(right)).unwrap();
    first.send(line("ADDED", &pod("c", "10"))).unwrap();
    drop(first);
    let (_second, reply_two) = watch(&[line("DELETED", &pod("c", "11"))]);
    let server = scripted(vec![reply, reply_two]).await;
    let mut follower = follower(&server);
    let ObjectEvent::Replaced(all) = follower.next().await else { panic!("no list") };
    assert_eq!(names(&all), ["b"]);
    assert!(
        matches!(follower.next().await, ObjectEvent::Applied(pod) if pod.metadata.name.as_deref() == Some("b"))
    );
    assert!(
        matches!(follower.next().await, ObjectEvent::Applied(pod) if pod.metadata.name.as_deref() == Some("c"))
    );
    assert!(
        matches!(follower.next().await, ObjectEvent::Deleted(pod) if pod.metadata.name.as_deref() == Some("c"))
    );
    let opened = query_of(&server, 0);
    assert!(
        opened.contains("sendInitialEvents=true") && opened.contains("fieldSelector=spec.nodeName%3Dn1"),
        "{opened}"
    );
    assert!(opened.contains("resourceVersionMatch=NotOlderThan"), "{opened}");
    let resumed = query_of(&server, 1);
    assert!(resumed.contains("resourceVersion=10") && !resumed.contains("sendInitialEvents"), "{resumed}");
}

#[tokio::test]
async fn a_server_without_streaming_lists_is_listed_page_by_page() {
    let refusal = json!({ "kind": "Status", "code": 422, "reason": "Invalid", "message": "sendInitialEvents is forbidden" });
    let page = |token: &str, item: &str| {
        json!({ "metadata": { "resourceVersion": "20", "continue": token }, "items": [pod(item, "1")] })
            .to_string()
    };
    let (_open, watched) = watch(&[line("ADDED", &pod("c", "21"))]);
    let replies = vec![
        Reply::new(422, refusal.to_string()),
        Reply::new(200, page("next", "a")),
        Reply::new(200, page("", "b")),
        watched,
    ];
    let server = scripted(replies).await;
    let mut follower = follower(&server);
    let ObjectEvent::Replaced(all) = follower.next().await else { panic!("no list") };
    assert_eq!(names(&all), ["a", "b"]);
    assert!(matches!(follower.next().await, ObjectEvent::Applied(_)));
    assert!(query_of(&server, 2).contains("continue=next"));
    assert!(query_of(&server, 3).contains("resourceVersion=20"));
}

#[tokio::test]
async fn a_server_whose_storage_cannot_stream_lists_is_listed() {
    let refusal = json!({ "kind": "Status", "code": 500, "reason": "InternalError", "message": "RequestWatchProgress is disabled" });
    let (_first, streamed) = watch(&[line("ERROR", &refusal)]);
    let list = json!({ "metadata": { "resourceVersion": "20" }, "items": [pod("a", "1")] });
    let server = scripted(vec![streamed, Reply::new(200, list.to_string())]).await;
    let mut follower = follower(&server);
    let ObjectEvent::Replaced(all) = follower.next().await else { panic!("no list") };
    assert_eq!(names(&all), ["a"]);
    assert!(!query_of(&server, 1).contains("watch=true"));
}

#[tokio::test]
async fn a_version_that_is_too_old_means_a_new_list_and_half_a_list_means_nothing() {
    let (_one, first) = watch(&[end_of_list("5"), expired()]);
    let (half, second) = watch(&[line("ADDED", &pod("ghost", "6"))]);
    drop(half);
    let (_three, third) = watch(&[line("ADDED", &pod("a", "7")), end_of_list("8")]);
    let server = scripted(vec![first, second, third]).await;
    let mut follower = follower(&server);
    assert_eq!(follower.next().await, ObjectEvent::Replaced(Vec::new()));
    let ObjectEvent::Replaced(all) = follower.next().await else { panic!("no list") };
    assert_eq!(names(&all), ["a"], "an incomplete list is not told");
    assert!(query_of(&server, 1).contains("sendInitialEvents=true"));
}

#[tokio::test]
async fn a_refusal_interrupts_and_is_tried_again() {
    let (_open, good) = watch(&[end_of_list("5")]);
    let refusal = json!({ "kind": "Status", "code": 403, "reason": "Forbidden", "message": "no" });
    let server = scripted(vec![Reply::new(403, refusal.to_string()), good]).await;
    let mut follower = follower(&server);
    let ObjectEvent::Interrupted(error) = follower.next().await else { panic!("not told") };
    assert!(error.is_forbidden(), "{error}");
    assert_eq!(follower.next().await, ObjectEvent::Replaced(Vec::new()));
}
