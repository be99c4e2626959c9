//! Feature gates: what exists, what is on, and what may be changed (CONTRACT 8).
//!
//! `--feature-gates` and the file's `featureGates` are one map of names to switches;
//! [`FeatureSet::resolve`] makes it a value that is passed to whoever needs it. No gate is ever global.
//! Gates that matter to other components only are accepted, since one map is often shared by a cluster,
//! and change nothing here.

mod table;

use std::collections::BTreeMap;
use std::fmt;

pub use table::Feature;
use table::SPECS;

use crate::notice::{Notice, NoticeKind};

/// How far a feature has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// May change or vanish; off.
    Alpha,
    /// Meant to stay; often on.
    Beta,
    /// Stays.
    Ga,
    /// Goes away.
    Deprecated,
}

/// Whether a gate may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Only its default may be set.
    Locked,
    /// It may be switched.
    Free,
}

/// Which component a gate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The kubelet, perhaps others too.
    Kubelet,
    /// Others only: accepted here, without effect.
    Elsewhere,
}

/// What is known of a gate.
#[derive(Debug, PartialEq, Eq)]
pub struct Spec {
    /// The gate.
    pub feature: Feature,
    /// Its name in flags and files.
    pub name: &'static str,
    /// How far it has come.
    pub stage: Stage,
    /// Whether it is on when nobody says otherwise.
    pub default_on: bool,
    /// Whether it may be changed.
    pub lock: Lock,
    /// Which component it changes.
    pub scope: Scope,
    /// Gates that must be on for this one to be on.
    pub depends_on: &'static [Feature],
}

/// Whether this kubelet does what a gate promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// The gate switches something here, or what it promises is simply how things are.
    Implemented,
    /// Nothing here would change; switching it on is refused.
    Missing,
    /// The gate is not the kubelet's.
    NotOurs,
}

/// The implemented gates of those that are off by default.
const OPT_IN: &[Feature] = &[
    Feature::ContainerStopSignals,
    Feature::GRPCContainerProbeTLS,
    Feature::H2CContainerProbe,
    Feature::PodAndContainerStatsFromCRI,
    Feature::PodLogsQuerySplitStreams,
    Feature::ReduceDefaultCrashLoopBackOffDecay,
];

impl Feature {
    /// All gates, by name.
    pub fn all() -> impl Iterator<Item = Feature> {
        SPECS.iter().map(|spec| spec.feature)
    }

    /// The gate of that name.
    pub fn from_name(name: &str) -> Option<Feature> {
        SPECS.binary_search_by(|spec| spec.name.cmp(name)).ok().map(|at| SPECS[at].feature)
    }

    /// What is known of it.
    pub fn spec(self) -> &'static Spec {
        &SPECS[self as usize]
    }

    /// Its name in flags and files.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// Whether this kubelet does what the gate promises. Of the gates that are off by default, those of
    /// [`OPT_IN`] are implemented.
    pub fn support(self) -> Support {
        match self.spec() {
            Spec { scope: Scope::Elsewhere, .. } => Support::NotOurs,
            Spec { default_on: false, lock: Lock::Free, feature, .. } if !OPT_IN.contains(feature) => {
                Support::Missing
            }
            _ => Support::Implemented,
        }
    }
}

/// Why a map of feature gates cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeatureError {
    /// No such gate in v1.37.
    #[error("featureGates: unrecognized feature gate {name}: remove it, or correct its name")]
    Unknown {
        /// The name given.
        name: String,
    },
    /// The gate cannot be changed any more.
    #[error("featureGates: cannot set {name} to {value}: the feature is locked to {}", !value)]
    Locked {
        /// The gate.
        name: &'static str,
        /// The value asked for.
        value: bool,
    },
    /// The gate is off by default and not implemented here.
    #[error(
        "featureGates: {name} is not implemented by this kubelet and stays off: remove it, or set it to false"
    )]
    NotImplemented {
        /// The gate.
        name: &'static str,
    },
    /// The gate is on without what it builds on.
    #[error("featureGates: {name} is enabled, but depends on features that are disabled: {}", missing.join(", "))]
    Dependency {
        /// The gate that is on.
        name: &'static str,
        /// The gates that are off.
        missing: Vec<&'static str>,
    },
}

