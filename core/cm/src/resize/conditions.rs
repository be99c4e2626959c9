//! The conditions `PodResizePending` and `PodResizeInProgress` of one pod, and how they change (CONTRACT 3.25).

use core_types::WallTime;

/// Why a resize waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingReason {
    /// The node has no room for it now.
    Deferred,
    /// It can never be.
    Infeasible,
}

impl PendingReason {
    /// Reason of the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deferred => "Deferred",
            Self::Infeasible => "Infeasible",
        }
    }
}

/// Reason of `PodResizeInProgress` when the last attempt failed.
pub const ERROR: &str = "Error";

/// One condition. It is there or not; its status is always `True`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResizeCondition {
    /// CamelCase reason; empty for none.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// Generation of the spec that asked for the resize.
    pub generation: Option<i64>,
    /// Since when it has this reason.
    pub since: WallTime,
}

/// Both conditions of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResizeConditions {
    /// `PodResizePending`.
    pub pending: Option<ResizeCondition>,
    /// `PodResizeInProgress`.
    pub in_progress: Option<ResizeCondition>,
}

/// Whether a change is worth an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It says something new.
    New,
    /// It was said before.
    Known,
}

impl ResizeConditions {
    /// Why the resize waits; `None` when none does.
    pub fn pending_reason(&self) -> Option<PendingReason> {
        let reasons = [PendingReason::Deferred, PendingReason::Infeasible];
        let pending = self.pending.as_ref()?;
        reasons.into_iter().find(|reason| reason.as_str() == pending.reason)
    }

    /// The resize to `generation` waits. New when the reason or the generation is.
    pub fn wait(
        &mut self,
        reason: PendingReason,
        message: String,
        generation: Option<i64>,
        now: WallTime,
    ) -> Novelty {
        let known = self.pending.as_ref();
        let same_reason = known.filter(|known| known.reason == reason.as_str());
        let novelty = match same_reason {
            Some(known) if known.generation == generation => Novelty::Known,
            _ => Novelty::New,
        };
        let since = same_reason.map_or(now, |known| known.since);
        let reason = reason.as_str().to_owned();
        self.pending = Some(ResizeCondition { reason, message, generation, since });
        novelty
    }

    /// The resize to `generation` was accepted: it is in progress from now on, without an earlier error.
    pub fn accept(&mut self, generation: Option<i64>, now: WallTime) {
        self.pending = None;
        let (reason, message) = (String::new(), String::new());
        self.in_progress = Some(ResizeCondition { reason, message, generation, since: now });
    }

    /// Something that runs does not have its new size yet. Reason, message and generation of an earlier word stay.
    pub fn go_on(&mut self, generation: Option<i64>, now: WallTime) {
        let (reason, message) = (String::new(), String::new());
        self.in_progress.get_or_insert(ResizeCondition { reason, message, generation, since: now });
    }

    /// An attempt failed. New when the message is.
    pub fn fail(&mut self, message: String, generation: Option<i64>, now: WallTime) -> Novelty {
        let known = self.in_progress.as_ref();
        let novelty = match known {
            Some(known) if known.reason == ERROR && known.message == message => Novelty::Known,
            _ => Novelty::New,
        };
        let since = known.filter(|known| known.reason == ERROR).map_or(now, |known| known.since);
        let generation = known.map_or(generation, |known| known.generation);
        self.in_progress = Some(ResizeCondition { reason: ERROR.to_owned(), message, generation, since });
        novelty
    }

    /// Everything has its size. Gives the generation that was worked on; `None` when nothing was.
    pub fn complete(&mut self) -> Option<ResizeCondition> {
        self.in_progress.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_while_its_reason_stays() {
        let at = WallTime::from_unix_secs;
        let mut conditions = ResizeConditions::default();
        let mut wait = |reason, generation, secs| {
            let novelty = conditions.wait(reason, "why".to_owned(), Some(generation), at(secs));
            (novelty, conditions.pending.as_ref().unwrap().since)
        };
        assert_eq!(wait(PendingReason::Deferred, 1, 10), (Novelty::New, at(10)));
        assert_eq!(wait(PendingReason::Deferred, 1, 20), (Novelty::Known, at(10)));
        assert_eq!(wait(PendingReason::Deferred, 2, 30), (Novelty::New, at(10)));
        assert_eq!(wait(PendingReason::Infeasible, 2, 40), (Novelty::New, at(40)));
        assert_eq!(conditions.pending_reason(), Some(PendingReason::Infeasible));
    }

    #[test]
    fn an_error_stays_until_a_new_size_is_accepted_or_all_is_done() {
        let at = WallTime::from_unix_secs;
        let mut conditions = ResizeConditions::default();
        conditions.accept(Some(2), at(1));
        assert_eq!(conditions.fail("no".to_owned(), Some(3), at(2)), Novelty::New);
        assert_eq!(conditions.fail("no".to_owned(), Some(3), at(3)), Novelty::Known);
        conditions.go_on(Some(3), at(4));
        let known = conditions.in_progress.clone().unwrap();
        assert_eq!((known.reason.as_str(), known.generation, known.since), (ERROR, Some(2), at(2)));
        conditions.accept(Some(3), at(5));
        assert_eq!(conditions.complete().unwrap().reason, "");
        assert_eq!(conditions.complete(), None);
    }
}
