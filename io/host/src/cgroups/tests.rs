//! Both cgroup versions on directories that stand for a tree, and the real tree where the machine allows it.

use std::process::{Child, Command};

use super::*;

fn path(names: &[&str]) -> CgroupPath {
    CgroupPath(names.iter().map(|&name| name.to_owned()).collect())
}

fn put(dir: &Path, file: &str, content: &str) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join(file), content).unwrap();
}

fn get(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap()
}

fn plain() -> Layout {
    Layout::new(CgroupDriver::Cgroupfs, Vec::new())
}

/// A directory that stands for a version 2 tree, with the files the kernel would show.
fn v2_tree(controllers: &str) -> (tempfile::TempDir, PathBuf, HostCgroups) {
    let temp = tempfile::tempdir().unwrap();
    let pod = temp.path().join("kubepods/burstable/pod1");
    for dir in [temp.path(), &temp.path().join("kubepods"), &temp.path().join("kubepods/burstable"), &pod] {
        put(dir, "cgroup.controllers", controllers);
        put(dir, "cgroup.subtree_control", "");
    }
    for (file, content) in [
        ("cpu.weight", "100\n"),
        ("cpu.max", "max 100000\n"),
        ("memory.max", "max\n"),
        ("pids.max", "max\n"),
        ("hugetlb.2MB.max", "max\n"),
        ("memory.high", "max\n"),
    ] {
        put(&pod, file, content);
    }
    let cgroups = HostCgroups::on(Tree::V2(v2::V2::new(temp.path(), &[])), plain());
    (temp, pod, cgroups)
}

#[tokio::test]
async fn v2_sets_every_value_and_enables_controllers_from_the_top() {
    let (temp, pod, cgroups) = v2_tree("cpuset cpu io memory hugetlb pids");
    let values = CgroupValues {
        cpu_shares: Some(1024),
        cpu_quota_us: Some(50_000),
        cpu_period_us: None,
        memory_limit_bytes: Some(1 << 20),
        pids_limit: Some(100),
        hugepage_limits: BTreeMap::from([("2MB".to_owned(), 2 << 20), ("1GB".to_owned(), 0)]),
        unified: BTreeMap::from([("memory.high".to_owned(), "4096".to_owned())]),
    };
    cgroups.ensure(&path(&["kubepods", "burstable", "pod1"]), &values).await.unwrap();
    assert_eq!(get(&pod, "cpu.weight"), "39");
    assert_eq!(get(&pod, "cpu.max"), "50000 100000");
    assert_eq!(get(&pod, "memory.max"), "1048576");
    assert_eq!(get(&pod, "pids.max"), "100");
    assert_eq!(get(&pod, "hugetlb.2MB.max"), "2097152");
    assert_eq!(get(&pod, "memory.high"), "4096");
    assert!(!pod.join("hugetlb.1GB.max").exists(), "a page size that the node does not have is left out");
    let all = "+cpu +cpuset +hugetlb +io +memory +pids";
    for parent in ["", "kubepods", "kubepods/burstable"] {
        assert_eq!(get(&temp.path().join(parent), "cgroup.subtree_control"), all, "{parent:?}");
    }
    assert_eq!(get(&pod, "cgroup.subtree_control"), "", "the pod's own children are the runtime's matter");
}

#[tokio::test]
async fn v2_holds_daemons_to_what_is_reserved_for_them_and_leaves_the_rest() {
    let (temp, _pod, cgroups) = v2_tree("cpu memory hugetlb pids");
    let name = path(&["system"]);
    assert!(!cgroups.exists(&name).await.unwrap());
    let dir = temp.path().join("system");
    put(&dir, "cgroup.controllers", "cpu memory hugetlb pids\n");
    for file in ["cpu.weight", "memory.max", "pids.max", "hugetlb.2MB.max", "memory.min"] {
        put(&dir, file, "max\n");
    }
    assert!(cgroups.exists(&name).await.unwrap());
    let reserved = [("cpu", "250m"), ("memory", "64Mi"), ("pid", "500")];
    let reserved = reserved.map(|(name, amount)| (name.to_owned(), amount.parse().unwrap())).into();
    let mut facts = v2_facts();
    facts.hugepage_sizes = vec!["2MB".to_owned()];
    cgroups.ensure(&name, &core_cm::reserved_values(&reserved, &facts)).await.unwrap();
    assert_eq!(get(&dir, "cpu.weight"), "10");
    assert_eq!((get(&dir, "memory.max"), get(&dir, "pids.max")), ("67108864".to_owned(), "500".to_owned()));
    assert_eq!(get(&dir, "memory.min"), "67108864", "with memory QoS it is protected");
    assert_eq!(get(&dir, "hugetlb.2MB.max"), "max\n", "nothing is said of huge pages");
}

