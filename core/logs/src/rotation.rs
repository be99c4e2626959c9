//! What one rotation does to the files of one log.
//!
//! ```text
//! 0.log                       the current file                 becomes 0.log.<now>
//! 0.log.20260101-120000       moved aside by the last rotation is compressed
//! 0.log.20260101-115000.gz    older                            stays, or goes when there are too many
//! 0.log.20260101-115000.tmp   left by a compression that died  goes
//! ```
//!
//! Order of names is order of lines. Times are UTC, so that no change of daylight saving turns the order around; a second
//! rotation within a second, and one after the clock was set back, take the newest name with the next number behind it,
//! which sorts behind it also when it is compressed.

use core_types::WallTime;

/// Ending of compressed files.
const COMPRESSED: &str = ".gz";
/// Ending of files that are being written.
const TEMPORARY: &str = ".tmp";
/// Between a time and the number of a further rotation: sorts behind `.`, so that `…-120000.gz` comes before `…-120000_01.gz`.
const NUMBER_MARK: char = '_';

/// One rotation: remove, then rename the log and have it reopened, then compress, each list in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Files to remove.
    pub remove: Vec<String>,
    /// New name of the current file.
    pub rename_to: String,
    /// Files to compress, oldest first. The one just moved aside stays as it is, so that the runtime and log collectors can
    /// finish with it.
    pub compress: Vec<String>,
}

/// True when `name` belongs to the log `log` but is not its current file.
pub fn is_rotated_name(log: &str, name: &str) -> bool {
    name.strip_prefix(log).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))
}

/// Plans the rotation of `log`, a file name, in a directory that holds `names`, at most `max_files` files of this log
/// afterwards (CONTRACT 3.28). `compressing` are the files that are being compressed right now.
pub fn plan(log: &str, names: &[String], max_files: usize, compressing: &[String], now: WallTime) -> Plan {
    let mut names: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| is_rotated_name(log, name)).collect();
    names.sort_unstable();
    let in_use: Vec<&str> = names.iter().copied().filter(|name| is_in_use(name, &names)).collect();
    let (excess, kept) = in_use.split_at(in_use.len().saturating_sub(max_files.saturating_sub(2)));
    let is_being_compressed = |name: &str| compressing.iter().any(|other| other == name);

    let is_needed = |name: &str| name.strip_suffix(TEMPORARY).is_some_and(is_being_compressed);
    let unused = names.iter().filter(|name| !in_use.contains(name) && !is_needed(name)).copied();
    let mut remove: Vec<String> = unused.map(str::to_owned).collect();
    for name in excess {
        if is_being_compressed(name) {
            // The compression finds its temporary file gone and ends; or it was done before that, and its result goes.
            remove.extend([format!("{name}{TEMPORARY}"), format!("{name}{COMPRESSED}")]);
        }
        remove.push((*name).to_owned());
    }
    let compress = kept.iter().filter(|name| !name.ends_with(COMPRESSED) && !is_being_compressed(name));
    Plan {
        remove,
        rename_to: new_name(log, &in_use, now),
        compress: compress.map(|name| (*name).to_owned()).collect(),
    }
}

/// Temporary files are not in use, nor are files whose compressed form is there.
fn is_in_use(name: &str, names: &[&str]) -> bool {
    if name.ends_with(TEMPORARY) {
        return false;
    }
    name.ends_with(COMPRESSED)
        || !names.iter().any(|other| other.strip_suffix(COMPRESSED).is_some_and(|base| base == name))
}

/// A name that sorts behind every name that a rotation gave.
fn new_name(log: &str, in_use: &[&str], now: WallTime) -> String {
    let stamp = stamp(now);
    match in_use.iter().rev().find_map(|name| Place::of(log, name)) {
        Some(newest) if newest.time >= stamp.as_str() => {
            format!("{log}.{}{NUMBER_MARK}{:06}", newest.time, newest.number + 1)
        }
        _ => format!("{log}.{stamp}"),
    }
}

/// Where a name that a rotation gave stands in the order.
struct Place<'a> {
    time: &'a str,
    number: u64,
}

impl<'a> Place<'a> {
    fn of(log: &str, name: &'a str) -> Option<Self> {
        let rest = name.strip_prefix(log)?.strip_prefix('.')?;
        let rest = rest.strip_suffix(COMPRESSED).unwrap_or(rest);
        let (time, number) = match rest.split_once(NUMBER_MARK) {
            Some((time, number)) => (time, number.parse().ok()?),
            None => (rest, 0),
        };
        let (day, clock) = time.split_once('-')?;
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_time = (day.len(), clock.len()) == (8, 6) && all_digits(day) && all_digits(clock);
        is_time.then_some(Self { time, number })
    }
}

