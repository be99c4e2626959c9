//! Restart rules of single containers, and restarts of all containers of a pod, on the simulated node.

use std::sync::Arc;
use std::time::Duration;

use core_types::PodUid;
use core_types::runtime::ContainerState;
use core_types::view::PodView;
use ports::Control;
use sim::runtime::EventSupport;
use sim::world::World;

async fn applied(spec: &str) -> (World, PodUid) {
    let world = World::new(1, 0, EventSupport::Streams).expect("a world");
    let control = world.control().expect("the agent runs");
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n{spec}");
    let applied = control.apply(text.into()).await.expect("it is taken");
    (world, applied[0].uid.clone())
}

async fn secs(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

fn shown(world: &World, uid: &PodUid) -> Arc<PodView> {
    world.view().pods.get(uid).cloned().expect("the pod is shown")
}

/// Name and number of each running container.
fn running(world: &World) -> Vec<(String, u32)> {
    let store = world.runtime.store();
    let running = store.containers.values().filter(|c| c.state == ContainerState::Running);
    let mut all: Vec<_> = running.map(|c| (c.config.name.clone(), c.config.attempt)).collect();
    all.sort();
    all
}

const ANEW: &str = r#"  restartPolicy: Never
  initContainers:
  - {name: first, image: "sim/app:1", args: [exit, "0", "2"]}
  - {name: side, image: "sim/app:1", restartPolicy: Always, args: [serve, after, first]}
  containers:
  - name: main
    image: sim/app:1
    args: [once, "42", "30", after, first, after, side]
    restartPolicy: Never
    restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]
  - {name: other, image: "sim/app:1", args: [stubborn, after, side]}
"#;

#[tokio::test(start_paused = true)]
async fn a_rule_restarts_the_whole_pod_in_its_sandbox() {
    let (world, uid) = applied(ANEW).await;
    secs(20).await;
    let before = running(&world);
    assert_eq!(before, [("main".into(), 0), ("other".into(), 0), ("side".into(), 0)]);
    secs(40).await;
    let after = running(&world);
    assert_eq!(after, [("main".into(), 1), ("other".into(), 1), ("side".into(), 1)]);
    let store = world.runtime.store();
    assert_eq!(store.sandboxes.len(), 1, "the sandbox stays");
    assert_eq!(store.violations, Vec::<String>::new());
    drop(store);
    let status = shown(&world, &uid).status.clone();
    let counts = |list: &Option<Vec<core_types::api::ContainerStatus>>| -> Vec<i32> {
        list.iter().flatten().map(|status| status.restart_count).collect()
    };
    assert_eq!(
        (counts(&status.container_statuses), counts(&status.init_container_statuses)),
        (vec![1; 2], vec![1; 2])
    );
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let condition = status.conditions.iter().flatten().find(|c| c.type_ == "AllContainersRestarting");
    assert_eq!(condition.map(|c| c.status.as_str()), Some("False"));
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_all_goes_on_after_the_agent_was_killed() {
    // `other` ignores the signal, so that the restart takes the 2 s of grace.
    let (mut world, uid) = applied(ANEW).await;
    secs(1).await;
    let mut waited = 0;
    while !shown(&world, &uid)
        .status
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "AllContainersRestarting" && c.status == "True")
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += 1;
        assert!(waited < 600, "main ends after 30 s");
    }
    world.kill_agent();
    secs(5).await;
    world.start_agent();
    secs(60).await;
    assert_eq!(running(&world), [("main".into(), 1), ("other".into(), 1), ("side".into(), 1)]);
    assert_eq!(world.runtime.store().violations, Vec::<String>::new());
    assert_eq!(shown(&world, &uid).status.phase.as_deref(), Some("Running"));
}

#[tokio::test(start_paused = true)]
async fn rules_of_a_container_decide_whether_it_starts_again() {
    let spec = r#"  restartPolicy: Never
  containers:
  - name: main
    image: sim/app:1
    args: [once, "42", "5"]
    restartPolicy: Never
    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]
  - {name: done, image: "sim/app:1", args: [exit, "0", "1"]}
"#;
    let (world, uid) = applied(spec).await;
    secs(30).await;
    assert_eq!(running(&world), [("main".into(), 1)]);
    assert_eq!(shown(&world, &uid).status.phase.as_deref(), Some("Running"));
    let id = {
        let store = world.runtime.store();
        let running = store.containers.iter().find(|(_, c)| c.state == ContainerState::Running);
        running.map(|(id, _)| id.clone()).expect("main runs")
    };
    world.runtime.kill_container(&id, 3);
    secs(30).await;
    assert!(running(&world).is_empty());
    assert_eq!(shown(&world, &uid).status.phase.as_deref(), Some("Failed"));
}
