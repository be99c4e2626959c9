//! What was found.

use core_cm::cgroup::CgroupPath;
use core_types::PodUid;

/// What kind of thing is wrong. The texts are an interface for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// No agent answers.
    NoAgent,
    /// The container runtime does not answer or is not ready.
    Runtime,
    /// A manifest or source cannot be used.
    Source,
    /// A place could not be looked at.
    NotLooked,
    /// A certificate is over.
    CertificateExpired,
    /// A certificate is nearly over and was not renewed.
    CertificateEnds,
    /// A certificate cannot be read.
    CertificateBroken,
    /// A state file cannot be used.
    StateFileBroken,
    /// A state file that could not be used was set aside.
    StateFileSetAside,
    /// A sandbox in the runtime that no pod owns.
    UnknownSandbox,
    /// A cgroup of no pod.
    OrphanCgroup,
    /// Something mounted for no pod.
    OrphanMount,
    /// A directory of no pod.
    OrphanPodDir,
    /// Logs of no pod.
    OrphanLogDir,
    /// A link to logs that are gone.
    DeadLogLink,
    /// A network namespace in which nothing runs.
    OrphanNetworkNamespace,
}

impl FindingKind {
    /// As scripts read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoAgent => "no-agent",
            Self::Runtime => "runtime",
            Self::Source => "source",
            Self::NotLooked => "not-looked",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateEnds => "certificate-ends",
            Self::CertificateBroken => "certificate-broken",
            Self::StateFileBroken => "state-file-broken",
            Self::StateFileSetAside => "state-file-set-aside",
            Self::UnknownSandbox => "unknown-sandbox",
            Self::OrphanCgroup => "orphan-cgroup",
            Self::OrphanMount => "orphan-mount",
            Self::OrphanPodDir => "orphan-pod-dir",
            Self::OrphanLogDir => "orphan-log-dir",
            Self::DeadLogLink => "dead-log-link",
            Self::OrphanNetworkNamespace => "orphan-network-namespace",
        }
    }
}

/// What removes a finding safely. Each step fails rather than take away what is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Unmount what is mounted at this path below the directory of the pod; not when it is busy.
    Unmount {
        /// Pod.
        uid: PodUid,
        /// Path below its directory.
        relative: String,
    },
    /// Remove the directory of the pod; not while something is mounted below.
    RemovePodDir {
        /// Pod.
        uid: PodUid,
    },
    /// Remove the logs of the pod and the links to them.
    RemoveLogs {
        /// Pod.
        uid: PodUid,
    },
    /// Remove the links to logs that are gone.
    RemoveDeadLinks,
    /// Remove the cgroup; not while a process is in it.
    RemoveCgroup {
        /// Below the configured root.
        path: CgroupPath,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Which one: a path, an ID, a name.
    pub subject: String,
    /// Why it is wrong.
    pub why: String,
    /// What a person should do.
    pub advice: String,
    /// What the program can do safely.
    pub remedy: Option<Remedy>,
}

impl Finding {
    /// One that is only told.
    pub(crate) fn told(kind: FindingKind, subject: &str, why: &str, advice: &str) -> Self {
        let [subject, why, advice] = [subject, why, advice].map(str::to_owned);
        Self { kind, subject, why, advice, remedy: None }
    }
}
