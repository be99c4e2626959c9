//! Metrics that the runtime computes itself.

use core_types::WallTime;
use core_types::runtime::{MetricDescriptor, MetricKind, MetricSample, SandboxMetrics};

use crate::call::Malformed;
use crate::proto;

/// Reply of `ListMetricDescriptors`.
pub(crate) fn descriptors(
    reply: proto::ListMetricDescriptorsResponse,
) -> Result<Vec<MetricDescriptor>, Malformed> {
    let translate = |descriptor: proto::MetricDescriptor| MetricDescriptor {
        name: descriptor.name,
        help: descriptor.help,
        label_keys: descriptor.label_keys,
    };
    Ok(reply.descriptors.into_iter().map(translate).collect())
}

/// Reply of `ListPodSandboxMetrics`. Entries without an ID are left out.
pub(crate) fn sandboxes(
    reply: proto::ListPodSandboxMetricsResponse,
) -> Result<Vec<SandboxMetrics>, Malformed> {
    let named = reply.pod_metrics.into_iter().filter(|metrics| !metrics.pod_sandbox_id.is_empty());
    Ok(named.map(sandbox).collect())
}

fn sandbox(metrics: proto::PodSandboxMetrics) -> SandboxMetrics {
    let containers = metrics.container_metrics.into_iter().filter(|metrics| !metrics.container_id.is_empty());
    SandboxMetrics {
        id: metrics.pod_sandbox_id.into(),
        samples: metrics.metrics.into_iter().map(sample).collect(),
        containers: containers
            .map(|metrics| (metrics.container_id.into(), metrics.metrics.into_iter().map(sample).collect()))
            .collect(),
    }
}

fn sample(metric: proto::Metric) -> MetricSample {
    MetricSample {
        kind: match metric.metric_type() {
            proto::MetricType::Counter => MetricKind::Counter,
            proto::MetricType::Gauge => MetricKind::Gauge,
        },
        name: metric.name,
        timestamp: WallTime::from_unix_nanos(metric.timestamp),
        label_values: metric.label_values,
        value: metric.value.map(|value| value.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_translated_and_nameless_ones_left_out() {
        let metric = |name: &str, kind: proto::MetricType| proto::Metric {
            name: name.to_owned(),
            timestamp: 7,
            metric_type: kind.into(),
            label_values: vec!["eth0".to_owned()],
            value: Some(proto::UInt64Value { value: 9 }),
        };
        let container = |id: &str| proto::ContainerMetrics {
            container_id: id.to_owned(),
            metrics: vec![metric("g", proto::MetricType::Gauge)],
        };
        let pod = |id: &str| proto::PodSandboxMetrics {
            pod_sandbox_id: id.to_owned(),
            metrics: vec![metric("c_total", proto::MetricType::Counter)],
            container_metrics: vec![container("c"), container("")],
        };
        let reply = proto::ListPodSandboxMetricsResponse { pod_metrics: vec![pod("s"), pod("")] };
        let sample = |name: &str, kind| MetricSample {
            name: name.to_owned(),
            timestamp: WallTime::from_unix_nanos(7),
            kind,
            label_values: vec!["eth0".to_owned()],
            value: Some(9),
        };
        let want = SandboxMetrics {
            id: "s".into(),
            samples: vec![sample("c_total", MetricKind::Counter)],
            containers: vec![("c".into(), vec![sample("g", MetricKind::Gauge)])],
        };
        assert_eq!(sandboxes(reply).ok(), Some(vec![want]));
    }
}
