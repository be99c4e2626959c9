//! Resources in a status: what is in force, what was given, and the conditions of a resize.

use std::sync::Arc;

use core_cm::PodResources;
use core_cm::resize::{PendingReason, ResizeConditions};
use core_types::WallTime;
use core_types::api::Pod;
use core_types::runtime::LinuxResources;
use core_types::view::{NodeView, PodView};
use serde_json::json;

use super::*;

fn sized(cpu: &str) -> Pod {
    let resources = json!({"requests": {"cpu": cpu, "memory": "8Mi"}, "limits": {"cpu": "1"}});
    let spec = json!({"containers": [{"name": "main", "image": "i", "resources": resources}]});
    serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "ns", "uid": "u1"}, "spec": spec}))
        .unwrap()
}

#[test]
fn a_running_container_shows_what_is_in_force_beside_what_it_was_given() {
    let mut container = running("main", 1);
    container.status.resources = Some(LinuxResources {
        cpu_shares: 102,
        cpu_quota_us: 50_000,
        cpu_period_us: 100_000,
        ..Default::default()
    });
    let mut bench = Bench::new(sized("200m")).see(vec![container]);
    bench.resources.actuated = Some(PodResources::of(&sized("100m")));
    bench.resources.whole = WholeResources::Shown;
    let status = bench.step();
    let main = serde_json::to_value(main_of(&status)).unwrap();
    assert_eq!(main["resources"]["requests"], json!({"cpu": "100m", "memory": "8Mi"}));
    assert_eq!(main["resources"]["limits"], json!({"cpu": "500m"}));
    assert_eq!(main["allocatedResources"], json!({"cpu": "200m", "memory": "8Mi"}));
    let status = serde_json::to_value(&status).unwrap();
    assert_eq!(status["resources"]["requests"]["cpu"], "100m");
    assert_eq!(status["allocatedResources"]["cpu"], "200m");
    let bench = Bench::new(sized("200m")).see(vec![exited("main", 1, 0)]);
    let ended = serde_json::to_value(main_of(&bench.generate())).unwrap();
    assert_eq!(ended["resources"]["requests"]["cpu"], "200m", "what does not run has what it was given");
}

#[test]
fn the_conditions_of_a_resize_come_first_and_carry_their_generation() {
    let mut conditions = ResizeConditions::default();
    conditions.accept(Some(2), WallTime::from_unix_secs(5));
    conditions.wait(PendingReason::Deferred, "no room".to_owned(), Some(3), WallTime::from_unix_secs(6));
    let mut bench = Bench::new(sized("200m")).see(vec![running("main", 1)]);
    bench.resources.conditions = Some(conditions);
    let status = bench.generate();
    let list = status.conditions.as_ref().unwrap();
    assert_eq!([&list[0].type_, &list[1].type_], ["PodResizePending", "PodResizeInProgress"]);
    assert_eq!((list[0].observed_generation, list[1].observed_generation), (Some(3), Some(2)));
    let pending = condition(&status, "PodResizePending");
    assert_eq!(pending, ("True".to_owned(), "Deferred".to_owned(), "no room".to_owned()));
    let shown = PodView {
        pod: Arc::new(bench.pod.clone()),
        status: Arc::new(status.clone()),
        source: None,
        lifecycle: bench.lifecycle,
        activity: None,
        problem: None,
        next_retry: None,
        events: Arc::from([]),
        is_observed: true,
        is_released: false,
        is_wanted: true,
    };
    let why = crate::explain(&shown, &NodeView::default(), WallTime::from_unix_secs(9)).to_string();
    let line = "Resize:     the new sizes wait: no room. It is tried again when other pods end or shrink, and every 3 minutes.";
    assert!(why.contains(&format!("{line}\n            the new sizes are being put in force.\n")), "{why}");
    bench.resources.conditions = None;
    bench.previous = Some(status);
    assert!(bench.generate().conditions.unwrap().iter().all(|c| !c.type_.contains("Resize")));
}
