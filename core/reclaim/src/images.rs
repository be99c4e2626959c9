//! Which unused images go (CONTRACT 5.11). The book remembers when each image was first seen and last used; it is kept in a
//! file, so that a restart of the agent forgets no use.
//!
//! Guarantees IM-1: an image that a container uses, or that the runtime has pinned, is never planned. Times are the wall
//! clock's, because they outlive the process; a clock that jumps ahead can only let unused images go early.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use core_types::WallTime;
use core_types::runtime::Image;

/// When images go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImagePolicy {
    /// `imageGCHighThresholdPercent`: images go when this much of their file system is used.
    pub high_percent: u64,
    /// `imageGCLowThresholdPercent`: they go until this much is used.
    pub low_percent: u64,
    /// `imageMinimumGCAge`: an image seen more recently stays.
    pub min_age: Duration,
    /// `imageMaximumGCAge`: an image unused for longer goes, however much room there is. Zero for never.
    pub max_age: Duration,
}

/// What is known of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageUse {
    /// When it was first seen.
    pub first_seen: WallTime,
    /// When a container was last seen to use it; unset before the first.
    pub last_used: WallTime,
    /// In bytes.
    pub size_bytes: u64,
    /// The runtime says that it must stay.
    pub pinned: bool,
}

/// Every image of the runtime's store, by ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ImageBook {
    images: BTreeMap<String, ImageUse>,
}

/// Why an image goes: the label `reason` of the metric that counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Room is needed.
    Space,
    /// It was not used for too long.
    Age,
}

impl Reason {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Space => "space",
            Self::Age => "age",
        }
    }
}

/// An image that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedImage {
    /// Its ID.
    pub id: String,
    /// In bytes.
    pub size_bytes: u64,
    /// Why.
    pub reason: Reason,
}

/// What to remove: all of `aged`, then those of `unused` in their order until `bytes_to_free` bytes are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImagePlan {
    /// Unused for too long.
    pub aged: Vec<PlannedImage>,
    /// May go for their room, the one unused for longest first.
    pub unused: Vec<PlannedImage>,
    /// How much room is needed; zero for none.
    pub bytes_to_free: u64,
    /// How full the file system is, in percent, rounded up.
    pub used_percent: u64,
}

/// The file system of images, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageDisk {
    /// All of it; not zero.
    pub capacity_bytes: u64,
    /// What is free.
    pub available_bytes: u64,
}

impl ImageDisk {
    /// How much is used, in percent, rounded up.
    pub fn used_percent(self) -> u64 {
        let available = self.available_bytes.min(self.capacity_bytes);
        100u64.saturating_sub(share(available, 100, self.capacity_bytes))
    }
}

/// Not enough could be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// How full the file system was, in percent.
    pub used_percent: u64,
    /// Its size in bytes.
    pub capacity_bytes: u64,
    /// What was freed, in bytes.
    pub freed_bytes: u64,
}

impl Shortfall {
    /// Message of the event `FreeDiskSpaceFailed`.
    pub fn text(&self) -> String {
        format!(
            "Insufficient free disk space on the node's image filesystem ({}% of {} used). Failed to free sufficient \
             space by deleting unused images (freed {} bytes). Investigate disk usage, as it could be used by active \
             images, logs, volumes, or other data.",
            self.used_percent,
            size_text(self.capacity_bytes),
            self.freed_bytes
        )
    }
}

impl ImageBook {
    /// Takes what the runtime has now, and which of it is used: images of all containers, and image volumes. What the
    /// runtime does not have any more is forgotten.
    pub fn observe(&mut self, now: WallTime, present: &[Image], in_use: &BTreeSet<String>) {
        let fresh = present.iter().map(|image| {
            let known = self.images.get(&image.id);
            let last_used = match in_use.contains(&image.id) {
                true => now,
                false => known.map(|known| known.last_used).unwrap_or_default(),
            };
            let first_seen = known.map_or(now, |known| known.first_seen);
            let entry =
                ImageUse { first_seen, last_used, size_bytes: image.size_bytes, pinned: image.pinned };
            (image.id.clone(), entry)
        });
        self.images = fresh.collect();
    }

    /// An image was removed.
    pub fn removed(&mut self, id: &str) {
        self.images.remove(id);
    }

    /// IDs of all images.
    pub fn ids(&self) -> Vec<String> {
        self.images.keys().cloned().collect()
    }

