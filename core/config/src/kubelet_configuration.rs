//! `KubeletConfiguration` of `kubelet.config.k8s.io/v1beta1`: all 126 fields, as upstream's file and
//! `/configz` have them, with upstream's defaults filled in (CONTRACT 1.5).
//!
//! Reading takes two steps: `read_fields` (a missing field or null gets its default), then
//! [`KubeletConfiguration::fill_defaults`] (a zero counts as missing where upstream says so, and some
//! defaults follow from other fields or feature gates). Writing leaves out what upstream leaves out.
//!
//! Left out: what the values may be ([`crate::validate`]), and `kind` and `apiVersion`, which the loader
//! checks.

mod defaults;
mod parts;

use std::collections::BTreeMap;
use std::fmt;

use core_yaml::{FieldError, UnknownField};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::duration::GoDuration;
pub use defaults::default_eviction_hard;
use defaults::{fill_pull_mode, is};
pub use parts::{
    AnonymousAuthentication, Authentication, Authorization, CrashLoopBackOff, FormatOptions, Logging,
    MemoryReservation, MemorySwap, OutputRouting, QuantityText, ShutdownGracePeriodByPodPriority, Taint,
    Tracing, UserNamespaces, VmoduleItem, WebhookAuthentication, WebhookAuthorization, X509Authentication,
};

/// The API group and version of the file.
pub const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
/// The kind of the file.
pub const KIND: &str = "KubeletConfiguration";

