//! Pods and node facts in, the answer out.

use super::*;
use serde_json::{Value, json};

fn pod(uid: &str, spec: Value) -> Pod {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": uid, "namespace": "ns", "uid": uid}, "spec": spec});
    serde_json::from_value(pod).unwrap()
}

fn allocatable() -> NodeAllocatable {
    NodeAllocatable {
        cpu_milli: 2000,
        memory_bytes: 1 << 30,
        ephemeral_storage_bytes: 1 << 30,
        pods: 3,
        others: [("x.com/gpu".to_owned(), 1)].into(),
    }
}

fn answer(pod: &Pod, others: &[Pod]) -> Result<(), (String, String)> {
    let labels = [("zone".to_owned(), "a".to_owned()), ("size".to_owned(), "5".to_owned())].into();
    let sysctls =
        SysctlAllowList::new(KernelVersion { major: 4, minor: 10 }, &["net.core.*".to_owned()]).unwrap();
    let others: Vec<Arc<Pod>> = others.iter().cloned().map(Arc::new).collect();
    match admit(pod, &others, &facts(&labels, &allocatable(), &sysctls), Room::Make) {
        Admission::Admit => Ok(()),
        Admission::Preempt { victims, .. } => panic!("ends {victims:?}"),
        Admission::Reject { reason, message } => Err((reason.as_str().into_owned(), message)),
    }
}

fn facts<'a>(
    labels: &'a BTreeMap<String, String>,
    allocatable: &'a NodeAllocatable,
    sysctls: &'a SysctlAllowList,
) -> NodeFacts<'a> {
    NodeFacts {
        name: "n",
        labels,
        taints: &[],
        allocatable,
        sysctls,
        app_armor: AppArmor::Disabled,
        strict_groups: StrictGroups::Unknown,
        pod_level_resources: PodLevelResources::Enabled,
        restart_rules: RestartRules::default(),
        pressures: core_types::pressure::Pressures::default(),
        shutdown: core_types::Shutdown::None,
    }
}

#[test]
fn resources_of_the_pod_as_a_whole_need_their_feature_gate() {
    let (labels, sysctls) =
        (BTreeMap::new(), SysctlAllowList::new(KernelVersion { major: 6, minor: 1 }, &[]).unwrap());
    let (allocatable, none) = (allocatable(), Vec::new());
    let node = facts(&labels, &allocatable, &sysctls);
    let off = NodeFacts { pod_level_resources: PodLevelResources::Disabled, ..node };
    let whole = pod("a", json!({"containers": [], "resources": {"requests": {"cpu": "1"}}}));
    assert_eq!(admit(&whole, &none, &node, Room::Make), Admission::Admit);
    let Admission::Reject { reason, message } = admit(&whole, &none, &off, Room::Make) else { panic!() };
    assert_eq!(reason.as_str(), "PodLevelResourcesNotSupported");
    assert_eq!(message, "PodLevelResources feature gate is disabled");
    assert_eq!(admit(&pod("b", json!({"containers": []})), &none, &off, Room::Make), Admission::Admit);
}

#[test]
fn only_the_groups_of_the_pod_need_a_runtime_that_does_that() {
    let (labels, sysctls) =
        (BTreeMap::new(), SysctlAllowList::new(KernelVersion { major: 6, minor: 1 }, &[]).unwrap());
    let allocatable = allocatable();
    let node = facts(&labels, &allocatable, &sysctls);
    let strict =
        pod("p", json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}, "containers": []}));
    let merged =
        pod("p", json!({"securityContext": {"supplementalGroupsPolicy": "Merge"}, "containers": []}));
    for (pod, strict_groups, is_taken) in [
        (&strict, StrictGroups::Honoured, true),
        (&strict, StrictGroups::Unknown, true),
        (&strict, StrictGroups::Ignored, false),
        (&merged, StrictGroups::Ignored, true),
    ] {
        match admit(pod, &[], &NodeFacts { strict_groups, ..node }, Room::Make) {
            Admission::Reject { reason, message } => {
                assert!(!is_taken);
                assert_eq!(reason.as_str(), "SupplementalGroupsPolicyNotSupported");
                assert_eq!(message, "SupplementalGroupsPolicy=Strict is not supported in this node");
            }
            _ => assert!(is_taken, "{strict_groups:?}"),
        }
    }
}

