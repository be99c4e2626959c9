//! Flags, `KubeletConfiguration` and drop-ins, merged into one validated configuration (CONTRACT 1.1-1.6
//! and 8).
//!
//! Three steps, each a type:
//!
//! ```text
//! raw           arguments, bytes of --config, bytes of the *.conf files of --config-dir
//!                 | flags::parse
//! parsed        ParsedFlags  (tells which files to read; the program reads them)
//!                 | assemble(parsed, file, drop-ins, facts of the host)
//! meaningful    Config { kubelet, options, features, notices }
//! ```
//!
//! [`assemble`] keeps upstream's order: defaults, file (strict, then lenient with notices), paths made
//! absolute, eviction defaults, drop-ins merged as JSON merge patches, defaults again, flags over all of
//! it, feature gates merged key by key, validation. All errors are reported at once, one line each;
//! unknown fields are notices.
//!
//! - [`flags`]: one item a flag. [`kubelet_configuration`]: the file's type and its defaults.
//!   [`features`]: gates as a value. [`validate`]: the rules. [`options`]: what only flags say.
//!   [`duration`]: Go's durations.
//!
//! Nothing here reads files, the environment or the host: [`HostFacts`] come as an argument.

pub mod duration;
pub mod error;
pub mod features;
pub mod flags;
pub mod kubelet_configuration;
pub mod load;
pub mod notice;
pub mod options;
pub mod validate;

pub use duration::GoDuration;
pub use error::{ConfigError, ConfigErrors};
pub use features::{Feature, FeatureSet};
pub use flags::{ParsedFlags, Request, UsageError, parse};
pub use kubelet_configuration::KubeletConfiguration;
pub use load::{Config, InputFile, assemble, is_drop_in};
pub use notice::{Notice, NoticeKind};
pub use options::{Options, OwnOptions};
pub use validate::{CgroupVersion, HostFacts, Violation};
