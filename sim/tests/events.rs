//! Events of a simulated node: they survive the agent, and a crash loop does not flood whoever is told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::{EventRecord, ObjectKind, PodUid};
use ports::Control;
use sim::runtime::EventSupport;
use sim::world::World;

/// A pod that ends with an error as soon as it runs.
async fn crashing() -> (World, PodUid) {
    let world = World::new(1, 0, EventSupport::Streams).expect("a world");
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: main\n    \
                image: sim/app:1\n    args: [exit, \"3\", \"1\"]\n";
    let control = world.control().expect("the agent runs");
    let applied = control.apply(bytes::Bytes::from(text)).await.expect("it is taken");
    (world, applied[0].uid.clone())
}

async fn secs(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

/// Events of the pod by reason and message, with their counts.
fn counts(world: &World, uid: &PodUid) -> BTreeMap<(String, String), u32> {
    let pod = world.view().pods.get(uid).cloned().expect("the pod is shown");
    pod.events.iter().map(|event| ((event.reason.clone(), event.message.clone()), event.count)).collect()
}

#[tokio::test(start_paused = true)]
async fn events_outlive_a_killed_agent_and_go_on_counting() {
    let (mut world, uid) = crashing().await;
    secs(120).await;
    let before = counts(&world, &uid);
    let back_off = |counts: &BTreeMap<(String, String), u32>| {
        counts.iter().filter(|((reason, _), _)| reason == "BackOff").map(|(_, count)| *count).sum::<u32>()
    };
    assert!(back_off(&before) > 1, "{before:?}");
    world.kill_agent();
    world.start_agent();
    secs(600).await;
    let after = counts(&world, &uid);
    for (event, count) in &before {
        assert!(
            after.get(event) >= Some(count),
            "{event:?} was counted {count} times, and now {:?}",
            after.get(event)
        );
    }
    assert!(back_off(&after) > back_off(&before), "{after:?}");
    let control = world.control().expect("the agent runs");
    let starts =
        control.events_since(0).await.events.into_iter().find(|event| event.object.kind == ObjectKind::Node);
    let starts = starts.expect("the node has events, too");
    assert_eq!((starts.message.as_str(), starts.count), ("Starting kubelet.", 1));
}

#[tokio::test(start_paused = true)]
async fn who_asks_a_new_agent_at_once_hears_of_earlier_lives() {
    let (mut world, uid) = crashing().await;
    secs(120).await;
    world.kill_agent();
    world.start_agent();
    let news = world.control().expect("the agent runs").events_since(0).await;
    assert!(
        news.events.iter().any(|event| event.object.uid == uid.to_string() && event.reason == "BackOff"),
        "{news:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_tells_little_and_loses_no_count() {
    let (world, uid) = crashing().await;
    secs(3 * 3600).await;
    let sent: Vec<EventRecord> =
        world.api.events.sent().into_iter().filter(|event| event.object.uid == uid.to_string()).collect();
    let mut newest = BTreeMap::new();
    let mut per_type = BTreeMap::<_, u32>::new();
    for event in &sent {
        *per_type.entry(event.event_type).or_default() += 1;
        newest.insert((event.reason.clone(), event.message.clone()), event.count);
    }
    println!("{} sendings in 3 h: {newest:?}", sent.len());
    assert!(per_type.values().all(|count| *count <= 25 + 36 + 8), "{per_type:?}");
    // What is behind is behind by at most the few tokens that its turn takes.
    for (event, count) in counts(&world, &uid) {
        let told = newest.get(&event).copied().unwrap_or(0);
        assert!(told > 0 && told <= count && count - told <= 10, "{event:?}: {told} of {count} told");
    }
}

#[tokio::test(start_paused = true)]
async fn events_wait_while_nobody_takes_them() {
    let (world, uid) = crashing().await;
    world.api.events.go_away();
    secs(300).await;
    let told = world.api.events.sent().len();
    world.api.events.come_back();
    secs(30).await;
    let sent = world.api.events.sent();
    assert!(sent.len() > told);
    let reasons: Vec<&str> = sent[told..].iter().map(|event| event.reason.as_str()).collect();
    assert!(reasons.contains(&"BackOff"), "{reasons:?}");
    assert!(counts(&world, &uid).len() <= sent.len());
}
