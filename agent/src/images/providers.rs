//! Asks credential plugins (CONTRACT 3.16), each image at most once at a time, and remembers their answers as long as they
//! hold. A plugin that fails costs its credentials, not the pull: the registry has the last word.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use core_images::providers::AccountFacts;
use core_images::providers::cache::{AccountKey, AnswerCache, Logins, token_hash};
use core_images::providers::config::{AccountNeed, Provider, TokenAttributes};
use core_images::providers::protocol::{Answer, answer, check_echo, request};
use core_images::{Credential, CredentialSource, Keyring, ObjectName};
use core_types::api::Pod;
use core_types::runtime::ImageAuth;
use core_types::{MonoTime, PodExt};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use ports::credential_plugins::PluginCommand;
use ports::pull_access::TokenAsk;
use ports::{Clock, CredentialPlugins, PullAccess};

use crate::metrics::ImageMetrics;
use crate::settings::PluginSettings;

/// How long a plugin may take, as upstream has it: long enough to try a request of its own again.
const PLUGIN_LIMIT: Duration = Duration::from_secs(60);

/// A question that is being asked. Whoever asks the same meanwhile gets the same answer; when all are gone, the plugin is
/// killed.
type Flight = Shared<BoxFuture<'static, Result<Arc<Answer>, String>>>;

/// What makes two questions the same: the repository, and the token and annotations that go with it.
type FlightKey = (String, String, BTreeMap<String, String>);

/// One plugin.
struct Plugin {
    provider: Provider,
    program: PathBuf,
    answers: Mutex<AnswerCache>,
    flights: Mutex<BTreeMap<FlightKey, WeakFlight>>,
}

type WeakFlight = WeakShared<BoxFuture<'static, Result<Arc<Answer>, String>>>;

/// What plugins need of the outside.
#[derive(Clone)]
pub(crate) struct PluginOutside {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runner: Arc<dyn CredentialPlugins>,
    /// None without an API server.
    pub(crate) access: Option<Arc<dyn PullAccess>>,
}

/// All plugins.
#[derive(Clone)]
pub(crate) struct PluginSet {
    outside: PluginOutside,
    metrics: ImageMetrics,
    plugins: Arc<[Plugin]>,
}

impl PluginSet {
    pub(crate) fn new(outside: PluginOutside, settings: &PluginSettings, metrics: ImageMetrics) -> Self {
        let plugins = settings.providers.iter().map(|provider| Plugin {
            program: settings.bin_dir.join(&provider.name),
            provider: provider.clone(),
            answers: Mutex::default(),
            flights: Mutex::default(),
        });
        Self { outside, metrics, plugins: plugins.collect() }
    }

    /// The credentials that plugins give for a repository.
    pub(crate) async fn lookup(&self, pod: &Pod, repository: &str) -> Vec<Credential> {
        let mut keyring = Keyring::default();
        for plugin in self.plugins.iter().filter(|plugin| plugin.provider.covers(repository)) {
            match self.ask(plugin, pod, repository).await {
                Ok(Some((logins, source))) => add(&mut keyring, &logins, &source),
                Ok(None) => {}
                Err(why) => tracing::error!(
                    provider = plugin.provider.name, image = repository, pod = %pod.key(),
                    "Failed to provide credentials for image: {why}"
                ),
            }
        }
        keyring.lookup(repository)
    }

    /// What a plugin gives; `None` when it is not to be asked for this pod.
    async fn ask(
        &self,
        plugin: &Plugin,
        pod: &Pod,
        repository: &str,
    ) -> Result<Option<(Logins, CredentialSource)>, String> {
        let tokens = plugin.provider.tokens.as_ref();
        let account = match tokens {
            Some(tokens) => match self.account(tokens, pod).await? {
                Account::Facts(facts) => Some(facts),
                Account::None => None,
                Account::DoNotAsk => return Ok(None),
            },
            None => None,
        };
        let key = match (&account, tokens) {
            (Some(account), Some(tokens)) => AccountKey::of(account, tokens.cache),
            _ => AccountKey::default(),
        };
        let source = account
            .as_ref()
            .map_or(CredentialSource::Node, |account| CredentialSource::ServiceAccount(account.name.clone()));
        if let Some(known) = lock(&plugin.answers).get(repository, &key, self.now()) {
            return Ok(Some((known, source)));
        }
        let answer = self.flight(plugin, repository, account.as_ref()).await?;
        if let (Some(account), Some(tokens)) = (&account, tokens) {
            check_echo(&answer, &account.token, tokens.cache).map_err(|error| error.to_string())?;
        }
        let default = plugin.provider.default_cache;
        let answer = Answer::clone(&answer);
        let logins = lock(&plugin.answers).put(repository, &key, answer, default, self.now());
        Ok(Some((logins, source)))
    }

