//! Events of containers and sandboxes that this crate's decisions lead to: reason, type and text, word for word as
//! upstream's kubelet emits them (CONTRACT 3.9, 3.12, 3.16).

use std::time::Duration;

use core_types::EventType;

use crate::text::go_duration;

/// An event about a pod or one of its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEventText {
    /// A container was created.
    Created,
    /// A container was started.
    Started,
    /// A container could not be created or started; the cause.
    Failed(String),
    /// A container is being stopped; why.
    Killing(String),
    /// A container waits for its restart.
    BackOffRestart {
        /// Container.
        container: String,
        /// Pod as `name_namespace(uid)`.
        pod: String,
    },
    /// A postStart hook failed. Its output may hold secrets, so it is not shown.
    FailedPostStartHook,
    /// A preStop hook failed.
    FailedPreStopHook,
    /// A hook's https server answered plain HTTP; the authority that was asked.
    LifecycleHttpFallback(String),
    /// The sandbox is replaced.
    SandboxChanged,
    /// The sandbox could not be created; the cause.
    FailedCreatePodSandBox(String),
    /// The pod could not be stopped; the cause.
    FailedKillPod(String),
    /// A pull starts.
    Pulling(String),
    /// A pull ended well.
    Pulled {
        /// Image as the pod's author wrote it.
        image: String,
        /// Time of the pull itself.
        pull: Duration,
        /// Time with the wait in the queue.
        total: Duration,
        /// Size of the image.
        size_bytes: u64,
    },
    /// The image was there already, and who may use it is not asked.
    AlreadyPresent(String),
    /// The image was there already, and the pod may use it.
    AlreadyAccessible(String),
    /// A pull failed.
    FailedToPull {
        /// Image as the pod's author wrote it.
        image: String,
        /// The runtime's words.
        cause: String,
    },
    /// A pull failed, and secrets that the pod names for it could not be had; their names.
    FailedToRetrieveImagePullSecret(String),
    /// The next pull waits.
    BackOffPull(String),
    /// The image is missing and may not be pulled.
    ErrImageNeverPull(String),
    /// The image reference cannot be read or the runtime could not look it up; the whole text.
    InspectFailed(String),
    /// Something of the DNS settings was left out; the whole text.
    DnsConfigForming(String),
    /// No cluster DNS is configured although the pod asks for it.
    MissingClusterDns {
        /// Pod as `name_namespace(uid)`.
        pod: String,
    },
}

impl RuntimeEventText {
    /// `Event.type`.
    pub const fn event_type(&self) -> EventType {
        match self {
            Self::Created
            | Self::Started
            | Self::Killing(_)
            | Self::SandboxChanged
            | Self::Pulling(_)
            | Self::Pulled { .. }
            | Self::AlreadyPresent(_)
            | Self::AlreadyAccessible(_)
            | Self::BackOffPull(_) => EventType::Normal,
            _ => EventType::Warning,
        }
    }

    /// `Event.reason`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Started => "Started",
            Self::Failed(_) | Self::FailedToPull { .. } => "Failed",
            Self::Killing(_) => "Killing",
            Self::BackOffRestart { .. } | Self::BackOffPull(_) => "BackOff",
            Self::FailedPostStartHook => "FailedPostStartHook",
            Self::FailedPreStopHook => "FailedPreStopHook",
            Self::LifecycleHttpFallback(_) => "LifecycleHTTPFallback",
            Self::SandboxChanged => "SandboxChanged",
            Self::FailedCreatePodSandBox(_) => "FailedCreatePodSandBox",
            Self::FailedKillPod(_) => "FailedKillPod",
            Self::Pulling(_) => "Pulling",
            Self::Pulled { .. } | Self::AlreadyPresent(_) | Self::AlreadyAccessible(_) => "Pulled",
            Self::FailedToRetrieveImagePullSecret(_) => "FailedToRetrieveImagePullSecret",
            Self::ErrImageNeverPull(_) => "ErrImageNeverPull",
            Self::InspectFailed(_) => "InspectFailed",
            Self::DnsConfigForming(_) => "DNSConfigForming",
            Self::MissingClusterDns { .. } => "MissingClusterDNS",
        }
    }

    /// `Event.message`.
    pub fn message(&self) -> String {
        match self {
            Self::Created => "Container created".to_owned(),
            Self::Started => "Container started".to_owned(),
            Self::Failed(cause) => format!("Error: {cause}"),
            Self::Killing(text) | Self::InspectFailed(text) | Self::DnsConfigForming(text) => text.clone(),
            Self::BackOffRestart { container, pod } => {
                format!("Back-off restarting failed container {container} in pod {pod}")
            }
            Self::FailedPostStartHook => "PostStartHook failed".to_owned(),
            Self::FailedPreStopHook => "PreStopHook failed".to_owned(),
            Self::LifecycleHttpFallback(authority) => format!(
                "request to HTTPS lifecycle hook {authority} got HTTP response, retry with HTTP succeeded"
            ),
            Self::SandboxChanged => "Pod sandbox changed, it will be killed and re-created.".to_owned(),
            Self::FailedCreatePodSandBox(cause) => format!("Failed to create pod sandbox: {cause}"),
            Self::FailedKillPod(cause) => format!("error killing pod: {cause}"),
            Self::Pulling(image) => format!("Pulling image {}", quoted(image)),
            Self::Pulled { image, pull, total, size_bytes } => format!(
                "Successfully pulled image {} in {} ({} including waiting). Image size: {size_bytes} bytes.",
                quoted(image),
                go_duration(whole_millis(*pull)),
                go_duration(whole_millis(*total)),
            ),
            Self::AlreadyPresent(image) => {
                format!("Container image {} already present on machine", quoted(image))
            }
            Self::AlreadyAccessible(image) => format!(
                "Container image {} already present on machine and can be accessed by the pod",
                quoted(image)
            ),
            Self::FailedToPull { image, cause } => format!("Failed to pull image {}: {cause}", quoted(image)),
            Self::FailedToRetrieveImagePullSecret(names) => format!(
                "Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."
            ),
            Self::BackOffPull(image) => format!("Back-off pulling image {}", quoted(image)),
            Self::ErrImageNeverPull(image) => {
                format!("Container image {} is not present with pull policy of Never", quoted(image))
            }
            Self::MissingClusterDns { pod } => format!(
                "pod: {}. kubelet does not have ClusterDNS IP configured and cannot create Pod using \
                 \"ClusterFirst\" policy. Falling back to \"Default\" policy.",
                quoted(pod)
            ),
        }
    }
}