#[test]
fn app_armor_profiles_need_a_host_that_enforces_them() {
    let (labels, sysctls) =
        (BTreeMap::new(), SysctlAllowList::new(KernelVersion { major: 6, minor: 1 }, &[]).unwrap());
    let allocatable = allocatable();
    let disabled = facts(&labels, &allocatable, &sysctls);
    let enabled = NodeFacts { app_armor: AppArmor::Enabled, ..disabled };
    let answer = |pod: &Pod, node: &NodeFacts<'_>| match admit(pod, &[], node, Room::AsItIs) {
        Admission::Admit | Admission::Preempt { .. } => None,
        Admission::Reject { reason, message } => Some(format!("{}: {message}", reason.as_str())),
    };
    let profile =
        |kind: &str, name: &str| json!({"appArmorProfile": {"type": kind, "localhostProfile": name}});
    let of_pod =
        |context: Value| pod("p", json!({"securityContext": context, "containers": [{"name": "c"}]}));
    let of_container =
        |context: Value| pod("p", json!({"containers": [{"name": "c", "securityContext": context}]}));
    let annotated = |value: &str| {
        let mut pod = of_pod(json!({}));
        let key = "container.apparmor.security.beta.kubernetes.io/c".to_owned();
        pod.metadata.annotations = Some([(key, value.to_owned())].into());
        pod
    };
    let off = Some("AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned());
    let empty = Some("AppArmor: Cannot enforce AppArmor: invalid empty AppArmor profile name".to_owned());
    for (pod, on_disabled, on_enabled) in [
        (of_pod(json!({})), &None, &None),
        (of_pod(profile("Unconfined", "")), &None, &None),
        (annotated("unconfined"), &None, &None),
        (of_pod(profile("RuntimeDefault", "")), &off, &None),
        (of_container(profile("Localhost", "p")), &off, &None),
        (annotated("runtime/default"), &off, &None),
        (of_container(profile("Localhost", " ")), &off, &empty),
        (annotated("localhost/"), &off, &empty),
    ] {
        assert_eq!((&answer(&pod, &disabled), &answer(&pod, &enabled)), (on_disabled, on_enabled), "{pod:?}");
    }
}

fn requests(list: Value) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": list}}]})
}

fn rejected(spec: Value, others: &[Pod]) -> (String, String) {
    answer(&pod("new", spec), others).unwrap_err()
}

#[test]
fn resources_that_do_not_fit_are_named_with_their_numbers() {
    let other = pod("old", requests(json!({"cpu": "1500m", "memory": "512Mi", "x.com/gpu": "1"})));
    let others = std::slice::from_ref(&other);
    assert_eq!(answer(&pod("new", requests(json!({"cpu": "500m", "memory": "512Mi"}))), others), Ok(()));
    assert_eq!(
        rejected(requests(json!({"cpu": "501m", "memory": "2Gi"})), others),
        (
            "OutOfcpu".to_owned(),
            "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000".to_owned()
        )
    );
    assert_eq!(
        rejected(requests(json!({"memory": "513Mi"})), others).1,
        "Node didn't have enough resource: memory, requested: 537919488, used: 536870912, capacity: 1073741824"
    );
    assert_eq!(rejected(requests(json!({"x.com/gpu": "1"})), others).0, "OutOfx.com/gpu");
    assert_eq!(rejected(requests(json!({"hugepages-2Mi": "2Mi"})), others).0, "OutOfhugepages-2Mi");
    assert_eq!(answer(&pod("new", requests(json!({"elsewhere.com/x": "9"}))), others), Ok(()));
    let full: Vec<Pod> = ["1", "2", "3"].map(|uid| pod(uid, requests(json!({})))).to_vec();
    assert_eq!(
        rejected(requests(json!({})), &full),
        (
            "OutOfpods".to_owned(),
            "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3".to_owned()
        )
    );
    assert_eq!(answer(&full[0], &full), Ok(()), "a pod does not count against itself");
}

