//! Flags of pods: runtime, images, resources, eviction, and what is kept for the system.

use super::Flag;
use super::value::{duration, list, map, map_entry, number, reserved_memory, switch, text, thresholds};

pub(super) const FLAGS: &[Flag] = &[
    Flag::value(
        "container-runtime-endpoint",
        "unix:///run/containerd/containerd.sock",
        "Socket of the container runtime (CRI).",
        |t, v, _| text(&mut t.config.container_runtime_endpoint, v),
    )
    .in_file(),
    Flag::value(
        "image-service-endpoint",
        "",
        "Socket of the image service, when it is not the runtime's.",
        |t, v, _| text(&mut t.config.image_service_endpoint, v),
    )
    .in_file(),
    Flag::value(
        "runtime-request-timeout",
        "2m0s",
        "Deadline of a runtime call that is not long by nature.",
        |t, v, _| duration(&mut t.config.runtime_request_timeout, v),
    )
    .in_file(),
    Flag::value("registry-qps", "5", "Image pulls a second; 0 for no limit.", |t, v, _| {
        number(&mut t.config.registry_pull_qps, v)
    })
    .in_file(),
    Flag::value("registry-burst", "10", "Image pulls at once above --registry-qps.", |t, v, _| {
        number(&mut t.config.registry_burst, v)
    })
    .in_file(),
    Flag::switch("serialize-image-pulls", "true", "Pull one image at a time.", |t, v, _| {
        switch(&mut t.config.serialize_image_pulls, v)
    })
    .in_file(),
    Flag::value(
        "minimum-image-ttl-duration",
        "2m0s",
        "Youngest unused image that may be removed.",
        |t, v, _| duration(&mut t.config.image_minimum_gc_age, v),
    )
    .in_file(),
    Flag::value(
        "image-gc-high-threshold",
        "85",
        "Disk use, in percent, that starts image removal.",
        |t, v, _| number(&mut t.config.image_gc_high_threshold_percent, v),
    )
    .in_file(),
    Flag::value(
        "image-gc-low-threshold",
        "80",
        "Disk use, in percent, at which image removal ends.",
        |t, v, _| number(&mut t.config.image_gc_low_threshold_percent, v),
    )
    .in_file(),
    Flag::value("container-log-max-size", "10Mi", "Size at which a container log is rotated.", |t, v, _| {
        text(&mut t.config.container_log_max_size, v)
    })
    .in_file(),
    Flag::value("container-log-max-files", "5", "Log files kept for a container.", |t, v, _| {
        number(&mut t.config.container_log_max_files, v)
    })
    .in_file(),
    Flag::value(
        "hairpin-mode",
        "promiscuous-bridge",
        "Accepted, without effect: promiscuous-bridge, hairpin-veth or none.",
        |t, v, _| text(&mut t.config.hairpin_mode, v),
    )
    .in_file()
    .without_effect(),
    Flag::value("pod-cidr", "", "Pod addresses in standalone mode.", |t, v, _| {
        text(&mut t.config.pod_cidr, v)
    })
    .in_file(),
    Flag::value(
        "resolv-conf",
        "/etc/resolv.conf",
        "Resolver file that pods' DNS is made from.",
        |t, v, _| text(&mut t.config.resolv_conf, v),
    )
    .in_file(),
    Flag::value("cluster-domain", "", "DNS domain of the cluster.", |t, v, _| {
        text(&mut t.config.cluster_domain, v)
    })
    .in_file(),
    Flag::value("cluster-dns", "[]", "DNS servers of the cluster.", |t, v, turn| {
        list(&mut t.config.cluster_dns, v, turn)
    })
    .in_file(),
    Flag::value("max-pods", "110", "Most pods on the node.", |t, v, _| number(&mut t.config.max_pods, v))
        .in_file(),
    Flag::value("pods-per-core", "0", "Most pods for each core; 0 for no such limit.", |t, v, _| {
        number(&mut t.config.pods_per_core, v)
    })
    .in_file(),
    Flag::value("pod-max-pids", "-1", "Most processes of a pod; -1 for the node's limit.", |t, v, _| {
        number(&mut t.config.pod_pids_limit, v)
    })
    .in_file(),
    Flag::switch("runonce", "false", "Removed mode; true is refused.", |t, v, _| {
        switch(&mut t.config.run_once, v)
    })
    .in_file(),
    Flag::value(
        "allowed-unsafe-sysctls",
        "[]",
        "Unsafe sysctls that pods may set; a final * stands for the rest.",
        |t, v, turn| list(&mut t.config.allowed_unsafe_sysctls, v, turn),
    )
    .in_file(),
    Flag::value(
        "volume-plugin-dir",
        "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/",
        "Where flexvolume plugins are looked for.",
        |t, v, _| text(&mut t.config.volume_plugin_dir, v),
    )
    .in_file(),
    Flag::value(
        "volume-stats-agg-period",
        "1m0s",
        "How often volume sizes are measured; negative for never.",
        |t, v, _| duration(&mut t.config.volume_stats_agg_period, v),
    )
    .in_file(),
    Flag::switch(
        "enable-controller-attach-detach",
        "true",
        "Leave attaching volumes to the controller.",
        |t, v, _| switch(&mut t.config.enable_controller_attach_detach, v),
    )
    .in_file(),
    Flag::switch(
        "local-storage-capacity-isolation",
        "true",
        "Account for local ephemeral storage.",
        |t, v, _| switch(&mut t.config.local_storage_capacity_isolation, v),
    )
    .in_file(),
    Flag::switch("make-iptables-util-chains", "true", "Keep the KUBE-* iptables chains.", |t, v, _| {
        switch(&mut t.config.make_iptables_util_chains, v)
    })
    .in_file(),
    Flag::value("max-open-files", "1000000", "Most files the kubelet may open.", |t, v, _| {
        number(&mut t.config.max_open_files, v)
    })
    .in_file(),
    Flag::value("oom-score-adj", "-999", "The kubelet's own OOM score adjustment.", |t, v, _| {
        number(&mut t.config.oom_score_adj, v)
    })
    .in_file(),
    Flag::switch(
        "protect-kernel-defaults",
        "false",
        "Fail instead of changing kernel settings.",
        |t, v, _| switch(&mut t.config.protect_kernel_defaults, v),
    )
    .in_file(),
    Flag::switch(
        "kernel-memcg-notification",
        "false",
        "Learn of memory pressure from the kernel.",
        |t, v, _| switch(&mut t.config.kernel_memcg_notification, v),
    )
    .in_file(),
    Flag::switch("fail-swap-on", "true", "Refuse to run on a host with swap.", |t, v, _| {
        switch(&mut t.config.fail_swap_on, v)
    })
    .in_file(),
    Flag::value("kubelet-cgroups", "", "Cgroup the kubelet moves itself to.", |t, v, _| {
        text(&mut t.config.kubelet_cgroups, v)
    })
    .in_file(),
    Flag::value("system-cgroups", "", "Cgroup for processes that are in none.", |t, v, _| {
        text(&mut t.config.system_cgroups, v)
    })
    .in_file(),
    Flag::switch("cgroups-per-qos", "true", "Keep QoS and pod cgroups.", |t, v, _| {
        switch(&mut t.config.cgroups_per_qos, v)
    })
    .in_file(),
    Flag::value(
        "cgroup-driver",
        "cgroupfs",
        "cgroupfs or systemd; the runtime's answer goes first.",
        |t, v, _| text(&mut t.config.cgroup_driver, v),
    )
    .in_file(),
    Flag::value("cgroup-root", "", "Cgroup under which pods live.", |t, v, _| {
        text(&mut t.config.cgroup_root, v)
    })
    .in_file(),
    Flag::switch("cpu-cfs-quota", "true", "Enforce CPU limits.", |t, v, _| {
        switch(&mut t.config.cpu_cfs_quota, v)
    })
    .in_file(),
    Flag::value("cpu-cfs-quota-period", "100ms", "Period of CPU limits.", |t, v, _| {
        duration(&mut t.config.cpu_cfs_quota_period, v)
    })
    .in_file(),
    Flag::value("cpu-manager-policy", "none", "none or static.", |t, v, _| {
        text(&mut t.config.cpu_manager_policy, v)
    })
    .in_file(),
    Flag::value(
        "cpu-manager-policy-options",
        "",
        "One option of the CPU manager policy, as key=value; repeat for more.",
        |t, v, turn| map_entry(&mut t.config.cpu_manager_policy_options, v, turn),
    )
    .in_file(),
    Flag::value("cpu-manager-reconcile-period", "10s", "How often CPU sets are put right.", |t, v, _| {
        duration(&mut t.config.cpu_manager_reconcile_period, v)
    })
    .in_file(),
    Flag::value("memory-manager-policy", "None", "None or Static.", |t, v, _| {
        text(&mut t.config.memory_manager_policy, v)
    })
    .in_file(),
    Flag::value(
        "reserved-memory",
        "",
        "Memory kept on NUMA nodes, as node:type=quantity[,type=quantity];node:...",
        |t, v, turn| reserved_memory(&mut t.config.reserved_memory, v, turn),
    )
    .in_file(),
    Flag::value(
        "topology-manager-policy",
        "none",
        "none, best-effort, restricted or single-numa-node.",
        |t, v, _| text(&mut t.config.topology_manager_policy, v),
    )
    .in_file(),
    Flag::value(
        "topology-manager-policy-options",
        "",
        "Options of the topology manager policy, as key=value pairs.",
        |t, v, turn| map(&mut t.config.topology_manager_policy_options, v, turn),
    )
    .in_file(),
    Flag::value("topology-manager-scope", "container", "container or pod.", |t, v, _| {
        text(&mut t.config.topology_manager_scope, v)
    })
    .in_file(),
    Flag::value(
        "qos-reserved",
        "",
        "Share of requests set aside per QoS level, as resource=percent pairs.",
        |t, v, turn| map(&mut t.config.qos_reserved, v, turn),
    )
    .in_file(),
    Flag::value(
        "system-reserved",
        "",
        "Resources kept for the system, as resource=quantity pairs.",
        |t, v, turn| map(&mut t.config.system_reserved, v, turn),
    )
    .in_file(),
    Flag::value(
        "kube-reserved",
        "",
        "Resources kept for Kubernetes' own daemons, as resource=quantity pairs.",
        |t, v, turn| map(&mut t.config.kube_reserved, v, turn),
    )
    .in_file(),
    Flag::value("system-reserved-cgroup", "", "Cgroup that --system-reserved is enforced on.", |t, v, _| {
        text(&mut t.config.system_reserved_cgroup, v)
    })
    .in_file(),
    Flag::value("kube-reserved-cgroup", "", "Cgroup that --kube-reserved is enforced on.", |t, v, _| {
        text(&mut t.config.kube_reserved_cgroup, v)
    })
    .in_file(),
    Flag::value(
        "reserved-cpus",
        "",
        "CPUs kept for system and daemons, as a list such as 0-3,8.",
        |t, v, _| text(&mut t.config.reserved_system_cpus, v),
    )
    .in_file(),
    Flag::value(
        "enforce-node-allocatable",
        "[pods]",
        "Levels at which reservations are enforced: none, pods, system-reserved, kube-reserved, or \
         the last two with -compressible.",
        |t, v, turn| list(&mut t.config.enforce_node_allocatable, v, turn),
    )
    .in_file(),
    Flag::value(
        "eviction-hard",
        "",
        "Thresholds that evict at once, as signal<quantity pairs.",
        |t, v, turn| thresholds(t.config.eviction_hard.get_or_insert_default(), v, turn),
    )
    .in_file(),
    Flag::value(
        "eviction-soft",
        "",
        "Thresholds that evict after a grace period, as signal<quantity pairs.",
        |t, v, turn| thresholds(&mut t.config.eviction_soft, v, turn),
    )
    .in_file(),
    Flag::value(
        "eviction-soft-grace-period",
        "",
        "Grace periods of the soft thresholds, as signal=duration pairs.",
        |t, v, turn| map(&mut t.config.eviction_soft_grace_period, v, turn),
    )
    .in_file(),
    Flag::value(
        "eviction-pressure-transition-period",
        "5m0s",
        "How long a pressure condition stays after the pressure ended.",
        |t, v, _| duration(&mut t.config.eviction_pressure_transition_period, v),
    )
    .in_file(),
    Flag::value(
        "eviction-max-pod-grace-period",
        "0",
        "Longest grace of a soft eviction, in seconds.",
        |t, v, _| number(&mut t.config.eviction_max_pod_grace_period, v),
    )
    .in_file(),
    Flag::value(
        "eviction-minimum-reclaim",
        "",
        "How much more than needed an eviction frees, as signal=quantity pairs.",
        |t, v, turn| map(&mut t.config.eviction_minimum_reclaim, v, turn),
    )
    .in_file(),
];
