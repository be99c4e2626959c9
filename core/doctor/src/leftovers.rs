//! What is named after pods, and is nobody's.

use core_types::PodUid;
use core_volumes::VolumePlugin;

use crate::finding::{Finding, FindingKind, Remedy};
use crate::inventory::{AgentReport, Inventory, PodCgroup, PodDir, PodMount, RuntimeInventory, Sandbox};
use crate::owners::Owners;

/// Plugins whose directories hold only what the kubelet itself put there, or what a pod wrote that is gone.
const OWN_PLUGINS: [VolumePlugin; 5] = [
    VolumePlugin::EmptyDir,
    VolumePlugin::DownwardApi,
    VolumePlugin::Projected,
    VolumePlugin::Secret,
    VolumePlugin::ConfigMap,
];

/// File systems that live in memory: they go with their last mount, and hold nothing of anybody else.
const MEMORY_FILE_SYSTEMS: [&str; 2] = ["tmpfs", "hugetlbfs"];

/// Below it, sub paths of volumes are mounted once more.
const SUB_PATHS: &str = "volume-subpaths/";

/// Process IDs that are named at most.
const MAX_NAMED: usize = 5;

/// Sandboxes, cgroups, mounts, directories, logs, links, network namespaces.
pub(crate) fn judge(inventory: &Inventory, agent: &AgentReport, owners: &Owners<'_>) -> Vec<Finding> {
    let mut findings = sandboxes(inventory, agent);
    let cgroups = inventory.cgroups.iter().filter(|cgroup| owners.is_orphan(&cgroup.uid));
    findings.extend(cgroups.map(|cgroup| orphan_cgroup(cgroup, owners)));
    let orphans: Vec<&PodDir> = inventory.pod_dirs.iter().filter(|dir| owners.is_orphan(&dir.uid)).collect();
    for dir in &orphans {
        // What was mounted last hides what was mounted before.
        findings.extend(dir.mounts.iter().rev().map(|mount| orphan_mount(dir, mount, owners)));
    }
    let runs =
        |uid: &PodUid| inventory.cgroups.iter().any(|one| one.uid == *uid && !one.processes.is_empty());
    findings.extend(orphans.iter().map(|dir| orphan_dir(dir, runs(&dir.uid), owners)));
    findings.extend(inventory.log_dirs.iter().filter(|dir| owners.is_orphan(&dir.uid)).map(|dir| {
        let remedy = Remedy::RemoveLogs { uid: dir.uid.clone() };
        owners.orphan(FindingKind::OrphanLogDir, &dir.path, remedy, None)
    }));
    findings.extend(inventory.dead_links.iter().map(|link| Finding {
        kind: FindingKind::DeadLogLink,
        subject: link.path.clone(),
        why: format!("it leads to {}, whose directory is gone", link.target),
        advice: "podwright doctor --fix removes it".to_owned(),
        remedy: Some(Remedy::RemoveDeadLinks),
    }));
    findings.extend(inventory.idle_namespaces.iter().map(|path| {
        let why = "no process is in this network namespace: a runtime made it for a sandbox that is gone";
        let advice = format!(
            "if no runtime of this machine is making a sandbox with it, remove it with `ip netns delete {}`, and its \
             addresses in the records of the network plugin",
            path.rsplit('/').next().unwrap_or(path)
        );
        Finding::told(FindingKind::OrphanNetworkNamespace, path, why, &advice)
    }));
    findings
}

/// Sandboxes that no pod owns. Without an agent nobody can tell: it may want each of them.
fn sandboxes(inventory: &Inventory, agent: &AgentReport) -> Vec<Finding> {
    let (RuntimeInventory::Listed { sandboxes, .. }, AgentReport::Answers { pods, .. }) =
        (&inventory.runtime, agent)
    else {
        return Vec::new();
    };
    let unknown = sandboxes.iter().filter(|sandbox| !pods.contains(&sandbox.uid));
    unknown.map(unknown_sandbox).collect()
}

fn unknown_sandbox(sandbox: &Sandbox) -> Finding {
    let Sandbox { id, key, uid } = sandbox;
    let why = match uid.as_str() {
        "" => format!("the runtime has it for pod {key} without a UID: it was not made by a kubelet"),
        uid => format!("the runtime has it for pod {key} with UID {uid}, of which the agent knows nothing"),
    };
    let advice = format!("if nobody needs it, remove it and what runs in it: crictl rmp -f {id}");
    Finding::told(FindingKind::UnknownSandbox, id.as_str(), &why, &advice)
}

fn orphan_cgroup(cgroup: &PodCgroup, owners: &Owners<'_>) -> Finding {
    let named: Vec<String> = cgroup.processes.iter().take(MAX_NAMED).map(i32::to_string).collect();
    let more = if cgroup.processes.len() > MAX_NAMED { ", and more" } else { "" };
    let obstacle = (!named.is_empty()).then(|| {
        let named = named.join(", ");
        format!("processes still run in it ({named}{more}): see what they are, end them, then look again")
    });
    let remedy = Remedy::RemoveCgroup { path: cgroup.path.clone() };
    owners.orphan(FindingKind::OrphanCgroup, &cgroup.path.cgroupfs(), remedy, obstacle)
}

/// True for what only a kubelet mounts, and whose unmounting takes nothing from anybody.
fn is_own(mount: &PodMount) -> bool {
    let of_memory = MEMORY_FILE_SYSTEMS.contains(&mount.fs_type.as_str());
    let of_own_plugin = OWN_PLUGINS.iter().any(|plugin| {
        let below =
            mount.relative.strip_prefix("volumes/").and_then(|rest| rest.strip_prefix(plugin.dir_name()));
        below.is_some_and(|rest| rest.starts_with('/'))
    });
    mount.relative.starts_with(SUB_PATHS) || (of_memory && of_own_plugin)
}

fn orphan_mount(dir: &PodDir, mount: &PodMount, owners: &Owners<'_>) -> Finding {
    let obstacle = (!is_own(mount)).then(|| {
        format!(
            "it is a mount of {} that may hold data of others: see what it is, then unmount it by hand",
            mount.fs_type
        )
    });
    let remedy = Remedy::Unmount { uid: dir.uid.clone(), relative: mount.relative.clone() };
    let path = format!("{}/{}", dir.path, mount.relative);
    owners.orphan(FindingKind::OrphanMount, &path, remedy, obstacle)
}

fn orphan_dir(dir: &PodDir, runs: bool, owners: &Owners<'_>) -> Finding {
    let is_own_plugin = |name: &str| OWN_PLUGINS.iter().any(|plugin| plugin.dir_name() == name);
    let foreign: Vec<&str> =
        dir.plugins.iter().map(String::as_str).filter(|name| !is_own_plugin(name)).collect();
    let obstacle = if runs {
        Some("processes still run in the cgroup of this pod: end them, then look again".to_owned())
    } else if !foreign.is_empty() {
        let foreign = foreign.join(", ");
        Some(format!(
            "it holds volumes of {foreign}, which may be data of others: see what they are, then remove it by hand"
        ))
    } else if !dir.mounts.iter().all(is_own) {
        Some("unmount what is mounted below it first, then look again".to_owned())
    } else {
        None
    };
    owners.orphan(
        FindingKind::OrphanPodDir,
        &dir.path,
        Remedy::RemovePodDir { uid: dir.uid.clone() },
        obstacle,
    )
}
