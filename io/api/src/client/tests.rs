//! Requests against a server that answers as the test says: errors, retries, bounds, credentials, connections.

use core_types::Secret;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;
use crate::Token;
use crate::testing::{FakeServer, Reply, options};

const STATUS_404: &str =
    r#"{"kind":"Status","message":"pods \"a\" not found","reason":"NotFound","code":404,"details":{}}"#;

fn pod_path() -> ObjectPath {
    ObjectPath::namespaced::<Pod>("default", "a")
}

#[tokio::test]
async fn objects_come_without_managed_fields_and_refusals_with_the_servers_words() {
    let server = FakeServer::start(|seen| async move {
        match seen.line.as_str() {
            "GET /api/v1/namespaces/default/pods/a" => Reply::new(
                200,
                r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","managedFields":[{"manager":"x"}]}}"#,
            ),
            _ => Reply::new(404, STATUS_404),
        }
    })
    .await;
    let registry = Registry::new();
    let client = server.client_with(&registry, Token::Fixed(Secret::new("s3cret".to_owned())));
    let pod: Pod = client.get(&pod_path()).await.unwrap();
    assert_eq!((pod.metadata.name.as_deref(), pod.metadata.managed_fields), (Some("a"), None));

    let patch = json!({ "metadata": { "uid": "u" } });
    let error = client
        .patch::<Pod>(&pod_path().subresource("status"), Patch::StrategicMerge(&patch))
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(
        error.to_string(),
        "PATCH /api/v1/namespaces/default/pods/a/status: pods \"a\" not found (NotFound, status 404)"
    );
    let seen = server.seen.lock().unwrap().clone();
    assert_eq!(seen[1].authorization.as_deref(), Some("Bearer s3cret"));
    assert_eq!(seen[1].content_type.as_deref(), Some("application/strategic-merge-patch+json"));
    assert_eq!(seen[1].body, r#"{"metadata":{"uid":"u"}}"#);
    assert!(seen.iter().all(|seen| seen.connection == 0), "all on one connection");
    let host = client.server().authority();
    let text = registry.text();
    let counted = format!("rest_client_requests_total{{code=\"404\",method=\"PATCH\",host=\"{host}\"}} 1");
    assert!(text.contains(&counted), "{text}");
    assert!(!format!("{client:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_says() {
    let tries = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = Arc::clone(&tries);
    let server = FakeServer::start(move |_seen| {
        let number = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            match number {
                0 => Reply::new(429, "").header("retry-after", "0"),
                1 => Reply::new(503, "").header("retry-after", "0"),
                2 => Reply::new(200, r#"{"metadata":{"name":"a"}}"#),
                3 => Reply::new(500, "etcd is down"),
                _ => Reply::new(429, STATUS_404).header("retry-after", "3600"),
            }
        }
    })
    .await;
    let client = server.client();
    client.get::<Pod>(&pod_path()).await.unwrap();
    assert_eq!(tries.load(std::sync::atomic::Ordering::SeqCst), 3);
    let error = client.get::<Pod>(&pod_path()).await.unwrap_err();
    assert!(error.to_string().ends_with(": etcd is down (status 500)"), "{error}");
    let error = client.get::<Pod>(&pod_path()).await.unwrap_err();
    let asked = error.status().unwrap().retry_after;
    assert_eq!(asked, Some(Duration::from_secs(3600)), "a wait beyond the deadline is the caller's");
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_large_answers_at_their_bound() {
    let server = FakeServer::start(|seen| async move {
        if seen.line.ends_with("/large") {
            return Reply::new(200, vec![b' '; MAX_BODY_BYTES + 1]);
        }
        std::future::pending().await
    })
    .await;
    let client = server.client();
    let hasty = client.with_options(ClientOptions { timeout: Duration::from_millis(300), ..options() });
    let error = hasty.get::<Pod>(&pod_path()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET /api/v1/namespaces/default/pods/a: no answer from the API server within 300ms"
    );
    let error = client.get::<Pod>(&ObjectPath::namespaced::<Pod>("d", "large")).await.unwrap_err();
    assert!(matches!(error, ApiError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn new_credentials_move_requests_to_a_new_connection() {
    let server = FakeServer::start(|_seen| async { Reply::new(200, r#"{"metadata":{"name":"a"}}"#) }).await;
    let client = server.client_with(&Registry::new(), Token::Fixed(Secret::new("old".to_owned())));
    client.get::<Pod>(&pod_path()).await.unwrap();
    client.replace_credentials(server.credentials(Token::Fixed(Secret::new("new".to_owned()))));
    client.get::<Pod>(&pod_path()).await.unwrap();
    let seen = server.seen.lock().unwrap().clone();
    let told: Vec<_> =
        seen.iter().map(|seen| (seen.connection, seen.authorization.as_deref().unwrap())).collect();
    assert_eq!(told, [(0, "Bearer old"), (1, "Bearer new")]);
}

#[tokio::test]
async fn more_streams_than_one_connection_takes_get_a_second_one() {
    let (release, released) = tokio::sync::watch::channel(false);
    let server = FakeServer::start(move |_seen| {
        let mut released = released.clone();
        async move {
            let _ = released.wait_for(|done| *done).await;
            Reply::new(200, r#"{"metadata":{"name":"a"}}"#)
        }
    })
    .await;
    let client = server.client();
    let path = pod_path();
    let all = futures_util::future::join_all((0..100).map(|_| client.get::<Pod>(&path)));
    let let_go = async {
        while server.seen.lock().unwrap().len() < 100 {
            tokio::task::yield_now().await;
        }
        release.send(true).unwrap();
    };
    let (answers, ()) = tokio::join!(all, let_go);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.seen.lock().unwrap().iter().map(|seen| seen.connection).max(), Some(1));
}

#[tokio::test]
async fn a_server_that_is_not_there_or_not_trusted_is_named_and_the_token_is_not() {
    let server = FakeServer::start(|_seen| async { Reply::new(200, "{}") }).await;
    let stranger = FakeServer::start(|_seen| async { Reply::new(200, "{}") }).await;
    let token = || Token::Fixed(Secret::new("s3cret".to_owned()));
    let client = ApiClient::new(server.server(), stranger.credentials(token()), options(), &Registry::new());
    let error = client.get::<Pod>(&pod_path()).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    assert!(!format!("{error:?}").contains("s3cret"));

    let nobody = Server::new("https://127.0.0.1:1", "").unwrap();
    let client = ApiClient::new(nobody, server.credentials(token()), options(), &Registry::new());
    let error = client.get::<Pod>(&pod_path()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("https://127.0.0.1:1 cannot be reached: connect: Connection refused"), "{text}");
}

#[test]
fn warnings_are_read_as_they_are_quoted() {
    assert_eq!(warning_text(r#"299 - "say \"no\"""#).as_deref(), Some("say \"no\""));
    assert_eq!(warning_text(r#"110 - "stale""#), None);
    assert_eq!(warning_text("299 - "), None);
}
