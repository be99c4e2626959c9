//! Resizes are judged in order, wait, start and are taken back.

use super::*;
use crate::admission::{self, KernelVersion, NodeAllocatable, SysctlAllowList};
use core_cm::{CgroupVersion, CpuQuota, SwapBehavior};
use proptest::prelude::*;
use serde_json::{Value, json};

fn pod(uid: &str, generation: i64, spec: Value) -> Arc<Pod> {
    let meta = json!({"name": uid, "namespace": "ns", "uid": uid, "generation": generation});
    Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap())
}

fn cpu(uid: &str, generation: i64, milli: i64) -> Arc<Pod> {
    let resources = json!({"requests": {"cpu": format!("{milli}m")}});
    pod(uid, generation, json!({"containers": [{"name": "c", "resources": resources}]}))
}

fn facts() -> NodeFacts {
    NodeFacts {
        cgroup_version: CgroupVersion::V2,
        memory_bytes: 1 << 30,
        swap_bytes: 1 << 30,
        hugepage_sizes: Vec::new(),
        cpu_quota: CpuQuota::Enforced { period_us: 100_000 },
        swap: SwapBehavior::NoSwap,
        pod_pids_limit: -1,
        memory_qos: core_cm::MemoryQos::Off,
        single_process_oom_kill: false,
    }
}

const NONE: Managers = Managers { cpu: StaticPolicy::NotInUse, memory: StaticPolicy::NotInUse };

/// A node with 1000 thousandths of a core.
struct Node {
    allocations: Allocations,
    pods: BTreeMap<PodUid, Arc<Pod>>,
    facts: NodeFacts,
    rules: ResizeRules,
    secs: i64,
}

impl Node {
    fn with(pods: &[Arc<Pod>]) -> Self {
        let mut node = Self {
            allocations: Allocations::default(),
            pods: BTreeMap::new(),
            facts: facts(),
            rules: ResizeRules { pod_level: PodLevelResize::Allowed, managers: NONE },
            secs: 0,
        };
        for pod in pods {
            node.allocations.admit(pod);
            node.pods.insert(pod.uid(), Arc::clone(pod));
        }
        node
    }

    fn want(&mut self, pod: &Arc<Pod>) -> Option<ResizeNews> {
        self.pods.insert(pod.uid(), Arc::clone(pod));
        self.allocations.update(pod)
    }

    fn judge(&mut self) -> Vec<ResizeNews> {
        self.secs += 1;
        let allocatable = NodeAllocatable {
            cpu_milli: 1000,
            memory_bytes: 1 << 40,
            ephemeral_storage_bytes: 1 << 40,
            pods: 100,
            others: BTreeMap::new(),
        };
        let sysctls = SysctlAllowList::new(KernelVersion { major: 6, minor: 1 }, &[]).unwrap();
        let labels = BTreeMap::new();
        let admission = admission::NodeFacts {
            name: "n",
            taints: &[],
            labels: &labels,
            allocatable: &allocatable,
            app_armor: admission::AppArmor::Disabled,
            sysctls: &sysctls,
            strict_groups: admission::StrictGroups::Unknown,
            pod_level_resources: admission::PodLevelResources::Enabled,
            restart_rules: core_types::RestartRules::default(),
            pressures: core_types::pressure::Pressures::default(),
            shutdown: core_types::Shutdown::None,
        };
        let judge = |pod: &Pod, others: &[Arc<Pod>]| {
            admission::admit(pod, others, &admission, admission::Room::AsItIs)
        };
        let now = (
            MonoTime::ZERO + Duration::from_secs(self.secs.unsigned_abs()),
            WallTime::from_unix_secs(self.secs),
        );
        self.allocations.judge(&Round {
            pods: &self.pods,
            judge: &judge,
            node: &self.facts,
            rules: self.rules,
            now,
        })
    }

    fn given_milli(&self, uid: &str) -> i64 {
        let given = self.allocations.given(&self.pods[&PodUid::from(uid)]);
        core_cm::pod_requests(&given, core_cm::Overhead::Included)["cpu"].milli_value()
    }