    /// Joins the question if it is being asked, else asks.
    fn flight(&self, plugin: &Plugin, repository: &str, account: Option<&AccountFacts>) -> Flight {
        let token = account.map(|account| token_hash(&account.token)).unwrap_or_default();
        let annotations = account.map(|account| account.annotations.clone()).unwrap_or_default();
        let key = (repository.to_owned(), token, annotations);
        let mut flights = lock(&plugin.flights);
        flights.retain(|_, flight| flight.upgrade().is_some_and(|flight| flight.peek().is_none()));
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let input = request(plugin.provider.version, repository, account);
        let flight = self.clone().run(plugin, input).shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        flight
    }

    fn run(self, plugin: &Plugin, input: Vec<u8>) -> BoxFuture<'static, Result<Arc<Answer>, String>> {
        let command = PluginCommand {
            program: plugin.program.clone(),
            args: plugin.provider.args.clone(),
            env: plugin.provider.env.clone(),
            limit: PLUGIN_LIMIT,
        };
        let (name, version) = (plugin.provider.name.clone(), plugin.provider.version);
        async move {
            let begun_at = self.now();
            let output = self.outside.runner.run(&command, &input).await;
            let secs = self.now().since(begun_at).as_secs_f64();
            self.metrics.plugin_ran(&name, secs, &output);
            let output = output
                .map_err(|error| format!("error execing credential provider plugin {name}: {error}"))?;
            answer(version, &output).map(Arc::new).map_err(|error| error.to_string())
        }
        .boxed()
    }

    /// What a plugin that wants tokens is told of the pod's service account.
    async fn account(&self, tokens: &TokenAttributes, pod: &Pod) -> Result<Account, String> {
        let name = pod.spec_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default();
        if name.is_empty() {
            return Ok(match tokens.need {
                AccountNeed::Required => Account::DoNotAsk,
                AccountNeed::Optional => Account::None,
            });
        }
        let Some(access) = &self.outside.access else {
            return Err(format!("failed to get service account {name}: there is no API server"));
        };
        let key = pod.key();
        let account = access.service_account(&key.namespace, &name).await;
        let account = account.map_err(|error| format!("failed to get service account: {error}"))?;
        let annotations = match tokens.annotations_of(&account) {
            Ok(annotations) => annotations,
            Err(missing) => {
                // Annotations are how workloads opt in: nothing is wrong with one that does not.
                tracing::debug!(pod = %key, service_account = name, "{missing}");
                return Ok(Account::DoNotAsk);
            }
        };
        let account_uid = account.metadata.uid.clone().unwrap_or_default();
        let ask = TokenAsk {
            namespace: key.namespace.to_string(),
            account: name.clone(),
            account_uid: account_uid.clone(),
            pod_name: key.name.to_string(),
            pod_uid: pod.uid(),
            audience: tokens.audience.clone(),
        };
        let token = access.service_account_token(&ask).await;
        let token = token.map_err(|error| format!("failed to get service account token: {error}"))?;
        let token = token.into_exposed();
        let name = ObjectName { namespace: ask.namespace, name, uid: account_uid };
        Ok(Account::Facts(AccountFacts { name, annotations, token }))
    }

    fn now(&self) -> MonoTime {
        self.outside.clock.now()
    }
}

/// The service account of a pod, for a plugin that wants tokens.
enum Account {
    Facts(AccountFacts),
    /// The pod has none, and the plugin can do without.
    None,
    /// The plugin is not asked for this pod.
    DoNotAsk,
}

fn add(keyring: &mut Keyring, logins: &Logins, source: &CredentialSource) {
    for (registry, login) in logins.iter() {
        let (username, password) = (login.username.clone(), login.password.clone());
        let auth = ImageAuth { username, password, ..ImageAuth::default() };
        keyring.insert(registry, Credential::new(auth, "", source.clone()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