/// `text` as Go's `%q` shows it. Names of images and pods hold nothing that the two languages escape differently.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_upstreams() {
        let text = |text: &str| text.to_owned();
        for (event, expected) in [
            (RuntimeEventText::Created, "Normal Created Container created"),
            (RuntimeEventText::Started, "Normal Started Container started"),
            (RuntimeEventText::Failed(text("ErrImagePull")), "Warning Failed Error: ErrImagePull"),
            (RuntimeEventText::Killing(text("Stopping container a")), "Normal Killing Stopping container a"),
            (
                RuntimeEventText::BackOffRestart { container: text("a"), pod: text("web_shop(u)") },
                "Warning BackOff Back-off restarting failed container a in pod web_shop(u)",
            ),
            (RuntimeEventText::FailedPostStartHook, "Warning FailedPostStartHook PostStartHook failed"),
            (RuntimeEventText::FailedPreStopHook, "Warning FailedPreStopHook PreStopHook failed"),
            (
                RuntimeEventText::LifecycleHttpFallback(text("10.0.0.1:443")),
                "Warning LifecycleHTTPFallback request to HTTPS lifecycle hook 10.0.0.1:443 got HTTP response, retry with \
                 HTTP succeeded",
            ),
            (
                RuntimeEventText::SandboxChanged,
                "Normal SandboxChanged Pod sandbox changed, it will be killed and re-created.",
            ),
            (RuntimeEventText::Pulling(text("a:1")), "Normal Pulling Pulling image \"a:1\""),
            (
                RuntimeEventText::Pulled {
                    image: text("a:1"),
                    pull: Duration::from_micros(1_234_567),
                    total: Duration::from_millis(2_000),
                    size_bytes: 42,
                },
                "Normal Pulled Successfully pulled image \"a:1\" in 1.234s (2s including waiting). Image size: 42 bytes.",
            ),
            (
                RuntimeEventText::AlreadyPresent(text("a:1")),
                "Normal Pulled Container image \"a:1\" already present on machine",
            ),
            (
                RuntimeEventText::AlreadyAccessible(text("a:1")),
                "Normal Pulled Container image \"a:1\" already present on machine and can be accessed by the pod",
            ),
            (
                RuntimeEventText::FailedToPull { image: text("a:1"), cause: text("no such host") },
                "Warning Failed Failed to pull image \"a:1\": no such host",
            ),
            (
                RuntimeEventText::FailedToRetrieveImagePullSecret(text("a, b")),
                "Warning FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (a, b); attempting to \
                 pull the image may not succeed.",
            ),
            (RuntimeEventText::BackOffPull(text("a:1")), "Normal BackOff Back-off pulling image \"a:1\""),
            (
                RuntimeEventText::ErrImageNeverPull(text("a:1")),
                "Warning ErrImageNeverPull Container image \"a:1\" is not present with pull policy of Never",
            ),
            (
                RuntimeEventText::MissingClusterDns { pod: text("web_shop(u)") },
                "Warning MissingClusterDNS pod: \"web_shop(u)\". kubelet does not have ClusterDNS IP configured and \
                 cannot create Pod using \"ClusterFirst\" policy. Falling back to \"Default\" policy.",
            ),
        ] {
            let shown = format!("{:?} {} {}", event.event_type(), event.reason(), event.message());
            assert_eq!(shown, expected);
        }
    }
}