    fn condition(&self, uid: &str) -> (String, String) {
        let conditions = self.allocations.conditions(&PodUid::from(uid)).cloned().unwrap_or_default();
        conditions.pending.map(|pending| (pending.reason, pending.message)).unwrap_or_default()
    }
}

fn kinds(news: &[ResizeNews]) -> Vec<(&str, NewsKind)> {
    news.iter().map(|news| (news.uid.as_str(), news.kind)).collect()
}

#[test]
fn a_resize_that_fits_is_given_and_starts() {
    let mut node = Node::with(&[cpu("a", 1, 100)]);
    assert_eq!(node.want(&cpu("a", 2, 200)), None);
    assert_eq!(node.given_milli("a"), 100, "not before it was judged");
    let news = node.judge();
    assert_eq!(kinds(&news), [("a", NewsKind::Started)]);
    assert_eq!(
        news[0].message,
        r#"Pod resize started: {"containers":[{"name":"c","resources":{"requests":{"cpu":"200m"}}}],"generation":2}"#
    );
    assert_eq!(node.given_milli("a"), 200);
    let progress = node.allocations.conditions(&PodUid::from("a")).unwrap().in_progress.clone().unwrap();
    assert_eq!((progress.reason.as_str(), progress.generation), ("", Some(2)));
    assert!(!node.allocations.has_pending() && node.allocations.next_deadline().is_none());
}

#[test]
fn a_resize_waits_for_room_and_says_so_once() {
    let mut node = Node::with(&[cpu("a", 1, 500), cpu("b", 1, 400)]);
    node.want(&cpu("a", 2, 700));
    let news = node.judge();
    assert_eq!(kinds(&news), [("a", NewsKind::Deferred)]);
    let why = "Node didn't have enough resource: cpu, requested: 700, used: 400, capacity: 1000";
    assert_eq!(
        news[0].message,
        format!(
            r#"Pod resize Deferred: {{"containers":[{{"name":"c","resources":{{"requests":{{"cpu":"700m"}}}}}}],"generation":2,"error":"{why}"}}"#
        )
    );
    assert_eq!(node.condition("a"), ("Deferred".to_owned(), why.to_owned()));
    assert!(node.judge()[0].message.is_empty(), "once");
    assert!(node.allocations.next_deadline().is_some());
    node.pods.remove(&PodUid::from("b"));
    node.allocations.remove(&PodUid::from("b"));
    let news = node.judge();
    assert_eq!(kinds(&news), [("a", NewsKind::Started)]);
    assert_eq!(news[0].waited.as_ref().unwrap().since, WallTime::from_unix_secs(1));
    assert_eq!(node.condition("a"), Default::default());
}

#[test]
fn a_resize_that_is_taken_back_waits_no_more() {
    let mut node = Node::with(&[cpu("a", 1, 500)]);
    node.want(&cpu("a", 2, 5000));
    node.judge();
    assert_eq!(node.want(&cpu("a", 3, 500)).unwrap().kind, NewsKind::Reverted);
    assert!(!node.allocations.has_pending());
    assert_eq!(node.condition("a"), Default::default());
}

#[test]
fn what_asks_for_no_more_comes_first_then_priority_class_and_waiting_time() {
    let of = |uid: &str, milli: i64, priority: i32, limits: &str| {
        let mut resources = json!({"requests": {"cpu": format!("{milli}m"), "memory": "1Mi"}});
        if !limits.is_empty() {
            resources["limits"] = resources["requests"].clone();
        }
        let spec = json!({"priority": priority, "containers": [{"name": "c", "resources": resources}]});
        pod(uid, 1, spec)
    };
    let all = [("d", 0, ""), ("c", 0, "guaranteed"), ("b", 9, ""), ("a", 0, "")];
    let mut node = Node::with(&all.map(|(uid, priority, class)| of(uid, 100, priority, class)));
    for (uid, priority, class) in all {
        let milli = if uid == "d" { 50 } else { 5000 };
        node.want(&of(uid, milli, priority, class));
    }
    let order: Vec<_> = node.judge().into_iter().map(|news| news.uid.to_string()).collect();
    assert_eq!(order, ["d", "b", "c", "a"]);
    // Those that wait since the same time keep their places; one that came later is behind them.
    node.allocations.admit(&of("A", 100, 0, ""));
    node.want(&of("A", 5000, 0, ""));
    let order: Vec<_> = node.judge().into_iter().map(|news| news.uid.to_string()).collect();
    assert_eq!(order, ["b", "c", "a", "A"]);
}

