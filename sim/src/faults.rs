//! The fault plan of one seed: what goes wrong, how often, and until when.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Works at once.
    Fine,
    /// Works after a while.
    Slow(Duration),
    /// Fails and changes nothing.
    Fails,
    /// Works, but the caller is told after its deadline that nothing is known.
    WorksButTimesOut,
}

#[derive(Debug)]
struct Plan {
    rng: fastrand::Rng,
    /// Faults per thousand calls; 0 when the faults have stopped.
    per_mille: u32,
    runtime_down: bool,
    disk_full: bool,
}

/// Draws the fate of calls from a seed. Once [`Faults::stop`] was called everything works.
#[derive(Debug)]
pub struct Faults(Mutex<Plan>);

impl Faults {
    /// A plan with `per_mille` faults per thousand calls.
    pub fn new(seed: u64, per_mille: u32) -> Self {
        let plan =
            Plan { rng: fastrand::Rng::with_seed(seed), per_mille, runtime_down: false, disk_full: false };
        Self(Mutex::new(plan))
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fate of a call to the runtime.
    pub fn draw(&self) -> Fate {
        let mut plan = self.plan();
        if plan.runtime_down {
            return Fate::Fails;
        }
        if plan.rng.u32(0..1000) >= plan.per_mille {
            return Fate::Fine;
        }
        match plan.rng.u32(0..4) {
            0 | 1 => Fate::Slow(Duration::from_millis(plan.rng.u64(1..20_000))),
            2 => Fate::Fails,
            _ => Fate::WorksButTimesOut,
        }
    }

    /// True when an event of the runtime's stream is lost.
    pub fn loses_event(&self) -> bool {
        let mut plan = self.plan();
        plan.per_mille > 0 && plan.rng.u32(0..1000) < plan.per_mille
    }

    /// True when a write to the disk fails.
    pub fn disk_is_full(&self) -> bool {
        self.plan().disk_full
    }

    /// Fills or frees the disk.
    pub fn set_disk_full(&self, full: bool) {
        self.plan().disk_full = full;
    }

    /// Takes the runtime down or brings it back.
    pub fn set_runtime_down(&self, down: bool) {
        self.plan().runtime_down = down;
    }

    /// True while the runtime is down.
    pub fn runtime_is_down(&self) -> bool {
        self.plan().runtime_down
    }

    /// A number below `end`, for choices of the scenario.
    pub fn pick(&self, end: u64) -> u64 {
        self.plan().rng.u64(0..end.max(1))
    }

    /// From now on this many calls in a thousand go wrong.
    pub fn set_rate(&self, per_mille: u32) {
        self.plan().per_mille = per_mille;
    }

    /// From now on everything works.
    pub fn stop(&self) {
        let mut plan = self.plan();
        plan.per_mille = 0;
        plan.runtime_down = false;
        plan.disk_full = false;
    }
}
