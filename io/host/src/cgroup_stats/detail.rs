//! Disk I/O and open files of a cgroup.
//!
//! Whatever cannot be read is left out: a process, and with it what it had open, may go at any moment.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use core_stats::{DescriptorSample, DiskSample};
use rustix::fs::{Mode, OFlags, RawDir};

use super::files::Files;
use super::parse::text;

/// Open files that are counted at most: a cgroup full of processes must not cost a scrape its time.
const MAX_COUNTED: u64 = 200_000;

/// Files with bytes and numbers of operations of version 1: of the scheduler that counts most, then of the others. The first
/// that says something counts.
const V1_FILES: [(&str, &str); 4] = [
    ("blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive"),
    ("blkio.io_service_bytes_recursive", "blkio.io_serviced_recursive"),
    ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"),
    ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"),
];

/// Operations of version 2 with the names that version 1 has for them: bytes, then numbers.
const V2_OPERATIONS: [(&str, &str, &str); 2] = [("Read", "rbytes", "rios"), ("Write", "wbytes", "wios")];

/// Block devices that are no disks.
const NO_DISKS: [&str; 3] = ["loop", "ram", "sr"];

/// Numbers of operations by device.
type ByDevice = BTreeMap<(u32, u32), BTreeMap<String, u64>>;

/// Disk I/O of a version 1 cgroup.
pub(super) fn disks_v1(dir: &Path, sys: &Path) -> Vec<DiskSample> {
    let Some(dir) = Files::open(dir) else { return Vec::new() };
    let read = |file: &str| dir.text(file).map(|text| lines_v1(&text)).filter(|found| !found.is_empty());
    let found = V1_FILES.iter().find_map(|(bytes, operations)| Some((read(bytes)?, read(operations))));
    let Some((bytes, operations)) = found else { return Vec::new() };
    let mut operations = operations.unwrap_or_default();
    let sample = |((major, minor), bytes)| {
        let operations = operations.remove(&(major, minor)).unwrap_or_default();
        DiskSample { device: name(sys, major, minor), major, minor, bytes, operations }
    };
    bytes.into_iter().map(sample).collect()
}

/// `254:0 Read 4096` in each line; the sum of all devices in the last one is left out.
fn lines_v1(text: &str) -> ByDevice {
    let mut found = ByDevice::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        if let (Some(device), Some(operation), Some(number)) = (fields.next(), fields.next(), fields.next())
            && let (Some(device), Ok(number)) = (numbers(device), number.parse())
        {
            found.entry(device).or_default().insert(operation.to_owned(), number);
        }
    }
    found
}

/// Disk I/O of a version 2 cgroup.
pub(super) fn disks_v2(dir: &Path, sys: &Path) -> Vec<DiskSample> {
    let text = text(dir, "io.stat").unwrap_or_default();
    let disk = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = numbers(device)?;
        let fields: BTreeMap<&str, u64> = rest
            .split_whitespace()
            .filter_map(|field| field.split_once('='))
            .filter_map(|(key, number)| Some((key, number.parse().ok()?)))
            .collect();
        let of = |key: &str| fields.get(key).copied();
        let mut sample =
            DiskSample { device: name(sys, major, minor), major, minor, ..DiskSample::default() };
        for (operation, bytes, count) in V2_OPERATIONS {
            sample.bytes.extend(of(bytes).map(|bytes| (operation.to_owned(), bytes)));
            sample.operations.extend(of(count).map(|count| (operation.to_owned(), count)));
        }
        (!sample.bytes.is_empty()).then_some(sample)
    };
    text.lines().filter_map(disk).collect()
}

/// The two numbers of a device.
fn numbers(device: &str) -> Option<(u32, u32)> {
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Path of the disk with these numbers; empty when it is no disk.
fn name(sys: &Path, major: u32, minor: u32) -> String {
    let target = fs::read_link(sys.join(format!("dev/block/{major}:{minor}"))).ok();
    let name = target.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    match name.is_empty() || NO_DISKS.iter().any(|prefix| name.starts_with(prefix)) {
        true => String::new(),
        false => format!("/dev/{name}"),
    }
}

/// Open files of the processes that a cgroup lists.
pub(super) fn descriptors(proc: &Path, procs: &str) -> DescriptorSample {
    let mut sample = DescriptorSample::default();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    for process in procs.lines() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(dir) = rustix::fs::open(proc.join(process).join("fd"), flags, Mode::empty()) else { continue };
        let mut entries = RawDir::new(&dir, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            if entry.file_name().to_bytes().starts_with(b".") {
                continue;
            }
            sample.open += 1;
            sample.sockets += u64::from(is_socket(&dir, entry.file_name()));
            if sample.open >= MAX_COUNTED {
                return sample;
            }
        }
    }
    sample
}

fn is_socket(dir: &OwnedFd, name: &CStr) -> bool {
    // Longer targets are paths.
    let mut target = [MaybeUninit::uninit(); 64];
    let read = rustix::fs::readlinkat_raw(dir, name, &mut target);
    read.is_ok_and(|(target, _)| target.starts_with(b"socket:"))
}

/// Soft limit of open files of a process; -1 for none.
pub(super) fn max_open_files(proc: &Path, process: &str) -> Option<i64> {
    let limits = text(&proc.join(process), "limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(-1),
        number => number.parse().ok(),
    }
}
