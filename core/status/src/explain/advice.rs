//! What happens next without anybody's doing, and what a person can do about it.

use core_types::PodKey;

use super::cause::{Cause, ProbeWord};
use super::image;
use super::text::Span;

/// What follows from a cause; either text may be empty.
pub(super) struct Advice {
    pub(super) next: String,
    pub(super) to_do: String,
}

impl Advice {
    fn new(next: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { next: next.into(), to_do: to_do.into() }
    }
}

const NO_NETWORK: &str =
    "Install a CNI configuration (usually in /etc/cni/net.d), or set hostNetwork in the pod.";

/// Advice for a pod in a state with this cause. `retry_in_secs` is the time until the agent tries again by itself.
pub(super) fn advice(cause: &Cause, pod: &PodKey, retry_in_secs: Option<u64>) -> Advice {
    let again = |what: &str| match retry_in_secs {
        Some(0) => format!("{what} now."),
        Some(secs) => format!("{what} in {}.", Span(secs)),
        None => format!("{what}."),
    };
    let logs = |container: &str| format!("podwright logs {pod} -c {container}");
    match cause {
        Cause::RuntimeDown { .. } => Advice::new(
            "The agent goes on by itself when the runtime answers; containers that run are left alone.",
            "Start the container runtime, or correct --container-runtime-endpoint.",
        ),
        Cause::NetworkNotReady { .. } => {
            Advice::new("It starts by itself when the network is ready.", NO_NETWORK)
        }
        Cause::SameName { .. } => Advice::new("It starts by itself when the other one is gone.", ""),
        Cause::NotStartedYet => Advice::new("It starts by itself.", ""),
        Cause::Busy { .. } => Advice::new("Its start goes on by itself.", ""),
        Cause::PullingImage { .. } => Advice::new("The container starts when the image is there.", ""),
        Cause::ImageUnavailable { reason, message, .. } => image(reason, message, &again),
        Cause::CrashLoop { container, reason, stopped_for, .. } => {
            let next = format!("{} Each failure makes the next wait longer.", again("It is started again"));
            Advice::new(
                next,
                crash(container, reason, stopped_for, &format!("{} --previous", logs(container))),
            )
        }
        Cause::RestartingAll { .. } => Advice::new("All containers, init containers too, start anew.", ""),
        Cause::ConfigError { .. } => Advice::new(
            again("It is tried again"),
            "Correct the pod's specification, or make what it names; a changed manifest is read at once.",
        ),
        Cause::StartError { container, reason, .. } => {
            Advice::new(again("It is tried again"), start_error(container, reason))
        }
        Cause::PodProblem { reason, .. } => Advice::new(again("It is tried again"), pod_problem(reason)),
        Cause::Initializing { container, .. } => Advice::new(
            "The containers after it wait until it has ended with exit code 0.",
            format!("If it takes long, read its log: {}", logs(container)),
        ),
        Cause::ProbeFails { container, probe, .. } => Advice::new(
            after_probe(*probe),
            format!("Check what the probe asks, and read the container's log: {}", logs(container)),
        ),
        Cause::NotReady { containers } => Advice::new(
            "It is ready when its probes have succeeded.",
            containers.first().map_or_else(String::new, |container| {
                format!("If it takes long, read its log: {}", logs(container))
            }),
        ),
        Cause::Ready | Cause::Completed => Advice::new("", ""),
        Cause::Failed { container, reason, .. } => Advice::new(
            "Nothing: its restart policy starts nothing again.",
            match container.as_str() {
                "" => String::new(),
                container => end(container, reason, &logs(container)),
            },
        ),
        Cause::Refused { reason, .. } => {
            Advice::new("Nothing: a pod that the node has ended or refused stays so.", refused(reason))
        }
        Cause::Terminating { .. } => {
            Advice::new("What still runs at the end of the grace period is killed.", "")
        }
        Cause::Stopped => Advice::new("Its volumes and its directory are removed, and then it is gone.", ""),
        Cause::Unwanted => Advice::new("It is stopped and removed.", ""),
    }
}

