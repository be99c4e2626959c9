//! The answer to `/metrics/resource` (CONTRACT 5.16), which metrics servers read: processor, memory and swap of the node, of
//! each pod and of each container, each with the time of its reading.

use core_metrics::{Exposition, Kind};
use core_types::WallTime;

use crate::summary::{ContainerStats, CpuStats, MemoryStats, PodStats, Summary, SwapStats};

/// A value with the time it was read.
type Timed = (f64, Option<WallTime>);

/// A family of containers, of pods or of the node.
struct Family<F> {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    value: F,
}

type OfContainer = fn(&ContainerStats) -> Option<Timed>;
type OfParts = fn(Parts<'_>) -> Option<Timed>;

/// What a family of pods or of the node is made from.
#[derive(Clone, Copy)]
struct Parts<'a> {
    cpu: Option<&'a CpuStats>,
    memory: Option<&'a MemoryStats>,
    swap: Option<&'a SwapStats>,
}

/// The text in Prometheus' form, sorted by name.
pub fn resource_metrics(summary: &Summary, is_complete: Completeness) -> String {
    let mut text = Exposition::new();
    for family in CONTAINER {
        let all = summary.pods.iter().flat_map(|pod| pod.containers.iter().map(move |one| (pod, one)));
        let samples = all.filter_map(|(pod, one)| Some((labels(pod, Some(&one.name)), (family.value)(one)?)));
        write(&mut text, (family.name, family.help, family.kind), samples);
    }
    for family in NODE {
        let node = &summary.node;
        let parts = Parts { cpu: node.cpu.as_ref(), memory: node.memory.as_ref(), swap: node.swap.as_ref() };
        let sample = (family.value)(parts).map(|value| (Vec::new(), value));
        write(&mut text, (family.name, family.help, family.kind), sample.into_iter());
    }
    for family in POD {
        let samples = summary.pods.iter().filter_map(|pod| {
            let parts = Parts { cpu: pod.cpu.as_ref(), memory: pod.memory.as_ref(), swap: pod.swap.as_ref() };
            Some((labels(pod, None), (family.value)(parts)?))
        });
        write(&mut text, (family.name, family.help, family.kind), samples);
    }
    let name = "resource_scrape_error";
    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    text.family(name, help, Kind::Gauge);
    text.sample(name, &[], f64::from(u8::from(is_complete == Completeness::Missing)));
    text.into_text()
}

/// Whether everything could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It could.
    Whole,
    /// Something is missing.
    Missing,
}

fn labels<'a>(pod: &'a PodStats, container: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    let pod = [("namespace", pod.pod_ref.namespace.as_str()), ("pod", pod.pod_ref.name.as_str())];
    container.map(|name| ("container", name)).into_iter().chain(pod).collect()
}

fn write<'a>(
    text: &mut Exposition,
    (name, help, kind): (&str, &str, Kind),
    samples: impl Iterator<Item = (Vec<(&'static str, &'a str)>, Timed)>,
) {
    let mut samples = samples.peekable();
    if samples.peek().is_some() {
        text.family(name, help, kind);
    }
    for (labels, (value, time)) in samples {
        match time {
            Some(time) => text.sample_at(name, &labels, value, time.unix_nanos() / 1_000_000),
            None => text.sample(name, &labels, value),
        }
    }
}

fn seconds(cpu: Option<&CpuStats>) -> Option<Timed> {
    cpu.map(|cpu| (cpu.usage_core_nano_seconds as f64 / 1e9, Some(cpu.time)))
}

fn working_set(memory: Option<&MemoryStats>) -> Option<Timed> {
    memory.map(|memory| (memory.working_set_bytes as f64, Some(memory.time)))
}

fn swap(swap: Option<&SwapStats>) -> Option<Timed> {
    swap.map(|swap| (swap.swap_usage_bytes as f64, Some(swap.time)))
}

