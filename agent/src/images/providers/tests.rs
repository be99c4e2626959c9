//! Plugins: asked once for the same question, remembered, skipped, and never trusted with an echoed token.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use core_images::providers::config::{ProtocolVersion, TokenCache};
use core_metrics::Registry;
use core_types::api::ServiceAccount;
use core_types::{Secret, WallTime};
use ports::api::ApiResult;
use ports::credential_plugins::PluginError;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> MonoTime {
        MonoTime::ZERO
    }

    fn wall(&self) -> WallTime {
        WallTime::default()
    }
}

/// Answers when it is let, with the password that it was made with.
struct FakePlugins {
    password: &'static str,
    ran: AtomicUsize,
    let_go: Semaphore,
}

#[async_trait]
impl CredentialPlugins for FakePlugins {
    async fn run(&self, command: &PluginCommand, _input: &[u8]) -> Result<Vec<u8>, PluginError> {
        self.ran.fetch_add(1, Ordering::Relaxed);
        let _turn = self.let_go.acquire().await;
        if command.program.ends_with("broken") {
            return Err(PluginError::Failed { status: "exit status: 1".to_owned(), stderr: String::new() });
        }
        let login = json!({ "username": "u", "password": self.password });
        let version = ProtocolVersion::V1.as_str();
        let answer = json!({
            "kind": "CredentialProviderResponse", "apiVersion": version, "cacheKeyType": "Image",
            "auth": { "r.io": login },
        });
        Ok(answer.to_string().into_bytes())
    }
}

struct FakeAccess;

#[async_trait]
impl PullAccess for FakeAccess {
    async fn service_account(&self, namespace: &str, name: &str) -> ApiResult<ServiceAccount> {
        let metadata = json!({
            "namespace": namespace, "name": name, "uid": "account-uid", "annotations": { "r.io/role": "puller" },
        });
        Ok(serde_json::from_value(json!({ "metadata": metadata })).unwrap())
    }

    async fn service_account_token(&self, ask: &TokenAsk) -> ApiResult<Secret<String>> {
        assert_eq!((ask.audience.as_str(), ask.account_uid.as_str()), ("r.io", "account-uid"));
        Ok(Secret::new("token".to_owned()))
    }
}

fn provider(name: &str) -> Provider {
    Provider {
        name: name.to_owned(),
        match_images: vec!["r.io".to_owned()],
        default_cache: Duration::from_secs(60),
        version: ProtocolVersion::V1,
        args: Vec::new(),
        env: Vec::new(),
        tokens: None,
    }
}

fn with_tokens(need: AccountNeed, annotation: &str) -> Provider {
    let tokens = TokenAttributes {
        audience: "r.io".to_owned(),
        cache: TokenCache::ServiceAccount,
        need,
        required_annotations: vec![annotation.to_owned()],
        optional_annotations: Vec::new(),
    };
    Provider { tokens: Some(tokens), ..provider("tokens") }
}

struct Bench {
    set: PluginSet,
    plugins: Arc<FakePlugins>,
    registry: Registry,
}

fn bench(providers: Vec<Provider>, password: &'static str, access: Option<Arc<dyn PullAccess>>) -> Bench {
    let plugins = Arc::new(FakePlugins { password, ran: AtomicUsize::new(0), let_go: Semaphore::new(100) });
    let outside = PluginOutside { clock: Arc::new(StillClock), runner: plugins.clone(), access };
    let settings = PluginSettings { providers, bin_dir: PathBuf::from("/plugins") };
    let registry = Registry::new();
    let set = PluginSet::new(outside, &settings, ImageMetrics::new(&registry));
    Bench { set, plugins, registry }
}

impl Bench {
    fn ran(&self) -> usize {
        self.plugins.ran.load(Ordering::Relaxed)
    }
}

fn pod(account: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "namespace": "shop", "name": "web", "uid": "pod-uid" },
        "spec": { "serviceAccountName": account, "containers": [] },
    }))
    .unwrap()
}

#[tokio::test]
async fn the_same_question_is_asked_once_and_the_answer_remembered() {
    let bench = bench(vec![provider("good")], "p", None);
    let all = bench.plugins.let_go.acquire_many(100).await.unwrap();
    let (one, two) = (pod(""), pod(""));
    let both = async { tokio::join!(bench.set.lookup(&one, "r.io/a"), bench.set.lookup(&two, "r.io/a")) };
    let release = async {
        tokio::task::yield_now().await;
        drop(all);
    };
    let ((first, second), ()) = tokio::join!(both, release);
    assert_eq!((first.len(), first == second, bench.ran()), (1, true, 1));
    assert_eq!(first[0].source, CredentialSource::Node);
    bench.set.lookup(&one, "r.io/a").await;
    assert_eq!(bench.ran(), 1, "remembered");
    bench.set.lookup(&one, "r.io/b").await;
    assert_eq!(bench.ran(), 2, "the answer was for one image");
    assert_eq!(bench.set.lookup(&one, "q.io/a").await, []);
    assert_eq!(bench.ran(), 2, "not asked for images that it does not cover");
}

#[tokio::test]
async fn a_plugin_that_fails_costs_only_its_own_credentials() {
    let bench = bench(vec![provider("broken"), provider("good")], "p", None);
    assert_eq!(bench.set.lookup(&pod(""), "r.io/a").await.len(), 1);
    let text = bench.registry.text();
    let line = "kubelet_credential_provider_plugin_errors_total{plugin_name=\"broken\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn tokens_are_for_pods_with_an_account_that_opts_in() {
    let required = || with_tokens(AccountNeed::Required, "r.io/role");
    let access = || Some(Arc::new(FakeAccess) as Arc<dyn PullAccess>);
    let with_account = bench(vec![required()], "p", access());
    let found = with_account.set.lookup(&pod("web"), "r.io/a").await;
    let CredentialSource::ServiceAccount(name) = &found[0].source else { panic!("{found:?}") };
    assert_eq!(
        (name.namespace.as_str(), name.name.as_str(), name.uid.as_str()),
        ("shop", "web", "account-uid")
    );
    for (provider, account, access) in [
        (required(), "", access()),
        (with_tokens(AccountNeed::Required, "r.io/other"), "web", access()),
        (required(), "web", None),
    ] {
        let bench = bench(vec![provider], "p", access);
        assert_eq!(bench.set.lookup(&pod(account), "r.io/a").await, []);
        assert_eq!(bench.ran(), 0, "not asked");
    }
    let optional = bench(vec![with_tokens(AccountNeed::Optional, "r.io/role")], "p", None);
    assert_eq!(optional.set.lookup(&pod(""), "r.io/a").await.len(), 1, "a static pod has no account");
    let echo = bench(vec![required()], "token", access());
    assert_eq!(echo.set.lookup(&pod("web"), "r.io/a").await, [], "the token is no password");
}