#[tokio::test]
async fn v2_slices_are_made_found_and_removed() {
    let temp = tempfile::tempdir().unwrap();
    let uid = PodUid::from("a-1");
    let pod = CgroupPath::pod(QosClass::BestEffort, &uid);
    let mut dir = temp.path().to_path_buf();
    for name in ["", "kubepods.slice", "kubepods-besteffort.slice", "kubepods-besteffort-poda_1.slice"] {
        dir.push(name);
        put(&dir, "cgroup.controllers", "cpu memory");
        put(&dir, "cgroup.subtree_control", "");
    }
    for (file, content) in [("cpu.weight", "100"), ("cpu.max", "max 100000"), ("memory.max", "max")] {
        put(&dir, file, content);
    }
    std::fs::create_dir(dir.with_file_name("cri-containerd-c0ffee.scope")).unwrap();
    let layout = Layout::new(CgroupDriver::Systemd, Vec::new());
    let cgroups = HostCgroups::on(Tree::V2(v2::V2::new(temp.path(), &[])), layout);
    let values = CgroupValues { cpu_shares: Some(2), ..CgroupValues::default() };
    cgroups.ensure(&pod, &values).await.unwrap();
    assert_eq!(get(&dir, "cpu.weight"), "1");
    assert!(cgroups.exists(&pod).await.unwrap());
    assert_eq!(cgroups.list_pods().await.unwrap(), [(uid, pod.clone())]);
    for file in std::fs::read_dir(&dir).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    cgroups.destroy(&pod).await.unwrap();
    assert!(!dir.exists());
}

#[tokio::test]
async fn v2_limits_and_use_are_read_back() {
    let (_temp, pod, cgroups) = v2_tree("cpu memory pids");
    let name = path(&["kubepods", "burstable", "pod1"]);
    let limits = cgroups.limits(&name).await.unwrap();
    assert_eq!((limits.cpu_quota_us, limits.cpu_period_us, limits.memory_limit_bytes), (None, 100_000, None));
    put(&pod, "cpu.weight", "39\n");
    put(&pod, "cpu.max", "50000 200000\n");
    put(&pod, "memory.max", "1048576\n");
    put(&pod, "memory.current", "4096\n");
    let limits = cgroups.limits(&name).await.unwrap();
    assert_eq!((limits.cpu_shares, limits.cpu_quota_us, limits.cpu_period_us), (998, Some(50_000), 200_000));
    assert_eq!(limits.memory_limit_bytes, Some(1 << 20));
    assert_eq!(cgroups.memory_usage_bytes(&name).await.unwrap(), 4096);
    put(&pod, "memory.max", "lots\n");
    let error = cgroups.limits(&name).await.unwrap_err().to_string();
    assert!(error.contains("memory.max") && error.contains("lots"), "{error}");
}

fn v2_facts() -> core_cm::NodeFacts {
    core_cm::NodeFacts {
        cgroup_version: core_cm::CgroupVersion::V2,
        memory_bytes: 8 << 30,
        swap_bytes: 0,
        hugepage_sizes: Vec::new(),
        cpu_quota: core_cm::CpuQuota::Enforced { period_us: 100_000 },
        swap: core_cm::SwapBehavior::NoSwap,
        pod_pids_limit: -1,
        memory_qos: core_cm::MemoryQos::On {
            throttling_factor: Some(0.5),
            reservation: core_cm::MemoryReservation::Tiered,
            allocatable_bytes: 8 << 30,
            page_bytes: 4096,
        },
        single_process_oom_kill: false,
    }
}

