//! What goes over the wire for an event, and what becomes of refusals.

use core_types::{EventType, ObjectRef, PodKey, WallTime};
use serde_json::json;

use super::*;
use crate::testing::{FakeServer, Reply};

fn record(count: u32) -> EventRecord {
    let mut object = ObjectRef::pod(&PodKey::new("shop", "web"), &"u1".into());
    object.field_path = "spec.containers{main}".to_owned();
    EventRecord {
        name: "web.1a".to_owned(),
        object,
        event_type: EventType::Warning,
        reason: "BackOff".to_owned(),
        message: "Back-off".to_owned(),
        first_seen: WallTime::from_unix_secs(60),
        last_seen: WallTime::from_unix_secs(90),
        count,
        annotations: [("starved_resource".to_owned(), "memory".to_owned())].into(),
    }
}

fn status(code: u16, reason: &str) -> Reply {
    let body = json!({ "kind": "Status", "code": code, "reason": reason, "message": "no" });
    Reply::new(code, body.to_string())
}

#[tokio::test]
async fn the_first_sighting_is_created_and_the_next_are_counted() {
    let server = FakeServer::start(|seen| async move {
        match seen.line.starts_with("PATCH") {
            true => status(404, "NotFound"),
            false => Reply::new(201, seen.body),
        }
    })
    .await;
    let sink = NodeEvents::new(server.client(), "n1");
    sink.send(&record(1)).await.unwrap();
    // It is gone there meanwhile: it is made again, with its count.
    sink.send(&record(3)).await.unwrap();
    let node = EventRecord { object: ObjectRef::node("n1"), name: "n1.1b".to_owned(), ..record(1) };
    sink.send(&node).await.unwrap();
    let lines = [
        "POST /api/v1/namespaces/shop/events",
        "PATCH /api/v1/namespaces/shop/events/web.1a",
        "POST /api/v1/namespaces/shop/events",
        "POST /api/v1/namespaces/default/events",
    ];
    assert_eq!(server.lines(), lines);
    let bodies: Vec<Value> =
        server.seen.lock().unwrap().iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect();
    let want = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": "web.1a", "namespace": "shop", "annotations": { "starved_resource": "memory" } },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web", "uid": "u1",
            "fieldPath": "spec.containers{main}",
        },
        "type": "Warning", "reason": "BackOff", "message": "Back-off", "count": 1,
        "firstTimestamp": "1970-01-01T00:01:00Z", "lastTimestamp": "1970-01-01T00:01:30Z",
        "source": { "component": "kubelet", "host": "n1" },
        "reportingComponent": "kubelet", "reportingInstance": "n1",
    });
    assert_eq!(bodies[0], want);
    assert_eq!(
        bodies[1],
        json!({ "count": 3, "lastTimestamp": "1970-01-01T00:01:30Z", "message": "Back-off" })
    );
    assert_eq!(bodies[2]["count"], 3);
    assert_eq!(bodies[3]["involvedObject"]["namespace"], Value::Null);
}

#[tokio::test]
async fn what_is_refused_for_good_is_told_apart_from_what_is_sent_again() {
    for (code, reason, is_refused) in
        [(403, "Forbidden", true), (422, "Invalid", true), (401, "Unauthorized", false), (503, "", false)]
    {
        let server = FakeServer::start(move |_| async move { status(code, reason) }).await;
        let sent = NodeEvents::new(server.client(), "n1").send(&record(1)).await;
        assert_eq!(matches!(sent, Err(EventSinkError::Refused(_))), is_refused, "{code}: {sent:?}");
    }
    // The answer to an earlier try was lost.
    let server = FakeServer::start(|_| async { status(409, "AlreadyExists") }).await;
    NodeEvents::new(server.client(), "n1").send(&record(1)).await.unwrap();
}