    /// What is known of an image.
    pub fn get(&self, id: &str) -> Option<&ImageUse> {
        self.images.get(id)
    }

    /// What to remove now, right after [`Self::observe`] at the same `now`. `running_for` is how long the agent has run:
    /// only after `max_age` can it know that an image was unused for that long.
    pub fn plan(
        &self,
        policy: ImagePolicy,
        now: WallTime,
        running_for: Duration,
        disk: ImageDisk,
    ) -> ImagePlan {
        let available = disk.available_bytes.min(disk.capacity_bytes);
        let used_percent = disk.used_percent();
        let wanted = share(disk.capacity_bytes, 100u64.saturating_sub(policy.low_percent), 100);
        let bytes_to_free = match used_percent >= policy.high_percent {
            true => wanted.saturating_sub(available),
            false => 0,
        };
        let ages = !policy.max_age.is_zero() && running_for > policy.max_age;
        let (aged, unused) = self
            .idle(now)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, image)| ages && now.since(image.last_used) > policy.max_age);
        let old_enough = |image: &ImageUse| now.since(image.first_seen) >= policy.min_age;
        ImagePlan {
            aged: planned(aged, Reason::Age),
            unused: planned(unused.into_iter().filter(|(_, image)| old_enough(image)), Reason::Space),
            bytes_to_free,
            used_percent,
        }
    }

    /// Every image that may go for its room, as eviction asks for it.
    pub fn all_unused(&self, policy: ImagePolicy, now: WallTime) -> Vec<PlannedImage> {
        let old_enough = |image: &ImageUse| now.since(image.first_seen) >= policy.min_age;
        planned(self.idle(now).into_iter().filter(|(_, image)| old_enough(image)), Reason::Space)
    }

    /// Images that nobody uses and the runtime does not hold, the one unused for longest first; of those unused for as
    /// long the one seen first.
    /// How long it is until the next unused image is old enough to go for its room; `None` when none is too young.
    pub fn next_of_age(&self, policy: ImagePolicy, now: WallTime) -> Option<Duration> {
        let ages = self.idle(now).into_iter().map(|(_, image)| now.since(image.first_seen));
        ages.filter(|age| *age < policy.min_age).map(|age| policy.min_age - age).min()
    }

    fn idle(&self, now: WallTime) -> Vec<(&String, &ImageUse)> {
        let mut idle: Vec<_> =
            self.images.iter().filter(|(_, image)| !image.pinned && image.last_used < now).collect();
        idle.sort_by_key(|(_, image)| (image.last_used, image.first_seen));
        idle
    }
}

fn planned<'a>(
    images: impl IntoIterator<Item = (&'a String, &'a ImageUse)>,
    reason: Reason,
) -> Vec<PlannedImage> {
    let planned = |(id, image): (&String, &ImageUse)| PlannedImage {
        id: id.clone(),
        size_bytes: image.size_bytes,
        reason,
    };
    images.into_iter().map(planned).collect()
}

/// `amount * part / whole`, without overflow; nothing of nothing.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(amount) * u128::from(part);
    product.checked_div(u128::from(whole)).and_then(|share| u64::try_from(share).ok()).unwrap_or(0)
}

