//! The whole answer to a scrape, made family by family so that it need not be in memory at once: on a node full of pods it
//! has some megabytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use core_metrics::{Exposition, Kind};
use core_types::WallTime;

use crate::families::{self, Family, Value};
use crate::machine::{MachineFacts, VersionFacts};
use crate::sample::CgroupSample;
use crate::subjects::Subject;

/// Use of a container's writable layer, as the runtime reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUsage {
    /// Device of the file system.
    pub device: String,
    /// Bytes.
    pub used_bytes: u64,
    /// When it was measured.
    pub taken_at: WallTime,
}

/// A cgroup with what was measured of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Which.
    pub subject: Subject,
    /// The reading of the cgroup.
    pub sample: CgroupSample,
    /// Writable layer, where the runtime reported it.
    pub layer: Option<LayerUsage>,
}

impl Measured {
    /// When it was made: the runtime's word, or the age of the cgroup.
    pub(crate) fn created_at(&self) -> WallTime {
        first_set([self.subject.created_at, self.sample.created_at])
    }

    /// When it was started, likewise.
    pub(crate) fn started_at(&self) -> WallTime {
        first_set([self.subject.started_at, self.subject.created_at, self.sample.created_at])
    }
}

fn first_set<const N: usize>(times: [WallTime; N]) -> WallTime {
    times.into_iter().find(|time| !time.is_unset()).unwrap_or_default()
}

/// Whether everything could be read; becomes `container_scrape_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeHealth {
    /// All of it.
    Complete,
    /// Something is missing.
    Incomplete,
}

/// Everything that one scrape shows.
#[derive(Clone, Debug)]
pub struct Page {
    machine: MachineFacts,
    version: VersionFacts,
    measured: Vec<Measured>,
    health: ScrapeHealth,
}

impl Page {
    /// Puts a page together. The limits of the root cgroup are those of the machine.
    pub fn new(
        machine: MachineFacts,
        version: VersionFacts,
        mut measured: Vec<Measured>,
        health: ScrapeHealth,
    ) -> Self {
        for root in measured.iter_mut().filter(|measured| measured.subject.path.0.is_empty()) {
            let spec = root.sample.spec.memory.get_or_insert_default();
            spec.limit_bytes = machine.memory_capacity;
            spec.swap_limit_bytes = machine.swap_capacity;
        }
        Self { machine, version, measured, health }
    }

    /// The text in Prometheus' form, in pieces of one family each, sorted by name.
    pub fn pieces(self: Arc<Self>) -> impl Iterator<Item = String> {
        (0..).map_while(move |index| self.piece(index)).filter(|piece| !piece.is_empty())
    }

    /// One piece by its number, which may be empty; `None` after the last.
    fn piece(&self, index: usize) -> Option<String> {
        let count = families::all().count();
        let mut text = Exposition::new();
        match index.checked_sub(1) {
            None => self.version.write(&mut text),
            Some(number) if number == count => self.machine.write(&mut text),
            Some(number) => {
                let family = families::all().nth(number)?;
                self.write(&mut text, family);
                // Its place in the order of names.
                if family.name == "container_processes" {
                    self.write_health(&mut text);
                }
            }
        }
        Some(text.into_text())
    }

    fn write(&self, text: &mut Exposition, family: &Family) {
        let mut values = self.measured.iter().map(|measured| (measured, (family.values)(measured)));
        let mut begun = false;
        for (measured, values) in values.by_ref().filter(|(_, values)| !values.is_empty()) {
            if !begun {
                text.family(family.name, family.help, family.kind);
                begun = true;
            }
            let id = measured.subject.path.cgroupfs();
            for value in &values {
                let labels = labels(measured, &id, family, value);
                match family.stamp.millis(measured) {
                    Some(millis) => text.sample_at(family.name, &labels, value.number, millis),
                    None => text.sample(family.name, &labels, value.number),
                }
            }
        }
    }

    fn write_health(&self, text: &mut Exposition) {
        let name = "container_scrape_error";
        let help = "1 if there was an error while getting container metrics, 0 otherwise";
        text.family(name, help, Kind::Gauge);
        text.sample(name, &[], f64::from(u8::from(self.health == ScrapeHealth::Incomplete)));
    }
}

/// All labels sorted by name, as Go's encoder writes them.
fn labels<'a>(
    measured: &'a Measured,
    id: &'a str,
    family: &Family,
    value: &'a Value,
) -> Vec<(&'static str, &'a str)> {
    let own = &measured.subject.labels;
    let mut labels: BTreeMap<&'static str, &'a str> = BTreeMap::from([
        ("container", own.container.as_str()),
        ("id", id),
        ("image", own.image.as_str()),
        ("name", own.name.as_str()),
        ("namespace", own.namespace.as_str()),
        ("pod", own.pod.as_str()),
    ]);
    labels.extend(family.labels.iter().copied().zip(value.labels.iter().map(AsRef::as_ref)));
    labels.into_iter().collect()
}

#[cfg(test)]
mod tests;