#[test]
fn a_pod_needs_what_runs_at_once_or_what_it_requests_as_a_whole() {
    let cpu = |name: &str, cpu: &str, restart_policy: Option<&str>| json!({"name": name, "restartPolicy": restart_policy, "resources": {"requests": {"cpu": cpu}}});
    let needs = |spec: Value| {
        let (reason, message) = rejected(spec, &[]);
        assert_eq!(reason, "OutOfcpu");
        message.split(", ").nth(1).unwrap().to_owned()
    };
    let init = json!([cpu("s", "1", Some("Always")), cpu("i", "2500m", None)]);
    let containers = json!([cpu("a", "1500m", None)]);
    let spec = json!({"initContainers": init, "containers": containers, "overhead": {"cpu": "100m"}});
    assert_eq!(needs(spec), "requested: 3600");
    let whole = json!({"containers": containers, "resources": {"requests": {"cpu": "4"}}});
    assert_eq!(needs(whole), "requested: 4000");
}

#[test]
fn a_host_port_is_given_once() {
    let ports = |port: Value| json!({"containers": [{"name": "c", "ports": [port]}]});
    let other = pod("old", ports(json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"})));
    let others = std::slice::from_ref(&other);
    let cases = [
        (json!({"containerPort": 80, "hostPort": 80}), false),
        (json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}), false),
        (json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.2"}), true),
        (json!({"containerPort": 80, "hostPort": 80, "protocol": "UDP"}), true),
        (json!({"containerPort": 80, "hostPort": 81}), true),
        (json!({"containerPort": 80}), true),
    ];
    for (port, fits) in cases {
        assert_eq!(answer(&pod("new", ports(port.clone())), others).is_ok(), fits, "{port}");
    }
    assert_eq!(
        rejected(ports(json!({"containerPort": 80, "hostPort": 80})), others),
        (
            "NodePorts".to_owned(),
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports: TCP 0.0.0.0:80 is taken by pod ns/old".to_owned()
        )
    );
}

#[test]
fn sysctls_must_be_on_the_list_and_in_a_namespace_of_the_pod() {
    let sysctl = |name: &str, more: Value| {
        let mut spec =
            json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        spec.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        spec
    };
    for name in [
        "kernel.shm_rmid_forced",
        "net/ipv4/tcp_syncookies",
        "net.ipv4.tcp_fin_timeout",
        "net.core.somaxconn",
    ] {
        assert_eq!(answer(&pod("p", sysctl(name, json!({}))), &[]), Ok(()), "{name}");
    }
    for (name, more, message) in [
        ("kernel.sem", json!({}), "forbidden sysctl: \"kernel.sem\" not allowlisted"),
        ("net.ipv4.tcp_rmem", json!({}), "forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowlisted"),
        (
            "net/core/somaxconn",
            json!({"hostNetwork": true}),
            "forbidden sysctl: \"net.core.somaxconn\" not allowed with host Net enabled",
        ),
        (
            "kernel.shm_rmid_forced",
            json!({"hostIPC": true}),
            "forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host IPC enabled",
        ),
    ] {
        assert_eq!(rejected(sysctl(name, more), &[]), ("SysctlForbidden".to_owned(), message.to_owned()));
    }
    for pattern in ["*", "kernel.*", "vm.swappiness", "net*"] {
        assert!(
            SysctlAllowList::new(KernelVersion { major: 6, minor: 0 }, &[pattern.to_owned()]).is_err(),
            "{pattern}"
        );
    }
}

#[test]
fn node_and_operating_system_must_match() {
    let affinity = |terms: Value| json!({"containers": [], "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}});
    let rule = |key: &str, operator: &str, values: Value| json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]);
    let cases = [
        (json!({"containers": [], "nodeName": "n"}), None),
        (json!({"containers": [], "nodeName": "m"}), Some("NodeName")),
        (json!({"containers": [], "nodeSelector": {"zone": "a"}}), None),
        (json!({"containers": [], "nodeSelector": {"zone": "b"}}), Some("NodeAffinity")),
        (affinity(rule("zone", "In", json!(["b", "a"]))), None),
        (affinity(rule("zone", "NotIn", json!(["a"]))), Some("NodeAffinity")),
        (affinity(rule("other", "NotIn", json!(["a"]))), None),
        (affinity(rule("zone", "Exists", json!([]))), None),
        (affinity(rule("zone", "DoesNotExist", json!([]))), Some("NodeAffinity")),
        (affinity(rule("size", "Gt", json!(["4"]))), None),
        (affinity(rule("size", "Lt", json!(["5"]))), Some("NodeAffinity")),
        (affinity(json!([{}])), Some("NodeAffinity")),
        (
            affinity(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}])),
            None,
        ),
        (json!({"containers": [], "os": {"name": "linux"}}), None),
        (json!({"containers": [], "os": {"name": "windows"}}), Some("PodOSNotSupported")),
    ];
    for (spec, expected) in cases {
        let reason = answer(&pod("p", spec.clone()), &[]).err().map(|(reason, _)| reason);
        assert_eq!(reason.as_deref(), expected, "{spec}");
    }
    let mut windows = pod("p", json!({"containers": []}));
    windows.metadata.labels = Some([(OS_LABEL.to_owned(), "windows".to_owned())].into());
    assert_eq!(answer(&windows, &[]).unwrap_err().0, "PodOSSelectorNodeLabelDoesNotMatch");
}

