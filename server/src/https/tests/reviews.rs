//! Bearer tokens and access, as an API server answers about them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use core_types::Secret;
use http_body_util::BodyExt;
use ports::reviews::{AccessQuestion, AccessVerdict, Retry, ReviewError, TokenVerdict};
use ports::{SubjectAccessReviews, TokenReviews};
use tokio::sync::Semaphore;

use super::*;

/// Tokens are checked, with upstream's default TTL.
pub(super) const TOKENS: WebhookAuthentication =
    WebhookAuthentication::Enabled { cache_ttl: Duration::from_secs(120) };
/// Access is checked, with upstream's default TTLs.
pub(super) const WEBHOOK: AuthorizationMode = AuthorizationMode::Webhook(AccessTtl {
    allowed: Duration::from_secs(300),
    refused: Duration::from_secs(30),
});

/// An API server that knows one token, and lets its user get pods and metrics.
struct FakeApi {
    token_calls: AtomicUsize,
    access_calls: Mutex<Vec<AccessQuestion>>,
    /// Failures before the next answers.
    failures: Mutex<Vec<ReviewError>>,
    gate: Semaphore,
}

impl FakeApi {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            token_calls: AtomicUsize::new(0),
            access_calls: Mutex::default(),
            failures: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    fn fail(&self, times: usize, retry: Retry) {
        let error = ReviewError { problem: "connection refused".into(), retry };
        *self.failures.lock().expect("lock") = vec![error; times];
    }

    fn token_calls(&self) -> usize {
        self.token_calls.load(Ordering::SeqCst)
    }

    fn access_calls(&self) -> usize {
        self.access_calls.lock().expect("lock").len()
    }

    fn next_failure(&self) -> Result<(), ReviewError> {
        self.failures.lock().expect("lock").pop().map_or(Ok(()), Err)
    }
}

#[async_trait::async_trait]
impl TokenReviews for FakeApi {
    async fn review_token(&self, token: &Secret<String>) -> Result<TokenVerdict, ReviewError> {
        self.token_calls.fetch_add(1, Ordering::SeqCst);
        let _entered = self.gate.acquire().await.expect("open");
        self.next_failure()?;
        Ok(match token.expose().as_str() {
            "good" => TokenVerdict::Known(User {
                name: "system:serviceaccount:monitoring:prometheus".into(),
                uid: "u1".into(),
                groups: vec!["system:serviceaccounts".into()],
                extra: BTreeMap::new(),
            }),
            "expired" => TokenVerdict::Refused("[invalid bearer token, token has expired]".into()),
            "wrong-audience" => TokenVerdict::Refused("[invalid bearer token, audience]".into()),
            _ => TokenVerdict::Unknown,
        })
    }
}

#[async_trait::async_trait]
impl SubjectAccessReviews for FakeApi {
    async fn review_access(&self, question: &AccessQuestion) -> Result<AccessVerdict, ReviewError> {
        self.access_calls.lock().expect("lock").push(question.clone());
        self.next_failure()?;
        assert_eq!(question.node_name, "node-1");
        let allowed = question.user.name.ends_with(":prometheus")
            && question.verb == "get"
            && ["proxy", "metrics"].contains(&question.subresource);
        Ok(if allowed { AccessVerdict::Allowed } else { AccessVerdict::Refused })
    }
}

async fn running(api: &Arc<FakeApi>, directory: &Path) -> Running {
    Running::new(HttpsOptions {
        anonymous: AnonymousAccess::Disabled,
        webhook: TOKENS,
        authorization: WEBHOOK,
        reviewers: Reviewers::Api { tokens: api.clone(), access: api.clone() },
        ..options(directory)
    })
    .await
}

/// Status and body of an answer to who shows this token.
async fn ask_with(running: &Running, token: &str, method: &str, path: &str) -> (u16, String) {
    let stream = connect(running.handle.socket_address().expect("bound"), None).await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.expect("handshake");
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "node")
        .header("authorization", format!("Bearer {token}"))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .expect("request");
    let response = sender.send_request(request).await.expect("answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn a_token_counts_when_the_api_server_knows_it() {
    let directory = tempfile::tempdir().expect("directory");
    let api = FakeApi::new();
    let running = running(&api, directory.path()).await;
    for token in ["forged", "expired", "wrong-audience"] {
        let answer = ask_with(&running, token, "GET", "/pods").await;
        assert_eq!(answer, (401, "Unauthorized".into()), "{token}");
    }
    assert_eq!(running.get("/pods").await.status.as_u16(), 401, "no token at all");
    assert_eq!(ask_with(&running, "good", "GET", "/pods").await.0, 200);
    assert_eq!(ask_with(&running, "good", "GET", "/metrics").await.0, 200);
    let asked = api.access_calls.lock().expect("lock").clone();
    let candidates: Vec<_> = asked.iter().map(|question| (question.verb, question.subresource)).collect();
    assert_eq!(candidates, [("get", "pods"), ("get", "proxy"), ("get", "metrics")]);
    assert_eq!(asked[0].user.groups, ["system:serviceaccounts", "system:authenticated"]);
    assert_eq!(asked[0].user.uid, "u1");
}

