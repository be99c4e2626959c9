//! Upstream's defaults of `KubeletConfiguration` v1beta1, and the older ones of a command line without a
//! file.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{KubeletConfiguration, is_unset};
use crate::duration::GoDuration;
use crate::features::{Feature, FeatureSet};

/// Defaults of single fields, by the field's name.
pub(super) mod is {
    use crate::duration::GoDuration;

    macro_rules! defaults {
        ($($field:ident: $type:ty = $value:expr;)*) => {
            $(pub(in crate::kubelet_configuration) fn $field() -> $type { $value })*
        };
    }

    defaults! {
        enable_server: bool = true;
        pod_logs_dir: String = "/var/log/pods".to_owned();
        sync_frequency: GoDuration = GoDuration::from_secs(60);
        file_check_frequency: GoDuration = GoDuration::from_secs(20);
        http_check_frequency: GoDuration = GoDuration::from_secs(20);
        address: String = "0.0.0.0".to_owned();
        port: i32 = 10250;
        registry_pull_qps: i32 = 5;
        registry_burst: i32 = 10;
        event_record_qps: i32 = 50;
        event_burst: i32 = 100;
        enable_debugging_handlers: bool = true;
        healthz_port: i32 = 10248;
        healthz_bind_address: String = "127.0.0.1".to_owned();
        oom_score_adj: i32 = -999;
        streaming_connection_idle_timeout: GoDuration = GoDuration::from_secs(4 * 3600);
        node_status_update_frequency: GoDuration = GoDuration::from_secs(10);
        node_status_report_frequency: GoDuration = GoDuration::from_secs(5 * 60);
        node_lease_duration_seconds: i32 = 40;
        image_minimum_gc_age: GoDuration = GoDuration::from_secs(2 * 60);
        image_gc_high_threshold_percent: i32 = 85;
        image_gc_low_threshold_percent: i32 = 80;
        volume_stats_agg_period: GoDuration = GoDuration::from_secs(60);
        cgroups_per_qos: bool = true;
        cgroup_driver: String = "cgroupfs".to_owned();
        cpu_manager_policy: String = "none".to_owned();
        cpu_manager_reconcile_period: GoDuration = GoDuration::from_secs(10);
        memory_manager_policy: String = "None".to_owned();
        topology_manager_policy: String = "none".to_owned();
        topology_manager_scope: String = "container".to_owned();
        runtime_request_timeout: GoDuration = GoDuration::from_secs(2 * 60);
        hairpin_mode: String = "promiscuous-bridge".to_owned();
        max_pods: i32 = 110;
        pod_pids_limit: i64 = -1;
        resolv_conf: String = "/etc/resolv.conf".to_owned();
        cpu_cfs_quota: bool = true;
        cpu_cfs_quota_period: GoDuration = GoDuration::from_millis(100);
        node_status_max_images: i32 = 50;
        max_open_files: i64 = 1000000;
        content_type: String = "application/vnd.kubernetes.protobuf".to_owned();
        kube_api_qps: i32 = 50;
        kube_api_burst: i32 = 100;
        serialize_image_pulls: bool = true;
        eviction_pressure_transition_period: GoDuration = GoDuration::from_secs(5 * 60);
        enable_controller_attach_detach: bool = true;
        make_iptables_util_chains: bool = true;
        iptables_masquerade_bit: i32 = 14;
        iptables_drop_bit: i32 = 15;
        fail_swap_on: bool = true;
        container_log_max_size: String = "10Mi".to_owned();
        container_log_max_files: i32 = 5;
        container_log_max_workers: i32 = 1;
        container_log_monitor_interval: GoDuration = GoDuration::from_secs(10);
        config_map_and_secret_change_detection_strategy: String = "Watch".to_owned();
        enforce_node_allocatable: Vec<String> = vec!["pods".to_owned()];
        volume_plugin_dir: String = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/".to_owned();
        enable_system_log_handler: bool = true;
        enable_profiling_handler: bool = true;
        enable_debug_flags_handler: bool = true;
        memory_reservation_policy: String = "None".to_owned();
        register_node: bool = true;
        local_storage_capacity_isolation: bool = true;
        container_runtime_endpoint: String = "unix:///run/containerd/containerd.sock".to_owned();
        fail_cgroup_v1: bool = true;
        anonymous_auth: bool = false;
        webhook_auth: bool = true;
        webhook_cache_ttl: GoDuration = GoDuration::from_secs(2 * 60);
        authorization_mode: String = "Webhook".to_owned();
        cache_authorized_ttl: GoDuration = GoDuration::from_secs(5 * 60);
        cache_unauthorized_ttl: GoDuration = GoDuration::from_secs(30);
        log_format: String = "text".to_owned();
        log_flush_frequency: GoDuration = GoDuration::from_secs(5);
    }
}

