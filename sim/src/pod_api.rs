//! The API server as the home of pods: users create and delete them, the node follows them, patches their status and lets them go.
//!
//! Answers can be slow, fail, or get lost after they took effect; the watch can break, be late, and start over. What users do always
//! works.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use core_types::api::{Pod, Time};
use core_types::{PodExt, PodKey, PodUid};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use ports::{ApiError, ApiResult, ApiStatus, Clock, ObjectEvent, PodApi};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::clock::SimClock;
use crate::faults::{Fate, Faults};

/// How long a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a follower waits after its watch broke.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Store {
    version: u64,
    pods: BTreeMap<PodKey, Pod>,
    is_away: bool,
    is_refusing: bool,
    is_silent: bool,
    patches: u64,
}

/// The server.
#[derive(Debug)]
pub struct FakePodApi {
    faults: Arc<Faults>,
    clock: Arc<SimClock>,
    store: Arc<Mutex<Store>>,
    changed: watch::Sender<u64>,
}

/// What one follower was told.
struct Told {
    store: Arc<Mutex<Store>>,
    faults: Arc<Faults>,
    changed: watch::Receiver<u64>,
    pods: BTreeMap<PodUid, Pod>,
    is_listed: bool,
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakePodApi {
    /// A server without pods.
    pub fn new(clock: Arc<SimClock>, faults: Arc<Faults>) -> Self {
        Self { faults, clock, store: Arc::default(), changed: watch::channel(0).0 }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let (result, version) = {
            let mut store = lock(&self.store);
            store.version += 1;
            (change(&mut store), store.version)
        };
        self.changed.send_replace(version);
        result
    }

    /// A user creates a pod; one of that name that is there stays.
    pub fn user_creates(&self, mut pod: Pod) {
        self.change(|store| {
            let version = store.version;
            let meta = &mut pod.metadata;
            meta.uid = Some(format!("uid-{version}"));
            meta.resource_version = Some(version.to_string());
            meta.generation = Some(1);
            store.pods.entry(pod.key()).or_insert(pod);
        });
    }

    /// A user deletes a pod, with this grace in seconds; 0 forces it.
    pub fn user_deletes(&self, key: &PodKey, grace_secs: i64) {
        let now = Time(self.clock.wall().to_api_secs().0);
        self.change(|store| {
            let version = store.version;
            if grace_secs == 0 {
                store.pods.remove(key);
            } else if let Some(pod) = store.pods.get_mut(key) {
                let meta = &mut pod.metadata;
                meta.deletion_timestamp.get_or_insert(now);
                let grace = meta.deletion_grace_period_seconds.map_or(grace_secs, |old| old.min(grace_secs));
                meta.deletion_grace_period_seconds = Some(grace);
                meta.resource_version = Some(version.to_string());
            }
        });
    }

    /// Takes the server away, or brings it back.
    pub fn set_away(&self, away: bool) {
        self.change(|store| store.is_away = away);
    }

    /// Whether it is away.
    pub(crate) fn is_away(&self) -> bool {
        lock(&self.store).is_away
    }

    /// Changes of anything that it has.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Something beside pods has changed.
    pub(crate) fn tell_followers(&self) {
        self.change(|_| ());
    }

    /// A user changes the labels of a pod.
    pub fn user_labels(&self, key: &PodKey, name: &str, value: &str) {
        self.change(|store| {
            let version = store.version;
            if let Some(pod) = store.pods.get_mut(key) {
                let labels = pod.metadata.labels.get_or_insert_default();
                labels.insert(name.to_owned(), value.to_owned());
                pod.metadata.resource_version = Some(version.to_string());
            }
        });
    }

    /// Has the server refuse to tell its pods to this node, or tell them again.
    pub fn set_refusing(&self, refuses: bool) {
        self.change(|store| store.is_refusing = refuses);
    }

    /// Has the server say nothing of its pods, as one that hangs, or speak again.
    pub fn set_silent(&self, silent: bool) {
        self.change(|store| store.is_silent = silent);
    }

    /// All pods.
    pub fn pods(&self) -> BTreeMap<PodKey, Pod> {
        lock(&self.store).pods.clone()
    }

    /// Status patches so far.
    pub fn patches(&self) -> u64 {
        lock(&self.store).patches
    }

    async fn answer<T>(&self, request: &str, work: impl FnOnce() -> ApiResult<T> + Send) -> ApiResult<T> {
        let unreachable = || ApiError::Unreachable {
            request: request.to_owned(),
            server: "sim".to_owned(),
            message: "down".to_owned(),
        };
        let fate = self.faults.draw();
        if lock(&self.store).is_away {
            return Err(unreachable());
        }
        match fate {
            Fate::Fine => work(),
            Fate::Slow(time) if time < TIMEOUT => {
                tokio::time::sleep(time).await;
                work()
            }
            Fate::Slow(_) | Fate::Fails => Err(unreachable()),
            Fate::WorksButTimesOut => {
                let _lost = work();
                tokio::time::sleep(TIMEOUT).await;
                Err(ApiError::Timeout { request: request.to_owned(), after: TIMEOUT })
            }
        }
    }
}

pub(crate) fn refused(code: u16, reason: &str) -> ApiError {
    let status = ApiStatus { code, reason: reason.to_owned(), message: reason.to_owned(), retry_after: None };
    ApiError::Refused { request: "sim".to_owned(), status: Box::new(status) }
}

impl Told {
    async fn next(&mut self) -> ObjectEvent<Pod> {
        loop {
            if self.changed.wait_for(|_| !lock(&self.store).is_silent).await.is_err() {
                return std::future::pending().await;
            }
            let (away, refuses, pods) = {
                let store = lock(&self.store);
                let pods: BTreeMap<PodUid, Pod> =
                    store.pods.values().map(|pod| (pod.uid(), pod.clone())).collect();
                (store.is_away, store.is_refusing, pods)
            };
            if refuses && !away {
                tokio::time::sleep(RETRY).await;
                return ObjectEvent::Interrupted(refused(403, "Forbidden"));
            }
            if away || (self.is_listed && self.faults.loses_event()) {
                // A broken watch goes on from its version or, when that is too old, with a new list.
                self.is_listed = self.is_listed && self.faults.pick(2) == 0;
                tokio::time::sleep(RETRY).await;
                return ObjectEvent::Interrupted(refused(503, "ServiceUnavailable"));
            }
            if !self.is_listed {
                self.is_listed = true;
                self.pods.clone_from(&pods);
                return ObjectEvent::Replaced(pods.into_values().collect());
            }
            let gone = self.pods.keys().find(|uid| !pods.contains_key(*uid)).cloned();
            if let Some(pod) = gone.and_then(|uid| self.pods.remove(&uid)) {
                return ObjectEvent::Deleted(pod);
            }
            let news = pods.into_iter().find(|(uid, pod)| self.pods.get(uid) != Some(pod));
            if let Some((uid, pod)) = news {
                self.pods.insert(uid, pod.clone());
                return ObjectEvent::Applied(pod);
            }
            if self.changed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

#[async_trait]
impl PodApi for FakePodApi {
    fn follow(&self) -> BoxStream<'static, ObjectEvent<Pod>> {
        let told = Told {
            store: Arc::clone(&self.store),
            faults: Arc::clone(&self.faults),
            changed: self.changed.subscribe(),
            pods: BTreeMap::new(),
            is_listed: false,
        };
        stream::unfold(told, |mut told| async move {
            let event = told.next().await;
            Some((event, told))
        })
        .boxed()
    }

    async fn patch_status(&self, key: &PodKey, patch: &Value) -> ApiResult<Pod> {
        self.answer("PATCH", || {
            self.change(|store| {
                store.patches += 1;
                let version = store.version;
                let pod = store.pods.get_mut(key).ok_or_else(|| refused(404, "NotFound"))?;
                if patch["metadata"]["uid"].as_str() != pod.metadata.uid.as_deref() {
                    return Err(refused(409, "Conflict"));
                }
                let broken = |error: serde_json::Error| ApiError::Malformed {
                    request: "PATCH".to_owned(),
                    problem: error.to_string(),
                };
                let mut status =
                    serde_json::to_value(pod.status.clone().unwrap_or_default()).map_err(broken)?;
                merge(&mut status, &patch["status"]);
                pod.status = Some(serde_json::from_value(status).map_err(broken)?);
                pod.metadata.resource_version = Some(version.to_string());
                Ok(pod.clone())
            })
        })
        .await
    }

    async fn create(&self, pod: &Pod) -> ApiResult<Pod> {
        self.answer("POST", || {
            if lock(&self.store).pods.contains_key(&pod.key()) {
                return Err(refused(409, "AlreadyExists"));
            }
            self.user_creates(pod.clone());
            Ok(lock(&self.store).pods[&pod.key()].clone())
        })
        .await
    }

    async fn delete_now(&self, key: &PodKey, uid: &PodUid) -> ApiResult<()> {
        self.answer("DELETE", || {
            self.change(|store| match store.pods.get(key) {
                None => Err(refused(404, "NotFound")),
                Some(pod) if pod.uid() != *uid => Err(refused(409, "Conflict")),
                Some(_) => {
                    store.pods.remove(key);
                    Ok(())
                }
            })
        })
        .await
    }

    async fn node_uid(&self) -> ApiResult<String> {
        self.answer("GET", || Ok("node-uid".to_owned())).await
    }
}

/// A strategic merge patch, as far as statuses use it: conditions go by type, addresses by address, the rest is replaced.
fn merge(status: &mut Value, patch: &Value) {
    let (Some(status), Some(patch)) = (status.as_object_mut(), patch.as_object()) else { return };
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        let by = match key.as_str() {
            "conditions" => "type",
            "podIPs" | "hostIPs" => "ip",
            _ if value.is_null() => {
                status.remove(key);
                continue;
            }
            _ => {
                status.insert(key.clone(), value.clone());
                continue;
            }
        };
        let list = status.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
        let (Some(list), Some(items)) = (list.as_array_mut(), value.as_array()) else { continue };
        for item in items {
            merge_item(list, by, item);
        }
        if let Some(order) = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array) {
            list.sort_by_key(|item| order.iter().position(|place| place[by] == item[by]));
        }
    }
}

fn merge_item(list: &mut Vec<Value>, by: &str, item: &Value) {
    let place = list.iter().position(|known| known[by] == item[by]);
    if item["$patch"] == "delete" {
        if let Some(place) = place {
            list.remove(place);
        }
        return;
    }
    let mut merged = place.map_or(Value::Object(Map::new()), |place| list[place].clone());
    if let (Some(fields), Some(changes)) = (merged.as_object_mut(), item.as_object()) {
        fields.extend(changes.clone());
        fields.retain(|_, value| !value.is_null());
    }
    match place {
        Some(place) => list[place] = merged,
        None => list.push(merged),
    }
}
