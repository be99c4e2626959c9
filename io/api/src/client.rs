//! Requests on typed objects: limits, deadlines, retries, errors, metrics, warnings.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use core_metrics::Registry;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, ObjectMeta};
use ports::{ApiError, ApiResult};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::codec;
use crate::credentials::Credentials;
use crate::limiter::{Limiter, Rate};
use crate::metrics::RequestMetrics;
use crate::path::{ObjectPath, query};
use crate::refusal;
use crate::server::Server;
use crate::transport::{Answer, Transport, root_cause};

/// Largest answer that is read. One page of a list holds 500 objects of some 20 KiB.
const MAX_BODY_BYTES: usize = 32 << 20;
/// Largest answer to a refused request that is read.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// Tries of one request when the server asks to come back later, as client-go.
const MAX_RETRIES: u32 = 10;
/// Different warnings that are remembered, so that each is logged once.
const MAX_WARNINGS: usize = 256;

/// An API object that can be read from the server.
pub trait ApiObject: DeserializeOwned + Metadata<Ty = ObjectMeta> + Send + 'static {}
impl<T: DeserializeOwned + Metadata<Ty = ObjectMeta> + Send + 'static> ApiObject for T {}

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `User-Agent`.
    pub user_agent: String,
    /// Requests that it makes of its own accord.
    pub rate: Rate,
    /// How long one request may take with all its retries; watches are bounded by themselves.
    pub timeout: Duration,
}

/// Which objects of a collection are meant; empty for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `fieldSelector`.
    pub fields: String,
    /// `labelSelector`.
    pub labels: String,
}

/// A change of an object.
#[derive(Clone, Copy, Debug)]
pub enum Patch<'a> {
    /// Strategic merge patch.
    StrategicMerge(&'a Value),
    /// JSON merge patch.
    Merge(&'a Value),
    /// JSON patch: a list of operations.
    Json(&'a Value),
}

impl Patch<'_> {
    fn parts(&self) -> (&'static str, &Value) {
        match self {
            Self::StrategicMerge(value) => ("application/strategic-merge-patch+json", value),
            Self::Merge(value) => ("application/merge-patch+json", value),
            Self::Json(value) => ("application/json-patch+json", value),
        }
    }
}

/// Objects and the version of the collection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectList<K> {
    /// The objects.
    pub items: Vec<K>,
    /// Where a watch goes on from.
    pub resource_version: String,
}

#[derive(Deserialize)]
struct Page<K> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<K>,
}

/// One request as it goes out, as often as need be.
pub(crate) struct Parts {
    method: Method,
    /// Path and query.
    target: String,
    /// Method and path, for people.
    name: String,
    body: Bytes,
    content_type: &'static str,
}

impl Parts {
    pub(crate) fn get(path: &ObjectPath, pairs: &[(&str, &str)]) -> Self {
        let query = query(pairs);
        let mut parts = Self::with_body(Method::GET, path, Bytes::new(), codec::CONTENT_TYPE);
        if !query.is_empty() {
            parts.target = format!("{}?{query}", parts.target);
        }
        parts
    }

    fn with_body(method: Method, path: &ObjectPath, body: Bytes, content_type: &'static str) -> Self {
        let name = format!("{method} {}", path.as_str());
        Self { method, target: path.as_str().to_owned(), name, body, content_type }
    }

    fn encoded<B: Serialize + ?Sized>(
        method: Method,
        path: &ObjectPath,
        object: &B,
        content_type: &'static str,
    ) -> ApiResult<Self> {
        let mut parts = Self::with_body(method, path, Bytes::new(), content_type);
        parts.body = codec::encode(object).map_err(|problem| parts.malformed(problem))?;
        Ok(parts)
    }

    /// Method and path.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn malformed(&self, problem: String) -> ApiError {
        ApiError::Malformed { request: self.name.clone(), problem }
    }

    pub(crate) fn timeout(&self, after: Duration) -> ApiError {
        ApiError::Timeout { request: self.name.clone(), after }
    }
}

/// The client. Cheap to clone; clones share connections and limits.
#[derive(Clone)]
pub struct ApiClient {
    transport: Arc<Transport>,
    metrics: Arc<RequestMetrics>,
    warnings: Arc<Mutex<BTreeSet<String>>>,
    limiter: Arc<Limiter>,
    options: ClientOptions,
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient").field("server", &self.server().authority()).finish_non_exhaustive()
    }
}

impl ApiClient {
    /// Prepares a client. Connections are opened by the first request, so a server that is down is that request's error.
    pub fn new(
        server: Server,
        credentials: Credentials,
        options: ClientOptions,
        registry: &Registry,
    ) -> Self {
        Self {
            metrics: Arc::new(RequestMetrics::new(server.authority(), registry)),
            transport: Arc::new(Transport::new(server, credentials)),
            warnings: Arc::default(),
            limiter: Arc::new(Limiter::new(options.rate)),
            options,
        }
    }

