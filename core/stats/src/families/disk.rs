//! Families of disks, file systems, open files and sockets.
//!
//! As upstream's: a cgroup has a value for each block device that it used, the machine's root also one for each file system.

use std::borrow::Cow;

use super::{Family, Stamp, Value, family};
use crate::detail::{DescriptorSample, DiskCounters, DiskSample, MountedFilesystem};
use crate::filesystem::FilesystemSample;
use crate::page::{LayerRow, Row};

const DEVICE: &[&str] = &["device"];
const READ: &str = "Read";
const WRITE: &str = "Write";

fn millis(millis: u64) -> f64 {
    millis as f64 / 1e3
}

fn on(device: &str, number: f64) -> Value {
    Value { labels: vec![Cow::Owned(device.to_owned())], number }
}

/// A value for each file system; only the machine's root has any.
fn filesystems(row: &Row<'_>, value: fn(&FilesystemSample) -> u64) -> Vec<Value> {
    row.filesystems().iter().map(|(mounted, sample)| on(&mounted.device, value(sample) as f64)).collect()
}

/// A value of the disk of each file system.
fn counters(row: &Row<'_>, value: fn(&DiskCounters) -> f64) -> Vec<Value> {
    let of = |(mounted, _): &(MountedFilesystem, FilesystemSample)| {
        on(&mounted.device, value(&mounted.disk.unwrap_or_default()))
    };
    row.filesystems().iter().map(of).collect()
}

/// A value for each block device that the cgroup used. Devices without a name share one.
fn disks(row: &Row<'_>, value: impl Fn(&DiskSample) -> Option<u64>) -> Vec<Value> {
    let disks =
        row.detail().into_iter().flat_map(|detail| &detail.disks).filter(|disk| !disk.device.is_empty());
    disks.map(|disk| on(&disk.device, value(disk).unwrap_or(0) as f64)).collect()
}

fn bytes(row: &Row<'_>, operation: &str) -> Vec<Value> {
    disks(row, |disk| disk.bytes.get(operation).copied())
}

/// Operations of the cgroup, and of the disks of the machine's file systems.
fn operations(row: &Row<'_>, operation: &str, whole: fn(&DiskCounters) -> f64) -> Vec<Value> {
    let mut values = disks(row, |disk| disk.operations.get(operation).copied());
    let known: Vec<_> = values.iter().map(|value| value.labels.clone()).collect();
    values.extend(counters(row, whole).into_iter().filter(|value| !known.contains(&value.labels)));
    values
}

fn descriptors(row: &Row<'_>, value: fn(&DescriptorSample) -> u64) -> Vec<Value> {
    let counted = row.detail().and_then(|detail| detail.descriptors);
    counted.iter().map(|sample| Value { labels: Vec::new(), number: value(sample) as f64 }).collect()
}

fn device_usage(row: &Row<'_>) -> Vec<Value> {
    let disks = row.detail().into_iter().flat_map(|detail| &detail.disks);
    let of = |disk: &DiskSample| {
        let (device, major, minor) = (disk.device.clone(), disk.major.to_string(), disk.minor.to_string());
        let value = |(operation, bytes): (&String, &u64)| Value {
            labels: [&device, &major, &minor, operation].map(|text| Cow::Owned(text.clone())).into(),
            number: *bytes as f64,
        };
        disk.bytes.iter().map(value).collect::<Vec<_>>()
    };
    disks.flat_map(of).collect()
}