/// A pod with resources as a whole and overhead.
fn whole(cpu: &str, memory: &str) -> core_types::api::Pod {
    let resources = serde_json::json!({
        "requests": { "cpu": "1", "memory": "1Mi" }, "limits": { "cpu": cpu, "memory": memory },
    });
    let overhead = serde_json::json!({ "cpu": "50m", "memory": "1Mi" });
    let spec =
        serde_json::json!({ "resources": resources, "overhead": overhead, "containers": [{ "name": "c" }] });
    serde_json::from_value(serde_json::json!({ "metadata": { "uid": "1" }, "spec": spec })).unwrap()
}

#[tokio::test]
async fn v2_files_follow_a_pod_and_its_resize() {
    let (_temp, pod, cgroups) = v2_tree("cpu memory pids");
    for (file, content) in [("memory.low", "0\n"), ("memory.min", "0\n")] {
        put(&pod, file, content);
    }
    let (name, facts) = (path(&["kubepods", "burstable", "pod1"]), v2_facts());
    let (small, large) = (whole("2", "9Mi"), whole("4", "19Mi"));
    cgroups.ensure(&name, &core_cm::pod_values(&small, &facts)).await.unwrap();
    let files =
        || ["cpu.weight", "cpu.max", "memory.max", "memory.high", "memory.low"].map(|file| get(&pod, file));
    // 1050 thousandths requested; 10 Mi with overhead, throttled half-way above the 2 Mi that are requested.
    assert_eq!(files(), ["41", "205000 100000", "10485760", "6291456", "2097152"]);

    let observed = core_types::ObservedPod::empty(
        PodUid::from("1"),
        core_types::PodKey::new("n", "p"),
        core_types::MonoTime::ZERO,
    );
    for (from, to, last) in [(&small, &large, "20971520"), (&large, &small, "10485760")] {
        let actuated = core_cm::PodResources::of(from);
        let needs = core_cm::resize::resize_needs(to, &observed, &actuated, &facts);
        let current = cgroups.limits(&name).await.unwrap();
        for step in core_cm::resize::resize_plan(to, &needs, Some(&current), &facts).steps {
            if let core_cm::resize::ResizeStep::Pod { values, .. } = step {
                cgroups.ensure(&name, &values).await.unwrap();
            }
        }
        assert_eq!(get(&pod, "memory.max"), last);
        cgroups.ensure(&name, &core_cm::pod_values(to, &facts)).await.unwrap();
    }
    assert_eq!(files(), ["41", "205000 100000", "10485760", "6291456", "2097152"]);
}

#[tokio::test]
async fn values_that_fit_are_not_written() {
    let (_temp, pod, cgroups) = v2_tree("cpu memory pids");
    let values = CgroupValues {
        cpu_shares: Some(2560),
        cpu_quota_us: Some(-1),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(5000),
        pids_limit: Some(-1),
        ..CgroupValues::default()
    };
    put(&pod, "cpu.weight", "98 \n");
    put(&pod, "memory.max", "4096\n");
    cgroups.ensure(&path(&["kubepods", "burstable", "pod1"]), &values).await.unwrap();
    assert_eq!(get(&pod, "cpu.weight"), "98 \n");
    assert_eq!(get(&pod, "cpu.max"), "max 100000\n");
    assert_eq!(get(&pod, "memory.max"), "4096\n", "the kernel rounds a limit down to pages");
    assert_eq!(get(&pod, "pids.max"), "max\n");
    let none = CgroupValues { memory_limit_bytes: Some(-1), ..CgroupValues::default() };
    cgroups.ensure(&path(&["kubepods", "burstable", "pod1"]), &none).await.unwrap();
    assert_eq!(get(&pod, "memory.max"), "max");
    assert_eq!(get(&pod, "cpu.weight"), "98 \n", "what is not given stays");
}

#[tokio::test]
async fn v2_exists_only_with_the_controllers_the_node_offers() {
    let (temp, pod, cgroups) = v2_tree("cpu memory pids");
    let name = path(&["kubepods", "burstable", "pod1"]);
    assert!(cgroups.exists(&name).await.unwrap());
    put(&pod, "cgroup.controllers", "cpu memory");
    assert!(!cgroups.exists(&name).await.unwrap(), "pids is missing");
    put(temp.path(), "cgroup.controllers", "cpu memory io");
    assert!(cgroups.exists(&name).await.unwrap(), "the node offers no pids either");
    assert!(!cgroups.exists(&path(&["kubepods", "pod2"])).await.unwrap());
}

