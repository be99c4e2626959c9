//! Rules about names: taints, labels, TLS words, and the directory of container logs.

use std::collections::BTreeSet;

use super::Check;
use super::names::{is_sysctl_name, label_value, qualified_name};

/// Suites that a configuration may name: those of Go's crypto/tls at upstream's version.
const CIPHER_SUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

/// Label keys of Kubernetes that a kubelet may set on its node, besides those in [`NODE_LABEL_NAMESPACES`].
const NODE_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Namespaces of label keys that a kubelet may set on its node, with all below them.
const NODE_LABEL_NAMESPACES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(super) fn check(check: &mut Check<'_>) {
    taints(check);
    node_labels(check);
    tls(check);
    pod_logs_dir(check);
    sysctls(check);
}

fn taints(check: &mut Check<'_>) {
    for (index, taint) in check.config.register_with_taints.iter().enumerate() {
        let field = format!("registerWithTaints[{index}]");
        let shape = qualified_name(&taint.key).and_then(|()| label_value(&taint.value));
        if let Err(error) = shape {
            check.fail(field.as_str(), error);
        } else if !matches!(taint.effect.as_str(), "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
            let message =
                format!("effect {:?} must be NoSchedule, PreferNoSchedule or NoExecute", taint.effect);
            check.fail(field.as_str(), message);
        }
        if taint.time_added.is_some() {
            check.fail(field, "timeAdded must not be set");
        }
    }
}

fn node_labels(check: &mut Check<'_>) {
    for (key, value) in &check.options.node_labels {
        if is_kubernetes_label(key) && !may_set(key) {
            let message = format!(
                "{key:?} belongs to Kubernetes: below kubernetes.io and k8s.io only the namespaces {} and the keys {} \
                 are allowed",
                NODE_LABEL_NAMESPACES.join(", "),
                NODE_LABELS.join(", ")
            );
            check.fail("--node-labels", message);
        }
        if let Err(error) = qualified_name(key).and_then(|()| label_value(value)) {
            check.fail("--node-labels", format!("{key}={value}: {error}"));
        }
    }
}

fn is_kubernetes_label(key: &str) -> bool {
    key.split_once('/')
        .is_some_and(|(space, _)| is_within(space, "kubernetes.io") || is_within(space, "k8s.io"))
}

fn may_set(key: &str) -> bool {
    let space = key.split_once('/').map_or("", |(space, _)| space);
    NODE_LABELS.contains(&key) || NODE_LABEL_NAMESPACES.iter().any(|allowed| is_within(space, allowed))
}

fn is_within(space: &str, domain: &str) -> bool {
    space.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn tls(check: &mut Check<'_>) {
    let c = check.config;
    for suite in &c.tls_cipher_suites {
        if !CIPHER_SUITES.contains(&suite.as_str()) {
            check.fail(
                "tlsCipherSuites (--tls-cipher-suites)",
                format!("{suite:?} is not a known cipher suite"),
            );
        }
    }
    let versions = ["", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"];
    check.one_of("tlsMinVersion (--tls-min-version)", &c.tls_min_version, &versions);
    let mut seen = BTreeSet::new();
    for &curve in &c.tls_curve_preferences {
        if !(1..=i32::from(u16::MAX)).contains(&curve) {
            check.fail("tlsCurvePreferences", format!("{curve} must be between 1 and 65535, inclusive"));
        } else if !seen.insert(curve) {
            check.fail("tlsCurvePreferences", format!("{curve} is given twice"));
        }
    }
}

fn pod_logs_dir(check: &mut Check<'_>) {
    let dir = check.config.pod_logs_dir.as_str();
    if !dir.starts_with('/') {
        check.fail("podLogsDir", format!("{dir:?} must be an absolute path"));
    }
    let clean = dir == "/" || dir.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    if !clean {
        check.fail("podLogsDir", format!("{dir:?} must have no empty parts, no \".\" and no \"..\""));
    }
    if !dir.is_ascii() {
        check.fail("podLogsDir", format!("{dir:?} must be ASCII: it is shown in metrics"));
    }
}

fn sysctls(check: &mut Check<'_>) {
    for name in check.config.default_pod_sysctls.keys() {
        if !is_sysctl_name(name) {
            check.fail("defaultPodSysctls", format!("{name:?} is not a sysctl name"));
        }
    }
}
