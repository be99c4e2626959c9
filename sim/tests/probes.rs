//! Probes decide about readiness and restarts, and a restart of the agent takes nothing back.

use std::collections::BTreeSet;
use std::time::Duration;

use agent::AgentControl;
use core_types::{PodExt, PodKey, PodUid};
use ports::{Control, PodApi};
use sim::probes::Health;
use sim::runtime::EventSupport;
use sim::world::{NODE_NAME, World};

const READY: u16 = 81;
const ALIVE: u16 = 82;
const STARTED: u16 = 83;

fn manifest(probes: &str) -> bytes::Bytes {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers:\n  - name: main\n    image: \"sim/app:1\"\n{probes}"
    );
    bytes::Bytes::from(text)
}

fn probe(field: &str, port: u16) -> String {
    format!("    {field}: {{httpGet: {{port: {port}}}, periodSeconds: 2, failureThreshold: 3}}\n")
}

/// A node with one pod that has these probes.
async fn node(probes: &str, prepare: impl FnOnce(&World)) -> (World, PodUid) {
    let world = World::new(1, 0, EventSupport::Streams).expect("a world");
    prepare(&world);
    let control: std::sync::Arc<AgentControl> = world.control().expect("the agent runs");
    let applied = control.apply(manifest(probes)).await.expect("it is taken");
    (world, applied[0].uid.clone())
}

/// Simulated time in which everything settles.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(30)).await;
}

fn condition(world: &World, uid: &PodUid, name: &str) -> Option<String> {
    let view = world.view();
    let pod = view.pods.get(uid)?;
    let found = pod.status.conditions.iter().flatten().find(|c| c.type_ == name);
    found.map(|c| c.status.clone())
}

fn restarts(world: &World, uid: &PodUid) -> i32 {
    let view = world.view();
    let statuses = view.pods[uid].status.container_statuses.clone().unwrap_or_default();
    statuses[0].restart_count
}

fn events(world: &World, uid: &PodUid) -> Vec<String> {
    world.view().pods[uid].events.iter().map(|event| format!("{}: {}", event.reason, event.message)).collect()
}

fn has(events: &[String], text: &str) -> bool {
    events.iter().any(|event| event == text)
}

