//! The whole answer to a scrape, made family by family so that it need not be in memory at once: on a node full of pods it
//! has some megabytes.

use std::sync::Arc;

use core_metrics::{Exposition, Kind, LabelText};
use core_types::WallTime;

use crate::detail::{CgroupDetail, DetailReading, MountedFilesystem};
use crate::families::{self, Family};
use crate::filesystem::FilesystemSample;
use crate::machine::{MachineFacts, VersionFacts};
use crate::readings::{LayersReading, Measured, UsageReading};
use crate::subjects::Whose;

/// A cgroup with the writable layer that belongs to it.
pub(crate) struct Row<'a> {
    measured: &'a Measured,
    page: &'a Page,
}

/// A writable layer as the metrics show it.
#[derive(Clone, Copy)]
pub(crate) struct LayerRow<'a> {
    pub(crate) device: &'a str,
    pub(crate) used_bytes: u64,
    pub(crate) taken_at: WallTime,
}

impl std::ops::Deref for Row<'_> {
    type Target = Measured;

    fn deref(&self) -> &Measured {
        self.measured
    }
}

impl<'a> Row<'a> {
    /// Writable layer, where the runtime reported its size.
    pub(crate) fn layer(&self) -> Option<LayerRow<'a>> {
        let layers = &self.page.layers;
        let layer = layers.layers.get(self.measured.subject.labels.name.as_str())?;
        let filesystem = layers.filesystems.get(&layer.mountpoint)?;
        let taken_at = layer.taken_at;
        Some(LayerRow { device: &filesystem.device, used_bytes: layer.bytes?, taken_at })
    }

    /// Disks and open files, where they were read.
    pub(crate) fn detail(&self) -> Option<&'a CgroupDetail> {
        self.page.details.cgroups.get(&self.measured.subject.path)
    }

    /// File systems of the machine, for its root cgroup.
    pub(crate) fn filesystems(&self) -> &[(MountedFilesystem, FilesystemSample)] {
        if self.subject.whose == Whose::Machine { &self.page.details.filesystems } else { &[] }
    }

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

/// Everything that one scrape shows.
#[derive(Clone, Debug)]
pub struct Page {
    machine: MachineFacts,
    version: VersionFacts,
    usage: Arc<UsageReading>,
    layers: Arc<LayersReading>,
    details: Arc<DetailReading>,
    /// Those of each measured cgroup.
    labels: Vec<LabelText>,
}

impl Page {
    /// Puts a page together.
    pub fn new(
        machine: MachineFacts,
        version: VersionFacts,
        (usage, layers, details): (Arc<UsageReading>, Arc<LayersReading>, Arc<DetailReading>),
    ) -> Self {
        let labels = usage.measured.iter().map(labels).collect();
        Self { machine, version, usage, layers, details, labels }
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
        let mut begun = false;
        for (measured, labels) in self.usage.measured.iter().zip(&self.labels) {
            let row = Row { measured, page: self };
            let values = (family.values)(&row);
            if values.is_empty() {
                continue;
            }
            if !begun {
                text.family(family.name, family.help, family.kind);
                begun = true;
            }
            let stamp = family.stamp.millis(&row);
            for value in &values {
                let own = value.labels.iter().map(AsRef::as_ref);
                let more: Vec<(&str, &str)> = family.labels.iter().copied().zip(own).collect();
                text.sample_of(family.name, labels, &more, value.number, stamp);
            }
        }
    }

    fn write_health(&self, text: &mut Exposition) {
        let name = "container_scrape_error";
        let help = "1 if there was an error while getting container metrics, 0 otherwise";
        text.family(name, help, Kind::Gauge);
        let is_complete = self.usage.missing.is_empty()
            && self.layers.problems.is_empty()
            && self.details.problems.is_empty();
        text.sample(name, &[], f64::from(u8::from(!is_complete)));
    }
}

/// The labels that every family has, sorted by name, as Go's encoder writes them.
fn labels(measured: &Measured) -> LabelText {
    let own = &measured.subject.labels;
    LabelText::new(&[
        ("container", &own.container),
        ("id", &measured.subject.path.cgroupfs()),
        ("image", &own.image),
        ("name", &own.name),
        ("namespace", &own.namespace),
        ("pod", &own.pod),
    ])
}

#[cfg(test)]
mod tests;