#[tokio::test]
async fn refusals_name_user_verb_and_subresources() {
    let directory = tempfile::tempdir().expect("directory");
    let api = FakeApi::new();
    let running = running(&api, directory.path()).await;
    let user = "system:serviceaccount:monitoring:prometheus";
    let forbidden = |verb: &str, subresources: &str| {
        format!("Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)=[{subresources}])\n")
    };
    let table = [
        ("POST", "/pods", "create", "pods proxy"),
        ("GET", "/healthz/x", "get", "healthz proxy"),
        ("HEAD", "/metrics/cadvisor", "", "metrics"),
    ];
    for (method, path, verb, subresources) in table {
        let (status, body) = ask_with(&running, "good", method, path).await;
        match (method, path) {
            ("GET", _) => assert_ne!(status, 403, "proxy allows it"),
            ("HEAD", _) => assert_eq!(status, 403),
            _ => assert_eq!((status, body), (403, forbidden(verb, subresources)), "{method} {path}"),
        }
    }
    api.fail(1, Retry::No);
    let error =
        format!("Authorization error (user={user}, verb=create, resource=nodes, subresource=metrics)");
    assert_eq!(ask_with(&running, "good", "POST", "/metrics").await, (500, error));
}

#[tokio::test]
async fn answers_are_kept_for_their_time_and_errors_are_not() {
    let directory = tempfile::tempdir().expect("directory");
    let api = FakeApi::new();
    let running = running(&api, directory.path()).await;
    let go_on = |secs| running.agent.mono_secs.fetch_add(secs, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(ask_with(&running, "good", "GET", "/metrics").await.0, 200);
        assert_eq!(ask_with(&running, "forged", "GET", "/metrics").await.0, 401);
        assert_eq!(ask_with(&running, "good", "POST", "/metrics").await.0, 403);
    }
    assert_eq!((api.token_calls(), api.access_calls()), (2, 2));
    go_on(31);
    assert_eq!(ask_with(&running, "good", "POST", "/metrics").await.0, 403);
    assert_eq!(ask_with(&running, "good", "GET", "/metrics").await.0, 200);
    assert_eq!((api.token_calls(), api.access_calls()), (2, 3), "a refusal is kept for 30 s");
    go_on(100);
    assert_eq!(ask_with(&running, "good", "GET", "/metrics").await.0, 200);
    assert_eq!(
        (api.token_calls(), api.access_calls()),
        (3, 3),
        "a token is kept for 2 min, a permission for 5"
    );

    // The API server goes away: what is known goes on, everything else is refused, and nothing of that is kept.
    api.fail(2, Retry::No);
    assert_eq!(ask_with(&running, "good", "GET", "/metrics").await.0, 200);
    assert_eq!(ask_with(&running, "other", "GET", "/metrics").await.0, 401);
    assert_eq!(ask_with(&running, "good", "PUT", "/metrics").await.0, 500);
    let calls = api.token_calls();
    assert_eq!(ask_with(&running, "other", "GET", "/metrics").await.0, 401);
    assert_eq!(api.token_calls(), calls + 1);
    assert_eq!(ask_with(&running, "good", "PUT", "/metrics").await.0, 403);
}

#[tokio::test(start_paused = true)]
async fn a_busy_api_server_is_asked_five_times() {
    let (api, agent) = (FakeApi::new(), FakeAgent::new());
    let tokens = reviewers::Tokens::new(api.clone(), agent.clone(), Duration::from_secs(60)).expect("tokens");
    let good = Secret::new("good".to_owned());
    api.fail(4, Retry::Soon);
    assert!(tokens.user_of(&good).await.expect("known").is_some());
    assert_eq!(api.token_calls(), 5);
    api.fail(5, Retry::Soon);
    assert_eq!(tokens.user_of(&Secret::new("other".to_owned())).await, Err("connection refused".into()));
    assert_eq!(api.token_calls(), 10);
}

#[tokio::test]
async fn requests_with_one_token_share_one_question_and_none_is_left_behind() {
    let (api, agent) = (FakeApi::new(), FakeAgent::new());
    let api = Arc::new(FakeApi { gate: Semaphore::new(0), ..Arc::into_inner(api).expect("one owner") });
    let tokens = reviewers::Tokens::new(api.clone(), agent.clone(), Duration::from_secs(60)).expect("tokens");
    let good = Secret::new("good".to_owned());
    let mut gone = Box::pin(tokens.user_of(&good));
    assert!(futures_util::poll!(gone.as_mut()).is_pending());
    drop(gone);
    let open = async {
        tokio::task::yield_now().await;
        api.gate.add_permits(1);
    };
    let (first, second, ()) = tokio::join!(tokens.user_of(&good), tokens.user_of(&good), open);
    assert!(first.expect("known").is_some() && second.expect("known").is_some());
    assert_eq!(api.token_calls(), 2, "one that was given up, one for both");
}