    /// Another client on the same connections, with limits of its own: events and heartbeats must not wait for other requests.
    #[must_use]
    pub fn with_options(&self, options: ClientOptions) -> Self {
        Self { limiter: Arc::new(Limiter::new(options.rate)), options, ..self.clone() }
    }

    /// Where it connects to.
    pub fn server(&self) -> &Server {
        self.transport.server()
    }

    /// New requests of this client and its relatives use these. Connections made with the old ones take no more requests and are
    /// closed soon; watches on them go on over a new one.
    pub fn replace_credentials(&self, credentials: Credentials) {
        self.transport.replace(credentials);
    }

    /// Gives up all connections, e.g. when heartbeats fail although the server should be there.
    pub fn reconnect(&self) {
        self.transport.reconnect();
    }

    /// Reads one object.
    ///
    /// # Errors
    /// See [`ApiError`]; so for every request.
    pub async fn get<K: ApiObject>(&self, path: &ObjectPath) -> ApiResult<K> {
        self.object(&Parts::get(path, &[])).await
    }

    /// Reads what is no object, e.g. `/healthz`.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn get_raw(&self, path: &ObjectPath) -> ApiResult<Bytes> {
        self.call(&Parts::get(path, &[])).await
    }

    /// Reads a collection, page by page.
    ///
    /// # Errors
    /// See [`ApiError`]. `is_expired` when the collection changed so much meanwhile that its next page is gone.
    pub async fn list<K: ApiObject>(
        &self,
        path: &ObjectPath,
        selector: &Selector,
    ) -> ApiResult<ObjectList<K>> {
        /// Objects in one answer, as client-go.
        const PAGE: &str = "500";
        let mut list = ObjectList { items: Vec::new(), resource_version: String::new() };
        let mut next = String::new();
        loop {
            let parts = Parts::get(
                path,
                &[
                    ("fieldSelector", &selector.fields),
                    ("labelSelector", &selector.labels),
                    ("limit", PAGE),
                    ("continue", &next),
                ],
            );
            let body = self.call(&parts).await?;
            let page: Page<K> = codec::decode(&body).map_err(|problem| parts.malformed(problem))?;
            list.items.extend(page.items.into_iter().map(lean));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => next = token,
                None => {
                    list.resource_version = page.metadata.resource_version.unwrap_or_default();
                    return Ok(list);
                }
            }
        }
    }

    /// Makes an object below a collection, or sends one to a sub-resource. What comes back may be of another kind.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn create<B: Serialize + Sync, K: ApiObject>(
        &self,
        path: &ObjectPath,
        object: &B,
    ) -> ApiResult<K> {
        self.object(&Parts::encoded(Method::POST, path, object, codec::CONTENT_TYPE)?).await
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// See [`ApiError`]; `is_conflict` when it carries an old resource version.
    pub async fn update<B: Serialize + Sync, K: ApiObject>(
        &self,
        path: &ObjectPath,
        object: &B,
    ) -> ApiResult<K> {
        self.object(&Parts::encoded(Method::PUT, path, object, codec::CONTENT_TYPE)?).await
    }

    /// Changes parts of an object.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn patch<K: ApiObject>(&self, path: &ObjectPath, patch: Patch<'_>) -> ApiResult<K> {
        let (content_type, value) = patch.parts();
        self.object(&Parts::encoded(Method::PATCH, path, value, content_type)?).await
    }

    /// As [`ApiClient::create`], where nobody needs the object that comes back.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) async fn create_only<B: Serialize + Sync>(
        &self,
        path: &ObjectPath,
        object: &B,
    ) -> ApiResult<()> {
        self.call(&Parts::encoded(Method::POST, path, object, codec::CONTENT_TYPE)?).await.map(drop)
    }

    /// As [`ApiClient::patch`], where nobody needs the object that comes back.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) async fn patch_only(&self, path: &ObjectPath, patch: Patch<'_>) -> ApiResult<()> {
        let (content_type, value) = patch.parts();
        self.call(&Parts::encoded(Method::PATCH, path, value, content_type)?).await.map(drop)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// See [`ApiError`]; `is_conflict` when a precondition does not hold.
    pub async fn delete(&self, path: &ObjectPath, options: &DeleteOptions) -> ApiResult<()> {
        let parts = Parts::encoded(Method::DELETE, path, options, codec::CONTENT_TYPE)?;
        self.call(&parts).await.map(drop)
    }

    async fn object<K: ApiObject>(&self, parts: &Parts) -> ApiResult<K> {
        let body = self.call(parts).await?;
        codec::decode(&body).map(lean).map_err(|problem| parts.malformed(problem))
    }

    /// The whole body of a good answer.
    async fn call(&self, parts: &Parts) -> ApiResult<Bytes> {
        let deadline = Instant::now() + self.options.timeout;
        let work = async {
            let answer = self.answer(parts, deadline).await?;
            let body = self.body(parts, answer.into_body(), MAX_BODY_BYTES).await?;
            self.metrics.received(parts.method.as_str(), body.len());
            Ok(body)
        };
        tokio::time::timeout_at(deadline, work)
            .await
            .unwrap_or_else(|_| Err(parts.timeout(self.options.timeout)))
    }

    /// The head of a good answer; for watches, whose bodies go on.
    pub(crate) async fn begin(&self, parts: &Parts) -> ApiResult<Response<Answer>> {
        let deadline = Instant::now() + self.options.timeout;
        let answer = tokio::time::timeout_at(deadline, self.answer(parts, deadline)).await;
        answer.unwrap_or_else(|_| Err(parts.timeout(self.options.timeout)))
    }

    /// Tries until the answer is good, or a refusal that waiting does not mend.
    async fn answer(&self, parts: &Parts, deadline: Instant) -> ApiResult<Response<Answer>> {
        let verb = parts.method.as_str();
        let mut tries = 0;
        loop {
            let waited = self.limiter.turn().await;
            self.metrics.waited(verb, waited);
            let answer = match self.send(parts).await {
                // Reading twice does no harm, and the connection may just have been closed at the other end.
                Err(_lost) if tries == 0 && parts.method == Method::GET => {
                    tries += 1;
                    self.metrics.retried(verb, "<error>");
                    continue;
                }
                sent => sent?,
            };
            let code = answer.status();
            if code.is_success() {
                return Ok(answer);
            }
            let headers = answer.headers().clone();
            let body = self.body(parts, answer.into_body(), MAX_REFUSAL_BYTES).await.unwrap_or_default();
            let wait = refusal::retry_after(&headers).filter(|wait| {
                let busy = code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error();
                busy && tries < MAX_RETRIES && Instant::now() + *wait < deadline
            });
            let Some(wait) = wait else {
                let status = Box::new(refusal::read(code, &headers, &body));
                return Err(ApiError::Refused { request: parts.name.clone(), status });
            };
            tries += 1;
            self.metrics.retried(verb, code.as_str());
            tokio::time::sleep(wait).await;
        }
    }

    async fn send(&self, parts: &Parts) -> ApiResult<Response<Answer>> {
        let started = Instant::now();
        let sent = match self.request(parts) {
            Ok(request) => self.transport.send(request).await.map_err(|error| error.message),
            Err(error) => return Err(parts.malformed(error.to_string())),
        };
        let code = sent.as_ref().map_or("<error>".to_owned(), |answer| answer.status().as_str().to_owned());
        self.metrics.answered(parts.method.as_str(), &code, started.elapsed(), parts.body.len());
        let answer = sent.map_err(|message| self.unreachable(parts, message))?;
        self.warn(answer.headers());
        Ok(answer)
    }

    fn request(&self, parts: &Parts) -> Result<Request<Full<Bytes>>, http::Error> {
        let server = self.server();
        let mut request = Request::builder()
            .method(parts.method.clone())
            .uri(format!("https://{}{}{}", server.authority(), server.prefix, parts.target))
            .header(header::USER_AGENT, &self.options.user_agent)
            .header(header::ACCEPT, codec::CONTENT_TYPE);
        if !parts.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, parts.content_type);
        }
        request.body(Full::new(parts.body.clone()))
    }

    pub(crate) fn unreachable(&self, parts: &Parts, message: String) -> ApiError {
        let server = format!("https://{}", self.server().authority());
        ApiError::Unreachable { request: parts.name.clone(), server, message }
    }

    async fn body(&self, parts: &Parts, answer: Answer, max_bytes: usize) -> ApiResult<Bytes> {
        let body = Limited::new(answer.body, max_bytes).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| match error.is::<LengthLimitError>() {
            true => parts.malformed(format!("the answer is larger than {max_bytes} bytes")),
            false => self.unreachable(parts, root_cause(error.as_ref())),
        })
    }

    /// Logs warnings of the server, each text once.
    fn warn(&self, headers: &HeaderMap) {
        for value in headers.get_all(header::WARNING) {
            let Some(text) = value.to_str().ok().and_then(warning_text) else { continue };
            let mut known = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() < MAX_WARNINGS && known.insert(text.clone()) {
                tracing::warn!("the API server warns: {text}");
            }
        }
    }
}

/// The object without what nobody here reads.
pub(crate) fn lean<K: ApiObject>(mut object: K) -> K {
    object.metadata_mut().managed_fields = None;
    object
}

/// The text of `299 - "text"`; other codes are about caches.
fn warning_text(value: &str) -> Option<String> {
    let quoted = value.strip_prefix("299 ")?.split_once('"')?.1;
    let mut text = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