#[tokio::test]
async fn a_refused_value_names_cgroup_file_and_value() {
    let (_temp, pod, cgroups) = v2_tree("cpu memory pids");
    std::fs::remove_file(pod.join("pids.max")).unwrap();
    let values = CgroupValues { pids_limit: Some(5), ..CgroupValues::default() };
    let error =
        cgroups.ensure(&path(&["kubepods", "burstable", "pod1"]), &values).await.unwrap_err().to_string();
    assert!(error.starts_with("cgroup /kubepods/burstable/pod1: write 5 to /"), "{error}");
    assert!(error.contains("pids.max"), "{error}");
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let (_temp, _pod, cgroups) = v2_tree("cpu");
    for names in [&[][..], &[""], &["..", "x"], &["kubepods", ".."], &["a/b"], &["."]] {
        assert!(cgroups.destroy(&path(names)).await.is_err(), "{names:?}");
        assert!(cgroups.ensure(&path(names), &CgroupValues::default()).await.is_err(), "{names:?}");
    }
}

#[test]
fn the_root_is_checked() {
    assert_eq!(root_path("/").unwrap(), Vec::<String>::new());
    assert_eq!(root_path("/a/b/").unwrap(), ["a", "b"]);
    assert!(root_path("/a/../b").is_err());
    let options = CgroupOptions { root: "/podwright-none".to_owned(), driver: CgroupDriver::Systemd };
    match HostCgroups::new(&options) {
        Err(CgroupSetupError::MissingRoot { path, .. }) => {
            assert!(path.ends_with("podwright_none.slice"), "{path:?}")
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(v1::V1::new(BTreeMap::new(), &[]), Err(CgroupSetupError::MissingControllers { .. })));
}

/// A version 1 tree on plain directories: `cpu` and `cpuacct` share one.
fn v1_tree() -> (tempfile::TempDir, HostCgroups) {
    let temp = tempfile::tempdir().unwrap();
    let mounts =
        [("cpu", "cpu"), ("cpuacct", "cpu"), ("cpuset", "cpuset"), ("memory", "memory"), ("blkio", "blkio")];
    let mounts = mounts.map(|(name, dir)| (name.to_owned(), temp.path().join(dir)));
    for (_, dir) in &mounts {
        std::fs::create_dir_all(dir).unwrap();
    }
    let v1 = v1::V1::new(BTreeMap::from(mounts), &[]).unwrap();
    (temp, HostCgroups::on(Tree::V1(v1), plain()))
}

#[tokio::test]
async fn v1_makes_managed_hierarchies_and_hands_cpusets_down() {
    let (temp, cgroups) = v1_tree();
    let name = path(&["kubepods", "pod1"]);
    for dir in ["cpuset", "cpuset/kubepods", "cpuset/kubepods/pod1"] {
        put(&temp.path().join(dir), "cpuset.cpus", "\n");
        put(&temp.path().join(dir), "cpuset.mems", if dir == "cpuset" { "0\n" } else { "" });
    }
    put(&temp.path().join("cpuset"), "cpuset.cpus", "0-3\n");
    put(&temp.path().join("cpuset/kubepods"), "cpuset.cpus", "1\n");
    for (file, content) in
        [("cpu.shares", "1024\n"), ("cpu.cfs_quota_us", "-1\n"), ("cpu.cfs_period_us", "100000\n")]
    {
        put(&temp.path().join("cpu/kubepods/pod1"), file, content);
    }
    put(&temp.path().join("memory/kubepods/pod1"), "memory.limit_in_bytes", "9223372036854771712\n");
    let values = CgroupValues {
        cpu_shares: Some(2),
        cpu_quota_us: Some(20_000),
        cpu_period_us: Some(50_000),
        memory_limit_bytes: Some(-1),
        unified: BTreeMap::from([("memory.high".to_owned(), "1".to_owned())]),
        ..CgroupValues::default()
    };
    assert!(!cgroups.exists(&path(&["other"])).await.unwrap());
    cgroups.ensure(&name, &values).await.unwrap();
    assert!(cgroups.exists(&name).await.unwrap());
    let pod = |hierarchy: &str| temp.path().join(hierarchy).join("kubepods/pod1");
    assert_eq!(get(&pod("cpuset"), "cpuset.cpus"), "1", "from the parent");
    assert_eq!(get(&pod("cpuset"), "cpuset.mems"), "0", "through the parent");
    assert_eq!(get(&pod("cpu"), "cpu.shares"), "2");
    assert_eq!(get(&pod("cpu"), "cpu.cfs_quota_us"), "20000");
    assert_eq!(get(&pod("cpu"), "cpu.cfs_period_us"), "50000");
    assert_eq!(get(&pod("memory"), "memory.limit_in_bytes"), "9223372036854771712\n", "no limit already");
    assert!(!temp.path().join("blkio/kubepods").exists(), "not a hierarchy of the agent");
}

#[tokio::test]
async fn pods_are_found_in_any_hierarchy_and_class() {
    let (temp, cgroups) = v1_tree();
    for dir in [
        "cpu/kubepods/podg",
        "memory/kubepods/burstable/podb",
        "blkio/kubepods/besteffort/pode",
        "cpu/kubepods/podg/x",
    ] {
        std::fs::create_dir_all(temp.path().join(dir)).unwrap();
    }
    std::fs::create_dir_all(temp.path().join("cpu/kubepods/pod")).unwrap();
    let found = cgroups.list_pods().await.unwrap();
    let found: Vec<_> = found.iter().map(|(uid, path)| (uid.as_str(), path.0.join("/"))).collect();
    assert_eq!(
        found,
        [
            ("e", "kubepods/besteffort/pode".to_owned()),
            ("b", "kubepods/burstable/podb".to_owned()),
            ("g", "kubepods/podg".to_owned()),
        ]
    );
}

#[tokio::test]
async fn only_the_named_cgroup_is_removed() {
    let (temp, cgroups) = v1_tree();
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(outside.path().join("kept")).unwrap();
    for dir in
        ["cpu/kubepods/pod1/ctr/deep", "memory/kubepods/pod1", "cpu/kubepods/pod2", "blkio/kubepods/pod1/ctr"]
    {
        std::fs::create_dir_all(temp.path().join(dir)).unwrap();
    }
    std::fs::create_dir(temp.path().join("cpuset/kubepods")).unwrap();
    std::os::unix::fs::symlink(outside.path(), temp.path().join("cpuset/kubepods/pod1")).unwrap();
    cgroups.destroy(&path(&["kubepods", "pod1"])).await.unwrap();
    assert!(!temp.path().join("cpu/kubepods/pod1").exists());
    assert!(!temp.path().join("memory/kubepods/pod1").exists());
    assert!(!temp.path().join("blkio/kubepods/pod1").exists(), "the runtime's hierarchies as well");
    assert!(temp.path().join("cpu/kubepods/pod2").exists());
    assert!(outside.path().join("kept").exists());
    cgroups.destroy(&path(&["kubepods", "pod1"])).await.unwrap();
}

/// Removes the cgroups and processes of a test on the real tree, also when it fails.
struct RealCgroup {
    name: String,
    hierarchies: BTreeMap<String, PathBuf>,
    children: Vec<Child>,
}

impl Drop for RealCgroup {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let named = Named::new(&path(&[&self.name]), &plain()).unwrap();
        for _ in 0..REMOVE_ROUNDS {
            if matches!(remove::kill_and_remove(&self.hierarchies, &named), Ok(remove::Left::Nothing)) {
                break;
            }
        }
    }
}