/// Which features are on. The default is upstream's at v1.37.
#[derive(Clone, PartialEq, Eq)]
pub struct FeatureSet {
    on: Vec<bool>,
}

const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

impl Default for FeatureSet {
    fn default() -> Self {
        FeatureSet { on: SPECS.iter().map(|spec| spec.default_on).collect() }
    }
}

impl FeatureSet {
    /// Whether the feature is on.
    pub fn enabled(&self, feature: Feature) -> bool {
        self.on[feature as usize]
    }

    /// The set that a map of names to switches asks for, with what the user should know about it; or every
    /// reason why not. `AllAlpha` and `AllBeta` switch the free gates of their stage that are not named;
    /// on, only those that are implemented here.
    pub fn resolve(gates: &BTreeMap<String, bool>) -> Result<(FeatureSet, Vec<Notice>), Vec<FeatureError>> {
        let mut set = FeatureSet::default();
        let mut notices = Vec::new();
        for (name, stage) in [(ALL_ALPHA, Stage::Alpha), (ALL_BETA, Stage::Beta)] {
            if let Some(&value) = gates.get(name) {
                set.switch_stage(stage, value, name, &mut notices);
            }
        }
        let mut errors = Vec::new();
        for (name, &value) in gates.iter().filter(|(name, _)| *name != ALL_ALPHA && *name != ALL_BETA) {
            match named(name, value) {
                Ok(feature) => {
                    set.on[feature as usize] = value;
                    notices.extend(set_notice(feature));
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            errors = set.missing_dependencies();
        }
        if errors.is_empty() { Ok((set, notices)) } else { Err(errors) }
    }

    fn switch_stage(&mut self, stage: Stage, value: bool, name: &str, notices: &mut Vec<Notice>) {
        let mut left_off = Vec::new();
        for spec in SPECS.iter().filter(|spec| spec.stage == stage && spec.lock == Lock::Free) {
            match (value, spec.feature.support()) {
                (true, Support::Missing) => left_off.push(spec.name),
                (true, Support::NotOurs) => {}
                (true, Support::Implemented) | (false, _) => self.on[spec.feature as usize] = value,
            }
        }
        if !left_off.is_empty() {
            let message = format!(
                "featureGates: {name}=true leaves off what is not implemented: {}",
                left_off.join(", ")
            );
            notices.push(Notice { kind: NoticeKind::FeatureGate, message });
        }
    }

    fn missing_dependencies(&self) -> Vec<FeatureError> {
        let off = |deps: &[Feature]| -> Vec<&'static str> {
            deps.iter().filter(|dep| !self.enabled(**dep)).map(|dep| dep.name()).collect()
        };
        SPECS
            .iter()
            .filter(|spec| self.enabled(spec.feature))
            .map(|spec| FeatureError::Dependency { name: spec.name, missing: off(spec.depends_on) })
            .filter(|error| !matches!(error, FeatureError::Dependency { missing, .. } if missing.is_empty()))
            .collect()
    }
}

fn named(name: &str, value: bool) -> Result<Feature, FeatureError> {
    let feature = Feature::from_name(name).ok_or_else(|| FeatureError::Unknown { name: name.to_owned() })?;
    let spec = feature.spec();
    if spec.lock == Lock::Locked && spec.default_on != value {
        return Err(FeatureError::Locked { name: spec.name, value });
    }
    if value && feature.support() == Support::Missing {
        return Err(FeatureError::NotImplemented { name: spec.name });
    }
    Ok(feature)
}

fn set_notice(feature: Feature) -> Option<Notice> {
    let what = match feature.spec().stage {
        Stage::Ga => "a finished feature",
        Stage::Deprecated => "a deprecated feature",
        Stage::Alpha | Stage::Beta => return None,
    };
    let message =
        format!("featureGates: {} is {what}, its gate will be removed in a later release", feature.name());
    Some(Notice { kind: NoticeKind::FeatureGate, message })
}

impl fmt::Debug for FeatureSet {
    /// Shows only what differs from the defaults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = SPECS.iter().filter(|spec| self.enabled(spec.feature) != spec.default_on);
        f.debug_map().entries(changed.map(|spec| (spec.name, self.enabled(spec.feature)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn resolve(gates: &[(&str, bool)]) -> Result<(FeatureSet, Vec<Notice>), Vec<FeatureError>> {
        FeatureSet::resolve(&gates.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
    }

    #[test]
    fn the_table_is_upstreams_record() {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../testdata/feature_gates.json")).unwrap();
        assert_eq!(recorded.len(), SPECS.len());
        for (spec, want) in SPECS.iter().zip(&recorded) {
            let deps: Vec<&str> = spec.depends_on.iter().map(|dep| dep.name()).collect();
            let got = serde_json::json!({
                "name": spec.name, "stage": format!("{:?}", spec.stage).to_uppercase(), "default": spec.default_on,
                "locked": spec.lock == Lock::Locked, "deps": deps,
            });
            assert_eq!(&got, want);
            assert_eq!(Feature::from_name(spec.name), Some(spec.feature));
        }
    }

    #[test]
    fn defaults_satisfy_their_own_dependencies() {
        let (set, notices) = resolve(&[]).unwrap();
        assert_eq!((set.clone(), notices), (FeatureSet::default(), Vec::new()));
        assert!(set.enabled(Feature::NodeSwap) && !set.enabled(Feature::EventedPLEG));
    }

    #[test]
    fn a_gate_is_refused_for_each_reason_at_once() {
        let errors = resolve(&[
            ("NoSuchGate", true),
            ("NodeSwap", false),
            ("EventedPLEG", true),
            ("MemoryQoS", false),
        ]);
        assert_eq!(
            errors.unwrap_err(),
            [
                FeatureError::NotImplemented { name: "EventedPLEG" },
                FeatureError::Unknown { name: "NoSuchGate".to_owned() },
                FeatureError::Locked { name: "NodeSwap", value: false },
            ]
        );
    }

    #[test]
    fn an_enabled_gate_needs_its_dependencies() {
        let errors = resolve(&[("GracefulNodeShutdown", false), ("WindowsGracefulNodeShutdown", false)]);
        let want = FeatureError::Dependency {
            name: "GracefulNodeShutdownBasedOnPodPriority",
            missing: vec!["GracefulNodeShutdown"],
        };
        assert_eq!(errors.unwrap_err(), [want]);
    }

    #[test]
    fn gates_of_other_components_pass_without_effect() {
        let (set, _) = resolve(&[("APIResponseCompression", false), ("WatchListClient", false)]).unwrap();
        assert!(!set.enabled(Feature::APIResponseCompression));
        assert_eq!(Feature::APIResponseCompression.support(), Support::NotOurs);
    }

    #[test]
    fn all_alpha_switches_only_what_is_implemented() {
        let (set, notices) = resolve(&[("AllAlpha", true)]).unwrap();
        assert!(!set.enabled(Feature::EventedPLEG) && set.enabled(Feature::PodLogsQuerySplitStreams));
        assert!(notices[0].message.contains("EventedPLEG"), "{notices:?}");
    }

    #[test]
    fn a_named_gate_wins_over_its_stage() {
        let names: Vec<(&str, bool)> = SPECS
            .iter()
            .filter(|s| s.lock == Lock::Free && s.stage == Stage::Beta)
            .map(|s| (s.name, false))
            .collect();
        let mut gates = vec![("AllBeta", false), ("MemoryQoS", true)];
        let (set, _) = resolve(&gates).unwrap();
        assert!(set.enabled(Feature::MemoryQoS));
        gates.pop();
        assert_eq!(resolve(&gates).unwrap().0, resolve(&names).unwrap().0);
    }

    #[test]
    fn finished_gates_are_noticed() {
        let (_, notices) = resolve(&[("NodeSwap", true)]).unwrap();
        assert_eq!(notices.len(), 1);
    }
}