/// The kubelet's configuration; `default()` is what an empty file means.
///
/// Field names are the file's, in snake case. Its debug text masks what may be secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeletConfiguration {
    /// Serve the HTTP API on `address`.
    #[serde(default = "is::enable_server")]
    pub enable_server: bool,
    /// Directory or file with static pod manifests; empty for none.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub static_pod_path: String,
    /// Where container logs are written; absolute, clean, ASCII.
    #[serde(default = "is::pod_logs_dir", skip_serializing_if = "is_unset")]
    pub pod_logs_dir: String,
    /// Longest time between two looks at a running pod.
    #[serde(default = "is::sync_frequency")]
    pub sync_frequency: GoDuration,
    /// How often the manifest path is checked besides file events.
    #[serde(default = "is::file_check_frequency")]
    pub file_check_frequency: GoDuration,
    /// How often the manifest URL is asked.
    #[serde(default = "is::http_check_frequency")]
    pub http_check_frequency: GoDuration,
    /// URL of static pod manifests; empty for none.
    #[serde(rename = "staticPodURL", default, skip_serializing_if = "is_unset")]
    pub static_pod_url: String,
    /// Headers sent with the request for the manifest URL; may hold secrets.
    #[serde(rename = "staticPodURLHeader", default, skip_serializing_if = "is_unset")]
    pub static_pod_url_header: BTreeMap<String, Vec<String>>,
    /// Address the API listens on.
    #[serde(default = "is::address", skip_serializing_if = "is_unset")]
    pub address: String,
    /// Port of the API.
    #[serde(default = "is::port", skip_serializing_if = "is_unset")]
    pub port: i32,
    /// Port of the API without authentication; 0 for off.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub read_only_port: i32,
    /// Serving certificate, with its chain.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tls_cert_file: String,
    /// Key of the serving certificate.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tls_private_key_file: String,
    /// Allowed cipher suites by IANA name; empty for the library's choice.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tls_cipher_suites: Vec<String>,
    /// Key exchange groups by TLS number, best first.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tls_curve_preferences: Vec<i32>,
    /// Lowest TLS version, as `VersionTLS12`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub tls_min_version: String,
    /// Renew the client certificate from the API server.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub rotate_certificates: bool,
    /// Ask the API server for the serving certificate.
    #[serde(rename = "serverTLSBootstrap", default, skip_serializing_if = "is_unset")]
    pub server_tls_bootstrap: bool,
    /// Who a request comes from.
    #[serde(default)]
    pub authentication: Authentication,
    /// What a request may do.
    #[serde(default)]
    pub authorization: Authorization,
    /// Image pulls a second; 0 for no limit.
    #[serde(rename = "registryPullQPS", default = "is::registry_pull_qps")]
    pub registry_pull_qps: i32,
    /// Image pulls at once above `registryPullQPS`.
    #[serde(default = "is::registry_burst", skip_serializing_if = "is_unset")]
    pub registry_burst: i32,
    /// Which images a pod must show credentials for although they are present.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub image_pull_credentials_verification_policy: String,
    /// Images free of that check, for the policy `NeverVerifyAllowlistedImages`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub preloaded_images_verification_allowlist: Vec<String>,
    /// Events sent a second; 0 for no limit.
    #[serde(rename = "eventRecordQPS", default = "is::event_record_qps")]
    pub event_record_qps: i32,
    /// Events at once above `eventRecordQPS`.
    #[serde(default = "is::event_burst", skip_serializing_if = "is_unset")]
    pub event_burst: i32,
    /// Serve logs, exec and the like on the API.
    #[serde(default = "is::enable_debugging_handlers")]
    pub enable_debugging_handlers: bool,
    /// Profile lock contention with `enableDebuggingHandlers`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub enable_contention_profiling: bool,
    /// Port of `/healthz`; 0 for off.
    #[serde(default = "is::healthz_port")]
    pub healthz_port: i32,
    /// Address of `/healthz`.
    #[serde(default = "is::healthz_bind_address", skip_serializing_if = "is_unset")]
    pub healthz_bind_address: String,
    /// The kubelet's own OOM score adjustment.
    #[serde(default = "is::oom_score_adj")]
    pub oom_score_adj: i32,
    /// DNS domain of the cluster.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub cluster_domain: String,
    /// DNS servers of the cluster.
    #[serde(rename = "clusterDNS", default, skip_serializing_if = "is_unset")]
    pub cluster_dns: Vec<String>,
    /// When an idle exec, attach or port-forward stream is closed.
    #[serde(default = "is::streaming_connection_idle_timeout")]
    pub streaming_connection_idle_timeout: GoDuration,
    /// How often node status is computed.
    #[serde(default)]
    pub node_status_update_frequency: GoDuration,
    /// How often an unchanged node status is sent.
    #[serde(default)]
    pub node_status_report_frequency: GoDuration,
    /// Length of the node lease, in seconds.
    #[serde(default = "is::node_lease_duration_seconds", skip_serializing_if = "is_unset")]
    pub node_lease_duration_seconds: i32,
    /// Youngest unused image that may be removed.
    #[serde(rename = "imageMinimumGCAge", default = "is::image_minimum_gc_age")]
    pub image_minimum_gc_age: GoDuration,
    /// Age at which an unused image is removed; 0 for never.
    #[serde(rename = "imageMaximumGCAge", default)]
    pub image_maximum_gc_age: GoDuration,
    /// Disk use that starts image removal.
    #[serde(rename = "imageGCHighThresholdPercent", default = "is::image_gc_high_threshold_percent")]
    pub image_gc_high_threshold_percent: i32,
    /// Disk use at which image removal ends.
    #[serde(rename = "imageGCLowThresholdPercent", default = "is::image_gc_low_threshold_percent")]
    pub image_gc_low_threshold_percent: i32,
    /// How often volume sizes are measured; negative for never.
    #[serde(default = "is::volume_stats_agg_period")]
    pub volume_stats_agg_period: GoDuration,
    /// Cgroup the kubelet moves itself to.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub kubelet_cgroups: String,
    /// Cgroup for processes that are in none.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub system_cgroups: String,
    /// Cgroup under which pods live.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub cgroup_root: String,
    /// Keep QoS and pod cgroups.
    #[serde(rename = "cgroupsPerQOS", default = "is::cgroups_per_qos")]
    pub cgroups_per_qos: bool,
    /// `cgroupfs` or `systemd`; the runtime's answer goes first.
    #[serde(default = "is::cgroup_driver", skip_serializing_if = "is_unset")]
    pub cgroup_driver: String,
    /// `none` or `static`.
    #[serde(default = "is::cpu_manager_policy", skip_serializing_if = "is_unset")]
    pub cpu_manager_policy: String,
    /// On out of memory kill one process, not the container; unset for the cgroup version's habit.
    #[serde(rename = "singleProcessOOMKill", default, skip_serializing_if = "Option::is_none")]
    pub single_process_oom_kill: Option<bool>,
    /// Options of the CPU manager policy.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub cpu_manager_policy_options: BTreeMap<String, String>,
    /// How often CPU sets are put right.
    #[serde(default = "is::cpu_manager_reconcile_period")]
    pub cpu_manager_reconcile_period: GoDuration,
    /// `None` or `Static`.
    #[serde(default = "is::memory_manager_policy", skip_serializing_if = "is_unset")]
    pub memory_manager_policy: String,
    /// `none`, `best-effort`, `restricted` or `single-numa-node`.
    #[serde(default = "is::topology_manager_policy", skip_serializing_if = "is_unset")]
    pub topology_manager_policy: String,
    /// `container` or `pod`.
    #[serde(default = "is::topology_manager_scope", skip_serializing_if = "is_unset")]
    pub topology_manager_scope: String,
    /// Options of the topology manager policy.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub topology_manager_policy_options: BTreeMap<String, String>,
    /// Share of requests set aside per QoS level.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub qos_reserved: BTreeMap<String, String>,
    /// Deadline of a runtime call that is not long by nature.
    #[serde(default = "is::runtime_request_timeout")]
    pub runtime_request_timeout: GoDuration,
    /// Accepted; has no effect.
    #[serde(default = "is::hairpin_mode", skip_serializing_if = "is_unset")]
    pub hairpin_mode: String,
    /// Most pods on the node.
    #[serde(default = "is::max_pods", skip_serializing_if = "is_unset")]
    pub max_pods: i32,
    /// Pod addresses in standalone mode.
    #[serde(rename = "podCIDR", default, skip_serializing_if = "is_unset")]
    pub pod_cidr: String,
    /// Most processes of a pod; -1 for the node's limit.
    #[serde(default = "is::pod_pids_limit")]
    pub pod_pids_limit: i64,
    /// Resolver file that pods' DNS is made from.
    #[serde(default = "is::resolv_conf")]
    pub resolv_conf: String,
    /// Removed mode; true is refused.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub run_once: bool,
    /// Enforce CPU limits.
    #[serde(rename = "cpuCFSQuota", default = "is::cpu_cfs_quota")]
    pub cpu_cfs_quota: bool,
    /// Period of CPU limits.
    #[serde(rename = "cpuCFSQuotaPeriod", default = "is::cpu_cfs_quota_period")]
    pub cpu_cfs_quota_period: GoDuration,
    /// Most images in node status; -1 for all.
    #[serde(default = "is::node_status_max_images")]
    pub node_status_max_images: i32,
    /// Most files the kubelet may open.
    #[serde(default = "is::max_open_files", skip_serializing_if = "is_unset")]
    pub max_open_files: i64,
    /// Encoding asked of the API server.
    #[serde(default = "is::content_type", skip_serializing_if = "is_unset")]
    pub content_type: String,
    /// Requests to the API server a second.
    #[serde(rename = "kubeAPIQPS", default = "is::kube_api_qps")]
    pub kube_api_qps: i32,
    /// Requests to the API server at once above `kubeAPIQPS`.
    #[serde(rename = "kubeAPIBurst", default = "is::kube_api_burst", skip_serializing_if = "is_unset")]
    pub kube_api_burst: i32,
    /// Pull one image at a time.
    #[serde(default = "is::serialize_image_pulls")]
    pub serialize_image_pulls: bool,
    /// Most image pulls at once; unset for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel_image_pulls: Option<i32>,
    /// Thresholds that evict at once, by signal; `None` when nothing set it.
    #[serde(default, skip_serializing_if = "no_thresholds")]
    pub eviction_hard: Option<BTreeMap<String, String>>,
    /// Thresholds that evict after a grace period.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub eviction_soft: BTreeMap<String, String>,
    /// Grace periods of the soft thresholds.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub eviction_soft_grace_period: BTreeMap<String, String>,
    /// How long a pressure condition stays after the pressure ended.
    #[serde(default = "is::eviction_pressure_transition_period")]
    pub eviction_pressure_transition_period: GoDuration,
    /// Longest grace of a soft eviction, in seconds.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub eviction_max_pod_grace_period: i32,
    /// How much more than needed an eviction frees.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub eviction_minimum_reclaim: BTreeMap<String, String>,
    /// Fill `evictionHard` up with the defaults.
    #[serde(default)]
    pub merge_default_eviction_settings: bool,
    /// Most pods for each core; 0 for no such limit.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub pods_per_core: i32,
    /// Leave attaching volumes to the controller.
    #[serde(default = "is::enable_controller_attach_detach")]
    pub enable_controller_attach_detach: bool,
    /// Fail instead of changing kernel settings.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub protect_kernel_defaults: bool,
    /// Keep the KUBE-* iptables chains.
    #[serde(rename = "makeIPTablesUtilChains", default = "is::make_iptables_util_chains")]
    pub make_iptables_util_chains: bool,
    /// Accepted; has no effect.
    #[serde(default = "is::iptables_masquerade_bit")]
    pub iptables_masquerade_bit: i32,
    /// Accepted; has no effect.
    #[serde(default = "is::iptables_drop_bit")]
    pub iptables_drop_bit: i32,
    /// Feature gates as written; [`crate::FeatureSet`] is their meaning.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub feature_gates: BTreeMap<String, bool>,
    /// Refuse to run on a host with swap.
    #[serde(default = "is::fail_swap_on")]
    pub fail_swap_on: bool,
    /// How containers may swap.
    #[serde(default)]
    pub memory_swap: MemorySwap,
    /// Size at which a container log is rotated.
    #[serde(default = "is::container_log_max_size", skip_serializing_if = "is_unset")]
    pub container_log_max_size: String,
    /// Log files kept for a container.
    #[serde(default = "is::container_log_max_files")]
    pub container_log_max_files: i32,
    /// Log rotations at once.
    #[serde(default = "is::container_log_max_workers")]
    pub container_log_max_workers: i32,
    /// How often log sizes are looked at.
    #[serde(default = "is::container_log_monitor_interval")]
    pub container_log_monitor_interval: GoDuration,
    /// `Watch`, `Cache` or `Get`.
    #[serde(
        default = "is::config_map_and_secret_change_detection_strategy",
        skip_serializing_if = "is_unset"
    )]
    pub config_map_and_secret_change_detection_strategy: String,
    /// Resources kept for the system.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub system_reserved: BTreeMap<String, String>,
    /// Resources kept for Kubernetes' own daemons.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub kube_reserved: BTreeMap<String, String>,
    /// CPUs kept for both, as a list (`0-3,8`).
    #[serde(rename = "reservedSystemCPUs", default, skip_serializing_if = "is_unset")]
    pub reserved_system_cpus: String,
    /// Show metrics hidden in this version, as `1.36`.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub show_hidden_metrics_for_version: String,
    /// Cgroup that `systemReserved` is enforced on.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub system_reserved_cgroup: String,
    /// Cgroup that `kubeReserved` is enforced on.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub kube_reserved_cgroup: String,
    /// Levels at which reservations are enforced.
    #[serde(default = "is::enforce_node_allocatable", skip_serializing_if = "is_unset")]
    pub enforce_node_allocatable: Vec<String>,
    /// Unsafe sysctls that pods may set; a final `*` stands for the rest.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub allowed_unsafe_sysctls: Vec<String>,
    /// Sysctls given to every pod.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub default_pod_sysctls: BTreeMap<String, String>,
    /// Where flexvolume plugins are looked for.
    #[serde(default = "is::volume_plugin_dir", skip_serializing_if = "is_unset")]
    pub volume_plugin_dir: String,
    /// The cloud's name for the node.
    #[serde(rename = "providerID", default, skip_serializing_if = "is_unset")]
    pub provider_id: String,
    /// Learn of memory pressure from the kernel.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub kernel_memcg_notification: bool,
    /// What is logged and how.
    #[serde(default)]
    pub logging: Logging,
    /// Serve `/logs`.
    #[serde(default = "is::enable_system_log_handler")]
    pub enable_system_log_handler: bool,
    /// Answer queries of `/logs`.
    #[serde(default)]
    pub enable_system_log_query: bool,
    /// How long a node shutdown waits for pods.
    #[serde(default)]
    pub shutdown_grace_period: GoDuration,
    /// The part of it kept for critical pods.
    #[serde(default)]
    pub shutdown_grace_period_critical_pods: GoDuration,
    /// Shutdown time for each priority.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub shutdown_grace_period_by_pod_priority: Vec<ShutdownGracePeriodByPodPriority>,
    /// How fast a failing container is restarted.
    #[serde(default)]
    pub crash_loop_back_off: CrashLoopBackOff,
    /// Memory kept for the system on each NUMA node.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub reserved_memory: Vec<MemoryReservation>,
    /// Serve `/debug/pprof`.
    #[serde(default = "is::enable_profiling_handler")]
    pub enable_profiling_handler: bool,
    /// Serve `/debug/flags/v`.
    #[serde(default = "is::enable_debug_flags_handler")]
    pub enable_debug_flags_handler: bool,
    /// Use `RuntimeDefault` where a pod names no seccomp profile.
    #[serde(default)]
    pub seccomp_default: bool,
    /// Share of the memory limit where throttling begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_throttling_factor: Option<f64>,
    /// `None` or `TieredReservation`.
    #[serde(default = "is::memory_reservation_policy", skip_serializing_if = "is_unset")]
    pub memory_reservation_policy: String,
    /// Taints of the node at registration.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub register_with_taints: Vec<Taint>,
    /// Create the node object.
    #[serde(default = "is::register_node")]
    pub register_node: bool,
    /// Where traces are sent; `None` for nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Account for local ephemeral storage.
    #[serde(default = "is::local_storage_capacity_isolation")]
    pub local_storage_capacity_isolation: bool,
    /// Socket of the container runtime (CRI).
    #[serde(default = "is::container_runtime_endpoint")]
    pub container_runtime_endpoint: String,
    /// Socket of the image service; empty for the runtime's.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub image_service_endpoint: String,
    /// Refuse to run on a host with cgroup v1.
    #[serde(default = "is::fail_cgroup_v1")]
    pub fail_cgroup_v1: bool,
    /// Size of pods' user namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespaces: Option<UserNamespaces>,
}

