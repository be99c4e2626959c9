//! Whether the machine is about to go down.

/// Whether the machine is about to go down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shutdown {
    /// It is not.
    #[default]
    None,
    /// It is: pods are being stopped, none is admitted.
    InProgress,
}
