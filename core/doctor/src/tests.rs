//! Findings from inventories, and what may be removed of them.

use std::collections::BTreeSet;

use core_cm::cgroup::CgroupPath;
use core_types::local::CertificateRenewal;
use core_types::{PodKey, PodUid, QosClass, SandboxId, WallTime};
use proptest::prelude::*;

use crate::inventory::{
    AgentReport, Certificate, DeadLink, Inventory, LogDir, PodCgroup, PodDir, PodMount, RuntimeInventory,
    Sandbox, Sources, StateFile, StateFileKind,
};
use crate::{Finding, FindingKind, Remedy, examine};

const NOW: i64 = 1_000_000;

fn uid(text: &str) -> PodUid {
    PodUid::from(text)
}

fn now() -> WallTime {
    WallTime::from_unix_secs(NOW)
}

fn answers(pods: &[&str], sources: Sources) -> AgentReport {
    AgentReport::Answers {
        pods: pods.iter().map(|text| uid(text)).collect(),
        sources,
        runtime_problem: String::new(),
        source_problems: Vec::new(),
    }
}

fn dir(of: &str, plugins: &[&str], mounts: &[(&str, &str)]) -> PodDir {
    let mount = |(relative, fs_type): &(&str, &str)| PodMount {
        relative: (*relative).to_owned(),
        fs_type: (*fs_type).to_owned(),
    };
    PodDir {
        uid: uid(of),
        path: format!("/root/pods/{of}"),
        plugins: plugins.iter().map(|&name| name.to_owned()).collect(),
        mounts: mounts.iter().map(mount).collect(),
    }
}

fn cgroup(of: &str, processes: &[i32]) -> PodCgroup {
    let processes = processes.iter().copied().collect();
    PodCgroup { uid: uid(of), path: CgroupPath::pod(QosClass::BestEffort, &uid(of)), processes }
}

fn shown(findings: &[Finding]) -> Vec<(&'static str, &str, bool)> {
    findings.iter().map(|one| (one.kind.as_str(), one.subject.as_str(), one.remedy.is_some())).collect()
}

fn leftovers() -> Inventory {
    Inventory {
        pod_dirs: vec![
            dir("web", &["kubernetes.io~empty-dir"], &[("volumes/kubernetes.io~empty-dir/x", "tmpfs")]),
            dir(
                "gone",
                &["kubernetes.io~secret"],
                &[("volumes/kubernetes.io~secret/s", "tmpfs"), ("volume-subpaths/s/main/0", "tmpfs")],
            ),
            dir("data", &["kubernetes.io~csi"], &[("volumes/kubernetes.io~csi/pv/mount", "ext4")]),
            dir("busy", &[], &[]),
        ],
        log_dirs: vec![
            LogDir { uid: uid("web"), path: "/logs/ns_web_web".to_owned() },
            LogDir { uid: uid("gone"), path: "/logs/ns_gone_gone".to_owned() },
        ],
        dead_links: vec![DeadLink { path: "/links/a.log".to_owned(), target: "/logs/x/a/0.log".to_owned() }],
        cgroups: vec![cgroup("web", &[1]), cgroup("gone", &[]), cgroup("busy", &[7, 9])],
        idle_namespaces: vec!["/run/netns/cni-1".to_owned()],
        ..Inventory::default()
    }
}

#[test]
fn what_is_nobodys_is_named_and_only_what_is_safe_may_go() {
    let findings = examine(&leftovers(), &answers(&["web"], Sources::Heard), now());
    assert_eq!(
        shown(&findings),
        [
            ("orphan-cgroup", "/kubepods/besteffort/podgone", true),
            ("orphan-cgroup", "/kubepods/besteffort/podbusy", false),
            ("orphan-mount", "/root/pods/gone/volume-subpaths/s/main/0", true),
            ("orphan-mount", "/root/pods/gone/volumes/kubernetes.io~secret/s", true),
            ("orphan-mount", "/root/pods/data/volumes/kubernetes.io~csi/pv/mount", false),
            ("orphan-pod-dir", "/root/pods/gone", true),
            ("orphan-pod-dir", "/root/pods/data", false),
            ("orphan-pod-dir", "/root/pods/busy", false),
            ("orphan-log-dir", "/logs/ns_gone_gone", true),
            ("dead-log-link", "/links/a.log", true),
            ("orphan-network-namespace", "/run/netns/cni-1", false),
        ]
    );
    assert!(findings.iter().all(|finding| !finding.why.is_empty() && !finding.advice.is_empty()));
    assert!(findings[1].advice.contains("7, 9"), "{:?}", findings[1]);
}

