//! The configured limits of signals. Texts come from a validated configuration; what validation lets through and has no
//! meaning here is an error that names the field.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::Quantity;

use crate::signal::Signal;

/// How much: an amount, or a part of the capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Bytes, inodes or process IDs.
    Quantity(Quantity),
    /// Between 0 and 1. Upstream keeps 32 bits of it, which decides the last digits of texts.
    Part(f32),
}

impl Amount {
    /// The amount for a capacity.
    pub fn of(self, capacity: Quantity) -> Quantity {
        match self {
            Self::Quantity(quantity) => quantity,
            #[expect(clippy::cast_possible_truncation, reason = "a part of an i64, cut as upstream cuts it")]
            #[expect(clippy::cast_precision_loss, reason = "upstream computes with the same precision")]
            Self::Part(part) => Quantity::from_bytes((capacity.value() as f64 * f64::from(part)) as i64),
        }
    }
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// What is watched.
    pub signal: Signal,
    /// The limit is met while less than this is available.
    pub below: Amount,
    /// How long it must be met before pods go; zero for a hard limit.
    pub grace: Duration,
    /// How much more than `below` must be available again before the limit counts as left.
    pub min_reclaim: Option<Amount>,
}

impl Threshold {
    /// True for a limit without grace.
    pub fn is_hard(&self) -> bool {
        self.grace.is_zero()
    }

    /// Whether two limits are one and the same. Upstream leaves the minimum reclaim out.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.signal, self.below, self.grace) == (other.signal, other.below, other.grace)
    }
}

/// Where images and writable layers lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FsLayout {
    /// With everything else, on the node's file system.
    #[default]
    Single,
    /// Images and writable layers share a file system of their own.
    SeparateImages,
    /// Images have a file system of their own; writable layers are on the node's.
    SplitImages,
}

/// The texts of a configuration, by signal.
#[derive(Clone, Copy, Debug)]
pub struct ThresholdTexts<'a> {
    /// `evictionHard`.
    pub hard: &'a BTreeMap<String, String>,
    /// `evictionSoft`.
    pub soft: &'a BTreeMap<String, String>,
    /// Graces of `evictionSoft`, by signal.
    pub soft_grace: &'a BTreeMap<String, Duration>,
    /// `evictionMinimumReclaim`.
    pub min_reclaim: &'a BTreeMap<String, String>,
}

/// A limit that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {signal}: {problem}")]
pub struct ThresholdError {
    /// The field of the configuration.
    pub field: &'static str,
    /// The signal as it is written.
    pub signal: String,
    /// What is wrong, and what to write.
    pub problem: String,
}

/// Limits of a configuration, for where its file systems are. `containerfs.*` follow from the others whatever is written
/// (CONTRACT 5.10); a hard `memory.available` also holds for the pods' cgroup where node allocatable is enforced on pods.
pub fn parse_thresholds(
    texts: ThresholdTexts<'_>,
    layout: FsLayout,
    enforce: PodsEnforced,
) -> Result<Vec<Threshold>, ThresholdError> {
    let mut thresholds = Vec::new();
    for (signal, text) in texts.hard {
        let signal = known("evictionHard", signal)?;
        if let Some(below) = limit("evictionHard", signal, text)? {
            thresholds.push(Threshold { signal, below, grace: Duration::ZERO, min_reclaim: None });
        }
    }
    for (name, text) in texts.soft {
        let signal = known("evictionSoft", name)?;
        let grace = texts.soft_grace.get(name).copied().ok_or_else(|| ThresholdError {
            field: "evictionSoft",
            signal: name.clone(),
            problem: "has no period in evictionSoftGracePeriod".to_owned(),
        })?;
        if let Some(below) = limit("evictionSoft", signal, text)? {
            thresholds.push(Threshold { signal, below, grace, min_reclaim: None });
        }
    }
    for (name, text) in texts.min_reclaim {
        let signal = known("evictionMinimumReclaim", name)?;
        let amount = amount("evictionMinimumReclaim", signal, text)?;
        for threshold in thresholds.iter_mut().filter(|threshold| threshold.signal == signal) {
            threshold.min_reclaim = Some(amount);
        }
    }
    if enforce == PodsEnforced::Yes {
        derive(
            &mut thresholds,
            Signal::MemoryAvailable,
            Signal::AllocatableMemoryAvailable,
            Threshold::is_hard,
        );
    }
    thresholds.retain(|threshold| !is_container_fs(threshold.signal));
    let (bytes, inodes) = match layout {
        FsLayout::Single | FsLayout::SplitImages => (Signal::NodeFsAvailable, Signal::NodeFsInodesFree),
        FsLayout::SeparateImages => (Signal::ImageFsAvailable, Signal::ImageFsInodesFree),
    };
    derive(&mut thresholds, bytes, Signal::ContainerFsAvailable, |_| true);
    derive(&mut thresholds, inodes, Signal::ContainerFsInodesFree, |_| true);
    Ok(thresholds)
}

/// Whether `enforceNodeAllocatable` names `pods`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodsEnforced {
    /// It does.
    Yes,
    /// It does not.
    No,
}

fn is_container_fs(signal: Signal) -> bool {
    matches!(signal, Signal::ContainerFsAvailable | Signal::ContainerFsInodesFree)
}

