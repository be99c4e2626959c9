//! What the node takes back when it runs short, from whom, and why: eviction, image and container garbage collection
//! (CONTRACT 5.10-5.13).
//!
//! | module | what |
//! |---|---|
//! | `signal` | what is watched, the resource behind it, and the node condition it raises |
//! | `threshold` | the configured limits, hard and soft |
//! | `usage` | what a pod uses, as it was measured |
//! | `pressure` | the machine: which limits are crossed, for how long, and what the node shows |
//! | `measure` | from readings to signals and to the use of pods |
//! | `ranking` | which pod goes first |
//! | `decision` | what is given back before, who goes, and what is remembered |
//! | `message` | what the pod's status and its event say |
//! | `limits` | pods over their own limits of local storage |
//! | `images` | which unused images go |
//! | `containers` | which dead containers and sandboxes go |
//! | `oom` | what the kernel writes when it kills a process for lack of memory |
//!
//! Reads measurements, pods and times, all arguments; decides and never acts. Guarantees EV-1: a critical pod is never
//! picked. An unknown measurement never counts as a shortage: a signal that could not be read is left out.

mod containers;
mod decision;
mod images;
mod limits;
mod measure;
mod message;
mod oom;
mod pressure;
mod ranking;
mod signal;
#[cfg(test)]
mod testing;
mod threshold;
mod usage;

pub use containers::{Collection, ContainerPolicy, PodFate, RemovableContainer, collect};
pub use decision::{
    HARD_GRACE_SECS, NodeReclaim, Shortage, Victim, conditions, places, pressures, reclaim_first,
};
pub use images::{
    ImageBook, ImageDisk, ImagePlan, ImagePolicy, ImageUse, PlannedImage, Reason as RemovalReason, Shortfall,
};
pub use limits::{LimitKind, OverLimit, has_storage_limits, over_limit};
pub use measure::{SignalReading, pod_use};
pub use message::{EvictionText, eviction_text, refusal_text};
pub use oom::{OomKill, OomParser};
pub use pressure::{NodePressure, Pressure};
pub use ranking::{Candidate, Ranked, rank};
pub use signal::{NodeCondition, Resource, Signal};
pub use threshold::{
    Amount, FsLayout, PodsEnforced, Threshold, ThresholdError, ThresholdTexts, parse_thresholds,
};
pub use usage::{ContainerUse, DiskUse, Observation, Observations, PodUse};
