//! Asking the API server: who a token belongs to, and who may do what. Answers are kept for a while, questions that fail
//! because the API server is busy are asked again (CONTRACT 2.2, 2.3).
//!
//! A token is kept only as a keyed hash of it. One question at a time is asked for one token, however many requests
//! carry it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use core_types::Secret;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use ports::reviews::{AccessQuestion, AccessVerdict, Retry, ReviewError, TokenVerdict, User};
use ports::{Clock, SubjectAccessReviews, TokenReviews};

use super::answers::Answers;
use super::authorization::{Authorizer, Decision};
use crate::ServeError;

/// Answers kept of each kind; upstream keeps as many access reviews. A node is asked by a few dozen clients.
const MAX_ANSWERS: usize = 8192;
/// A question about a token, with its repetitions, takes no longer than this; upstream's value.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a question is asked when the API server is busy, and the wait before the second time; upstream's values.
const ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Each wait is longer by this factor, and by up to a fifth at random.
const WAIT_FACTOR: f64 = 1.5;
const WAIT_JITTER: f64 = 0.2;
/// An access question whose user fills more than this is not kept; upstream's value.
const MAX_KEPT_QUESTION_BYTES: usize = 10_000;

/// Who answers questions about users.
#[derive(Clone)]
pub enum Reviewers {
    /// Nobody: there is no API server.
    Missing,
    /// The API server.
    Api {
        /// Whose tokens these are.
        tokens: Arc<dyn TokenReviews>,
        /// Who may do what.
        access: Arc<dyn SubjectAccessReviews>,
    },
}

impl Reviewers {
    pub(super) fn tokens(&self) -> Result<Arc<dyn TokenReviews>, ServeError> {
        match self {
            Self::Missing => Err(ServeError::NoClient { feature: "authentication" }),
            Self::Api { tokens, .. } => Ok(Arc::clone(tokens)),
        }
    }

    pub(super) fn access(&self) -> Result<Arc<dyn SubjectAccessReviews>, ServeError> {
        match self {
            Self::Missing => Err(ServeError::NoClient { feature: "authorization" }),
            Self::Api { access, .. } => Ok(Arc::clone(access)),
        }
    }
}

impl fmt::Debug for Reviewers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "Missing",
            Self::Api { .. } => "Api",
        })
    }
}

/// Asks until there is an answer, a lasting error, or too many tries.
async fn ask<T, F>(mut question: impl FnMut() -> F + Send) -> Result<T, ReviewError>
where
    F: Future<Output = Result<T, ReviewError>> + Send,
{
    let mut wait = FIRST_WAIT;
    for _ in 1..ATTEMPTS {
        match question().await {
            Err(ReviewError { retry: Retry::Soon, problem }) => {
                tracing::debug!(problem, "the API server gives no answer; asking again");
            }
            answer => return answer,
        }
        tokio::time::sleep(wait.mul_f64(1.0 + WAIT_JITTER * fastrand::f64())).await;
        wait = wait.mul_f64(WAIT_FACTOR);
    }
    question().await
}

/// Keyed hash of a token.
type TokenId = [u8; 32];
/// The user of a token, `None` for a token that is nobody's.
type Lookup = Result<Option<User>, String>;

/// Whose token it is, with what was answered lately.
pub(super) struct Tokens {
    reviews: Arc<dyn TokenReviews>,
    clock: Arc<dyn Clock>,
    ttl: Duration,
    key: hmac::Key,
    state: Mutex<TokenState>,
}

struct TokenState {
    answers: Answers<TokenId, Option<User>>,
    asking: HashMap<TokenId, WeakShared<BoxFuture<'static, Lookup>>>,
}