#[test]
fn what_can_never_be_is_infeasible_and_not_judged_again() {
    let of = |memory: &str, limit: &str, whole: &str| {
        let resources =
            json!({"requests": {"memory": memory, "cpu": "1m"}, "limits": {"memory": limit, "cpu": "1m"}});
        let whole = json!({"requests": {"cpu": whole}});
        pod("a", 1, json!({"containers": [{"name": "c", "resources": resources}], "resources": whole}))
    };
    let swap = |node: &mut Node| node.facts.swap = SwapBehavior::Limited;
    let whole = |node: &mut Node| node.rules.pod_level = PodLevelResize::Disabled;
    for (prepare, new, why) in [
        (&swap as &dyn Fn(&mut Node), of("3Mi", "4Mi", "1m"), Infeasible::Swap),
        (&whole, of("2Mi", "4Mi", "2m"), Infeasible::PodLevelDisabled),
    ] {
        let mut node = Node::with(&[of("2Mi", "4Mi", "1m")]);
        prepare(&mut node);
        node.want(&new);
        assert_eq!(kinds(&node.judge()), [("a", NewsKind::Infeasible(why))]);
        assert_eq!(node.condition("a"), ("Infeasible".to_owned(), why.message()));
        assert_eq!((node.judge(), node.allocations.has_pending()), (Vec::new(), false));
    }
    let guaranteed = |cpu: &str| {
        let list = json!({"memory": "1Mi", "cpu": cpu});
        let resources = json!({"requests": list, "limits": list});
        pod("a", 1, json!({"containers": [{"name": "c", "resources": resources}]}))
    };
    let mut node = Node::with(&[guaranteed("1m")]);
    node.rules.managers.cpu = StaticPolicy::InUse;
    node.want(&guaranteed("2m"));
    assert_eq!(kinds(&node.judge()), [("a", NewsKind::Infeasible(Infeasible::CpuManager))]);
}

#[test]
fn what_was_given_before_a_restart_holds_until_it_is_judged_again() {
    let before = Node::with(&[cpu("a", 1, 100)]);
    let mut node = Node::with(&[]);
    node.allocations = Allocations::restored(before.allocations.book().clone());
    let wanted = cpu("a", 2, 300);
    node.allocations.admit(&wanted);
    node.pods.insert(wanted.uid(), Arc::clone(&wanted));
    assert_eq!((node.given_milli("a"), node.allocations.has_pending()), (100, true));
    assert_eq!(kinds(&node.judge()), [("a", NewsKind::Started)]);
}

#[test]
fn conditions_that_an_api_server_was_told_are_taken_up() {
    let mut pod = Pod::clone(&cpu("a", 2, 100));
    let condition = json!({
        "type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "no room",
        "observedGeneration": 2, "lastTransitionTime": "1970-01-01T00:00:09Z",
    });
    pod.status = serde_json::from_value(json!({"conditions": [condition]})).unwrap();
    let before = Node::with(&[cpu("a", 1, 50)]);
    let mut allocations = Allocations::restored(before.allocations.book().clone());
    allocations.admit(&pod);
    let pending = allocations.conditions(&pod.uid()).unwrap().pending.clone().unwrap();
    assert_eq!((pending.reason.as_str(), pending.generation), ("Deferred", Some(2)));
    assert_eq!(pending.since, WallTime::from_unix_secs(9));
    let mut allocations = Allocations::default();
    allocations.admit(&pod);
    assert_eq!(allocations.conditions(&pod.uid()), None, "nothing is pending any more");
}

