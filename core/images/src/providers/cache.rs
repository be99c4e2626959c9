//! Answers of one plugin that still hold: a machine that is told the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_types::MonoTime;
use sha2::{Digest, Sha256};

use super::AccountFacts;
use super::config::TokenCache;
use super::protocol::{Answer, Hold, Login, Scope};
use crate::credential::{ObjectName, hex};

/// Most answers that are kept. A node has no more images and service accounts at a time; what ends first goes first.
const MAX_ENTRIES: usize = 1000;

/// Whose answer it is: of everybody, or of the pods of a service account.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountKey {
    name: ObjectName,
    annotations: Vec<(String, String)>,
    /// Hash of the token, for answers that hold for the token alone.
    token: String,
}

impl AccountKey {
    /// The key of what a pod's account gets.
    pub fn of(account: &AccountFacts, cache: TokenCache) -> Self {
        let token = match cache {
            TokenCache::ServiceAccount => String::new(),
            TokenCache::Token => token_hash(&account.token),
        };
        Self {
            name: account.name.clone(),
            annotations: account.annotations.clone().into_iter().collect(),
            token,
        }
    }
}

/// A hash that stands for a token.
pub fn token_hash(token: &str) -> String {
    hex(&Sha256::digest(token))
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Image(String),
    Registry(String),
    Global,
}

/// Credentials of an answer.
pub type Logins = Arc<BTreeMap<String, Login>>;

/// The answers that hold.
#[derive(Clone, Debug, Default)]
pub struct AnswerCache {
    entries: BTreeMap<(Subject, AccountKey), (MonoTime, Logins)>,
}

impl AnswerCache {
    /// What holds for a repository at `now`: an answer for the image before one for its registry before one for all.
    pub fn get(&self, repository: &str, account: &AccountKey, now: MonoTime) -> Option<Logins> {
        let subjects =
            [Subject::Image(repository.to_owned()), Subject::Registry(registry(repository)), Subject::Global];
        subjects.into_iter().find_map(|subject| {
            let (until, logins) = self.entries.get(&(subject, account.clone()))?;
            (now <= *until).then(|| Arc::clone(logins))
        })
    }

    /// Keeps an answer as long as it says, or as long as `default`. Gives its credentials.
    pub fn put(
        &mut self,
        repository: &str,
        account: &AccountKey,
        answer: Answer,
        default: Duration,
        now: MonoTime,
    ) -> Logins {
        let logins = Arc::new(answer.logins);
        let hold = match answer.hold {
            Hold::Default => default,
            Hold::For(hold) => hold,
        };
        self.entries.retain(|_, (until, _)| now <= *until);
        if hold.is_zero() {
            return logins;
        }
        let subject = match answer.scope {
            Scope::Image => Subject::Image(repository.to_owned()),
            Scope::Registry => Subject::Registry(registry(repository)),
            Scope::Global => Subject::Global,
        };
        self.entries.insert((subject, account.clone()), (now + hold, Arc::clone(&logins)));
        if self.entries.len() > MAX_ENTRIES {
            let first = self.entries.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| key.clone());
            if let Some(first) = first {
                self.entries.remove(&first);
            }
        }
        logins
    }
}

fn registry(repository: &str) -> String {
    repository.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(scope: Scope, hold: Hold, user: &str) -> Answer {
        let login = Login { username: user.to_owned(), password: String::new() };
        Answer { scope, hold, logins: BTreeMap::from([("r.io".to_owned(), login)]) }
    }

    fn user(cache: &AnswerCache, repository: &str, now: u64) -> Option<String> {
        let found = cache.get(repository, &AccountKey::default(), MonoTime::from_secs(now))?;
        Some(found["r.io"].username.clone())
    }

    #[test]
    fn answers_hold_for_what_and_as_long_as_they_say() {
        let (all, now) = (AccountKey::default(), MonoTime::from_secs(100));
        let mut cache = AnswerCache::default();
        let hour = Duration::from_secs(3600);
        let mut put = |repository: &str, scope, hold, name: &str| {
            cache.put(repository, &all, answer(scope, hold, name), hour, now);
        };
        put("r.io/a", Scope::Global, Hold::Default, "global");
        put("r.io/a", Scope::Registry, Hold::For(Duration::from_secs(60)), "registry");
        put("r.io/a", Scope::Image, Hold::For(Duration::from_secs(30)), "image");
        put("r.io/b", Scope::Image, Hold::For(Duration::ZERO), "never");
        for (repository, at, found) in [
            ("r.io/a", 110, Some("image")),
            ("r.io/a", 131, Some("registry")),
            ("r.io/b", 131, Some("registry")),
            ("q.io/b", 131, Some("global")),
            ("r.io/a", 161, Some("global")),
            ("r.io/a", 3701, None),
        ] {
            assert_eq!(user(&cache, repository, at).as_deref(), found, "{repository} at {at}");
        }
    }

    #[test]
    fn accounts_are_apart_and_tokens_too_when_they_must_be() {
        let account = |token: &str| AccountFacts {
            name: ObjectName { name: "web".to_owned(), ..ObjectName::default() },
            annotations: BTreeMap::new(),
            token: token.to_owned(),
        };
        let by = |cache| move |token| AccountKey::of(&account(token), cache);
        let (shared, own) = (by(TokenCache::ServiceAccount), by(TokenCache::Token));
        assert_eq!(shared("a"), shared("b"));
        assert_ne!(own("a"), own("b"));
        assert_ne!(shared("a"), AccountKey::default());
        assert!(!format!("{:?}", own("a-token")).contains("a-token"));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = AnswerCache::default();
        for number in 0..MAX_ENTRIES as u64 + 3 {
            let hold = Hold::For(Duration::from_secs(1000 + number));
            let image = format!("r.io/{number}");
            cache.put(
                &image,
                &AccountKey::default(),
                answer(Scope::Image, hold, "u"),
                Duration::ZERO,
                MonoTime::ZERO,
            );
        }
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
        assert_eq!(user(&cache, "r.io/0", 1), None, "what ends first goes first");
    }
}
