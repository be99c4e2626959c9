//! Reasons of waiting containers, as the API shows them (CONTRACT 3.13).

use std::fmt;

/// `state.waiting.reason` of a container status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitingReason {
    /// Init containers run first.
    PodInitializing,
    /// Being made for the first time.
    ContainerCreating,
    /// It failed and waits for its next start.
    CrashLoopBackOff,
    /// The image could not be pulled.
    ErrImagePull,
    /// The next pull waits.
    ImagePullBackOff,
    /// The runtime could not say whether the image is there.
    ImageInspectError,
    /// The image is missing and may not be pulled.
    ErrImageNeverPull,
    /// The image reference cannot be read.
    InvalidImageName,
    /// The registry cannot be reached.
    RegistryUnavailable,
    /// The image's signature is not accepted.
    SignatureValidationFailed,
    /// The container's configuration cannot be made.
    CreateContainerConfigError,
    /// A step before the creation failed.
    PreCreateHookError,
    /// The runtime refused to create it.
    CreateContainerError,
    /// A step before the start failed.
    PreStartHookError,
    /// The runtime could not start it.
    RunContainerError,
    /// Its postStart hook failed.
    PostStartHookError,
}

impl WaitingReason {
    /// The reason as the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PodInitializing => "PodInitializing",
            Self::ContainerCreating => "ContainerCreating",
            Self::CrashLoopBackOff => "CrashLoopBackOff",
            Self::ErrImagePull => "ErrImagePull",
            Self::ImagePullBackOff => "ImagePullBackOff",
            Self::ImageInspectError => "ImageInspectError",
            Self::ErrImageNeverPull => "ErrImageNeverPull",
            Self::InvalidImageName => "InvalidImageName",
            Self::RegistryUnavailable => "RegistryUnavailable",
            Self::SignatureValidationFailed => "SignatureValidationFailed",
            Self::CreateContainerConfigError => "CreateContainerConfigError",
            Self::PreCreateHookError => "PreCreateHookError",
            Self::CreateContainerError => "CreateContainerError",
            Self::PreStartHookError => "PreStartHookError",
            Self::RunContainerError => "RunContainerError",
            Self::PostStartHookError => "PostStartHookError",
        }
    }
}

impl fmt::Display for WaitingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