impl KubeletConfiguration {
    /// The body of `/configz`: the configuration in effect under `kubeletconfig`. It holds the headers of
    /// the manifest URL as they are, like upstream's.
    pub fn to_configz(&self) -> Value {
        json!({ "kubeletconfig": self.to_document() })
    }

    /// The configuration in effect for the log: as in `/configz`, with the headers of the manifest URL
    /// masked.
    pub fn to_log(&self) -> Value {
        let mut masked = self.clone();
        for values in masked.static_pod_url_header.values_mut() {
            *values = vec!["<masked>".to_owned()];
        }
        masked.to_document()
    }

    /// The fields as a file would hold them, with kind and version.
    pub fn to_document(&self) -> Value {
        let mut document = self.to_fields();
        if let Value::Object(fields) = &mut document {
            fields.insert("apiVersion".to_owned(), json!(API_VERSION));
            fields.insert("kind".to_owned(), json!(KIND));
        }
        document
    }

    /// The fields as a file would hold them.
    pub(crate) fn to_fields(&self) -> Value {
        serde_json::to_value(self).expect("invariant: text keys and finite numbers always print as JSON")
    }
}

impl fmt::Debug for KubeletConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_log())
    }
}

/// Reads the fields of a document (without kind and version), with the fields it does not know. The
/// defaults that depend on feature gates are still to be filled in.
pub(crate) fn read_fields(
    mut document: Value,
) -> Result<(KubeletConfiguration, Vec<UnknownField>), FieldError> {
    remove_nulls(&mut document);
    if let Value::Object(fields) = &mut document {
        fill_pull_mode(fields);
    }
    core_yaml::from_value(document)
}