#[test]
fn in_doubt_nothing_of_a_pod_may_go() {
    let silent = AgentReport::Silent { problem: "no agent".to_owned() };
    let mut down = leftovers();
    down.runtime = RuntimeInventory::Silent { problem: "no answer".to_owned() };
    let cases = [
        (leftovers(), silent, "start the agent"),
        (leftovers(), answers(&["web"], Sources::Awaited), "heard all sources"),
        (down, answers(&["web"], Sources::Heard), "container runtime up"),
    ];
    for (inventory, agent, advice) in cases {
        let findings = examine(&inventory, &agent, now());
        let safe: Vec<_> = findings.iter().filter_map(|finding| finding.remedy.as_ref()).collect();
        assert_eq!(safe, [&Remedy::RemoveDeadLinks], "{findings:?}");
        let dir = findings.iter().find(|one| one.subject == "/root/pods/gone").expect("it is told");
        assert!(dir.advice.contains(advice), "{dir:?}");
    }
}

#[test]
fn who_must_answer_is_named_when_it_does_not() {
    let mut inventory = Inventory::default();
    assert_eq!(examine(&inventory, &answers(&[], Sources::Heard), now()), []);
    inventory.runtime = RuntimeInventory::Silent { problem: "no answer".to_owned() };
    let silent = AgentReport::Silent { problem: "nobody listens".to_owned() };
    let kinds = |findings: Vec<Finding>| -> Vec<_> { findings.iter().map(|one| one.kind).collect() };
    assert_eq!(kinds(examine(&inventory, &silent, now())), [FindingKind::NoAgent, FindingKind::Runtime]);
    let ill = AgentReport::Answers {
        pods: BTreeSet::new(),
        sources: Sources::Heard,
        runtime_problem: "no network".to_owned(),
        source_problems: vec![("/m/a.yaml".to_owned(), "line 3".to_owned())],
    };
    assert_eq!(
        kinds(examine(&Inventory::default(), &ill, now())),
        [FindingKind::Runtime, FindingKind::Source]
    );
}

#[test]
fn sandboxes_that_no_pod_owns_are_told() {
    let sandbox = |id: &str, of: &str| Sandbox {
        id: SandboxId::from(id),
        key: PodKey::new("ns", "name"),
        uid: uid(of),
    };
    let inventory = Inventory {
        runtime: RuntimeInventory::Listed {
            sandboxes: vec![sandbox("s1", "web"), sandbox("s2", ""), sandbox("s3", "other")],
            container_uids: BTreeSet::new(),
        },
        ..Inventory::default()
    };
    let findings = examine(&inventory, &answers(&["web"], Sources::Heard), now());
    assert_eq!(shown(&findings), [("unknown-sandbox", "s2", false), ("unknown-sandbox", "s3", false)]);
    assert!(findings[0].why.contains("not made by a kubelet"), "{}", findings[0].why);
}

#[test]
fn certificates_are_judged_by_what_is_left_of_their_life() {
    let certificate = |life: Result<(i64, i64), String>| Certificate {
        purpose: "client certificate".to_owned(),
        path: "/pki/c.pem".to_owned(),
        renewal: CertificateRenewal::Signed,
        life: life
            .map(|(begin, end)| (WallTime::from_unix_secs(NOW + begin), WallTime::from_unix_secs(NOW + end))),
    };
    let cases = [
        (Ok((-100, 50)), None),
        (Ok((-89, 11)), None),
        (Ok((-91, 9)), Some(FindingKind::CertificateEnds)),
        (Ok((-100, 0)), Some(FindingKind::CertificateExpired)),
        (Err("no PEM".to_owned()), Some(FindingKind::CertificateBroken)),
    ];
    for (life, expected) in cases {
        let inventory = Inventory { certificates: vec![certificate(life.clone())], ..Inventory::default() };
        let findings = examine(&inventory, &answers(&[], Sources::Heard), now());
        assert_eq!(findings.first().map(|one| one.kind), expected, "{life:?}");
    }
}

