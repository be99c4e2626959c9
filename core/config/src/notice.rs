//! What the user should know about a configuration that is good enough to start with.

use std::fmt;

/// The kind of a [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// A flag that belongs into the file, or goes away.
    DeprecatedFlag,
    /// A field or key that nothing reads, or that is given twice.
    UnknownField,
    /// A setting that is accepted and changes nothing.
    IgnoredSetting,
    /// Something about a feature gate.
    FeatureGate,
}

/// One thing to log at start, as a warning. Never holds secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// The text.
    pub message: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
