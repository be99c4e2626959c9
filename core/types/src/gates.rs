//! Feature gates that decisions about pods ask for, as values (CONTRACT 8). The defaults are upstream's.

/// How far containers may have restart policies and rules of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestartRules {
    /// Only the pod's policy counts (`ContainerRestartRules` is off).
    OfPod,
    /// Containers have policies and rules (`RestartAllContainersOnContainerExits` is off).
    OfContainers,
    /// A rule of a container may also restart all containers of its pod.
    #[default]
    OfAllContainers,
}

/// Whether containers may name the signal that stops them (`ContainerStopSignals`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopSignals {
    /// The image decides.
    #[default]
    OfImages,
    /// `lifecycle.stopSignal` decides, and statuses show the signal.
    OfContainers,
}

/// Whether variables may come from files of a pod's volumes (`EnvFiles`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnvFileRefs {
    /// `fileKeyRef` is refused in manifests; a pod that has one all the same gets an empty variable.
    Ignored,
    /// `fileKeyRef` is read.
    #[default]
    Read,
}

/// What pods may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodGates {
    /// Restart policies and rules of containers.
    pub restart_rules: RestartRules,
    /// Stop signals.
    pub stop_signals: StopSignals,
    /// Variables from files.
    pub env_files: EnvFileRefs,
}
