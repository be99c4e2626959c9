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
    /// The version that each pod got last.
    changes: BTreeMap<u64, PodKey>,
    /// Pods that were removed, by the version of their removal.
    removals: BTreeMap<u64, Pod>,
    is_away: bool,
    is_refusing: bool,
    is_silent: bool,
    patches: u64,
}

impl Store {
    /// Changes a pod that is there, under the newest version.
    fn update<T>(&mut self, key: &PodKey, change: impl FnOnce(&mut Pod) -> T) -> Option<T> {
        let pod = self.pods.get_mut(key)?;
        let result = change(pod);
        self.changes.remove(&version_of(pod));
        self.changes.insert(self.version, key.clone());
        pod.metadata.resource_version = Some(self.version.to_string());
        Some(result)
    }

    fn remove(&mut self, key: &PodKey) {
        if let Some(pod) = self.pods.remove(key) {
            self.changes.remove(&version_of(&pod));
            self.removals.insert(self.version, pod);
        }
    }

    /// The first event after this version, with its own version.
    fn after(&self, version: u64) -> Option<(u64, ObjectEvent<Pod>)> {
        let next = version + 1..;
        let change = self.changes.range(next.clone()).next();
        let removal = self.removals.range(next).next();
        match (change, removal) {
            (Some((&at, key)), gone) if gone.is_none_or(|(&gone_at, _)| at < gone_at) => {
                Some((at, ObjectEvent::Applied(self.pods.get(key)?.clone())))
            }
            (_, Some((&at, pod))) => Some((at, ObjectEvent::Deleted(pod.clone()))),
            _ => None,
        }
    }
}

fn version_of(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
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
    /// The version up to which it knows all; `None` when it needs a list.
    version: Option<u64>,
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
            let key = pod.key();
            if store.pods.contains_key(&key) {
                return;
            }
            let meta = &mut pod.metadata;
            meta.uid = Some(format!("uid-{version}"));
            meta.resource_version = Some(version.to_string());
            meta.generation = Some(1);
            store.changes.insert(version, key.clone());
            store.pods.insert(key, pod);
        });
    }

    /// A user deletes a pod, with this grace in seconds; 0 forces it.
    pub fn user_deletes(&self, key: &PodKey, grace_secs: i64) {
        let now = Time(self.clock.wall().to_api_secs().0);
        self.change(|store| {
            if grace_secs == 0 {
                store.remove(key);
                return;
            }
            store.update(key, |pod| {
                let meta = &mut pod.metadata;
                meta.deletion_timestamp.get_or_insert(now);
                let grace = meta.deletion_grace_period_seconds.map_or(grace_secs, |old| old.min(grace_secs));
                meta.deletion_grace_period_seconds = Some(grace);
            });
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
            store.update(key, |pod| {
                pod.metadata.labels.get_or_insert_default().insert(name.to_owned(), value.to_owned());
            });
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
            let (away, refuses) = {
                let store = lock(&self.store);
                (store.is_away, store.is_refusing)
            };
            if refuses && !away {
                tokio::time::sleep(RETRY).await;
                return ObjectEvent::Interrupted(refused(403, "Forbidden"));
            }
            if away || (self.version.is_some() && self.faults.loses_event()) {
                // A broken watch goes on from its version or, when that is too old, with a new list.
                self.version = self.version.filter(|_| self.faults.pick(2) == 0);
                tokio::time::sleep(RETRY).await;
                return ObjectEvent::Interrupted(refused(503, "ServiceUnavailable"));
            }
            let Some(version) = self.version else {
                let store = lock(&self.store);
                self.version = Some(store.version);
                return ObjectEvent::Replaced(store.pods.values().cloned().collect());
            };
            let next = lock(&self.store).after(version);
            if let Some((version, event)) = next {
                self.version = Some(version);
                return event;
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
            version: None,
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
                let pod = store.pods.get(key).ok_or_else(|| refused(404, "NotFound"))?;
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
                let status = serde_json::from_value(status).map_err(broken)?;
                store.update(key, |pod| pod.status = Some(status));
                Ok(store.pods[key].clone())
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
                    store.remove(key);
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