#[test]
fn state_files_are_read_as_the_agent_reads_them() {
    let good = core_cm::checkpoint::encode(&core_cm::ResourceBook::new());
    let intent = core_images::records::encode_intent("web:1");
    let cases = [
        (StateFileKind::Checkpoint, good, None),
        (StateFileKind::Checkpoint, b"{}".to_vec(), Some(FindingKind::StateFileBroken)),
        (StateFileKind::PullIntent, intent.clone(), None),
        (StateFileKind::PullRecord, intent, Some(FindingKind::StateFileBroken)),
        (StateFileKind::Journal, Vec::new(), None),
        (StateFileKind::Journal, b"nonsense\n".to_vec(), Some(FindingKind::StateFileBroken)),
        (StateFileKind::Sealed, core_types::local::SEALED_BEGIN.to_vec(), None),
        (StateFileKind::Sealed, b"nonsense".to_vec(), Some(FindingKind::StateFileBroken)),
        (StateFileKind::SetAside, Vec::new(), Some(FindingKind::StateFileSetAside)),
    ];
    for (kind, content, expected) in cases {
        let state_files = vec![StateFile { path: "/root/file".to_owned(), kind, content }];
        let inventory = Inventory { state_files, ..Inventory::default() };
        let findings = examine(&inventory, &answers(&[], Sources::Heard), now());
        assert_eq!(findings.first().map(|one| one.kind), expected, "{kind:?}");
    }
}

/// The pod that a remedy concerns.
fn concerns(remedy: &Remedy) -> Option<PodUid> {
    match remedy {
        Remedy::Unmount { uid, .. } | Remedy::RemovePodDir { uid } | Remedy::RemoveLogs { uid } => {
            Some(uid.clone())
        }
        Remedy::RemoveCgroup { path } => path.pod_uid(),
        Remedy::RemoveDeadLinks => None,
    }
}

fn one_of_few() -> impl Strategy<Value = String> {
    prop_oneof!["[a-e]"]
}

fn any_dir() -> impl Strategy<Value = PodDir> {
    let plugin = prop_oneof![Just("kubernetes.io~empty-dir"), Just("kubernetes.io~nfs"), Just("x~y")];
    let mount = (plugin.clone(), prop_oneof![Just("tmpfs"), Just("nfs4"), Just("ext4")]);
    (one_of_few(), prop::collection::btree_set(plugin, 0..3), prop::collection::vec(mount, 0..3)).prop_map(
        |(of, plugins, mounts)| {
            let paths: Vec<String> = mounts.iter().map(|(plugin, _)| format!("volumes/{plugin}/v")).collect();
            let mounts: Vec<(&str, &str)> =
                paths.iter().map(String::as_str).zip(mounts.iter().map(|(_, fs_type)| *fs_type)).collect();
            dir(&of, &plugins.into_iter().collect::<Vec<_>>(), &mounts)
        },
    )
}

proptest! {
    #[test]
    fn nothing_of_a_known_pod_and_nothing_foreign_is_ever_removed(
        pods in prop::collection::btree_set(one_of_few(), 0..4),
        running in prop::collection::btree_set(one_of_few(), 0..3),
        mut dirs in prop::collection::vec(any_dir(), 0..5),
        cgroups in prop::collection::vec((one_of_few(), prop::collection::vec(1..99i32, 0..2)), 0..4),
        logs in prop::collection::vec(one_of_few(), 0..4),
    ) {
        dirs.sort_by(|a, b| a.uid.cmp(&b.uid));
        dirs.dedup_by(|a, b| a.uid == b.uid);
        let inventory = Inventory {
            pod_dirs: dirs,
            cgroups: cgroups.iter().map(|(of, processes)| cgroup(of, processes)).collect(),
            log_dirs: logs.iter().map(|of| LogDir { uid: uid(of), path: of.clone() }).collect(),
            runtime: RuntimeInventory::Listed {
                sandboxes: Vec::new(),
                container_uids: running.iter().map(|of| uid(of)).collect(),
            },
            ..Inventory::default()
        };
        let wanted: Vec<&str> = pods.iter().map(String::as_str).collect();
        for finding in examine(&inventory, &answers(&wanted, Sources::Heard), now()) {
            let Some(remedy) = &finding.remedy else { continue };
            if let Some(of) = concerns(remedy) {
                prop_assert!(!pods.contains(of.as_str()) && !running.contains(of.as_str()), "{:?}", finding);
            }
            match remedy {
                Remedy::Unmount { relative, .. } => prop_assert!(!relative.contains("nfs") && !relative.contains("x~y")),
                Remedy::RemovePodDir { uid } => {
                    let dir = inventory.pod_dirs.iter().find(|dir| dir.uid == *uid);
                    prop_assert!(dir.is_some_and(|dir| !dir.plugins.contains("kubernetes.io~nfs") && !dir.plugins.contains("x~y")));
                    prop_assert!(!inventory.cgroups.iter().any(|one| one.uid == *uid && !one.processes.is_empty()));
                }
                Remedy::RemoveCgroup { path } => {
                    prop_assert!(inventory.cgroups.iter().any(|one| one.path == *path && one.processes.is_empty()));
                }
                Remedy::RemoveLogs { .. } | Remedy::RemoveDeadLinks => {}
            }
        }
    }
}
