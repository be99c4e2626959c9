//! Lifecycle hooks, the active deadline of a pod, and an end that takes too long, on the simulated node.

use std::time::Duration;

use core_types::PodUid;
use core_types::runtime::ContainerState;
use core_types::view::PodView;
use ports::Control;
use sim::runtime::EventSupport;
use sim::world::World;

/// A pod whose container gets these fields.
fn manifest(spec: &str, container: &str) -> bytes::Bytes {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n{spec}  containers:\n  - name: main\n    image: sim/app:1\n{container}"
    );
    bytes::Bytes::from(text)
}

async fn applied(spec: &str, container: &str) -> (World, PodUid) {
    let world = World::new(1, 0, EventSupport::Streams).expect("a world");
    let control = world.control().expect("the agent runs");
    let applied = control.apply(manifest(spec, container)).await.expect("it is taken");
    secs(30).await;
    (world, applied[0].uid.clone())
}

async fn secs(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

async fn remove(world: &World) {
    let key = core_types::PodKey::new("default", "web");
    world.control().expect("the agent runs").remove(&key).await.expect("it is removed");
}

fn executed(world: &World) -> Vec<String> {
    world.runtime.store().executed.clone()
}

fn running(world: &World) -> Vec<String> {
    let store = world.runtime.store();
    let running = store.containers.values().filter(|c| c.state == ContainerState::Running);
    let mut names: Vec<String> = running.map(|c| c.config.name.clone()).collect();
    names.sort();
    names
}

fn shown(world: &World, uid: &PodUid) -> std::sync::Arc<PodView> {
    world.view().pods.get(uid).cloned().expect("the pod is shown")
}

fn reasons(pod: &PodView) -> Vec<String> {
    pod.events.iter().map(|event| event.reason.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pre_stop_hook_runs_before_the_stop() {
    let container =
        "    args: [serve, exec, \"0\", \"5\"]\n    lifecycle: {preStop: {exec: {command: [say, bye]}}}\n";
    let (world, _) = applied("", container).await;
    assert!(executed(&world).is_empty());
    remove(&world).await;
    secs(4).await;
    assert_eq!(
        (executed(&world), running(&world)),
        (vec!["main: say bye".to_owned()], vec!["main".to_owned()])
    );
    secs(3).await;
    assert!(running(&world).is_empty());
    secs(30).await;
    assert!(world.view().pods.is_empty());
    assert_eq!(executed(&world).len(), 1, "it runs once");
}

#[tokio::test(start_paused = true)]
async fn a_pre_stop_hook_counts_against_the_grace() {
    let container =
        "    args: [stubborn, exec, \"0\", \"100\"]\n    lifecycle: {preStop: {exec: {command: [bye]}}}\n";
    let (world, _) = applied("  terminationGracePeriodSeconds: 10\n", container).await;
    remove(&world).await;
    secs(11).await;
    assert_eq!(running(&world), ["main"], "the least grace after the hook is 2 s");
    secs(3).await;
    assert!(running(&world).is_empty(), "10 s for the hook, 2 s for the container");
}

#[tokio::test(start_paused = true)]
async fn a_sleep_hook_delays_the_stop() {
    let container = "    args: [serve]\n    lifecycle: {preStop: {sleep: {seconds: 100}}}\n";
    let (world, _) = applied("  terminationGracePeriodSeconds: 200\n", container).await;
    remove(&world).await;
    secs(90).await;
    assert_eq!(running(&world), ["main"]);
    secs(20).await;
    assert!(running(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_pre_stop_hook_is_told_and_the_stop_goes_on() {
    let container =
        "    args: [serve, exec, \"1\", \"0\"]\n    lifecycle: {preStop: {exec: {command: [bye]}}}\n";
    let (world, uid) = applied("  activeDeadlineSeconds: 60\n", container).await;
    secs(60).await;
    assert!(running(&world).is_empty());
    let pod = shown(&world, &uid);
    assert!(reasons(&pod).contains(&"FailedPreStopHook".to_owned()), "{:?}", reasons(&pod));
}

#[tokio::test(start_paused = true)]
async fn pre_stop_hooks_of_sidecars_start_with_the_others() {
    let hook = "lifecycle: {preStop: {exec: {command: [bye]}}}";
    let sidecar = format!(
        "  initContainers:\n  - {{name: proxy, image: \"sim/app:1\", restartPolicy: Always, args: [serve], {hook}}}\n"
    );
    let container = format!("    args: [serve, exec, \"0\", \"5\"]\n    {hook}\n");
    let (world, _) = applied(&sidecar, &container).await;
    assert_eq!(running(&world), ["main", "proxy"]);
    remove(&world).await;
    secs(1).await;
    let mut at_once = executed(&world);
    at_once.sort();
    assert_eq!(at_once, ["main: bye", "proxy: bye"]);
    secs(3).await;
    assert_eq!(running(&world), ["main", "proxy"], "the sidecar outlives the main container");
    secs(5).await;
    assert!(running(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_post_start_hook_kills_the_container_which_restarts_with_back_off() {
    let container =
        "    args: [serve, exec, \"7\", \"1\"]\n    lifecycle: {postStart: {exec: {command: [hello]}}}\n";
    let (world, uid) = applied("", container).await;
    let pod = shown(&world, &uid);
    for reason in ["FailedPostStartHook", "Killing", "BackOff"] {
        assert!(reasons(&pod).contains(&reason.to_owned()), "{reason}: {:?}", reasons(&pod));
    }
    let early = executed(&world).len();
    assert!((2..=3).contains(&early), "{early} starts in the first 30 s");
    secs(600).await;
    let starts = executed(&world).len();
    assert!((5..=8).contains(&starts), "{starts} starts in 10 minutes");
    assert!(running(&world).is_empty());
    let pod = shown(&world, &uid);
    let status = &pod.status.container_statuses.as_ref().expect("statuses")[0];
    assert_eq!(usize::try_from(status.restart_count).ok(), Some(starts - 1));
}

#[tokio::test(start_paused = true)]
async fn a_hook_does_not_hold_a_pod_that_is_removed() {
    let container = "    args: [serve, exec, \"0\", \"100000\"]\n    lifecycle: {postStart: {exec: {command: [hello]}}}\n";
    let (world, _) = applied("  terminationGracePeriodSeconds: 5\n", container).await;
    assert_eq!(running(&world), ["main"]);
    remove(&world).await;
    secs(20).await;
    assert!(world.view().pods.is_empty());
    assert!(world.runtime.store().sandboxes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pod_fails_when_its_deadline_is_over() {
    let (mut world, uid) = applied("  activeDeadlineSeconds: 100\n", "    args: [serve]\n").await;
    // A step of the wall clock changes nothing.
    world.clock.step_wall_secs(50_000);
    secs(60).await;
    let pod = shown(&world, &uid);
    assert_eq!((pod.status.phase.as_deref(), running(&world).len()), (Some("Running"), 1));
    secs(20).await;
    for round in ["by itself", "after a restart of the agent"] {
        let status = shown(&world, &uid).status.clone();
        let message = "Pod was active on the node longer than the specified deadline";
        assert_eq!(
            (status.phase.as_deref(), status.reason.as_deref(), status.message.as_deref()),
            (Some("Failed"), Some("DeadlineExceeded"), Some(message)),
            "{round}"
        );
        assert!(running(&world).is_empty(), "{round}");
        world.kill_agent();
        world.start_agent();
        secs(60).await;
    }
    let starts = world.runtime.store().calls["StartContainer"];
    assert_eq!(starts, 1);
    let pod = shown(&world, &uid);
    let told: Vec<_> = pod.events.iter().filter(|event| event.reason == "DeadlineExceeded").collect();
    assert_eq!((told.len(), told[0].count, told[0].event_type), (1, 1, core_types::EventType::Normal));
    remove(&world).await;
    secs(60).await;
    assert!(world.view().pods.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_ends_for_another_and_takes_too_long_is_told() {
    let needs = "    args: [serve]\n    resources: {requests: {cpu: \"6\"}}\n";
    let (world, uid) = applied("  priority: 1\n  terminationGracePeriodSeconds: 10\n", needs).await;
    world.faults.set_runtime_down(true);
    let critical = String::from_utf8(manifest("  priority: 2000001000\n", needs).to_vec()).expect("text");
    world.static_manifests.put("critical.yaml", critical.replace("name: web", "name: critical"));
    secs(14).await;
    let late = |world: &World| {
        let pod = shown(world, &uid);
        pod.events
            .iter()
            .filter(|event| event.reason == "ExceededGracePeriod")
            .map(|event| event.count)
            .sum::<u32>()
    };
    assert!(
        reasons(&shown(&world, &uid)).contains(&"Preempting".to_owned()),
        "{:?}",
        reasons(&shown(&world, &uid))
    );
    assert_eq!(late(&world), 0);
    secs(100).await;
    assert_eq!(late(&world), 1, "it is told once");
    world.faults.set_runtime_down(false);
    secs(60).await;
    assert_eq!((running(&world).len(), late(&world)), (1, 1), "the critical pod runs in its place");
}
