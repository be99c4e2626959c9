//! Which cgroups are read for a view of the node, and the labels their series get.
//!
//! Runtimes with the `cgroupfs` driver put a container below the pod's cgroup and name its cgroup by the container's ID;
//! so does the sandbox. With systemd it is a scope that has the runtime's name before the ID. A cgroup that is not there
//! is left out by the reader, so guesses cost nothing but a look.

use core_cm::CgroupPath;
use core_types::runtime::CgroupDriver;
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

/// Whose cgroup it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// The root cgroup: everything on the machine.
    Machine,
    /// All pods.
    AllPods,
    /// All pods of a QoS class.
    Class(QosClass),
    /// Daemons of the system.
    Daemons(SystemContainer),
    /// A pod with everything in it.
    Pod(PodUid),
    /// The sandbox of a pod.
    Sandbox(PodUid),
    /// A container of a pod.
    Container(PodUid),
}

/// Daemons that the configuration names a cgroup for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SystemContainer {
    /// The agent: `kubeletCgroups`.
    Kubelet,
    /// The container runtime: `--runtime-cgroups`.
    Runtime,
    /// Everything else: `systemCgroups`.
    Misc,
}

/// How the node's cgroups are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupLayout {
    /// `cgroupRoot`.
    pub root: String,
    /// Who makes them.
    pub driver: CgroupDriver,
    /// Paths of daemons that are named, from the machine's root cgroup.
    pub daemons: Vec<(SystemContainer, String)>,
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
    /// Whose cgroup it is.
    pub whose: Whose,
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

/// All cgroups to read: the machine, all pods, the QoS classes, named daemons, and each pod with its sandbox and running
/// containers.
pub fn groups(view: &NodeView, layout: &CgroupLayout) -> Vec<Group> {
    let mut groups = vec![node(layout)];
    let runtime = view.runtime.version.as_ref().map(|version| version.name.as_str()).unwrap_or_default();
    let places = Places { layout, scope_prefix: if runtime == "cri-o" { "crio" } else { "cri-containerd" } };
    for (uid, observed) in view.observed.iter() {
        let paths = cgroups_of(view, uid);
        let subjects = paths.iter().flat_map(|path| places.pod(path, uid, observed)).collect();
        groups.push(Group { name: format!("{} (uid {uid})", observed.key), subjects });
    }
    groups
}

fn node(layout: &CgroupLayout) -> Group {
    let machine = plain(Whose::Machine, CgroupPath(Vec::new()));
    let pods = |whose, class| plain(whose, layout.place(&CgroupPath::qos(class)));
    let mut subjects = vec![
        Subject { network: NetworkOf::Machine, ..machine },
        // Guaranteed pods have no cgroup of their class: that of all pods stands for it.
        pods(Whose::AllPods, QosClass::Guaranteed),
        pods(Whose::Class(QosClass::Burstable), QosClass::Burstable),
        pods(Whose::Class(QosClass::BestEffort), QosClass::BestEffort),
    ];
    let daemons = layout.daemons.iter();
    subjects
        .extend(daemons.map(|(whose, path)| plain(Whose::Daemons(*whose), CgroupPath::from_cgroupfs(path))));
    Group { name: "node".to_owned(), subjects }
}

/// Where the pod's cgroup may be: by its class, or, when only the runtime knows the pod, below any class.
fn cgroups_of(view: &NodeView, uid: &PodUid) -> Vec<CgroupPath> {
    match view.pods.get(uid).filter(|pod| pod.source.is_some()) {
        Some(pod) => vec![CgroupPath::pod(core_cm::qos_class(&pod.pod), uid)],
        None => QosClass::ALL.iter().map(|class| CgroupPath::pod(*class, uid)).collect(),
    }
}

impl CgroupLayout {
    /// Where a cgroup below the configured root is, counted from the machine's root cgroup.
    fn place(&self, path: &CgroupPath) -> CgroupPath {
        let path = path.below_root(&self.root);
        match self.driver {
            CgroupDriver::Cgroupfs => path,
            CgroupDriver::Systemd => CgroupPath::from_cgroupfs(&path.systemd()),
        }
    }
}

/// Where pods and what is in them are.
struct Places<'a> {
    layout: &'a CgroupLayout,
    scope_prefix: &'static str,
}

impl Places<'_> {
    fn pod(&self, path: &CgroupPath, uid: &PodUid, observed: &ObservedPod) -> Vec<Subject> {
        let labels = Labels {
            namespace: observed.key.namespace.to_string(),
            pod: observed.key.name.to_string(),
            ..Labels::default()
        };
        let path = self.layout.place(path);
        let itself = Subject { labels: labels.clone(), ..plain(Whose::Pod(uid.clone()), path.clone()) };
        let sandboxes = observed.sandboxes.iter().filter(|sandbox| sandbox.is_ready());
        let sandboxes =
            sandboxes.map(|found| sandbox(self.below(&path, found.id().as_str()), &labels, found));
        let containers = observed.live_containers();
        let containers = containers.map(|found| {
            let path = self.below(&path, found.id().as_str());
            container(path, Whose::Container(uid.clone()), &labels, found)
        });
        std::iter::once(itself).chain(sandboxes).chain(containers).collect()
    }

    /// The cgroup that the runtime makes for what it calls `id`.
    fn below(&self, pod: &CgroupPath, id: &str) -> CgroupPath {
        match self.layout.driver {
            CgroupDriver::Cgroupfs => pod.clone().child(id),
            CgroupDriver::Systemd => pod.clone().child(format!("{}-{id}.scope", self.scope_prefix)),
        }
    }
}

fn sandbox(path: CgroupPath, labels: &Labels, sandbox: &ObservedSandbox) -> Subject {
    let summary = &sandbox.0.summary;
    Subject {
        labels: Labels { name: summary.id.to_string(), ..labels.clone() },
        network: NetworkOf::ItsProcesses,
        created_at: summary.created_at,
        ..plain(Whose::Sandbox(summary.uid.clone()), path)
    }
}

fn container(path: CgroupPath, whose: Whose, labels: &Labels, container: &ObservedContainer) -> Subject {
    let status = &container.status;
    Subject {
        labels: Labels {
            container: container.name().to_owned(),
            image: status.image.clone(),
            name: status.id.to_string(),
            ..labels.clone()
        },
        created_at: status.created_at,
        started_at: status.started_at,
        ..plain(whose, path)
    }
}

fn plain(whose: Whose, path: CgroupPath) -> Subject {
    Subject {
        whose,
        path,
        labels: Labels::default(),
        network: NetworkOf::Nobody,
        created_at: WallTime::default(),
        started_at: WallTime::default(),
    }
}

#[cfg(test)]
mod tests;
