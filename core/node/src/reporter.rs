//! When the status is sent: at once when it has changed, and every `nodeStatusReportFrequency` to show that the node lives
//! (CONTRACT 4.7).
//!
//! ```text
//! plan ──> Report ── sent ──> on_reported   next report after the interval, spread after a change by half of it either way
//!   ^         └───── failed ─> on_failed     five tries in a row, then a pause
//!   └── next_deadline, or something was seen that differs
//! ```
//! Guarantees: no report without a reason; changes that follow each other at once share one report, and when they go on and on, or the
//! API server never takes one, reports come more and more seldom, down to `nodeStatusUpdateFrequency`. Events are told once their
//! report has arrived, so that nobody hears of a state that the object does not show.

use std::time::Duration;

use core_types::{MonoTime, WallTime};
use k8s_openapi::api::core::v1::Node;
use serde_json::Value;

use crate::addresses::AddressError;
use crate::patch;
use crate::picture::{NodeEvent, Picture};
use crate::registration;
use crate::settings::{Machine, NodeSettings};
use crate::spread::Spread;
use crate::status::{self, Updated};

/// Tries in a row before a pause (CONTRACT 1.14).
const TRIES: u32 = 5;

/// Shortest time between two reports, doubled while each is sent as soon as it may: pods that start together change the list of images many times.
const SPACING: Duration = Duration::from_secs(1);

/// How often the status is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// `nodeStatusReportFrequency`: between reports that nothing has changed.
    pub report_every: Duration,
    /// `nodeStatusUpdateFrequency`: the pause after five failed tries, and the longest between changes.
    pub retry_every: Duration,
}

/// A report to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Patch of the status sub-resource.
    pub patch: Value,
    /// What to tell once it has arrived.
    pub events: Vec<NodeEvent>,
    /// Why it is sent.
    pub cause: Cause,
}

/// Why a report is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Something has changed, or it is the first one.
    Change,
    /// It is time again.
    Routine,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Reporter {
    settings: NodeSettings,
    machine: Machine,
    cadence: Cadence,
    spread: Spread,
    reported_at: Option<MonoTime>,
    due_at: MonoTime,
    failures: u32,
    not_before: MonoTime,
    spacing: Duration,
    is_cordoned: bool,
    address_error: Option<AddressError>,
    address_news: Option<AddressError>,
}

impl Reporter {
    /// Knows nothing yet: the first report is due at once.
    pub fn new(settings: NodeSettings, machine: Machine, cadence: Cadence, spread: Spread) -> Self {
        Self {
            settings,
            machine,
            cadence,
            spread,
            reported_at: None,
            due_at: MonoTime::ZERO,
            failures: 0,
            not_before: MonoTime::ZERO,
            spacing: SPACING,
            is_cordoned: false,
            address_error: None,
            address_news: None,
        }
    }

    /// The object to create, with the status of now.
    pub fn new_node(&mut self, picture: &Picture, now: WallTime) -> Updated {
        let node = registration::new_node(&self.settings, &self.machine);
        self.updated(&node, picture, now)
    }

    /// The patch by which an object that is already there takes over what it must; `None` when it has all of it.
    pub fn reconcile(&mut self, existing: &Node, picture: &Picture, now: WallTime) -> Option<Value> {
        let new = self.new_node(picture, now).node;
        patch::status_patch(existing, &registration::reconcile(&new, existing, &self.settings))
    }

    /// The event of a node that was closed to new pods, or opened; `None` when `known` is as before.
    pub fn schedulable_event(&mut self, known: &Node) -> Option<NodeEvent> {
        let is_cordoned = known.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        let before = std::mem::replace(&mut self.is_cordoned, is_cordoned);
        let reason = if is_cordoned { "NodeNotSchedulable" } else { "NodeSchedulable" };
        (before != is_cordoned).then(|| NodeEvent::status(&self.settings.name, reason))
    }

    /// What to send now; `None` when nothing has to be sent before [`Self::next_deadline`].
    pub fn plan(&mut self, known: &Node, picture: &Picture, now: MonoTime, wall: WallTime) -> Option<Report> {
        if now < self.not_before {
            return None;
        }
        let updated = self.updated(known, picture, wall);
        self.note_addresses(updated.address_error);
        let cause = match status::has_changed(known, &updated.node) || self.reported_at.is_none() {
            true => Cause::Change,
            false if now >= self.due_at => Cause::Routine,
            false => return None,
        };
        let Some(patch) = patch::status_patch(known, &updated.node) else {
            // The object is of this very second.
            self.on_reported(cause, now);
            return None;
        };
        Some(Report { patch, events: updated.events, cause })
    }

    /// The report has arrived.
    pub fn on_reported(&mut self, cause: Cause, now: MonoTime) {
        let share = match cause {
            Cause::Change => 0.5 + self.spread.next_number(),
            Cause::Routine => 1.0,
        };
        self.due_at = now + self.cadence.report_every.mul_f64(share);
        let is_one_of_many = self.reported_at.is_some() && now.since(self.not_before) < SPACING;
        self.spacing = match is_one_of_many {
            true => self.spacing.saturating_mul(2).min(self.cadence.retry_every).max(SPACING),
            false => SPACING,
        };
        self.reported_at = Some(now);
        self.not_before = now + self.spacing;
        self.failures = 0;
    }

    /// The report did not arrive. Returns how many in a row did not.
    pub fn on_failed(&mut self, now: MonoTime) -> u32 {
        self.failures += 1;
        self.due_at = now;
        if self.failures.is_multiple_of(TRIES) {
            self.not_before = now + self.cadence.retry_every.mul_f64(1.0 + 0.04 * self.spread.next_number());
        }
        self.failures
    }

    /// When to plan again although nothing new was seen.
    pub fn next_deadline(&self) -> MonoTime {
        self.due_at.max(self.not_before)
    }

    /// Whether a routine report is due, for which what changes unseen is looked at anew.
    pub fn is_routine_due(&self, now: MonoTime) -> bool {
        self.reported_at.is_some() && self.failures == 0 && now >= self.due_at
    }

    /// When changes may be sent again.
    pub fn not_before(&self) -> MonoTime {
        self.not_before
    }

    /// Why the addresses are left as they are, once for each new reason.
    pub fn take_address_news(&mut self) -> Option<AddressError> {
        self.address_news.take()
    }

    fn note_addresses(&mut self, error: Option<AddressError>) {
        if error != self.address_error {
            self.address_news.clone_from(&error);
            self.address_error = error;
        }
    }

    fn updated(&self, node: &Node, picture: &Picture, now: WallTime) -> Updated {
        status::update(node, &self.settings, &self.machine, picture, now)
    }
}

#[cfg(test)]
mod tests;
