//! Rules that tie fields to each other, to feature gates and to the host.

use super::{CgroupVersion, Check};
use crate::duration::GoDuration;
use crate::features::Feature;

pub(super) fn check(check: &mut Check<'_>) {
    switches(check);
    policies(check);
    shutdown(check);
    pull_credentials(check);
    host(check);
    process(check);
}

fn switches(check: &mut Check<'_>) {
    let c = check.config;
    if !c.system_cgroups.is_empty() && c.cgroup_root.is_empty() {
        check.fail("systemCgroups (--system-cgroups)", "needs cgroupRoot (--cgroup-root)");
    }
    if c.server_tls_bootstrap && !check.on(Feature::RotateKubeletServerCertificate) {
        let field = "serverTLSBootstrap (--rotate-server-certificates)";
        check.fail(field, "requires feature gate RotateKubeletServerCertificate");
    }
    if c.run_once {
        check.fail("runOnce (--runonce)", "true is no longer supported: remove it");
    }
    if c.enable_system_log_query && !c.enable_system_log_handler {
        check.fail("enableSystemLogQuery", "needs enableSystemLogHandler");
    }
    if !c.default_pod_sysctls.is_empty() && !check.on(Feature::DefaultPodSysctls) {
        check.fail("defaultPodSysctls", "requires feature gate DefaultPodSysctls");
    }
    if c.container_runtime_endpoint.is_empty() {
        check.fail("containerRuntimeEndpoint (--container-runtime-endpoint)", "must not be empty");
    }
}

fn policies(check: &mut Check<'_>) {
    let c = check.config;
    check.one_of(
        "topologyManagerPolicy (--topology-manager-policy)",
        &c.topology_manager_policy,
        &["none", "best-effort", "restricted", "single-numa-node"],
    );
    check.one_of(
        "topologyManagerScope (--topology-manager-scope)",
        &c.topology_manager_scope,
        &["container", "pod"],
    );
    check.one_of("cpuManagerPolicy (--cpu-manager-policy)", &c.cpu_manager_policy, &["none", "static"]);
    check.one_of(
        "memoryManagerPolicy (--memory-manager-policy)",
        &c.memory_manager_policy,
        &["None", "Static"],
    );
    check.one_of(
        "hairpinMode (--hairpin-mode)",
        &c.hairpin_mode,
        &["none", "hairpin-veth", "promiscuous-bridge"],
    );
    check.one_of("memorySwap.swapBehavior", &c.memory_swap.swap_behavior, &["", "LimitedSwap", "NoSwap"]);
    check.one_of(
        "authorization.mode (--authorization-mode)",
        &c.authorization.mode,
        &["AlwaysAllow", "Webhook"],
    );
    check.one_of(
        "configMapAndSecretChangeDetectionStrategy",
        &c.config_map_and_secret_change_detection_strategy,
        &["Watch", "Cache", "Get"],
    );
    check.one_of("memoryReservationPolicy", &c.memory_reservation_policy, &["None", "TieredReservation"]);
}

fn shutdown(check: &mut Check<'_>) {
    let c = check.config;
    let (all, critical) = (c.shutdown_grace_period, c.shutdown_grace_period_critical_pods);
    let any = all > GoDuration::ZERO || critical > GoDuration::ZERO;
    if check.on(Feature::GracefulNodeShutdown) {
        if critical > all {
            let message = format!("{critical} must not be longer than shutdownGracePeriod {all}");
            check.fail("shutdownGracePeriodCriticalPods", message);
        }
        for (field, period) in [("shutdownGracePeriod", all), ("shutdownGracePeriodCriticalPods", critical)] {
            if !period.is_zero() && period < GoDuration::from_secs(1) {
                check.fail(field, format!("{period} must be zero, or 1s or longer"));
            }
        }
    } else if any {
        check.fail("shutdownGracePeriod", "requires feature gate GracefulNodeShutdown");
    }
    if c.shutdown_grace_period_by_pod_priority.is_empty() {
        return;
    }
    let field = "shutdownGracePeriodByPodPriority";
    if !check.on(Feature::GracefulNodeShutdownBasedOnPodPriority) {
        check.fail(field, "requires feature gate GracefulNodeShutdownBasedOnPodPriority");
    } else if any {
        check.fail(field, "cannot be combined with shutdownGracePeriod: use one of them");
    }
}

fn pull_credentials(check: &mut Check<'_>) {
    let c = check.config;
    let (policy, images) =
        (&c.image_pull_credentials_verification_policy, &c.preloaded_images_verification_allowlist);
    let (policy_field, images_field) =
        ("imagePullCredentialsVerificationPolicy", "preloadedImagesVerificationAllowlist");
    if !check.on(Feature::KubeletEnsureSecretPulledImages) {
        let message = "requires feature gate KubeletEnsureSecretPulledImages";
        if !policy.is_empty() {
            check.fail(policy_field, message);
        }
        if !images.is_empty() {
            check.fail(images_field, message);
        }
        return;
    }
    const ALLOWLIST: &str = "NeverVerifyAllowlistedImages";
    check.one_of(
        policy_field,
        policy,
        &["NeverVerify", "NeverVerifyPreloadedImages", ALLOWLIST, "AlwaysVerify"],
    );
    if !images.is_empty() && policy != ALLOWLIST {
        check.fail(images_field, format!("needs imagePullCredentialsVerificationPolicy {ALLOWLIST}"));
    } else if let Some(error) = images.iter().find_map(|image| super::names::image_pattern(image).err()) {
        check.fail(images_field, error);
    }
}

fn host(check: &mut Check<'_>) {
    const IDS: i64 = 65536;
    let c = check.config;
    let cgroup_v1 = check.host.cgroup_version == CgroupVersion::V1;
    if cgroup_v1 && c.fail_cgroup_v1 {
        let message = "this host has cgroup v1, which is no longer developed: \
                       move it to cgroup v2, or set this to false";
        check.fail("failCgroupV1 (--fail-cgroupv1)", message);
    } else if cgroup_v1 && c.single_process_oom_kill == Some(false) {
        check.fail("singleProcessOOMKill", "must not be false on a host with cgroup v1");
    }
    let Some(ids) = c.user_namespaces.as_ref().and_then(|namespaces| namespaces.ids_per_pod) else { return };
    if ids < IDS || ids % IDS != 0 || ids > i64::from(u32::MAX) {
        let message = format!("{ids} must be a multiple of {IDS}, at least {IDS} and at most {}", u32::MAX);
        check.fail("userNamespaces.idsPerPod", message);
    }
}

fn process(check: &mut Check<'_>) {
    let o = check.options;
    if o.exit_on_lock_contention && o.lock_file.is_none() {
        check.fail("--exit-on-lock-contention", "needs --lock-file");
    }
    if !matches!(o.cloud_provider.as_str(), "" | "external") {
        let message =
            format!("{:?} is not built in any more: use \"external\" or leave it out", o.cloud_provider);
        check.fail("--cloud-provider", message);
    }
    let same_family = |pair: &[core::net::IpAddr]| pair[0].is_ipv4() == pair[1].is_ipv4();
    if o.node_ip.len() > 2 || (o.node_ip.len() == 2 && same_family(&o.node_ip)) {
        check.fail("--node-ip", "must be one address, or one IPv4 and one IPv6 address");
    }
}