/// `YYYYMMDD-HHMMSS` in UTC.
fn stamp(now: WallTime) -> String {
    let time = jiff::tz::Offset::UTC.to_datetime(now.to_api_secs().0);
    format!(
        "{:04}{:02}{:02}-{:02}{:02}{:02}",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// 2026-01-01T12:00:00Z.
    const NOON: i64 = 1_767_268_800;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    fn at(secs: i64) -> WallTime {
        WallTime::from_unix_secs(NOON + secs)
    }

    #[test]
    fn a_rotation_removes_renames_and_compresses() {
        type Names = &'static [&'static str];
        let table: [(&str, Names, usize, Names, Names, Names); 8] = [
            ("first", &["0.log"], 5, &[], &[], &[]),
            (
                "the one moved aside last is compressed",
                &["0.log", "0.log.20260101-110000"],
                5,
                &[],
                &[],
                &["0.log.20260101-110000"],
            ),
            (
                "oldest go first",
                &["0.log.20260101-100000.gz", "0.log.20260101-110000", "0.log.20260101-090000.gz", "0.log"],
                3,
                &[],
                &["0.log.20260101-090000.gz", "0.log.20260101-100000.gz"],
                &["0.log.20260101-110000"],
            ),
            (
                "two files: none is kept",
                &["0.log.20260101-110000", "0.log"],
                2,
                &[],
                &["0.log.20260101-110000"],
                &[],
            ),
            (
                "leftovers go",
                &["0.log.20260101-100000", "0.log.20260101-100000.gz", "0.log.20260101-110000.tmp"],
                5,
                &[],
                &["0.log.20260101-100000", "0.log.20260101-110000.tmp"],
                &[],
            ),
            (
                "a running compression is left alone",
                &["0.log.20260101-110000", "0.log.20260101-110000.tmp", "0.log.20260101-113000"],
                5,
                &["0.log.20260101-110000"],
                &[],
                &["0.log.20260101-113000"],
            ),
            (
                "unless its file is too much",
                &["0.log.20260101-110000", "0.log.20260101-110000.tmp", "0.log.20260101-113000"],
                3,
                &["0.log.20260101-110000"],
                &["0.log.20260101-110000.tmp", "0.log.20260101-110000.gz", "0.log.20260101-110000"],
                &["0.log.20260101-113000"],
            ),
            (
                "other logs",
                &["1.log", "10.log", "1.log.20260101-110000", "0.log", "0.log."],
                2,
                &[],
                &[],
                &[],
            ),
        ];
        for (name, files, max, busy, remove, compress) in table {
            let plan = plan("0.log", &names(files), max, &names(busy), at(0));
            let want = Plan {
                remove: names(remove),
                rename_to: "0.log.20260101-120000".to_owned(),
                compress: names(compress),
            };
            assert_eq!(plan, want, "{name}");
        }
    }

    #[test]
    fn names_are_in_the_order_of_rotations() {
        let table: [(&[&str], i64, &str); 6] = [
            (&[], 61, "0.log.20260101-120101"),
            (&["0.log.20260101-120000"], 0, "0.log.20260101-120000_000001"),
            (&["0.log.20260101-120000_000041.gz"], 0, "0.log.20260101-120000_000042"),
            (&["0.log.20260101-120000"], -3600, "0.log.20260101-120000_000001"),
            (&["0.log.zebra"], 0, "0.log.20260101-120000"),
            (&["0.log.zebra", "0.log.20260101-120000"], 0, "0.log.20260101-120000_000001"),
        ];
        for (files, secs, want) in table {
            assert_eq!(plan("0.log", &names(files), 5, &[], at(secs)).rename_to, want, "{files:?}");
        }
    }

    /// A log whose rotations are played: what each file holds is the number of the rotation that moved it aside.
    #[derive(Default)]
    struct Played {
        files: Vec<(String, usize)>,
    }

    impl Played {
        fn rotate(&mut self, number: usize, max_files: usize, compresses: bool, now: WallTime) {
            let names: Vec<_> = self.files.iter().map(|(name, _)| name.clone()).collect();
            let plan = plan("0.log", &names, max_files, &[], now);
            self.files.retain(|(name, _)| !plan.remove.contains(name));
            assert!(!self.files.iter().any(|(name, _)| *name == plan.rename_to), "the new name is free");
            for (name, _) in
                self.files.iter_mut().filter(|(name, _)| compresses && plan.compress.contains(name))
            {
                name.push_str(COMPRESSED);
            }
            self.files.push((plan.rename_to, number));
        }
    }

    proptest! {
        #[test]
        fn files_stay_in_order_and_the_newest_are_kept(
            steps in proptest::collection::vec((-5_i64..5, any::<bool>()), 1..40),
            max_files in 2_usize..7,
        ) {
            let (mut played, mut clock) = (Played::default(), 0);
            for (number, (step, compresses)) in steps.into_iter().enumerate() {
                clock += step;
                played.rotate(number, max_files, compresses, at(clock));
                let by_name: BTreeSet<_> = played.files.iter().cloned().collect();
                let order: Vec<_> = by_name.into_iter().map(|(_, number)| number).collect();
                let newest: Vec<_> = ((number + 2).saturating_sub(max_files)..=number).collect();
                prop_assert_eq!(order, newest);
            }
        }
    }
}
