//! The `container_*` families: upstream's names, help texts, kinds and rules of when there is a value.
//!
//! Sorted by name, as a Go registry shows them; a test keeps it so.

mod disk;

use std::borrow::Cow;

use core_metrics::Kind;
use core_types::WallTime;

use crate::page::Row;
use crate::readings::NO_LIMIT_BYTES;
use crate::sample::{CpuSample, InterfaceSample, MemorySample, PressureSample};

/// One family.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    /// Labels besides those of the cgroup.
    pub(crate) labels: &'static [&'static str],
    pub(crate) stamp: Stamp,
    /// The values of one cgroup; none when it has none.
    pub(crate) values: fn(&Row<'_>) -> Vec<Value>,
}

/// The time a value carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// None: it does not change.
    None,
    /// When the cgroup was read.
    Cgroup,
    /// When the details of the cgroup were read.
    Detail,
    /// When what is stored was measured: by the runtime, or with the details.
    Stored,
}

/// One value with the texts of the family's own labels.
pub(crate) struct Value {
    pub(crate) labels: Vec<Cow<'static, str>>,
    pub(crate) number: f64,
}

impl Stamp {
    /// The time, in milliseconds since the Unix epoch; none when it is not known.
    pub(crate) fn millis(self, measured: &Row<'_>) -> Option<i64> {
        let time = match self {
            Self::None => return None,
            Self::Cgroup => measured.sample.taken_at,
            Self::Detail => measured.detail()?.taken_at,
            Self::Stored => match measured.layer() {
                Some(layer) => layer.taken_at,
                None => measured.detail()?.taken_at,
            },
        };
        (!time.is_unset()).then(|| time.unix_nanos() / 1_000_000)
    }
}