/// File systems of the machine, and the writable layer of a container where the runtime measures it.
fn usage(row: &Row<'_>) -> Vec<Value> {
    let layer = row.layer().map(|layer: LayerRow<'_>| on(layer.device, layer.used_bytes as f64));
    let mut values = filesystems(row, |sample| sample.used_bytes);
    values.extend(layer);
    values
}

const fn detail(name: &'static str, help: &'static str, values: fn(&Row<'_>) -> Vec<Value>) -> Family {
    family(name, help, values).labels(DEVICE).stamp(Stamp::Detail)
}

/// What comes before the CPU's families.
pub(super) const BLOCK: &[Family] =
    &[family("container_blkio_device_usage_total", "Blkio Device bytes usage", device_usage)
        .labels(&["device", "major", "minor", "operation"])
        .stamp(Stamp::Detail)
        .counter()];

/// File descriptors and file systems.
pub(super) const FILES: &[Family] = &[
    family("container_file_descriptors", "Number of open file descriptors for the container.", |m| {
        descriptors(m, |sample| sample.open)
    })
    .stamp(Stamp::Detail),
    detail("container_fs_inodes_free", "Number of available Inodes", |m| {
        filesystems(m, |sample| sample.inodes_free)
    }),
    detail("container_fs_inodes_total", "Number of Inodes", |m| filesystems(m, |sample| sample.inodes)),
    detail("container_fs_io_current", "Number of I/Os currently in progress", |m| {
        counters(m, |disk| disk.in_progress as f64)
    }),
    detail("container_fs_io_time_seconds_total", "Cumulative count of seconds spent doing I/Os", |m| {
        counters(m, |disk| millis(disk.busy_ms))
    })
    .counter(),
    detail("container_fs_io_time_weighted_seconds_total", "Cumulative weighted I/O time in seconds", |m| {
        counters(m, |disk| millis(disk.weighted_ms))
    })
    .counter(),
    detail(
        "container_fs_limit_bytes",
        "Number of bytes that can be consumed by the container on this filesystem.",
        |m| filesystems(m, |sample| sample.capacity_bytes),
    ),
    detail("container_fs_read_seconds_total", "Cumulative count of seconds spent reading", |m| {
        counters(m, |disk| millis(disk.read_ms))
    })
    .counter(),
    detail("container_fs_reads_bytes_total", "Cumulative count of bytes read", |m| bytes(m, READ)).counter(),
    detail("container_fs_reads_merged_total", "Cumulative count of reads merged", |m| {
        counters(m, |disk| disk.reads_merged as f64)
    })
    .counter(),
    detail("container_fs_reads_total", "Cumulative count of reads completed", |m| {
        operations(m, READ, |disk| disk.reads as f64)
    })
    .counter(),
    detail("container_fs_sector_reads_total", "Cumulative count of sector reads completed", |m| {
        counters(m, |disk| disk.sectors_read as f64)
    })
    .counter(),
    detail("container_fs_sector_writes_total", "Cumulative count of sector writes completed", |m| {
        counters(m, |disk| disk.sectors_written as f64)
    })
    .counter(),
    detail(
        "container_fs_usage_bytes",
        "Number of bytes that are consumed by the container on this filesystem.",
        usage,
    )
    .stamp(Stamp::Stored),
    detail("container_fs_write_seconds_total", "Cumulative count of seconds spent writing", |m| {
        counters(m, |disk| millis(disk.write_ms))
    })
    .counter(),
    detail("container_fs_writes_bytes_total", "Cumulative count of bytes written", |m| bytes(m, WRITE))
        .counter(),
    detail("container_fs_writes_merged_total", "Cumulative count of writes merged", |m| {
        counters(m, |disk| disk.writes_merged as f64)
    })
    .counter(),
    detail("container_fs_writes_total", "Cumulative count of writes completed", |m| {
        operations(m, WRITE, |disk| disk.writes as f64)
    })
    .counter(),
];

/// Open sockets.
pub(super) const SOCKETS: &[Family] =
    &[family("container_sockets", "Number of open sockets for the container.", |m| {
        descriptors(m, |sample| sample.sockets)
    })
    .stamp(Stamp::Detail)];

/// Limits of processes.
pub(super) const ULIMITS: &[Family] = &[family(
    "container_ulimits_soft",
    "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice",
    |m| {
        let limit = m.detail().and_then(|detail| detail.max_open_files);
        let value = |limit: i64| Value { labels: vec!["max_open_files".into()], number: limit as f64 };
        limit.map(value).into_iter().collect()
    },
)
.labels(&["ulimit"])
.stamp(Stamp::Detail)];