impl Tokens {
    pub(super) fn new(
        reviews: Arc<dyn TokenReviews>,
        clock: Arc<dyn Clock>,
        ttl: Duration,
    ) -> Result<Self, ServeError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| ServeError::Tls { problem: "the system gives no random numbers".to_owned() })?;
        let state = TokenState { answers: Answers::new(MAX_ANSWERS), asking: HashMap::new() };
        Ok(Self { reviews, clock, ttl, key, state: Mutex::new(state) })
    }

    /// The token's user. Errors and refusals are for the log; they are not kept, as upstream does.
    pub(super) async fn user_of(&self, token: &Secret<String>) -> Lookup {
        let mut id = TokenId::default();
        id.copy_from_slice(hmac::sign(&self.key, token.expose().as_bytes()).as_ref());
        let lookup = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(user) = state.answers.get(&id, self.clock.now()) {
                return Ok(user);
            }
            state.asking.retain(|_, asking| asking.upgrade().is_some());
            match state.asking.get(&id).and_then(WeakShared::upgrade) {
                Some(lookup) => lookup,
                None => {
                    let lookup = self.lookup(token.clone());
                    state.asking.extend(lookup.downgrade().map(|asking| (id, asking)));
                    lookup
                }
            }
        };
        let found = lookup.await;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asking.remove(&id);
        if let Ok(user) = &found {
            state.answers.put(id, user.clone(), self.clock.now(), self.ttl);
        }
        found
    }

    fn lookup(&self, token: Secret<String>) -> Shared<BoxFuture<'static, Lookup>> {
        let reviews = Arc::clone(&self.reviews);
        let lookup = async move {
            let asked = tokio::time::timeout(LOOKUP_TIMEOUT, ask(|| reviews.review_token(&token))).await;
            match asked.map_err(|_| format!("no answer about a token in {LOOKUP_TIMEOUT:?}"))? {
                Ok(TokenVerdict::Known(user)) => Ok(Some(user)),
                Ok(TokenVerdict::Unknown) => Ok(None),
                Ok(TokenVerdict::Refused(reason)) => Err(reason),
                Err(error) => Err(error.to_string()),
            }
        };
        lookup.boxed().shared()
    }
}

/// How long answers about access are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessTtl {
    /// `authorization.webhook.cacheAuthorizedTTL`.
    pub allowed: Duration,
    /// `authorization.webhook.cacheUnauthorizedTTL`.
    pub refused: Duration,
}

/// Asks the API server who may do what.
pub(super) struct WebhookAuthorizer {
    reviews: Arc<dyn SubjectAccessReviews>,
    clock: Arc<dyn Clock>,
    ttl: AccessTtl,
    answers: Mutex<Answers<AccessQuestion, AccessVerdict>>,
}

impl WebhookAuthorizer {
    pub(super) fn new(reviews: Arc<dyn SubjectAccessReviews>, clock: Arc<dyn Clock>, ttl: AccessTtl) -> Self {
        Self { reviews, clock, ttl, answers: Mutex::new(Answers::new(MAX_ANSWERS)) }
    }

    fn kept(&self, question: &AccessQuestion) -> Option<AccessVerdict> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(question, self.clock.now())
    }

    fn keep(&self, question: AccessQuestion, verdict: AccessVerdict) {
        if question_bytes(&question) > MAX_KEPT_QUESTION_BYTES {
            return;
        }
        let ttl = match verdict {
            AccessVerdict::Allowed => self.ttl.allowed,
            AccessVerdict::Refused => self.ttl.refused,
        };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.put(question, verdict, self.clock.now(), ttl);
    }
}

#[async_trait]
impl Authorizer for WebhookAuthorizer {
    async fn authorize(&self, question: AccessQuestion) -> Result<Decision, String> {
        let verdict = match self.kept(&question) {
            Some(verdict) => verdict,
            None => {
                let asked = ask(|| self.reviews.review_access(&question)).await;
                let verdict = asked.map_err(|error| error.to_string())?;
                self.keep(question, verdict);
                verdict
            }
        };
        Ok(match verdict {
            AccessVerdict::Allowed => Decision::Allow,
            AccessVerdict::Refused => Decision::Deny,
        })
    }
}

fn question_bytes(question: &AccessQuestion) -> usize {
    let User { name, uid, groups, extra } = &question.user;
    let extra = extra.iter().map(|(key, values)| key.len() + values.iter().map(String::len).sum::<usize>());
    name.len() + uid.len() + groups.iter().map(String::len).sum::<usize>() + extra.sum::<usize>()
}