const fn family(name: &'static str, help: &'static str, values: fn(&Row<'_>) -> Vec<Value>) -> Family {
    Family { name, help, kind: Kind::Gauge, labels: &[], stamp: Stamp::Cgroup, values }
}

impl Family {
    const fn counter(self) -> Self {
        Self { kind: Kind::Counter, ..self }
    }

    const fn labels(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    const fn stamp(self, stamp: Stamp) -> Self {
        Self { stamp, ..self }
    }
}

fn one(number: f64) -> Vec<Value> {
    vec![Value { labels: Vec::new(), number }]
}

fn maybe(number: Option<f64>) -> Vec<Value> {
    number.map(one).unwrap_or_default()
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn time(time: WallTime) -> Vec<Value> {
    if time.is_unset() { Vec::new() } else { one(time.unix_secs() as f64) }
}

fn cpu(measured: &Row<'_>, value: fn(&CpuSample) -> f64) -> Vec<Value> {
    maybe(measured.sample.cpu.as_ref().map(value))
}

/// Only where a quota is set: elsewhere nothing is counted.
fn cfs(measured: &Row<'_>, value: fn(&CpuSample) -> f64) -> Vec<Value> {
    match measured.sample.spec.cpu {
        Some(spec) if spec.quota_us != 0 => cpu(measured, value),
        _ => Vec::new(),
    }
}

fn memory(measured: &Row<'_>, value: fn(&MemorySample) -> u64) -> Vec<Value> {
    maybe(measured.sample.memory.as_ref().map(|sample| value(sample) as f64))
}

fn memory_spec(measured: &Row<'_>, value: fn(&crate::MemorySpec) -> u64) -> Vec<Value> {
    let limit = measured.sample.spec.memory.as_ref().map(value);
    maybe(limit.map(|bytes| if bytes > NO_LIMIT_BYTES { 0.0 } else { bytes as f64 }))
}

fn network(measured: &Row<'_>, value: fn(&InterfaceSample) -> u64) -> Vec<Value> {
    let interfaces = measured.sample.interfaces.iter();
    interfaces
        .map(|interface| Value {
            labels: vec![interface.name.clone().into()],
            number: value(interface) as f64,
        })
        .collect()
}

fn stalled(totals: Option<PressureSample>) -> Vec<Value> {
    maybe(totals.map(|totals| totals.full.total_micros as f64 / 1e6))
}

fn waiting(totals: Option<PressureSample>) -> Vec<Value> {
    maybe(totals.map(|totals| totals.some.total_micros as f64 / 1e6))
}

/// All families.
pub(crate) fn all() -> impl Iterator<Item = &'static Family> {
    let parts = [disk::BLOCK, CPU, disk::FILES, SEEN, MEMORY, REST, disk::SOCKETS, SPEC, disk::ULIMITS];
    parts.into_iter().flatten()
}

const CPU: &[Family] = &[
    family("container_cpu_cfs_burst_periods_total", "Number of periods when burst occurs.", |m| {
        cfs(m, |s| s.cfs_burst_periods as f64)
    })
    .counter(),
    family(
        "container_cpu_cfs_burst_seconds_total",
        "Total time duration the container has been bursted.",
        |m| cfs(m, |s| seconds(s.cfs_burst_nanos)),
    )
    .counter(),
    family("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", |m| {
        cfs(m, |s| s.cfs_periods as f64)
    })
    .counter(),
    family("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", |m| {
        cfs(m, |s| s.cfs_throttled_periods as f64)
    })
    .counter(),
    family(
        "container_cpu_cfs_throttled_seconds_total",
        "Total time duration the container has been throttled.",
        |m| cfs(m, |s| seconds(s.cfs_throttled_nanos)),
    )
    .counter(),
    family("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.", |m| {
        cpu(m, |s| seconds(s.system_nanos))
    })
    .counter(),
    family("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", |m| {
        let used = m.sample.cpu.filter(|sample| sample.usage_nanos > 0);
        let value =
            |sample: CpuSample| Value { labels: vec!["total".into()], number: seconds(sample.usage_nanos) };
        used.map(value).into_iter().collect()
    })
    .labels(&["cpu"])
    .counter(),
    family("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.", |m| {
        cpu(m, |s| seconds(s.user_nanos))
    })
    .counter(),
    family("container_creation_time_seconds", "Container creation time since unix epoch in seconds.", |m| {
        time(m.created_at())
    })
    .stamp(Stamp::None),
];

const SEEN: &[Family] =
    &[family("container_last_seen", "Last time a container was seen by the exporter", |m| {
        time(m.sample.taken_at)
    })];

const MEMORY: &[Family] = &[
    family("container_memory_cache", "Number of bytes of page cache memory.", |m| {
        memory(m, |s| s.cache_bytes)
    }),
    family(
        "container_memory_events_high_total",
        "Cumulative count of memory.high throttle events for the container",
        |m| memory(m, |s| s.reclaim.high_events),
    )
    .counter(),
    family(
        "container_memory_events_max_total",
        "Cumulative count of memory.max limit hit events for the container",
        |m| memory(m, |s| s.reclaim.max_events),
    )
    .counter(),
    family("container_memory_failcnt", "Number of memory usage hits limits", |m| memory(m, |s| s.failures))
        .counter(),
    family(
        "container_memory_failures_total",
        "Cumulative count of memory allocation failures.",
        memory_failures,
    )
    .labels(&["failure_type", "scope"])
    .counter(),
    family(
        "container_memory_file_dirty_bytes",
        "Number of bytes of file cache that has been modified but not yet written back to disk.",
        |m| memory(m, |s| s.reclaim.file_dirty_bytes),
    ),
    family(
        "container_memory_file_writeback_bytes",
        "Number of bytes of file cache that is currently being written back to disk.",
        |m| memory(m, |s| s.reclaim.file_writeback_bytes),
    ),
    family("container_memory_kernel_usage", "Size of kernel memory allocated in bytes.", |m| {
        memory(m, |s| s.kernel_bytes)
    }),
    family("container_memory_mapped_file", "Size of memory mapped files in bytes.", |m| {
        memory(m, |s| s.mapped_file_bytes)
    }),
    family("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", |m| {
        memory(m, |s| s.max_usage_bytes)
    }),
    family(
        "container_memory_pgscan_total",
        "Cumulative number of pages scanned by the page reclaim algorithm.",
        |m| memory(m, |s| s.reclaim.scanned_pages),
    )
    .counter(),
    family(
        "container_memory_pgsteal_total",
        "Cumulative number of pages reclaimed by the page reclaim algorithm.",
        |m| memory(m, |s| s.reclaim.stolen_pages),
    )
    .counter(),
    family("container_memory_rss", "Size of RSS in bytes.", |m| memory(m, |s| s.rss_bytes)),
    family("container_memory_swap", "Container swap usage in bytes.", |m| memory(m, |s| s.swap_bytes)),
    family("container_memory_total_active_file_bytes", "Current total active file in bytes.", |m| {
        memory(m, |s| s.active_file_bytes)
    }),
    family("container_memory_total_inactive_file_bytes", "Current total inactive file in bytes.", |m| {
        memory(m, |s| s.inactive_file_bytes)
    }),
    family(
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        |m| memory(m, |s| s.usage_bytes),
    ),
    family("container_memory_working_set_bytes", "Current working set in bytes.", |m| {
        memory(m, MemorySample::working_set_bytes)
    }),
    family(
        "container_memory_workingset_refault_anon_total",
        "Cumulative number of refaults of previously evicted anonymous pages.",
        |m| memory(m, |s| s.reclaim.refaulted_anon_pages),
    )
    .counter(),
    family(
        "container_memory_workingset_refault_file_total",
        "Cumulative number of refaults of previously evicted file pages.",
        |m| memory(m, |s| s.reclaim.refaulted_file_pages),
    )
    .counter(),
];

/// Upstream gives both scopes the same numbers.
fn memory_failures(measured: &Row<'_>) -> Vec<Value> {
    let Some(memory) = measured.sample.memory else { return Vec::new() };
    let mut values = Vec::with_capacity(4);
    for scope in ["container", "hierarchy"] {
        for (kind, count) in [("pgfault", memory.page_faults), ("pgmajfault", memory.major_page_faults)] {
            values.push(Value { labels: vec![kind.into(), scope.into()], number: count as f64 });
        }
    }
    values
}

const INTERFACE: &[&str] = &["interface"];

const REST: &[Family] = &[
    family("container_network_receive_bytes_total", "Cumulative count of bytes received", |m| {
        network(m, |i| i.rx_bytes)
    })
    .labels(INTERFACE)
    .counter(),
    family(
        "container_network_receive_errors_total",
        "Cumulative count of errors encountered while receiving",
        |m| network(m, |i| i.rx_errors),
    )
    .labels(INTERFACE)
    .counter(),
    family(
        "container_network_receive_packets_dropped_total",
        "Cumulative count of packets dropped while receiving",
        |m| network(m, |i| i.rx_dropped),
    )
    .labels(INTERFACE)
    .counter(),
    family("container_network_receive_packets_total", "Cumulative count of packets received", |m| {
        network(m, |i| i.rx_packets)
    })
    .labels(INTERFACE)
    .counter(),
    family("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |m| {
        network(m, |i| i.tx_bytes)
    })
    .labels(INTERFACE)
    .counter(),
    family(
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        |m| network(m, |i| i.tx_errors),
    )
    .labels(INTERFACE)
    .counter(),
    family(
        "container_network_transmit_packets_dropped_total",
        "Cumulative count of packets dropped while transmitting",
        |m| network(m, |i| i.tx_dropped),
    )
    .labels(INTERFACE)
    .counter(),
    family("container_network_transmit_packets_total", "Cumulative count of packets transmitted", |m| {
        network(m, |i| i.tx_packets)
    })
    .labels(INTERFACE)
    .counter(),
    family(
        "container_pressure_cpu_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to CPU congestion.",
        |m| stalled(m.sample.pressure.cpu),
    )
    .counter(),
    family(
        "container_pressure_cpu_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to CPU congestion.",
        |m| waiting(m.sample.pressure.cpu),
    )
    .counter(),
    family(
        "container_pressure_io_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to IO congestion.",
        |m| stalled(m.sample.pressure.io),
    )
    .counter(),
    family(
        "container_pressure_io_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to IO congestion.",
        |m| waiting(m.sample.pressure.io),
    )
    .counter(),
    family(
        "container_pressure_memory_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to memory congestion.",
        |m| stalled(m.sample.pressure.memory),
    )
    .counter(),
    family(
        "container_pressure_memory_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to memory congestion.",
        |m| waiting(m.sample.pressure.memory),
    )
    .counter(),
    family("container_processes", "Number of processes running inside the container.", |m| {
        maybe(m.sample.processes.map(|sample| sample.processes as f64))
    }),
];

const SPEC: &[Family] = &[
    family("container_spec_cpu_period", "CPU period of the container.", |m| {
        maybe(m.sample.spec.cpu.map(|spec| spec.period_us as f64))
    })
    .stamp(Stamp::None),
    family("container_spec_cpu_quota", "CPU quota of the container.", |m| {
        let limited = m.sample.spec.cpu.filter(|spec| spec.quota_us != 0);
        maybe(limited.map(|spec| spec.quota_us as f64))
    })
    .stamp(Stamp::None),
    family("container_spec_cpu_shares", "CPU share of the container.", |m| {
        maybe(m.sample.spec.cpu.map(|spec| spec.shares as f64))
    })
    .stamp(Stamp::None),
    family("container_spec_memory_limit_bytes", "Memory limit for the container.", |m| {
        memory_spec(m, |spec| spec.limit_bytes)
    })
    .stamp(Stamp::None),
    family(
        "container_spec_memory_reservation_limit_bytes",
        "Memory reservation limit for the container.",
        |m| memory_spec(m, |spec| spec.reservation_bytes),
    )
    .stamp(Stamp::None),
    family("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container.", |m| {
        memory_spec(m, |spec| spec.swap_limit_bytes)
    })
    .stamp(Stamp::None),
    family("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", |m| {
        time(m.started_at())
    })
    .stamp(Stamp::None),
    family("container_threads", "Number of threads running inside the container", |m| {
        maybe(m.sample.processes.and_then(|sample| sample.threads).map(|threads| threads as f64))
    }),
    family(
        "container_threads_max",
        "Maximum number of threads allowed inside the container, infinity if value is zero",
        |m| {
            let counted = m.sample.processes.filter(|sample| sample.threads.is_some());
            maybe(counted.map(|sample| sample.threads_max as f64))
        },
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_sorted_and_named_once() {
        let names: Vec<_> = all().map(|family| family.name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    }

    #[test]
    fn counters_are_what_only_grows() {
        for family in all() {
            let grows = match family.name {
                "container_memory_failcnt" => true,
                "container_fs_inodes_total" => false,
                name => name.ends_with("_total"),
            };
            assert_eq!(family.kind == Kind::Counter, grows, "{}", family.name);
        }
    }
}