/// Go reads null as "not there"; so do we, for fields of objects.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether Go would leave a field out of its JSON.
pub(crate) fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn no_thresholds(thresholds: &Option<BTreeMap<String, String>>) -> bool {
    thresholds.as_ref().is_none_or(BTreeMap::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::FeatureSet;

    fn read(document: Value) -> KubeletConfiguration {
        let (mut config, unknown) = read_fields(document).unwrap();
        assert_eq!(unknown, []);
        config.fill_defaults(&FeatureSet::default());
        config
    }

    #[test]
    fn defaults_are_upstreams() {
        let want: Value = serde_json::from_str(include_str!("../testdata/configz.json")).unwrap();
        assert_eq!(KubeletConfiguration::default().to_document(), want);
        assert_eq!(KubeletConfiguration::default().to_configz()["kubeletconfig"]["port"], 10250);
    }

    #[test]
    fn legacy_defaults_are_upstreams() {
        let want: Value = serde_json::from_str(include_str!("../testdata/defaults_flags.json")).unwrap();
        let mut config = KubeletConfiguration::default();
        config.apply_legacy_defaults();
        assert_eq!(config.to_fields(), want);
    }

    #[test]
    fn what_is_written_reads_back() {
        let config = read(json!({"evictionHard": {"memory.available": "1Gi"}, "maxParallelImagePulls": 3,
            "reservedMemory": [{"numaNode": 1, "limits": {"memory": "1Gi"}}], "port": 1,
            "registerWithTaints": [{"key": "a", "effect": "NoSchedule"}], "tracing": {"endpoint": "x:1"}}));
        assert_eq!(read(config.to_fields()), config);
    }

    #[test]
    fn zero_and_null_count_as_missing_where_upstream_says_so() {
        let config = read(
            json!({"syncFrequency": "0s", "port": 0, "address": "", "registryPullQPS": 0, "maxPods": null,
            "healthzPort": 0, "resolvConf": "", "enforceNodeAllocatable": [], "podPidsLimit": -5,
            "authentication": {"webhook": {"cacheTTL": "0s"}, "anonymous": null}}),
        );
        assert_eq!((config.port, config.address.as_str(), config.max_pods), (10250, "0.0.0.0", 110));
        assert_eq!((config.registry_pull_qps, config.healthz_port, config.resolv_conf.as_str()), (0, 0, ""));
        assert_eq!(config.sync_frequency, GoDuration::from_secs(60));
        assert_eq!(config.enforce_node_allocatable, Vec::<String>::new());
        assert_eq!(config.pod_pids_limit, -1);
        assert_eq!(config.authentication.webhook.cache_ttl, GoDuration::from_secs(120));
    }

    #[test]
    fn a_report_frequency_follows_a_given_update_frequency() {
        assert_eq!(read(json!({})).node_status_report_frequency, GoDuration::from_secs(300));
        let config = read(json!({"nodeStatusUpdateFrequency": "20s"}));
        assert_eq!(config.node_status_report_frequency, GoDuration::from_secs(20));
        let config = read(json!({"nodeStatusUpdateFrequency": "20s", "nodeStatusReportFrequency": "1m"}));
        assert_eq!(config.node_status_report_frequency, GoDuration::from_secs(60));
    }

    #[test]
    fn parallel_pulls_switch_serial_pulls_off_unless_asked_for() {
        assert!(!read(json!({"maxParallelImagePulls": 2})).serialize_image_pulls);
        assert!(read(json!({"maxParallelImagePulls": 1})).serialize_image_pulls);
        assert!(read(json!({"maxParallelImagePulls": 2, "serializeImagePulls": true})).serialize_image_pulls);
    }

    #[test]
    fn secrets_stay_out_of_the_log() {
        let config = read(json!({"staticPodURLHeader": {"Authorization": ["Bearer x", "y"]}}));
        assert_eq!(config.to_log()["staticPodURLHeader"]["Authorization"], json!(["<masked>"]));
        assert!(!format!("{config:?}").contains("Bearer"));
        assert_eq!(config.to_document()["staticPodURLHeader"]["Authorization"], json!(["Bearer x", "y"]));
    }
}