/// A pod of a priority with these requests; Guaranteed when `limits` says so.
fn ranked(uid: &str, priority: i32, cpu: &str, memory: &str, limits: &str) -> Pod {
    let list = json!({"cpu": cpu, "memory": memory});
    let resources = match limits {
        "guaranteed" => json!({"requests": list, "limits": list}),
        _ => json!({"requests": list}),
    };
    pod(uid, json!({"priority": priority, "containers": [{"name": "c", "resources": resources}]}))
}

fn preempted(new: &Pod, others: &[Pod], room: Room) -> Result<Vec<String>, (String, String)> {
    let (labels, allocatable) = (BTreeMap::new(), NodeAllocatable { pods: 10, ..allocatable() });
    let sysctls = SysctlAllowList::new(KernelVersion { major: 6, minor: 1 }, &[]).unwrap();
    let others: Vec<Arc<Pod>> = others.iter().cloned().map(Arc::new).collect();
    match admit(new, &others, &facts(&labels, &allocatable, &sysctls), room) {
        Admission::Admit => Ok(Vec::new()),
        Admission::Preempt { victims, .. } => Ok(victims.iter().map(ToString::to_string).collect()),
        Admission::Reject { reason, message } => Err((reason.as_str().into_owned(), message)),
    }
}

#[test]
fn a_critical_pod_ends_as_few_others_as_it_can() {
    let critical = |cpu: &str| ranked("new", 2_000_000_000, cpu, "1Mi", "");
    let others = [
        ranked("best", 0, "0", "0", ""),
        ranked("small", 0, "300m", "10Mi", ""),
        ranked("large", 0, "700m", "10Mi", ""),
        ranked("whole", 0, "500m", "10Mi", "guaranteed"),
        ranked("rank", 2_000_000_000, "500m", "10Mi", ""),
    ];
    for (cpu, expected) in [
        // Of the Burstable ones the one that comes closest; Guaranteed ones only when these are not enough.
        ("100m", vec!["small"]),
        ("300m", vec!["small"]),
        ("400m", vec!["large"]),
        ("900m", vec!["large", "small"]),
        ("1200m", vec!["large", "whole"]),
    ] {
        let mut found = preempted(&critical(cpu), &others, Room::Make).unwrap();
        found.sort();
        assert_eq!(found, expected, "{cpu}");
    }
    let (reason, message) = preempted(&critical("1600m"), &others, Room::Make).unwrap_err();
    assert_eq!(reason, "UnexpectedAdmissionError");
    assert_eq!(
        message,
        "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of \
         pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 100), ]"
    );
    let (reason, _) = preempted(&critical("100m"), &others, Room::AsItIs).unwrap_err();
    assert_eq!(reason, "OutOfcpu", "a resize ends nobody");
    let (reason, _) = preempted(&ranked("new", 1000, "100m", "1Mi", ""), &others, Room::Make).unwrap_err();
    assert_eq!(reason, "OutOfcpu", "only critical pods end others");
}