#[test]
fn only_sizes_may_change_and_none_may_go() {
    let of = |container: Value| {
        let mut container = container;
        container["name"] = json!("c");
        pod("a", 1, json!({"containers": [container]}))
    };
    let sized = |requests: Value, limits: Value| {
        of(json!({"image": "i", "resources": {"requests": requests, "limits": limits}}))
    };
    let old = sized(json!({"cpu": "1"}), json!({"cpu": "2"}));
    let change = |new: &Pod| match spec_change(&old, new) {
        SpecChange::Other(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        other => format!("{other:?}"),
    };
    assert_eq!(change(&sized(json!({"cpu": "1000m"}), json!({"cpu": "2"}))), "None");
    assert_eq!(change(&sized(json!({"cpu": "1500m", "memory": "1Mi"}), json!({"cpu": "3"}))), "Resize");
    for (new, why) in [
        (
            sized(json!({}), json!({"cpu": "2"})),
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ),
        (
            sized(json!({"cpu": "1"}), json!({})),
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        (of(json!({"image": "j"})), "spec: Forbidden: only cpu and memory resources are mutable"),
        (
            sized(json!({"cpu": "2", "memory": "1Mi"}), json!({"cpu": "2", "memory": "1Mi"})),
            "spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of resizing",
        ),
    ] {
        assert_eq!(change(&new), why);
    }
    let mut labelled = Pod::clone(&old);
    labelled.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    assert!(change(&labelled).contains("only cpu and memory"));
}

/// `testdata/resize_events.jsonl` holds random pods with the texts of upstream's events about them.
#[test]
fn events_read_as_upstreams() {
    let lines: Vec<&str> = include_str!("../../testdata/resize_events.jsonl").lines().collect();
    assert_eq!(lines.len(), 25);
    for line in lines {
        let golden: Value = serde_json::from_str(line).unwrap();
        let generation = golden["generation"].as_i64();
        let pod = pod("a", generation.unwrap(), golden["spec"].clone());
        assert_eq!(text::resize_started(&pod), golden["started"]);
        assert_eq!(text::resize_completed(&pod, generation), golden["completed"]);
        assert_eq!(text::resize_error(&pod, generation, "no \"room\" <here>"), golden["error"]);
        assert_eq!(text::resize_pending(&pod, PendingReason::Deferred, "why & how"), golden["pending"]);
    }
}

#[test]
fn every_changed_number_is_counted_with_its_direction() {
    let of = |resources: Value| pod("a", 1, json!({"containers": [{"name": "c", "resources": resources}]}));
    let old = of(json!({"requests": {"cpu": "1", "memory": "2Mi"}, "limits": {"memory": "4Mi"}}));
    let new = of(json!({"requests": {"cpu": "2", "memory": "1Mi"}, "limits": {"cpu": "2"}}));
    let found: Vec<_> = requested_resizes(&old, &new)
        .iter()
        .map(|found| format!("{} {} {}", found.resource, found.requirement, found.operation))
        .collect();
    assert_eq!(
        found,
        ["memory requests decrease", "memory limits remove", "cpu requests increase", "cpu limits add"]
    );
}

proptest! {
    #[test]
    fn the_node_is_never_given_out_twice(wishes in proptest::collection::vec((0..4_usize, 1..1200_i64), 1..40)) {
        let names = ["a", "b", "c", "d"];
        let mut node = Node::with(&names.map(|name| cpu(name, 1, 100)));
        for (who, milli) in wishes {
            node.want(&cpu(names[who], 2, milli));
            node.judge();
            let sum: i64 = names.iter().map(|name| node.given_milli(name)).sum();
            prop_assert!(sum <= 1000, "{sum}");
            for name in names {
                let wants = core_cm::pod_requests(&node.pods[&PodUid::from(name)], core_cm::Overhead::Included);
                let has_it = wants["cpu"].milli_value() == node.given_milli(name);
                prop_assert_eq!(node.condition(name).0.is_empty(), has_it);
            }
        }
    }
}