#[tokio::test(start_paused = true)]
async fn readiness_gates_ready_and_restarts_nothing() {
    let (world, uid) =
        node(&probe("readinessProbe", READY), |world| world.probes.set(READY, Health::Failing)).await;
    settle().await;
    assert_eq!(condition(&world, &uid, "Ready").as_deref(), Some("False"));
    assert_eq!(condition(&world, &uid, "ContainersReady").as_deref(), Some("False"));
    let seen = events(&world, &uid);
    assert!(
        has(&seen, "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 500"),
        "{seen:?}"
    );
    world.probes.set(READY, Health::Well);
    settle().await;
    assert_eq!(condition(&world, &uid, "Ready").as_deref(), Some("True"));
    world.probes.set(READY, Health::Silent);
    settle().await;
    assert_eq!(condition(&world, &uid, "Ready").as_deref(), Some("False"));
    assert_eq!(restarts(&world, &uid), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_liveness_probe_restarts_the_container() {
    let (world, uid) = node(&probe("livenessProbe", ALIVE), |_| {}).await;
    settle().await;
    assert_eq!((restarts(&world, &uid), condition(&world, &uid, "Ready").as_deref()), (0, Some("True")));
    world.probes.set(ALIVE, Health::Failing);
    tokio::time::sleep(Duration::from_secs(7)).await;
    world.probes.set(ALIVE, Health::Well);
    settle().await;
    assert_eq!((restarts(&world, &uid), condition(&world, &uid, "Ready").as_deref()), (1, Some("True")));
    let seen = events(&world, &uid);
    assert!(has(&seen, "Killing: Container main failed liveness probe, will be restarted"), "{seen:?}");
    settle().await;
    assert_eq!(restarts(&world, &uid), 1, "the old result does not act on the new container");
}

#[tokio::test(start_paused = true)]
async fn a_startup_probe_holds_liveness_back() {
    let startup = "    startupProbe: {httpGet: {port: 83}, periodSeconds: 2, failureThreshold: 100}\n";
    let (world, uid) = node(&format!("{}{startup}", probe("livenessProbe", ALIVE)), |world| {
        world.probes.set(ALIVE, Health::Failing);
        world.probes.set(STARTED, Health::Failing);
    })
    .await;
    settle().await;
    assert_eq!((restarts(&world, &uid), world.probes.asked(ALIVE)), (0, 0));
    assert_eq!(condition(&world, &uid, "Ready").as_deref(), Some("False"));
    world.probes.set(ALIVE, Health::Well);
    world.probes.set(STARTED, Health::Well);
    settle().await;
    assert!(world.probes.asked(ALIVE) > 0);
    assert_eq!(condition(&world, &uid, "Ready").as_deref(), Some("True"));
    let asked = world.probes.asked(STARTED);
    settle().await;
    assert_eq!(world.probes.asked(STARTED), asked, "a startup probe that succeeded asks no more");
}

#[tokio::test(start_paused = true)]
async fn a_failed_startup_probe_restarts_the_container() {
    let (world, uid) =
        node(&probe("startupProbe", STARTED), |world| world.probes.set(STARTED, Health::Failing)).await;
    settle().await;
    assert!(restarts(&world, &uid) > 0);
    let seen = events(&world, &uid);
    assert!(has(&seen, "Killing: Container main failed startup probe, will be restarted"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_agent_flips_no_condition() {
    for health in [Health::Well, Health::Failing] {
        let (mut world, uid) =
            node(&format!("{}{}", probe("readinessProbe", READY), probe("startupProbe", STARTED)), |world| {
                world.probes.set(READY, health);
            })
            .await;
        settle().await;
        let wanted = condition(&world, &uid, "Ready");
        assert_eq!(wanted.as_deref(), Some(if health == Health::Well { "True" } else { "False" }));
        world.kill_agent();
        world.start_agent();
        let mut seen = BTreeSet::new();
        for _ in 0..3000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            seen.extend(condition(&world, &uid, "Ready"));
        }
        assert_eq!(seen, BTreeSet::from_iter(wanted), "{health:?}");
        assert_eq!(restarts(&world, &uid), 0);
    }
}

/// 600 probes a second whose targets never answer wait in turns: as many at once as the agent allows itself, and no more.
#[tokio::test(start_paused = true)]
async fn many_probes_need_no_more_connections_than_there_are_places() {
    const AT_ONCE: usize = 256;
    let world = World::new(1, 0, EventSupport::Streams).expect("a world");
    world.probes.set(READY, Health::Silent);
    let probe = "{tcpSocket: {port: 81}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 100}";
    let containers: String = (0..30)
        .map(|number| {
            format!(
                "  - {{name: c{number}, image: \"sim/app:1\", readinessProbe: {probe}, livenessProbe: {probe}}}\n"
            )
        })
        .collect();
    let control: std::sync::Arc<AgentControl> = world.control().expect("the agent runs");
    for number in 0..10 {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}}}\nspec:\n  containers:\n{containers}"
        );
        control.apply(bytes::Bytes::from(text)).await.expect("it is taken");
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (most, before) = (world.probes.most_at_once(), world.probes.asked(READY));
    assert_eq!(most, AT_ONCE, "all places are used, and no more");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asked = world.probes.asked(READY) - before;
    assert!(asked > 20 * AT_ONCE as u64 / 2, "{asked} probes in 20 s: the places are used");
}

/// A pod of the API server that fails its liveness probe, while somebody writes a condition of his own into its status again and again.
#[tokio::test(start_paused = true)]
async fn what_probes_have_found_out_outlives_each_new_state_of_the_pod() {
    let world = World::in_cluster(1, 0, EventSupport::Streams).expect("a world");
    world.probes.set(ALIVE, Health::Failing);
    let key = PodKey::new("default", "web");
    let pod = serde_json::json!({
        "metadata": { "namespace": "default", "name": "web" },
        "spec": {
            "nodeName": NODE_NAME, "terminationGracePeriodSeconds": 1, "enableServiceLinks": false,
            "containers": [{
                "name": "main", "image": "sim/app:1", "args": ["serve"],
                "livenessProbe": { "httpGet": { "port": ALIVE }, "periodSeconds": 10, "failureThreshold": 3 },
            }],
        },
        "status": { "phase": "Pending", "qosClass": "BestEffort" },
    });
    world.api.pods.user_creates(serde_json::from_value(pod).expect("a pod"));
    for number in 0..12 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let uid = world.api.pods.pods()[&key].uid();
        let condition =
            serde_json::json!({ "type": "Seen", "status": "True", "message": number.to_string() });
        let patch =
            serde_json::json!({ "metadata": { "uid": uid }, "status": { "conditions": [condition] } });
        world.api.pods.patch_status(&key, &patch).await.expect("it is taken");
    }
    let uid = world.api.pods.pods()[&key].uid();
    assert!(restarts(&world, &uid) >= 1, "three failures in a row never came together");
}