/// The thresholds of an `evictionHard` that a file leaves out (CONTRACT 1.3).
pub fn default_eviction_hard() -> BTreeMap<String, String> {
    [
        ("memory.available", "100Mi"),
        ("nodefs.available", "10%"),
        ("nodefs.inodesFree", "5%"),
        ("imagefs.available", "15%"),
        ("imagefs.inodesFree", "5%"),
    ]
    .into_iter()
    .map(|(signal, quantity)| (signal.to_owned(), quantity.to_owned()))
    .collect()
}

impl Default for KubeletConfiguration {
    fn default() -> Self {
        let mut config: KubeletConfiguration =
            serde_json::from_value(Value::Object(Map::new())).expect("invariant: every field has a default");
        config.fill_defaults(&FeatureSet::default());
        config
    }
}

/// Sets each named field that is unset to its default.
macro_rules! refill {
    ($config:ident: $($field:ident),* $(,)?) => {
        $(if is_unset(&$config.$field) { $config.$field = is::$field(); })*
    };
}

impl KubeletConfiguration {
    /// Applies the defaults that serde cannot: where a zero counts as missing, and where a default follows
    /// from other fields or from feature gates.
    pub(crate) fn fill_defaults(&mut self, features: &FeatureSet) {
        if self.node_status_report_frequency.is_zero() {
            self.node_status_report_frequency = if self.node_status_update_frequency.is_zero() {
                is::node_status_report_frequency()
            } else {
                self.node_status_update_frequency
            };
        }
        if self.node_status_update_frequency.is_zero() {
            self.node_status_update_frequency = is::node_status_update_frequency();
        }
        refill!(self:
            pod_logs_dir,
            sync_frequency,
            file_check_frequency,
            http_check_frequency,
            address,
            port,
            registry_burst,
            event_burst,
            healthz_bind_address,
            streaming_connection_idle_timeout,
            node_lease_duration_seconds,
            image_minimum_gc_age,
            volume_stats_agg_period,
            cgroup_driver,
            cpu_manager_policy,
            cpu_manager_reconcile_period,
            memory_manager_policy,
            topology_manager_policy,
            topology_manager_scope,
            runtime_request_timeout,
            hairpin_mode,
            max_pods,
            max_open_files,
            content_type,
            kube_api_burst,
            eviction_pressure_transition_period,
            container_log_max_size,
            config_map_and_secret_change_detection_strategy,
            volume_plugin_dir,
            memory_reservation_policy,
            container_runtime_endpoint
        );
        if self.pod_pids_limit < 0 {
            self.pod_pids_limit = -1;
        }
        self.fill_nested_defaults();
        let backoff = &mut self.crash_loop_back_off.max_container_restart_period;
        if features.enabled(Feature::KubeletCrashLoopBackOffMax) && backoff.is_none() {
            *backoff = Some(GoDuration::from_secs(300));
        }
        let policy = &mut self.image_pull_credentials_verification_policy;
        if features.enabled(Feature::KubeletEnsureSecretPulledImages) && policy.is_empty() {
            *policy = "NeverVerifyPreloadedImages".to_owned();
        }
    }

    fn fill_nested_defaults(&mut self) {
        if self.authentication.webhook.cache_ttl.is_zero() {
            self.authentication.webhook.cache_ttl = is::webhook_cache_ttl();
        }
        if self.authorization.mode.is_empty() {
            self.authorization.mode = is::authorization_mode();
        }
        let webhook = &mut self.authorization.webhook;
        if webhook.cache_authorized_ttl.is_zero() {
            webhook.cache_authorized_ttl = is::cache_authorized_ttl();
        }
        if webhook.cache_unauthorized_ttl.is_zero() {
            webhook.cache_unauthorized_ttl = is::cache_unauthorized_ttl();
        }
        if self.logging.format.is_empty() {
            self.logging.format = is::log_format();
        }
        if self.logging.flush_frequency.is_zero() {
            self.logging.flush_frequency = is::log_flush_frequency();
        }
    }

    /// What differs when the command line is all there is: the API of old (CONTRACT 1.3).
    pub(crate) fn apply_legacy_defaults(&mut self) {
        self.authentication.anonymous.enabled = true;
        self.authentication.webhook.enabled = false;
        self.authorization.mode = "AlwaysAllow".to_owned();
        self.read_only_port = 10255;
    }
}

/// A file that allows parallel pulls means them: `serializeImagePulls` then defaults to false. Done on the
/// document, where "not there" can still be told from "true".
pub(super) fn fill_pull_mode(document: &mut Map<String, Value>) {
    let parallel = document.get("maxParallelImagePulls").and_then(Value::as_i64).unwrap_or(0);
    if parallel >= 2 && !document.contains_key("serializeImagePulls") {
        document.insert("serializeImagePulls".to_owned(), json!(false));
    }
}
