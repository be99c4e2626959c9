//! A node that starts without the API server: what the server told before runs again with what it refers to, and nothing that runs
//! is ended because something could not be read.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::api::Pod;
use core_types::runtime::ContainerState;
use core_types::{ContainerId, KeyedRef, PodExt, PodKey, Shutdown};
use sim::runtime::EventSupport;
use sim::world::{NODE_NAME, World};

/// Longer than the agent waits for the server, and than a start and a write take.
const A_WHILE: Duration = Duration::from_secs(60);
/// Longer than every back-off, and than the grace of every pod.
const PEACE: Duration = Duration::from_secs(900);

fn key(name: &str) -> PodKey {
    PodKey::new("default", name)
}

fn pod(name: &str) -> Pod {
    let text = serde_json::json!({
        "metadata": { "namespace": "default", "name": name },
        "spec": {
            "nodeName": NODE_NAME, "restartPolicy": "Always", "terminationGracePeriodSeconds": 5,
            "enableServiceLinks": true, "serviceAccountName": "default", "nodeSelector": { "disk": "fast" },
            "containers": [{
                "name": "main", "image": "sim/app:1", "args": ["serve"],
                "env": [
                    { "name": "MAP", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "k" } } },
                    { "name": "WORD", "valueFrom": { "secretKeyRef": { "name": "words", "key": "k" } } },
                    { "name": "MAYBE", "valueFrom": { "secretKeyRef":
                        { "name": "missing", "key": "k", "optional": true } } },
                ],
                "volumeMounts": [{ "name": "token", "mountPath": "/token" }, { "name": "words", "mountPath": "/words" }],
            }],
            "volumes": [
                { "name": "token", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } },
                { "name": "words", "secret": { "secretName": "words" } },
            ],
        },
        "status": { "phase": "Pending", "qosClass": "BestEffort" },
    });
    serde_json::from_value(text).expect("a pod")
}

/// Running containers by the name of their pod.
fn running(world: &World) -> BTreeMap<String, ContainerId> {
    let store = world.runtime.store();
    let running = store.containers.iter().filter(|(_, found)| found.state == ContainerState::Running);
    running.map(|(id, found)| (store.sandboxes[&found.sandbox_id].config.name.clone(), id.clone())).collect()
}

fn names(world: &World) -> Vec<String> {
    running(world).into_keys().collect()
}

/// What a running container was told of this variable.
fn variable(world: &World, pod: &str, name: &str) -> Option<String> {
    let id = running(world).remove(pod)?;
    let store = world.runtime.store();
    store.containers[&id].config.envs.iter().find(|env| env.key == name).map(|env| env.value.clone())
}

fn put_objects(world: &World) {
    let cluster = &world.api.cluster;
    cluster.user_puts(KeyedRef::config_map("default", "settings"), Some(("k", "from-the-map")));
    cluster.user_puts(KeyedRef::secret("default", "words"), Some(("k", "from-the-secret")));
}

/// A node with these pods, all of which run and are kept.
async fn settled(seed: u64, pods: &[&str]) -> World {
    let world = World::with_memory(seed, 0, EventSupport::Streams).expect("a world");
    put_objects(&world);
    pods.iter().for_each(|name| world.api.pods.user_creates(pod(name)));
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(names(&world), pods);
    world
}

async fn restarted_without_the_server(world: &mut World) {
    world.api.pods.set_away(true);
    world.reboot();
    assert!(names(world).is_empty());
    world.start_agent();
    tokio::time::sleep(A_WHILE).await;
}