/// What failures of a probe lead to.
fn after_probe(probe: ProbeWord) -> &'static str {
    match probe {
        ProbeWord::Readiness => "It gets no traffic until the probe succeeds; it is not restarted for this.",
        ProbeWord::Liveness | ProbeWord::Startup => {
            "When the probe fails as often as its failureThreshold, the container is restarted."
        }
    }
}

/// What to do about a container that ends again and again; `read` shows its last words.
fn crash(container: &str, reason: &str, stopped_for: &str, read: &str) -> String {
    match stopped_for {
        "" => end(container, reason, read),
        probe => format!(
            "Check what the {probe} probe asks and how long the answer takes, and read what the container said: {read}"
        ),
    }
}

fn image(reason: &str, message: &str, again: &dyn Fn(&str) -> String) -> Advice {
    let next = match reason {
        "ErrImageNeverPull" => "The agent looks for it again",
        "InvalidImageName" => "It is tried again",
        "ImageInspectError" => "It is looked for again",
        _ => "The pull is tried again",
    };
    Advice::new(again(next), image::hint(reason, message))
}

/// What to do about a container that ended; `read` shows its last words.
fn end(container: &str, reason: &str, read: &str) -> String {
    match reason {
        "OOMKilled" => format!("Raise the memory limit of container {container}, or make it need less."),
        "ContainerCannotRun" | "StartError" => {
            format!("Check the command, the mounts and the security context of container {container}.")
        }
        "ContainerStatusUnknown" => {
            format!("See whether the node or the container runtime was restarted; {read}")
        }
        _ => format!("Read what it said last: {read}"),
    }
}

fn start_error(container: &str, reason: &str) -> String {
    match reason {
        "PostStartHookError" => {
            format!("Check the postStart hook of container {container}: it must end with success.")
        }
        "PreCreateHookError" | "PreStartHookError" => format!(
            "Check what prepares container {container} on this node (devices, resource claims): it refused."
        ),
        _ => format!("Check the command, the mounts and the security context of container {container}."),
    }
}

fn pod_problem(reason: &str) -> &'static str {
    match reason {
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => {
            "Check the pod's volumes: their paths, what they name, and whether that is there."
        }
        "FailedCreatePodSandBox" | "FailedPodSandBoxStatus" => {
            "Check the network plug-in (CNI), the runtime class, and the container runtime's log."
        }
        "FailedCreatePodContainer" => {
            "Check the node's cgroups: whether they can be written, and the limits above the pod."
        }
        "NetworkNotReady" => NO_NETWORK,
        "FailedKillPod" => {
            "Read the container runtime's log. A process that waits for a dead disk or file server cannot be killed."
        }
        "FailedUnmount" | "FailedRemove" => {
            "See what holds the pod's directory: a file server that does not answer, or a process that uses it."
        }
        "FailedPrepareDynamicResources" => "Check the drivers of the pod's resource claims.",
        _ => "",
    }
}

fn refused(reason: &str) -> &'static str {
    match reason {
        "DeadlineExceeded" => "Raise activeDeadlineSeconds, or give it less to do.",
        "Evicted" => "Make room on the node, or set requests that say what the pod needs.",
        "Preempting" => {
            "A more important pod needed the room: run this one elsewhere, or give it a higher priority."
        }
        "NodeShutdown" | "Terminated" => "The node was shut down: run the pod anew when it is back.",
        "SysctlForbidden" => "Allow the sysctl with --allowed-unsafe-sysctls, or leave it out of the pod.",
        "NodeAffinity" | "NodeName" => {
            "Run it on a node that it asks for, or change its nodeSelector, affinity or nodeName."
        }
        "NodePorts" => "Choose another hostPort, or remove the pod that has it.",
        "PodOSNotSupported" | "PodOSSelectorNodeLabelDoesNotMatch" => {
            "Run it on a node with the operating system that it names."
        }
        "PodLevelResourcesNotSupported" => {
            "Enable the feature gate PodLevelResources, or give resources to containers only."
        }
        reason if reason.starts_with("OutOf") => {
            "Lower its requests, remove other pods, or run it on a larger node."
        }
        _ => "",
    }
}