const CONTAINER: &[Family<OfContainer>] = &[
    Family {
        name: "container_cpu_usage_seconds_total",
        help: "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        kind: Kind::Counter,
        value: |one| seconds(one.cpu.as_ref()),
    },
    Family {
        name: "container_memory_working_set_bytes",
        help: "[STABLE] Current working set of the container in bytes",
        kind: Kind::Gauge,
        value: |one| working_set(one.memory.as_ref()),
    },
    Family {
        name: "container_start_time_seconds",
        help: "[STABLE] Start time of the container since unix epoch in seconds",
        kind: Kind::Gauge,
        value: |one| {
            let nanos = one.start_time.unix_nanos();
            (nanos > 0).then_some((nanos as f64 / 1e9, None))
        },
    },
    Family {
        name: "container_swap_limit_bytes",
        help: "[ALPHA] Current amount of the container swap limit in bytes. Reported only on non-windows systems",
        kind: Kind::Gauge,
        value: |one| {
            let swap = one.swap.as_ref()?;
            let limit = swap.swap_available_bytes?.saturating_add(swap.swap_usage_bytes);
            Some((limit as f64, Some(swap.time)))
        },
    },
    Family {
        name: "container_swap_usage_bytes",
        help: "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
        kind: Kind::Gauge,
        value: |one| swap(one.swap.as_ref()),
    },
];

const NODE: &[Family<OfParts>] = &[
    Family {
        name: "node_cpu_usage_seconds_total",
        help: "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
        kind: Kind::Counter,
        value: |node| seconds(node.cpu),
    },
    Family {
        name: "node_memory_working_set_bytes",
        help: "[STABLE] Current working set of the node in bytes",
        kind: Kind::Gauge,
        value: |node| working_set(node.memory),
    },
    Family {
        name: "node_swap_usage_bytes",
        help: "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems",
        kind: Kind::Gauge,
        value: |node| swap(node.swap),
    },
];

const POD: &[Family<OfParts>] = &[
    Family {
        name: "pod_cpu_usage_seconds_total",
        help: "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
        kind: Kind::Counter,
        value: |pod| seconds(pod.cpu),
    },
    Family {
        name: "pod_memory_working_set_bytes",
        help: "[STABLE] Current working set of the pod in bytes",
        kind: Kind::Gauge,
        value: |pod| working_set(pod.memory),
    },
    Family {
        name: "pod_swap_usage_bytes",
        help: "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems",
        kind: Kind::Gauge,
        value: |pod| swap(pod.swap),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::build::tests::{facts, usage};
    use crate::summary::cpu_and_memory;

    #[test]
    fn it_is_what_a_metrics_server_reads() {
        let text = resource_metrics(&cpu_and_memory(&facts(), &usage()), Completeness::Whole);
        let labels = "container=\"main\",namespace=\"shop\",pod=\"web\"";
        for want in [
            "# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds\n\
             # TYPE container_cpu_usage_seconds_total counter\n",
            &format!("container_cpu_usage_seconds_total{{{labels}}} 0.000000005 1800000000000\n"),
            &format!("container_memory_working_set_bytes{{{labels}}} 70 1800000000000\n"),
            &format!("container_start_time_seconds{{{labels}}} 1800000000\n"),
            &format!("container_swap_limit_bytes{{{labels}}} 0 1800000000000\n"),
            "node_memory_working_set_bytes 70 1800000000000\n",
            "pod_cpu_usage_seconds_total{namespace=\"shop\",pod=\"web\"} 0.000000005 1800000000000\n",
            "resource_scrape_error 0\n",
        ] {
            assert!(text.contains(want), "{want} is missing in\n{text}");
        }
        let names: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert!(names.len() == 12 && names.is_sorted(), "{names:?}");
    }

    #[test]
    fn what_is_not_known_has_no_family() {
        let mut summary = cpu_and_memory(&facts(), &usage());
        summary.pods.clear();
        summary.node.cpu = None;
        let text = resource_metrics(&summary, Completeness::Missing);
        assert!(!text.contains("container_") && !text.contains("node_cpu"), "{text}");
        assert!(text.ends_with("resource_scrape_error 1\n"), "{text}");
    }
}