fn statuses_are_told(world: &World) {
    let view = world.view();
    for (key, pod) in world.api.pods.pods() {
        let shown = &view.pods[&pod.uid()];
        assert_eq!(pod.status.as_ref(), Some(&*shown.status), "{key}");
        assert_eq!(pod.status.and_then(|status| status.phase).as_deref(), Some("Running"), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_start_again_with_what_they_refer_to_and_the_server_takes_over() {
    let mut world = settled(1, &["a", "b", "c"]).await;
    assert!(world.view().offline.is_none());
    restarted_without_the_server(&mut world).await;
    assert_eq!(names(&world), ["a", "b", "c"]);
    assert_eq!(variable(&world, "a", "MAP").as_deref(), Some("from-the-map"));
    assert_eq!(variable(&world, "a", "WORD").as_deref(), Some("from-the-secret"));
    assert_eq!(variable(&world, "a", "MAYBE"), None);
    assert_eq!(variable(&world, "a", "KUBERNETES_SERVICE_HOST").as_deref(), Some("10.96.0.1"));
    let view = world.view();
    assert!(view.offline.is_some() && !view.sources_heard && view.mirrors.is_none());
    assert!(!view.source_problems.is_empty(), "it is said why");

    // Meanwhile one is deleted, one changes, one is new.
    let before = running(&world);
    world.api.pods.user_deletes(&key("b"), 0);
    world.api.pods.user_labels(&key("c"), "tier", "gold");
    world.api.pods.user_creates(pod("d"));
    world.api.pods.set_away(false);
    tokio::time::sleep(A_WHILE).await;
    let after = running(&world);
    assert_eq!(names(&world), ["a", "c", "d"]);
    assert_eq!((&after["a"], &after["c"]), (&before["a"], &before["c"]), "what is wanted was not restarted");
    let view = world.view();
    assert!(view.offline.is_none() && view.sources_heard && view.source_problems.is_empty());
    statuses_are_told(&world);
    assert!(world.runtime.store().violations.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_being_deleted_or_has_gone_is_not_started_again() {
    let mut world = settled(2, &["a", "b", "c"]).await;
    world.api.pods.user_deletes(&key("a"), 0);
    tokio::time::sleep(A_WHILE).await;
    // The deletion is told and written down, and the machine goes down before it has come to its end.
    world.api.pods.user_deletes(&key("b"), 3600);
    tokio::time::sleep(Duration::from_secs(4)).await;
    restarted_without_the_server(&mut world).await;
    assert_eq!(names(&world), ["c"]);
    world.api.pods.set_away(false);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(world.api.pods.pods().into_keys().collect::<Vec<_>>(), [key("c")], "the deletion is done");
}

#[tokio::test(start_paused = true)]
async fn what_ran_and_is_not_known_goes_on() {
    let mut world = settled(3, &["a"]).await;
    // A pod that could not be written down.
    world.faults.set_disk_full(true);
    world.api.pods.user_creates(pod("b"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.faults.set_disk_full(false);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.kill_agent();
    let before = running(&world);
    assert_eq!(before.len(), 2, "both run: {before:?}");
    assert!(!world.api.kept.text().contains(r#""name":"b""#));
    world.api.pods.set_away(true);
    world.start_agent();
    tokio::time::sleep(PEACE).await;
    assert_eq!(running(&world), before, "an agent that was restarted keeps what runs, known or not");
    assert!(world.view().offline.is_some());
    // What it knows it also looks after.
    world.runtime.kill_container(&before["a"], 1);
    tokio::time::sleep(A_WHILE).await;
    assert_ne!(running(&world)["a"], before["a"]);
    world.api.pods.set_away(false);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(running(&world)["b"], before["b"]);
    statuses_are_told(&world);
}

#[tokio::test(start_paused = true)]
async fn a_broken_memory_is_set_aside_and_the_server_is_waited_for() {
    let mut world = settled(4, &["a"]).await;
    world.api.kept.breaks();
    restarted_without_the_server(&mut world).await;
    assert!(names(&world).is_empty());
    assert_eq!(world.api.kept.set_aside_count(), 1);
    assert!(world.view().offline.is_none());
    world.api.pods.set_away(false);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(names(&world), ["a"]);
    assert!(!world.api.kept.text().is_empty(), "and it is written anew");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_is_not_away() {
    let mut world = settled(5, &["a"]).await;
    world.api.pods.set_refusing(true);
    world.reboot();
    world.start_agent();
    tokio::time::sleep(PEACE).await;
    assert!(names(&world).is_empty(), "a node that was thrown out starts nothing");
    world.api.pods.set_refusing(false);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(names(&world), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_for_statuses_and_at_rest() {
    let mut world = settled(6, &["a"]).await;
    let writes = world.api.kept.writes();
    let first = running(&world);
    world.runtime.kill_container(&first["a"], 1);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_ne!(running(&world), first, "it was restarted, and its status with it");
    assert_eq!(world.api.kept.writes(), writes);
    world.stop_agent().await;
    assert_eq!(world.api.kept.writes(), writes + 1, "an agent that stops writes what it knows");
    assert!(world.api.kept.text().contains(r#""restartCount":1"#));
}

#[tokio::test(start_paused = true)]
async fn secrets_of_pods_that_are_gone_are_not_kept() {
    let world = settled(7, &["a"]).await;
    let secret = "ZnJvbS10aGUtc2VjcmV0";
    assert!(world.api.kept.text().contains(secret) && world.api.kept.text().contains("token-1-of-default/a"));
    world.api.pods.user_deletes(&key("a"), 0);
    tokio::time::sleep(A_WHILE).await;
    let text = world.api.kept.text();
    assert!(!text.contains(secret) && !text.contains("token-1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn who_has_ended_without_the_server_is_not_started_again() {
    let mut world = World::with_memory(8, 0, EventSupport::Streams).expect("a world");
    put_objects(&world);
    let mut job = pod("job");
    let spec = job.spec.as_mut().expect("a spec");
    spec.restart_policy = Some("Never".to_owned());
    spec.containers[0].args = Some(["exit", "0", "100"].map(str::to_owned).to_vec());
    world.api.pods.user_creates(job);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(names(&world), ["job"]);
    world.api.pods.set_away(true);
    tokio::time::sleep(2 * A_WHILE).await;
    assert!(names(&world).is_empty(), "it has done its work, and the server does not know");
    restarted_without_the_server(&mut world).await;
    assert!(world.view().offline.is_some());
    assert!(world.runtime.store().containers.is_empty(), "it is not done twice");
    world.api.pods.set_away(false);
    tokio::time::sleep(A_WHILE).await;
    let told = world.api.pods.pods().remove(&key("job")).and_then(|pod| pod.status?.phase);
    assert_eq!(told.as_deref(), Some("Succeeded"));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_of_which_the_server_did_not_hear_ends_no_pod_for_good() {
    let mut world = settled(11, &["a", "b"]).await;
    world.api.pods.set_away(true);
    world.cgroups.kernel.shut_down(Shutdown::InProgress);
    tokio::time::sleep(A_WHILE).await;
    assert!(names(&world).is_empty());
    world.stop_agent().await;
    restarted_without_the_server(&mut world).await;
    assert_eq!(names(&world), ["a", "b"]);
    world.api.pods.set_away(false);
    tokio::time::sleep(A_WHILE).await;
    statuses_are_told(&world);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_stops_nobody_and_is_renewed_when_the_server_is_back() {
    let mut world = settled(9, &["a"]).await;
    let issued = world.api.cluster.tokens();
    world.api.pods.set_away(true);
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    restarted_without_the_server(&mut world).await;
    assert_eq!(names(&world), ["a"]);
    let first = running(&world);
    world.api.pods.set_away(false);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(world.api.cluster.tokens(), issued + 1);
    assert_eq!(running(&world), first);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_waited_for_a_little_longer() {
    let mut world = settled(10, &["a"]).await;
    world.api.pods.set_silent(true);
    world.reboot();
    world.start_agent();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(world.view().offline.is_none() && names(&world).is_empty());
    tokio::time::sleep(A_WHILE).await;
    assert!(world.view().offline.is_some());
    assert_eq!(names(&world), ["a"]);
    let first = running(&world);
    world.api.pods.set_silent(false);
    tokio::time::sleep(A_WHILE).await;
    assert!(world.view().offline.is_none());
    assert_eq!(running(&world), first);
}

async fn play(seed: u64) -> Result<(), String> {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let mut world =
        World::with_memory(seed, 100, EventSupport::Streams).map_err(|error| error.to_string())?;
    put_objects(&world);
    for _ in 0..30 {
        let name = NAMES[usize::try_from(world.faults.pick(4)).unwrap_or(0)];
        match world.faults.pick(9) {
            0 => world.api.pods.user_deletes(&key(name), 0),
            1 => world.api.pods.user_deletes(&key(name), 5),
            2 | 3 => world.api.pods.set_away(world.faults.pick(2) == 0),
            4 => {
                world.kill_agent();
                world.start_agent();
            }
            5 => {
                world.reboot();
                world.start_agent();
            }
            6 => world.api.kept.breaks(),
            _ => world.api.pods.user_creates(pod(name)),
        }
        tokio::time::sleep(Duration::from_secs(world.faults.pick(40))).await;
    }
    world.faults.stop();
    world.api.pods.set_away(false);
    tokio::time::sleep(PEACE).await;
    let view = world.view();
    for (key, pod) in world.api.pods.pods() {
        let told = pod.status.clone().unwrap_or_default();
        let shown = view.pods.get(&pod.uid()).ok_or_else(|| format!("{key} is not here"))?;
        if pod.metadata.deletion_timestamp.is_some() || told != *shown.status {
            let (problem, next) = (&shown.problem, shown.next_retry);
            let lifecycle = shown.lifecycle;
            return Err(format!(
                "{key} ({lifecycle:?}, {problem:?}, {next:?}) is told as {told:?} and is {:?}",
                shown.status
            ));
        }
    }
    let wanted: Vec<String> = world.api.pods.pods().keys().map(|key| key.name.to_string()).collect();
    if names(&world) != wanted {
        return Err(format!("{:?} run instead of {wanted:?}", names(&world)));
    }
    match world.runtime.store().violations.as_slice() {
        [] => Ok(()),
        broken => Err(format!("{broken:?}")),
    }
}

#[test]
fn whatever_breaks_the_node_ends_up_as_the_server_wants_it() {
    assert_eq!(sim::play_each(0..40, play), Ok(()));
}