/// Adds the limits of one signal once more, for another signal.
fn derive(thresholds: &mut Vec<Threshold>, from: Signal, to: Signal, which: fn(&Threshold) -> bool) {
    let copies: Vec<_> = thresholds
        .iter()
        .filter(|threshold| threshold.signal == from && which(threshold))
        .map(|threshold| Threshold { signal: to, ..*threshold })
        .collect();
    thresholds.extend(copies);
}

fn known(field: &'static str, name: &str) -> Result<Signal, ThresholdError> {
    Signal::from_name(name).ok_or_else(|| ThresholdError {
        field,
        signal: name.to_owned(),
        problem: "is no eviction signal".to_owned(),
    })
}

/// The limit that a text means; `0%` and `100%` turn a signal off.
fn limit(field: &'static str, signal: Signal, text: &str) -> Result<Option<Amount>, ThresholdError> {
    if matches!(text, "0%" | "100%") {
        return Ok(None);
    }
    let amount = amount(field, signal, text)?;
    match amount {
        Amount::Quantity(quantity) if quantity.is_zero() => {
            Err(error(field, signal, format!("{text} must be more than nothing; 0% turns the signal off")))
        }
        amount => Ok(Some(amount)),
    }
}

fn amount(field: &'static str, signal: Signal, text: &str) -> Result<Amount, ThresholdError> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f32 =
            percent.parse().map_err(|_| error(field, signal, format!("{text:?} is not a percentage")))?;
        return match (0.0..=100.0).contains(&percent) {
            true => Ok(Amount::Part(percent / 100.0)),
            false => Err(error(field, signal, format!("{text} must be between 0% and 100%"))),
        };
    }
    let quantity: Quantity = text.parse().map_err(|problem| error(field, signal, format!("{problem}")))?;
    match quantity.is_negative() {
        true => Err(error(field, signal, format!("{text} must not be negative"))),
        false => Ok(Amount::Quantity(quantity)),
    }
}

fn error(field: &'static str, signal: Signal, problem: String) -> ThresholdError {
    ThresholdError { field, signal: signal.name().to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(signal, text)| ((*signal).to_owned(), (*text).to_owned())).collect()
    }

    fn parse(
        hard: &[(&str, &str)],
        soft: &[(&str, &str)],
        layout: FsLayout,
    ) -> Result<Vec<String>, ThresholdError> {
        let (hard, soft) = (texts(hard), texts(soft));
        let soft_grace = soft.keys().map(|signal| (signal.clone(), Duration::from_secs(90))).collect();
        let min_reclaim = texts(&[("nodefs.available", "500Mi")]);
        let texts =
            ThresholdTexts { hard: &hard, soft: &soft, soft_grace: &soft_grace, min_reclaim: &min_reclaim };
        let thresholds = parse_thresholds(texts, layout, PodsEnforced::Yes)?;
        let show = |threshold: &Threshold| {
            let below = match threshold.below {
                Amount::Quantity(quantity) => quantity.to_string(),
                Amount::Part(part) => format!("{part}"),
            };
            let reclaim = threshold.min_reclaim.map_or(String::new(), |_| " reclaims".to_owned());
            format!("{}<{below} {:?}{reclaim}", threshold.signal, threshold.grace)
        };
        Ok(thresholds.iter().map(show).collect())
    }

    #[test]
    fn container_file_systems_follow_the_layout_and_memory_the_pods_cgroup() {
        let hard = [
            ("memory.available", "100Mi"),
            ("nodefs.available", "10%"),
            ("imagefs.available", "15%"),
            ("containerfs.available", "1Gi"),
        ];
        let single = parse(&hard, &[("memory.available", "1Gi")], FsLayout::Single).expect("limits");
        assert_eq!(
            single,
            [
                "imagefs.available<0.15 0ns",
                "memory.available<100Mi 0ns",
                "nodefs.available<0.1 0ns reclaims",
                "memory.available<1Gi 90s",
                "allocatableMemory.available<100Mi 0ns",
                "containerfs.available<0.1 0ns reclaims",
            ]
        );
        let separate = parse(&hard, &[], FsLayout::SeparateImages).expect("limits");
        assert_eq!(separate.last().map(String::as_str), Some("containerfs.available<0.15 0ns"));
    }

    #[test]
    fn none_and_all_turn_a_signal_off() {
        let off = [("memory.available", "0%"), ("pid.available", "100%")];
        assert_eq!(parse(&off, &[], FsLayout::Single), Ok(Vec::new()));
    }

    #[test]
    fn a_limit_without_meaning_is_named() {
        for (text, problem) in [
            ("x%", "evictionHard: memory.available: \"x%\" is not a percentage"),
            ("101%", "evictionHard: memory.available: 101% must be between 0% and 100%"),
            ("-1", "evictionHard: memory.available: -1 must not be negative"),
            ("0", "evictionHard: memory.available: 0 must be more than nothing; 0% turns the signal off"),
        ] {
            let error = parse(&[("memory.available", text)], &[], FsLayout::Single).expect_err(text);
            assert_eq!(error.to_string(), problem);
        }
        let error = parse(&[("disk", "1")], &[], FsLayout::Single).expect_err("no signal");
        assert_eq!(error.to_string(), "evictionHard: disk: is no eviction signal");
    }
}
