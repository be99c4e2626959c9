//! The rules a configuration must keep (CONTRACT 1.6), all of them checked, every violation reported.
//!
//! Beside upstream's validation these are the checks that upstream makes a little later and dies of:
//! policies by name, reserved resources, eviction thresholds, TLS settings, node labels, the lock file.
//!
//! Rules about the host take [`HostFacts`]; nothing is looked up here.

mod limits;
mod names_and_paths;
mod observability;
mod resources;
mod rules;

pub(crate) mod names;

use std::fmt;

use crate::features::{Feature, FeatureSet};
use crate::kubelet_configuration::KubeletConfiguration;
use crate::options::Options;

/// Which cgroup hierarchy the host mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One hierarchy per controller, or a mix.
    V1,
    /// The unified hierarchy.
    V2,
}

/// What rules need to know of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFacts {
    /// Its cgroup hierarchy.
    pub cgroup_version: CgroupVersion,
}

/// A value against a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    /// The field of the file, or the flag for what only flags say.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid configuration: {}: {}", self.field, self.message)
    }
}

/// Every rule that the configuration breaks, in the order of the rules.
pub fn validate(
    config: &KubeletConfiguration,
    options: &Options,
    features: &FeatureSet,
    host: HostFacts,
) -> Vec<Violation> {
    let mut check = Check { config, options, features, host, found: Vec::new() };
    limits::check(&mut check);
    rules::check(&mut check);
    names_and_paths::check(&mut check);
    resources::check(&mut check);
    observability::check(&mut check);
    check.found
}

/// What rules read, and where they put what they find.
struct Check<'a> {
    config: &'a KubeletConfiguration,
    options: &'a Options,
    features: &'a FeatureSet,
    host: HostFacts,
    found: Vec<Violation>,
}

impl Check<'_> {
    fn fail(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.found.push(Violation { field: field.into(), message: message.into() });
    }

    fn on(&self, feature: Feature) -> bool {
        self.features.enabled(feature)
    }

    /// `value` must be one of `allowed`.
    fn one_of(&mut self, field: &str, value: &str, allowed: &[&str]) {
        if !allowed.contains(&value) {
            self.fail(field, format!("{value:?} must be one of {}", quoted(allowed)));
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