#[test]
fn nobody_ends_for_a_pod_that_does_not_belong_here() {
    let mut new = ranked("new", 2_000_000_000, "2", "1Mi", "");
    new.spec.as_mut().unwrap().node_name = Some("other".to_owned());
    let others = [ranked("old", 0, "1", "1Mi", "")];
    assert_eq!(preempted(&new, &others, Room::Make).unwrap_err().0, "NodeName");
    let spec = json!({"priority": 2_000_000_000, "containers": [{"name": "c",
        "resources": {"requests": {"cpu": "2"}}, "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}]});
    let (reason, message) = preempted(&pod("new", spec), &others, Room::Make).unwrap_err();
    assert_eq!(reason, "AppArmor");
    assert_eq!(message, "Cannot enforce AppArmor: AppArmor is not enabled on the host");
}

/// A pod that comes from `source`, with annotation `key`, if any.
fn of_source(source: &str, key: &str, spec: Value) -> Pod {
    let mut pod = pod("p", spec);
    let annotations = [(core_types::keys::CONFIG_SOURCE_ANNOTATION, source), (key, "local")];
    pod.metadata.annotations = Some(annotations.map(|(key, value)| (key.into(), value.into())).into());
    pod
}

#[test]
fn static_pods_are_critical_but_for_those_that_a_person_runs() {
    use core_types::keys::LOCAL_SOURCE_ANNOTATION;
    for (priority, key, source, expected) in [
        (0, "", "file", true),
        (0, "", "http", true),
        (0, "", "api", false),
        (0, LOCAL_SOURCE_ANNOTATION, "file", false),
        (2_000_000_000, LOCAL_SOURCE_ANNOTATION, "file", true),
        (0, LOCAL_SOURCE_ANNOTATION, "api", false),
    ] {
        let pod = of_source(source, key, json!({"priority": priority, "containers": []}));
        assert_eq!(is_critical(&pod), expected, "{priority} {key} {source}");
    }
}

#[test]
fn under_pressure_pods_are_taken_that_are_critical_or_that_a_person_runs() {
    use core_types::keys::LOCAL_SOURCE_ANNOTATION;
    let (labels, sysctls) =
        (BTreeMap::new(), SysctlAllowList::new(KernelVersion { major: 6, minor: 1 }, &[]).unwrap());
    let (allocatable, none) = (allocatable(), Vec::new());
    let pressures = core_types::pressure::Pressures { disk: true, ..Default::default() };
    let node = NodeFacts { pressures, ..facts(&labels, &allocatable, &sysctls) };
    for (source, key, taken) in
        [("api", "", false), ("file", "", true), ("file", LOCAL_SOURCE_ANNOTATION, true)]
    {
        let pod = of_source(source, key, json!({"containers": []}));
        assert_eq!(admit(&pod, &none, &node, Room::Make) == Admission::Admit, taken, "{source} {key}");
    }
}

#[test]
fn a_taint_that_ends_pods_keeps_them_off_but_for_static_ones() {
    let (labels, sysctls) =
        (BTreeMap::new(), SysctlAllowList::new(KernelVersion { major: 6, minor: 1 }, &[]).unwrap());
    let (allocatable, none) = (allocatable(), Vec::new());
    let taints = [Taint { key: "down".to_owned(), effect: "NoExecute".to_owned(), ..Taint::default() }];
    let node = NodeFacts { taints: &taints, ..facts(&labels, &allocatable, &sysctls) };
    let mut plain = pod("a", json!({"containers": []}));
    let Admission::Reject { reason, message } = admit(&plain, &none, &node, Room::Make) else { panic!() };
    assert_eq!(reason.as_str(), "TaintToleration");
    assert_eq!(message, "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate");
    let source = (core_types::keys::CONFIG_SOURCE_ANNOTATION.to_owned(), "file".to_owned());
    plain.metadata.annotations.get_or_insert_default().extend([source]);
    assert_eq!(admit(&plain, &none, &node, Room::Make), Admission::Admit);
}

#[test]
fn a_machine_that_goes_down_takes_no_pod() {
    let (labels, allocatable) = (BTreeMap::new(), allocatable());
    let sysctls = SysctlAllowList::new(KernelVersion { major: 6, minor: 1 }, &[]).unwrap();
    let node =
        NodeFacts { shutdown: core_types::Shutdown::InProgress, ..facts(&labels, &allocatable, &sysctls) };
    for pod in [pod("p", json!({"containers": []})), ranked("new", 2_000_000_000, "1", "1Mi", "")] {
        let message = "Pod was rejected as the node is shutting down.".to_owned();
        let expected = Admission::Reject { reason: RejectReason::NodeShutdown, message };
        assert_eq!(admit(&pod, &[], &node, Room::Make), expected);
    }
}
