//! Why a configuration cannot be started with: all reasons together, each told with its file, line and
//! field.

use std::fmt;
use std::path::PathBuf;

use core_yaml::{DecodeError, FieldError, Position};

use crate::features::FeatureError;
use crate::flags::UsageError;
use crate::validate::Violation;

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file that is not YAML or JSON.
    #[error("{}: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        source: DecodeError,
    },
    /// A file without content.
    #[error("{}: the file is empty: give it at least apiVersion and kind, or leave the flag out", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file for something else.
    #[error(
        "{}: apiVersion {api_version:?} and kind {kind:?} are not a kubelet configuration: expected {:?} and {:?}",
        path.display(),
        crate::kubelet_configuration::API_VERSION,
        crate::kubelet_configuration::KIND
    )]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// Its `apiVersion`, empty when it has none.
        api_version: String,
        /// Its `kind`, empty when it has none.
        kind: String,
    },
    /// A field whose value has the wrong type.
    #[error("{}{}: {source}", path.display(), position.map(|at| format!(":{}", at.line)).unwrap_or_default())]
    Field {
        /// The file.
        path: PathBuf,
        /// Where the field stands, when it could be found.
        position: Option<Position>,
        /// The field and what is wrong with it.
        source: FieldError,
    },
    /// A flag.
    #[error(transparent)]
    Flag(#[from] UsageError),
    /// A feature gate.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// A value against a rule.
    #[error(transparent)]
    Invalid(#[from] Violation),
}

/// Every reason at once; prints one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let line_break = if at == 0 { "" } else { "\n" };
            write!(f, "{line_break}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