/// The node's own tree, when this test may use it.
fn real_tree() -> Option<(RealCgroup, HostCgroups)> {
    let options = CgroupOptions { root: "/".to_owned(), driver: CgroupDriver::Cgroupfs };
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may make cgroups");
        return None;
    }
    let cgroups = match HostCgroups::new(&options) {
        Ok(cgroups) => cgroups,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let name = format!("podwright-test-iohost-{}", std::process::id());
    let hierarchies = cgroups.tree.hierarchies().clone();
    let probe = hierarchies.values().next().unwrap().join(format!("{name}-probe"));
    if let Err(error) = std::fs::create_dir(&probe) {
        eprintln!("skipped: the cgroup tree is read-only: {error}");
        return None;
    }
    std::fs::remove_dir(&probe).unwrap();
    Some((RealCgroup { name, hierarchies, children: Vec::new() }, cgroups))
}

#[tokio::test]
async fn on_this_node_a_cgroup_is_made_limited_emptied_and_removed() {
    let Some((mut real, cgroups)) = real_tree() else { return };
    let pod = path(&[&real.name, "pod1"]);
    let values = CgroupValues {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: Some(50),
        ..CgroupValues::default()
    };
    assert!(!cgroups.exists(&pod).await.unwrap());
    cgroups.ensure(&pod, &values).await.unwrap();
    cgroups.ensure(&pod, &values).await.unwrap();
    assert!(cgroups.exists(&pod).await.unwrap());
    let named = Named::new(&pod, &plain()).unwrap();
    if let Some(memory) = real.hierarchies.get("memory") {
        assert_eq!(files::read(&named.dir(memory), "memory.limit_in_bytes").unwrap(), (64 << 20).to_string());
    }
    if cgroups.version() == CgroupVersion::V2 {
        let dir = named.dir(&real.hierarchies["unified"]);
        for (file, want) in [
            ("memory.max", "67108864"),
            ("cpu.max", "50000 100000"),
            ("cpu.weight", "20"),
            ("pids.max", "50"),
        ] {
            assert_eq!(files::read(&dir, file).unwrap(), want, "{file}");
        }
    }
    // A container's cgroup with a process that ignores everything but SIGKILL, in every hierarchy.
    let child = Command::new("sh").args(["-c", "trap '' TERM; exec sleep 1000"]).spawn().unwrap();
    let pid = child.id().to_string();
    real.children.push(child);
    for hierarchy in real.hierarchies.values() {
        let container = named.dir(hierarchy).join("ctr");
        std::fs::create_dir_all(&container).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // Of version 2 only who was given the controller has the files.
            if let Ok(inherited) = files::read(container.parent().unwrap(), file)
                && container.join(file).exists()
            {
                files::write(&container, file, &inherited).unwrap();
            }
        }
        files::write(&container, "cgroup.procs", &pid).unwrap();
    }
    cgroups.destroy(&pod).await.unwrap();
    assert!(!cgroups.exists(&pod).await.unwrap());
    for hierarchy in real.hierarchies.values() {
        assert!(!named.dir(hierarchy).exists(), "{}", hierarchy.display());
    }
    assert!(!real.children[0].wait().unwrap().success(), "it was killed");
    cgroups.destroy(&path(&[&real.name])).await.unwrap();
}