/// `1.5 GiB`.
fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: ImagePolicy = ImagePolicy {
        high_percent: 85,
        low_percent: 80,
        min_age: Duration::from_secs(120),
        max_age: Duration::ZERO,
    };

    fn image(id: &str, size_bytes: u64, pinned: bool) -> Image {
        Image { id: id.to_owned(), size_bytes, pinned, ..Image::default() }
    }

    fn at(secs: i64) -> WallTime {
        WallTime::from_unix_secs(1_000_000 + secs)
    }

    fn used(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn book() -> ImageBook {
        let mut book = ImageBook::default();
        let present = |ids: &[&str]| ids.iter().map(|id| image(id, 10, *id == "pause")).collect::<Vec<_>>();
        book.observe(at(0), &present(&["old", "web", "pause"]), &used(&["old", "web", "pause"]));
        book.observe(at(50), &present(&["old", "web", "pause", "never"]), &used(&["web"]));
        book.observe(at(300), &present(&["old", "web", "pause", "never", "fresh"]), &used(&["web"]));
        book
    }

    fn ids(images: &[PlannedImage]) -> Vec<&str> {
        images.iter().map(|image| image.id.as_str()).collect()
    }

    fn disk(available_bytes: u64) -> ImageDisk {
        ImageDisk { capacity_bytes: 1000, available_bytes }
    }

    #[test]
    fn the_next_image_of_age_is_the_oldest_that_is_too_young() {
        assert_eq!(book().next_of_age(POLICY, at(310)), Some(Duration::from_secs(110)));
        assert_eq!(book().next_of_age(POLICY, at(420)), None);
        assert_eq!(ImageBook::default().next_of_age(POLICY, at(0)), None);
    }

    #[test]
    fn the_longest_unused_go_first_and_no_used_pinned_or_fresh_one() {
        let plan = book().plan(POLICY, at(300), Duration::from_secs(300), disk(140));
        assert_eq!(ids(&plan.unused), ["never", "old"]);
        assert_eq!((plan.used_percent, plan.bytes_to_free), (86, 60));
        assert_eq!(plan.aged, []);
        assert_eq!(ids(&book().all_unused(POLICY, at(300))), ["never", "old"]);
    }

    #[test]
    fn nothing_is_freed_below_the_high_mark() {
        let plan = book().plan(POLICY, at(300), Duration::from_secs(300), disk(160));
        assert_eq!((plan.used_percent, plan.bytes_to_free), (84, 0));
    }

    #[test]
    fn age_counts_only_once_the_agent_has_run_for_it() {
        let policy = ImagePolicy { max_age: Duration::from_secs(260), ..POLICY };
        let early = book().plan(policy, at(300), Duration::from_secs(260), disk(500));
        assert_eq!(early.aged, []);
        let later = book().plan(policy, at(300), Duration::from_secs(261), disk(500));
        assert_eq!(ids(&later.aged), ["never", "fresh", "old"]);
        assert_eq!(later.aged[0].reason.name(), "age");
    }

    #[test]
    fn the_book_outlives_the_agent_and_forgets_what_is_gone() {
        let text = serde_json::to_string(&book()).expect("JSON");
        let mut read: ImageBook = serde_json::from_str(&text).expect("a book");
        assert_eq!(read, book());
        read.observe(at(400), &[image("old", 10, false)], &BTreeSet::new());
        assert_eq!(read.get("old").map(|image| image.last_used), Some(at(0)));
        assert_eq!(read.get("web"), None);
    }

    #[test]
    fn a_shortfall_is_told_as_upstream_tells_it() {
        let shortfall = Shortfall { used_percent: 97, capacity_bytes: 3 << 29, freed_bytes: 12 };
        assert_eq!(
            shortfall.text(),
            "Insufficient free disk space on the node's image filesystem (97% of 1.5 GiB used). Failed to free \
             sufficient space by deleting unused images (freed 12 bytes). Investigate disk usage, as it could be used by \
             active images, logs, volumes, or other data."
        );
        assert_eq!([size_text(1023), size_text(1 << 45)], ["1023 B", "32.0 TiB"]);
    }

    proptest! {
        /// IM-1: whatever was seen, no image in use and no pinned one is planned, and none twice.
        #[test]
        fn no_image_in_use_is_ever_planned(
            looks in prop::collection::vec(prop::collection::vec((0u8..6, any::<bool>()), 0..6), 1..8),
            max_age_secs in 0u64..300,
            available_bytes in 0u64..1000,
        ) {
            let mut book = ImageBook::default();
            let mut now = 0;
            for look in looks {
                now += 60;
                let present: Vec<_> = look.iter().map(|(id, _)| image(&id.to_string(), 10, *id == 0)).collect();
                let busy = look.iter().filter(|(_, busy)| *busy).map(|(id, _)| id.to_string()).collect();
                book.observe(at(now), &present, &busy);
                let policy = ImagePolicy { max_age: Duration::from_secs(max_age_secs), ..POLICY };
                let plan = book.plan(policy, at(now), Duration::from_secs(600), disk(available_bytes));
                let mut planned: Vec<_> = plan.aged.iter().chain(&plan.unused).map(|image| &image.id).collect();
                prop_assert!(planned.iter().all(|id| !busy.contains(*id) && *id != "0"));
                let count = planned.len();
                planned.sort();
                planned.dedup();
                prop_assert_eq!(planned.len(), count);
            }
        }
    }
}
