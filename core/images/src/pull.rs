//! Whether to pull an image, and what a failed pull is called (CONTRACT 3.16).

use core_runtime::WaitingReason;

use crate::reference::{ImageNameError, ImageReference};

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PullPolicy {
    /// Ask the registry at every start.
    Always,
    /// Pull only what is missing.
    IfNotPresent,
    /// Never pull.
    Never,
}

impl PullPolicy {
    /// The policy as the pod writes it. Without one it is `Always` for the tag `latest` and for no tag, else
    /// `IfNotPresent`: the API's default, needed for pods that did not pass the API server.
    pub fn of(policy: &str, image: &str) -> Self {
        match policy {
            "Always" => Self::Always,
            "Never" => Self::Never,
            "IfNotPresent" => Self::IfNotPresent,
            _ => match image.parse::<ImageReference>() {
                Ok(reference) if reference.is_latest() => Self::Always,
                _ => Self::IfNotPresent,
            },
        }
    }

    /// The policy as metrics name it.
    pub const fn as_label(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::IfNotPresent => "ifnotpresent",
            Self::Never => "never",
        }
    }
}

/// Whether the runtime has an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// It does.
    Present,
    /// It does not.
    Missing,
}

/// What to do about an image before a container starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PullDecision {
    /// Use the image that is there.
    Present,
    /// Pull it.
    Pull,
    /// It is missing and may not be pulled: [`WaitingReason::ErrImageNeverPull`].
    NeverPullMissing,
}

/// Decides whether to pull.
pub fn pull_decision(policy: PullPolicy, presence: Presence) -> PullDecision {
    match (policy, presence) {
        (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, Presence::Missing) => PullDecision::Pull,
        (PullPolicy::Never, Presence::Missing) => PullDecision::NeverPullMissing,
        (_, Presence::Present) => PullDecision::Present,
    }
}

/// Why a pull is refused that came too soon after others (`registryPullQPS`, `registryBurst`).
pub const RATE_EXCEEDED: &str = "pull QPS exceeded";

/// The words of a pull that failed with each of its credentials: each different text once, as Go joins errors.
pub fn joined_failures(failures: &[String]) -> String {
    let mut different: Vec<&str> = Vec::new();
    for failure in failures {
        if !different.contains(&failure.as_str()) {
            different.push(failure);
        }
    }
    match different.as_slice() {
        [only] => (*only).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// Key of an image in the pull back-off.
pub fn backoff_key(pod_uid: &core_types::PodUid, image: &str) -> String {
    format!("{pod_uid}_{image}")
}

/// A failed pull in the words of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullFailure {
    /// Waiting reason.
    pub reason: WaitingReason,
    /// Waiting message.
    pub message: String,
}

/// Names a pull failure by the beginning of the runtime's words.
pub fn pull_failure(image: &str, cause: &str) -> PullFailure {
    let known = [
        (WaitingReason::RegistryUnavailable, "the registry is unavailable"),
        (WaitingReason::SignatureValidationFailed, "the signature validation failed"),
    ];
    for (reason, why) in known {
        if let Some(rest) = cause.strip_prefix(reason.as_str()) {
            return PullFailure {
                reason,
                message: format!("image pull failed for {image} because {why}{rest}"),
            };
        }
    }
    PullFailure { reason: WaitingReason::ErrImagePull, message: cause.to_owned() }
}

impl PullFailure {
    /// While the next pull waits: the failure to show, with the last one's words.
    pub fn backing_off(image: &str, last: &str) -> Self {
        let message = match last {
            "" => format!("Back-off pulling image {image:?}"),
            _ => format!("Back-off pulling image {image:?}: {last}"),
        };
        Self { reason: WaitingReason::ImagePullBackOff, message }
    }

    /// The failure of an image that is missing and may not be pulled.
    pub fn never_pull(image: &str) -> Self {
        let message = format!("Container image {image:?} is not present with pull policy of Never");
        Self { reason: WaitingReason::ErrImageNeverPull, message }
    }

    /// The failure of a reference that cannot be read.
    pub fn invalid_name(image: &str, error: &ImageNameError) -> Self {
        let message = format!("Failed to apply default image tag {image:?}: {error}");
        Self { reason: WaitingReason::InvalidImageName, message }
    }

    /// What the back-off remembers of this failure: `<reason>: <message>`.
    pub fn summary(&self) -> String {
        format!("{}: {}", self.reason, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_decides_with_the_presence() {
        use PullDecision::{NeverPullMissing, Present, Pull};
        for (policy, present, missing) in [
            (PullPolicy::Always, Pull, Pull),
            (PullPolicy::IfNotPresent, Present, Pull),
            (PullPolicy::Never, Present, NeverPullMissing),
        ] {
            assert_eq!(pull_decision(policy, Presence::Present), present);
            assert_eq!(pull_decision(policy, Presence::Missing), missing);
        }
    }

    #[test]
    fn the_default_policy_follows_the_tag() {
        for (image, policy) in [
            ("busybox", PullPolicy::Always),
            ("busybox:latest", PullPolicy::Always),
            ("busybox:1", PullPolicy::IfNotPresent),
            (
                "busybox@sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa",
                PullPolicy::IfNotPresent,
            ),
            ("Bad Name", PullPolicy::IfNotPresent),
        ] {
            assert_eq!(PullPolicy::of("", image), policy, "{image}");
        }
        assert_eq!(PullPolicy::of("Never", "busybox"), PullPolicy::Never);
    }

    #[test]
    fn failures_of_several_credentials_are_joined() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(joined_failures(&texts(&["a"])), "a");
        assert_eq!(joined_failures(&texts(&["a", "a"])), "a");
        assert_eq!(joined_failures(&texts(&["a", "b", "a"])), "[a, b]");
    }

    #[test]
    fn failures_are_named_by_the_runtimes_first_word() {
        for (cause, summary) in [
            ("no such host", "ErrImagePull: no such host"),
            (
                "RegistryUnavailable: timeout",
                "RegistryUnavailable: image pull failed for a:1 because the registry is unavailable: timeout",
            ),
            (
                "SignatureValidationFailed: bad key",
                "SignatureValidationFailed: image pull failed for a:1 because the signature validation failed: bad key",
            ),
        ] {
            assert_eq!(pull_failure("a:1", cause).summary(), summary);
        }
        let waiting = PullFailure::backing_off("a:1", "ErrImagePull: no such host");
        assert_eq!(
            waiting.summary(),
            "ImagePullBackOff: Back-off pulling image \"a:1\": ErrImagePull: no such host"
        );
    }
}