#[tokio::test]
async fn on_this_node_the_contract_holds_below_a_root_of_our_own() {
    let Some((mut real, cgroups)) = real_tree() else { return };
    real.name.push_str("-root");
    cgroups.ensure(&path(&[&real.name]), &CgroupValues::default()).await.unwrap();
    let options = CgroupOptions { root: format!("/{}", real.name), driver: CgroupDriver::Cgroupfs };
    ports::contract::cgroups(&HostCgroups::new(&options).unwrap()).await;
    assert!(cgroups.exists(&path(&[&real.name])).await.unwrap(), "the root itself stays");
    let missing = CgroupOptions { root: format!("/{}/none", real.name), driver: CgroupDriver::Cgroupfs };
    assert!(matches!(HostCgroups::new(&missing), Err(CgroupSetupError::MissingRoot { .. })));
}

#[tokio::test]
async fn on_this_nodes_unified_hierarchy_a_cgroup_is_removed() {
    let Some((mut real, cgroups)) = real_tree() else { return };
    let Some(unified) = cgroups.tree.hierarchies().get("unified").cloned() else {
        eprintln!("skipped: no unified hierarchy is mounted");
        return;
    };
    real.name.push_str("-v2");
    let cgroups = HostCgroups::on(Tree::V2(v2::V2::new(&unified, &[])), plain());
    let pod = path(&[&real.name, "pod1"]);
    cgroups.ensure(&pod, &CgroupValues::default()).await.unwrap();
    assert!(cgroups.exists(&pod).await.unwrap());
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    let dir = Named::new(&pod, &plain()).unwrap().dir(&unified);
    files::write(&dir, "cgroup.procs", &child.id().to_string()).unwrap();
    real.children.push(child);
    cgroups.destroy(&path(&[&real.name])).await.unwrap();
    assert!(!dir.exists());
}
