//! CPU rates from totals: how much of a core was used since the last reading. The time between two readings is that of a
//! clock that never jumps, so a step of the wall clock shows in no rate.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::MonoTime;

use crate::readings::Measured;

/// Readings nearer to each other give the last rate again: over a few milliseconds a rate says nothing.
const SHORTEST_WINDOW: Duration = Duration::from_millis(800);

/// The last totals of each cgroup.
#[derive(Debug, Default)]
pub struct CpuRates {
    last: BTreeMap<String, Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: MonoTime,
    total_nanos: u64,
    nano_cores: Option<u64>,
}

impl CpuRates {
    /// Sets the rates of a new reading. A cgroup that is not in it is forgotten; a new one has no rate yet, nor one whose
    /// total fell because it was made anew.
    pub fn fill(&mut self, now: MonoTime, measured: &mut [Measured]) {
        let mut before = std::mem::take(&mut self.last);
        for one in measured {
            let Some(cpu) = one.sample.cpu else { continue };
            let id = one.subject.path.cgroupfs();
            let last = before.remove(&id).filter(|last| last.total_nanos <= cpu.usage_nanos);
            let next = match last {
                Some(last) if now.since(last.at) < SHORTEST_WINDOW => last,
                other => Last {
                    at: now,
                    total_nanos: cpu.usage_nanos,
                    nano_cores: other
                        .map(|last| rate(cpu.usage_nanos - last.total_nanos, now.since(last.at))),
                },
            };
            one.cpu_nano_cores = next.nano_cores;
            self.last.insert(id, next);
        }
    }
}

fn rate(used_nanos: u64, window: Duration) -> u64 {
    let rate = u128::from(used_nanos) * 1_000_000_000 / window.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readings::tests::measured;
    use crate::sample::CpuSample;

    fn rate_of(rates: &mut CpuRates, at_ms: u64, total_ms: u64) -> Option<u64> {
        let mut one = [measured("/a")];
        one[0].sample.cpu = Some(CpuSample { usage_nanos: total_ms * 1_000_000, ..CpuSample::default() });
        rates.fill(MonoTime::from_nanos(at_ms * 1_000_000), &mut one);
        one[0].cpu_nano_cores
    }

    #[test]
    fn a_rate_is_what_was_used_since_the_last_reading() {
        let mut rates = CpuRates::default();
        assert_eq!(rate_of(&mut rates, 1_000, 5_000), None);
        assert_eq!(rate_of(&mut rates, 3_000, 6_000), Some(500_000_000));
        assert_eq!(rate_of(&mut rates, 3_010, 6_010), Some(500_000_000), "too near to tell");
        assert_eq!(rate_of(&mut rates, 4_000, 7_500), Some(1_500_000_000));
        assert_eq!(rate_of(&mut rates, 6_000, 10), None, "made anew");
        rates.fill(MonoTime::from_secs(7), &mut []);
        assert_eq!(rate_of(&mut rates, 8_000, 20), None, "gone meanwhile");
    }
}
