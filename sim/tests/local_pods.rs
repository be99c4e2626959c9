//! What `podwright` asks of the agent: pods are applied, changed and removed, and what cannot be is refused with a reason.

use std::sync::Arc;
use std::time::Duration;

use agent::AgentControl;
use core_types::view::{Lifecycle, PodSource};
use core_types::{PodExt, PodKey, PodUid};
use ports::{Control, ControlError};
use sim::runtime::EventSupport;
use sim::world::World;

fn manifest(name: &str, image: &str) -> bytes::Bytes {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - {{name: main, image: \"{image}\"}}\n"
    );
    bytes::Bytes::from(text)
}

async fn node(check: impl AsyncFnOnce(World, Arc<AgentControl>)) {
    let world = World::new(1, 0, EventSupport::Streams).expect("a world");
    let control = world.control().expect("the agent runs");
    check(world, control).await;
}

/// Simulated time in which everything settles.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn phase(world: &World, uid: &PodUid) -> Option<String> {
    world.view().pods.get(uid).and_then(|pod| pod.status.phase.clone())
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_applied_changed_and_removed() {
    node(async |world, control| {
        let first = control.apply(manifest("web", "sim/app:1")).await.expect("it is taken");
        assert_eq!((first[0].outcome.as_str(), &first[0].key), ("created", &PodKey::new("default", "web")));
        settle().await;
        assert_eq!(phase(&world, &first[0].uid).as_deref(), Some("Running"));
        let same = control.apply(manifest("web", "sim/app:1")).await.expect("it is taken");
        assert_eq!((same[0].outcome.as_str(), &same[0].uid), ("unchanged", &first[0].uid));
        let changed = control.apply(manifest("web", "sim/app:2")).await.expect("it is taken");
        assert_eq!(changed[0].outcome, "changed");
        settle().await;
        assert_eq!(phase(&world, &first[0].uid), None, "the old one is gone");
        assert_eq!(phase(&world, &changed[0].uid).as_deref(), Some("Running"));
        control.remove(&changed[0].key).await.expect("it is removed");
        settle().await;
        assert!(world.view().pods.is_empty());
        assert!(world.runtime.store().sandboxes.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_local_pod_survives_the_agent() {
    node(async |mut world, control| {
        let applied = control.apply(manifest("web", "sim/app:1")).await.expect("it is taken");
        settle().await;
        let before = world.runtime.store().containers.keys().cloned().collect::<Vec<_>>();
        world.kill_agent();
        world.start_agent();
        settle().await;
        let view = world.view();
        let pod = view.pods.get(&applied[0].uid).expect("the pod is known again");
        assert_eq!((pod.source, pod.lifecycle), (Some(PodSource::Local), Lifecycle::Syncing));
        assert_eq!(world.runtime.store().containers.keys().cloned().collect::<Vec<_>>(), before);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_with_a_reason() {
    node(async |world, control| {
        world.static_manifests.put("web.yaml", manifest("web", "sim/app:1"));
        settle().await;
        let taken = world.view().pods.values().next().expect("the static pod is there").pod.key();
        let refused = control.apply(manifest(&taken.name, "sim/app:1")).await.expect_err("the name is taken");
        assert!(
            matches!(&refused, ControlError::Conflict(text) if text.contains("already exists")),
            "{refused}"
        );
        let refused = control.remove(&taken).await.expect_err("it is not a local pod");
        assert!(
            matches!(&refused, ControlError::Conflict(text) if text.contains("delete its manifest")),
            "{refused}"
        );
        let missing = control.remove(&PodKey::new("default", "none")).await.expect_err("there is none");
        assert!(matches!(missing, ControlError::NotFound(_)), "{missing}");
        let broken =
            control.apply(bytes::Bytes::from_static(b"kind: Deployment")).await.expect_err("it is no pod");
        assert!(matches!(&broken, ControlError::Invalid(text) if text.contains("Deployment")), "{broken}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_rejected_is_never_set_up() {
    node(async |world, control| {
        settle().await;
        let elsewhere = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  nodeSelector: {disk: none-like-it}\n  \
                         containers:\n  - {name: main, image: \"sim/app:1\"}\n";
        let applied = control.apply(bytes::Bytes::from_static(elsewhere.as_bytes())).await.expect("it is taken");
        settle().await;
        let view = world.view();
        let status = &view.pods.get(&applied[0].uid).expect("it is shown").status;
        assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("NodeAffinity")));
        assert!(world.files.pods().is_empty(), "it has a directory");
        assert!(world.runtime.store().sandboxes.is_empty());
    })
    .await;
}
