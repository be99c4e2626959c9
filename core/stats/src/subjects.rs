//! Which cgroups are read for a view of the node, and the labels their series get.
//!
//! Runtimes with the `cgroupfs` driver put a container below the pod's cgroup and name its cgroup by the container's ID;
//! so does the sandbox. A cgroup that is not there is left out by the reader, so guesses cost nothing but a look.

use core_cm::CgroupPath;
use core_types::view::NodeView;
use core_types::{ObservedContainer, ObservedPod, ObservedSandbox, PodUid, QosClass, WallTime};

/// Whose network interfaces are counted with a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkOf {
    /// Nobody's: containers share the sandbox's, which would be counted twice.
    Nobody,
    /// Those that the processes of the cgroup see: the sandbox.
    ItsProcesses,
    /// The machine's.
    Machine,
}

/// Labels of all series of one cgroup, besides `id`; empty where they do not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Container in the pod; empty for pods and sandboxes, as upstream.
    pub container: String,
    /// Image of the container.
    pub image: String,
    /// The runtime's ID of the container or sandbox.
    pub name: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
}

/// One cgroup to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Path from the machine's root cgroup; empty for the root itself.
    pub path: CgroupPath,
    /// Labels.
    pub labels: Labels,
    /// Network.
    pub network: NetworkOf,
    /// When the runtime made it; unset for what the runtime does not know.
    pub created_at: WallTime,
    /// When the runtime started it; unset likewise.
    pub started_at: WallTime,
}

/// Cgroups that are read together, one after another: what blocks in one delays no other group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// For messages: the pod, or `node`.
    pub name: String,
    /// Cgroups.
    pub subjects: Vec<Subject>,
}

/// All cgroups to read: the machine, all pods, the QoS classes, and each pod with its sandbox and running containers.
/// `cgroup_root` is the configured `cgroupRoot`.
pub fn groups(view: &NodeView, cgroup_root: &str) -> Vec<Group> {
    let mut groups = vec![node(cgroup_root)];
    for (uid, observed) in &view.observed {
        let subjects = cgroups_of(view, uid)
            .iter()
            .flat_map(|path| pod(&path.below_root(cgroup_root), observed))
            .collect();
        groups.push(Group { name: format!("{} (uid {uid})", observed.key), subjects });
    }
    groups
}

fn node(cgroup_root: &str) -> Group {
    let machine = Subject { network: NetworkOf::Machine, ..plain(CgroupPath(Vec::new())) };
    // Guaranteed pods have no cgroup of their class: the first path is that of all pods.
    let classes = [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort]
        .map(|class| plain(CgroupPath::qos(class).below_root(cgroup_root)));
    Group { name: "node".to_owned(), subjects: std::iter::once(machine).chain(classes).collect() }
}

/// Where the pod's cgroup may be: by its class, or, when only the runtime knows the pod, below any class.
fn cgroups_of(view: &NodeView, uid: &PodUid) -> Vec<CgroupPath> {
    match view.pods.get(uid).filter(|pod| pod.source.is_some()) {
        Some(pod) => vec![CgroupPath::pod(core_cm::qos_class(&pod.pod), uid)],
        None => QosClass::ALL.iter().map(|class| CgroupPath::pod(*class, uid)).collect(),
    }
}

fn pod(path: &CgroupPath, observed: &ObservedPod) -> Vec<Subject> {
    let labels = Labels {
        namespace: observed.key.namespace.to_string(),
        pod: observed.key.name.to_string(),
        ..Labels::default()
    };
    let itself = Subject { labels: labels.clone(), ..plain(path.clone()) };
    let sandboxes = observed.sandboxes.iter().filter(|sandbox| sandbox.is_ready());
    let sandboxes = sandboxes.map(|found| sandbox(path, &labels, found));
    let containers = observed.live_containers().map(|found| container(path, &labels, found));
    std::iter::once(itself).chain(sandboxes).chain(containers).collect()
}

fn sandbox(pod: &CgroupPath, labels: &Labels, sandbox: &ObservedSandbox) -> Subject {
    let id = sandbox.id().as_str();
    Subject {
        labels: Labels { name: id.to_owned(), ..labels.clone() },
        network: NetworkOf::ItsProcesses,
        created_at: sandbox.0.summary.created_at,
        ..plain(pod.clone().child(id))
    }
}

fn container(pod: &CgroupPath, labels: &Labels, container: &ObservedContainer) -> Subject {
    let (id, status) = (container.id().as_str(), &container.status);
    Subject {
        labels: Labels {
            container: container.name().to_owned(),
            image: status.image.clone(),
            name: id.to_owned(),
            ..labels.clone()
        },
        created_at: status.created_at,
        started_at: status.started_at,
        ..plain(pod.clone().child(id))
    }
}

fn plain(path: CgroupPath) -> Subject {
    Subject {
        path,
        labels: Labels::default(),
        network: NetworkOf::Nobody,
        created_at: WallTime::default(),
        started_at: WallTime::default(),
    }
}

#[cfg(test)]
mod tests;
