//! Resizes on the simulated node: what is in force is in the end what was asked for, whatever breaks on the way, and
//! nothing restarts for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_types::api::Pod;
use core_types::runtime::ContainerState;
use core_types::{ContainerId, PodExt, PodKey, PodUid, QosClass};
use ports::{Cgroups, Control};
use sim::runtime::EventSupport;
use sim::world::World;

/// Pods of a scenario.
const NAMES: [&str; 3] = ["a", "b", "c"];

fn manifest(name: &str, cpu_milli: u64, memory_mib: u64, more: &str) -> bytes::Bytes {
    let size = format!("cpu: {cpu_milli}m, memory: {memory_mib}Mi");
    let resources =
        format!("resources: {{requests: {{cpu: {}m, memory: 2Mi}}, limits: {{{size}}}}}", cpu_milli / 2 + 1);
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - {{name: main, image: \"sim/app:1\", args: [serve], {resources}{more}}}\n  - {{name: side, image: \"sim/app:1\", args: [serve], resources: {{limits: {{cpu: 10m, memory: 4Mi}}}}}}\n"
    );
    bytes::Bytes::from(text)
}

async fn secs(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

/// CPU quota and memory limit of each running container, by pod and name.
fn in_force(world: &World) -> BTreeMap<(PodUid, String), (ContainerId, i64, i64)> {
    let store = world.runtime.store();
    let running = store.containers.iter().filter(|(_, c)| c.state == ContainerState::Running);
    running
        .filter_map(|(id, c)| {
            let resources = &c.config.resources;
            let size = (id.clone(), resources.cpu_quota_us, resources.memory_limit_bytes);
            Some(((store.uid_of(id)?, c.config.name.clone()), size))
        })
        .collect()
}

async fn check(world: &World, wanted: &BTreeMap<&str, (u64, u64)>) -> Result<(), String> {
    let view = world.view();
    let running = in_force(world);
    for (name, (cpu, memory)) in wanted {
        let key = PodKey::new("default", *name);
        let (uid, pod) = view
            .pods
            .iter()
            .find(|(_, pod)| pod.pod.key() == key)
            .ok_or_else(|| format!("{name} is not there"))?;
        let main =
            running.get(&(uid.clone(), "main".to_owned())).ok_or_else(|| format!("{name} does not run"))?;
        let want = (cpu * 100, memory << 20);
        if (main.1.unsigned_abs(), main.2.unsigned_abs()) != want {
            return Err(format!(
                "{name} has {:?} instead of {want:?}; {:?}",
                (main.1, main.2),
                pod.status.conditions
            ));
        }
        let given: Arc<Pod> = Arc::clone(&pod.pod);
        let path = core_cm::CgroupPath::pod(core_cm::qos_class(&given), uid);
        let limits = world.cgroups.limits(&path).await.map_err(|error| error.to_string())?;
        let sums = ((cpu + 10) * 100, (memory + 4) << 20);
        let seen = (
            limits.cpu_quota_us.unwrap_or(0).unsigned_abs(),
            limits.memory_limit_bytes.unwrap_or(0).unsigned_abs(),
        );
        if seen != sums {
            return Err(format!("the cgroup of {name} has {seen:?} instead of {sums:?}"));
        }
        let mut conditions = pod.status.conditions.iter().flatten();
        if let Some(left) = conditions.find(|condition| condition.type_.starts_with("PodResize")) {
            return Err(format!("{name} still has {left:?}"));
        }
    }
    Ok(())
}

async fn play(seed: u64) -> Result<(), String> {
    let events = if seed.is_multiple_of(3) { EventSupport::Unimplemented } else { EventSupport::Streams };
    let mut world = World::new(seed, 0, events).map_err(|error| error.to_string())?;
    let mut wanted = BTreeMap::new();
    for name in NAMES {
        let control = world.control().ok_or("no agent")?;
        control.apply(manifest(name, 500, 64, "")).await.map_err(|error| error.to_string())?;
        wanted.insert(name, (500, 64));
    }
    secs(120).await;
    check(&world, &wanted).await?;
    let before: BTreeMap<_, _> = in_force(&world).into_iter().map(|(key, size)| (key, size.0)).collect();
    world.faults.set_rate(u32::try_from(seed % 5).unwrap_or(0) * 60);
    for _ in 0..25 {
        match world.faults.pick(10) {
            0..=5 => {
                let name = NAMES[usize::try_from(world.faults.pick(3)).expect("one of three")];
                // Up to 6 of 8 cores each: some must wait for others.
                let (cpu, memory) = (100 + world.faults.pick(11_000), 8 + world.faults.pick(200));
                let control = world.control().ok_or("no agent")?;
                // Refused before the agent has seen its own pods again.
                if control.resize(manifest(name, cpu, memory, "")).await.is_ok() {
                    wanted.insert(name, (cpu, memory));
                }
            }
            6 => {
                world.kill_agent();
                secs(world.faults.pick(10)).await;
                world.start_agent();
            }
            7 => {
                world.faults.set_runtime_down(true);
                world.runtime.break_streams();
                secs(world.faults.pick(30)).await;
                world.faults.set_runtime_down(false);
            }
            8 => {
                world.faults.set_disk_full(true);
                secs(world.faults.pick(20)).await;
                world.faults.set_disk_full(false);
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(world.faults.pick(15_000))).await;
    }
    world.faults.stop();
    secs(600).await;
    for name in NAMES {
        let control = world.control().ok_or("no agent")?;
        let size = (1000, 32);
        control.resize(manifest(name, size.0, size.1, "")).await.map_err(|error| error.to_string())?;
        wanted.insert(name, size);
    }
    secs(600).await;
    check(&world, &wanted).await?;
    let after: BTreeMap<_, _> = in_force(&world).into_iter().map(|(key, size)| (key, size.0)).collect();
    if before != after {
        return Err(format!("containers were restarted: {before:?} became {after:?}"));
    }
    world.kill_agent();
    world.start_agent();
    secs(60).await;
    let calls = world.runtime.store().calls.get("UpdateContainerResources").copied();
    secs(300).await;
    check(&world, &wanted).await?;
    match world.runtime.store().calls.get("UpdateContainerResources").copied() == calls {
        true => Ok(()),
        false => Err("a pod that has its size is resized again".to_owned()),
    }
}

#[tokio::test(start_paused = true)]
async fn random_resizes_come_into_force_whatever_breaks_and_restart_nothing() {
    for seed in 0..40 {
        if let Err(failure) = play(seed).await {
            panic!("seed {seed}: {failure}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_policy_restarts_once_even_when_the_agent_dies_on_the_way() {
    let policy = ", resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]";
    for killed_after_ms in [0, 1, 5, 100, 2_000] {
        let mut world = World::new(1, 0, EventSupport::Streams).expect("a world");
        let control = world.control().expect("the agent runs");
        let applied = control.apply(manifest("a", 500, 64, policy)).await.expect("it is taken");
        secs(60).await;
        control.resize(manifest("a", 700, 64, policy)).await.expect("it is taken");
        tokio::time::sleep(Duration::from_millis(killed_after_ms)).await;
        drop(control);
        world.kill_agent();
        secs(1).await;
        world.start_agent();
        secs(120).await;
        check(&world, &BTreeMap::from([("a", (700, 64))])).await.expect("its new size");
        let view = world.view();
        let status = &view.pods[&applied[0].uid].status;
        let restarts = |name: &str| {
            let list = status.container_statuses.iter().flatten();
            list.filter(|status| status.name == name).map(|status| status.restart_count).sum::<i32>()
        };
        assert_eq!((restarts("main"), restarts("side")), (1, 0), "killed after {killed_after_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resize_that_waits_gets_its_room_when_another_pod_goes() {
    let world = World::new(1, 0, EventSupport::Streams).expect("a world");
    let control = world.control().expect("the agent runs");
    for name in ["a", "b"] {
        control.apply(manifest(name, 6000, 64, "")).await.expect("it is taken");
    }
    secs(60).await;
    control.resize(manifest("a", 12_000, 64, "")).await.expect("it is taken");
    secs(10).await;
    let uid = |name: &str| {
        let view = world.view();
        let key = PodKey::new("default", name);
        view.pods.iter().find(|(_, pod)| pod.pod.key() == key).map(|(uid, _)| uid.clone())
    };
    let a = uid("a").expect("it is there");
    let pending = || {
        let view = world.view();
        let conditions = view.pods[&a].status.conditions.clone().unwrap_or_default();
        conditions.into_iter().find(|c| c.type_ == "PodResizePending").and_then(|c| c.reason)
    };
    assert_eq!(pending().as_deref(), Some("Deferred"));
    control.remove(&PodKey::new("default", "b")).await.expect("it is removed");
    secs(60).await;
    assert_eq!(pending(), None);
    check(&world, &BTreeMap::from([("a", (12_000, 64))])).await.expect("it has its size");
}

#[tokio::test(start_paused = true)]
async fn a_qos_class_has_what_its_pods_request_and_gets_it_back_within_minutes() {
    let world = World::new(1, 0, EventSupport::Streams).expect("a world");
    let control = world.control().expect("the agent runs");
    let class = core_cm::CgroupPath::qos(QosClass::Burstable);
    let shares = async || world.cgroups.limits(&class).await.expect("the class is there").cpu_shares;
    // Half of main's limit and a thousandth, and the 10 thousandths of side.
    let of_pods = |milli_cpu: u64| milli_cpu * 1024 / 1000;
    for name in ["a", "b"] {
        control.apply(manifest(name, 1000, 64, "")).await.expect("it is taken");
    }
    secs(30).await;
    assert_eq!(shares().await, of_pods(2 * 511));
    control.resize(manifest("a", 2000, 64, "")).await.expect("it is taken");
    secs(60).await;
    assert_eq!(shares().await, of_pods(511 + 1011));
    let meddled = core_cm::CgroupValues { cpu_shares: Some(7), ..core_cm::CgroupValues::default() };
    world.cgroups.ensure(&class, &meddled).await.expect("it is changed");
    secs(180).await;
    assert_eq!(shares().await, of_pods(511 + 1011), "somebody else changed it");
    control.remove(&PodKey::new("default", "a")).await.expect("it is removed");
    secs(60).await;
    assert_eq!(shares().await, of_pods(511));
}
