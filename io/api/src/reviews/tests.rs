//! Reviews from a server that answers as the test says.

use serde_json::{Value, json};

use super::*;
use crate::testing::{FakeServer, Reply};

async fn server() -> FakeServer {
    FakeServer::start(|seen| async move {
        let mut answer: Value = serde_json::from_slice(&seen.body).unwrap();
        let user = json!({ "username": "u", "uid": "1", "groups": ["g"], "extra": { "k": ["v"] } });
        answer["status"] = match answer["spec"]["token"].as_str() {
            Some("good") => json!({ "authenticated": true, "user": user }),
            Some("expired") => json!({ "error": "token has expired" }),
            Some("busy") => return Reply::new(500, r#"{"kind":"Status","code":500,"message":"busy"}"#),
            Some(_) => json!({}),
            None => match answer["spec"]["resourceAttributes"]["verb"].as_str() {
                Some("get") => json!({ "allowed": true }),
                Some("create") => json!({ "allowed": true, "denied": true }),
                _ => json!({ "allowed": false }),
            },
        };
        Reply::new(201, answer.to_string())
    })
    .await
}

fn known() -> User {
    User {
        name: "u".into(),
        uid: "1".into(),
        groups: vec!["g".into()],
        extra: [("k".to_owned(), vec!["v".to_owned()])].into(),
    }
}

#[tokio::test]
async fn tokens_are_somebodys_or_nobodys() {
    let server = server().await;
    let reviews = ApiReviews::new(server.client());
    let of = async |token: &str| reviews.review_token(&Secret::new(token.to_owned())).await;
    assert_eq!(of("good").await, Ok(TokenVerdict::Known(known())));
    assert_eq!(of("expired").await, Ok(TokenVerdict::Refused("token has expired".into())));
    assert_eq!(of("forged").await, Ok(TokenVerdict::Unknown));
    let busy = of("busy").await.unwrap_err();
    assert_eq!(busy.retry, Retry::Soon);
    assert!(!busy.problem.contains("token\""), "{busy}");
}

#[tokio::test]
async fn access_is_asked_for_a_subresource_of_the_node() {
    let server = server().await;
    let reviews = ApiReviews::new(server.client());
    let of = async |verb| {
        let node_name = "n1".to_owned();
        let question = AccessQuestion { user: known(), verb, node_name, subresource: "proxy" };
        reviews.review_access(&question).await
    };
    assert_eq!(of("get").await, Ok(AccessVerdict::Allowed));
    assert_eq!(of("delete").await, Ok(AccessVerdict::Refused));
    assert_eq!(of("create").await.unwrap_err().retry, Retry::No, "allowed and denied at once");
    let seen = server.seen.lock().unwrap()[0].clone();
    assert_eq!(seen.line, "POST /apis/authorization.k8s.io/v1/subjectaccessreviews");
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(
        body["spec"],
        json!({
            "user": "u", "uid": "1", "groups": ["g"], "extra": { "k": ["v"] },
            "resourceAttributes": { "verb": "get", "version": "v1", "resource": "nodes", "subresource": "proxy", "name": "n1" },
        })
    );
}
