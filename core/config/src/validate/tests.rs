//! Each rule with values that break it and values that do not.

use super::*;
use crate::flags::parse;
use crate::load::{InputFile, assemble};
use serde_json::Value;

const V1: HostFacts = HostFacts { cgroup_version: CgroupVersion::V1 };
const V2: HostFacts = HostFacts { cgroup_version: CgroupVersion::V2 };

/// The error lines of a configuration file with these fields and these flags.
fn errors(fields: &str, args: &[&str], host: HostFacts) -> Vec<String> {
    let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    let text = match fields.strip_prefix('{') {
        Some(rest) => {
            format!("{{apiVersion: kubelet.config.k8s.io/v1beta1, kind: KubeletConfiguration, {rest}")
        }
        None => format!("{head}{fields}"),
    };
    let flags = parse(args.iter().map(|arg| (*arg).to_owned())).unwrap();
    let file = InputFile { path: "/etc/kubelet/config.yaml".into(), bytes: text.into_bytes() };
    match assemble(&flags, Some(file), Vec::new(), host) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

/// Words of upstream's messages that are no field names.
fn names_field(recorded: &str, field: &str) -> bool {
    let plain = |text: &str| {
        text.to_ascii_lowercase()
            .replace("reserved memory", "reservedmemory")
            .replace("the limit type", "reservedmemory")
            .replace("pod logs path", "podlogsdir")
    };
    let root = field.split([' ', '[', '.']).next().unwrap_or(field);
    let last = field.split([' ', '[']).next().unwrap_or(field).rsplit('.').next().unwrap_or(field);
    let recorded = plain(recorded);
    recorded.contains(&plain(last)) || recorded.contains(&plain(root))
}

/// Upstream's validation, recorded over one file for each rule: the same files are refused, for as many
/// reasons, on the same fields. Recorded on a host with cgroup v1 and `failCgroupV1: false`.
#[test]
fn the_same_files_are_refused_as_upstream_refuses() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("../../testdata/validation.json")).unwrap();
    let mut wrong = Vec::new();
    // The loader makes a relative path absolute before it is validated.
    for case in recorded.iter().filter(|case| case["config"] != "podLogsDir: logs") {
        let fields = case["config"].as_str().unwrap();
        let want: Vec<&str> =
            case["errors"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
        let ours = errors(fields, &["--fail-cgroupv1=false"], V1);
        let dies_early = want.iter().any(|error| error.starts_with("decode:") || *error == "panic");
        // We refuse every threshold and taint field for itself where upstream names only the first or the
        // whole.
        let same = if dies_early {
            !ours.is_empty()
        } else {
            want.len() == ours.len()
                && ours.iter().all(|error| {
                    let field =
                        error.trim_start_matches("invalid configuration: ").split(": ").next().unwrap();
                    field.starts_with("registerWithTaints")
                        || want.iter().any(|want| names_field(want, field))
                })
        };
        if !same {
            wrong.push(format!("{fields}\n  upstream: {want:?}\n  ours: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(recorded.len() > 120);
}

/// Rules that upstream checks elsewhere than in its validation, or not in the record.
#[test]
fn later_checks_are_made_at_once() {
    for (fields, args, want) in [
        ("showHiddenMetricsForVersion: \"1.36\"", &[][..], ""),
        (
            "showHiddenMetricsForVersion: \"1.35\"",
            &[],
            "showHiddenMetricsForVersion: \"1.35\" must be empty or",
        ),
        ("cpuManagerPolicy: x", &[], "cpuManagerPolicy (--cpu-manager-policy): \"x\" must be one of"),
        (
            "memoryManagerPolicy: x",
            &[],
            "memoryManagerPolicy (--memory-manager-policy): \"x\" must be one of",
        ),
        ("authorization: {mode: RBAC}", &[], "authorization.mode (--authorization-mode): \"RBAC\""),
        (
            "configMapAndSecretChangeDetectionStrategy: x",
            &[],
            "configMapAndSecretChangeDetectionStrategy: \"x\"",
        ),
        (
            "systemReserved: {gpu: \"1\"}",
            &[],
            "systemReserved (--system-reserved): \"gpu\" cannot be reserved",
        ),
        ("kubeReserved: {cpu: x}", &[], "kubeReserved (--kube-reserved): cpu: "),
        ("kubeReserved: {cpu: \"-1\"}", &[], "kubeReserved (--kube-reserved): cpu: -1 must not be negative"),
        ("kubeReserved: {cpu: 100m, memory: 1Gi, pid: \"100\"}", &[], ""),
        (
            "evictionHard: {disk: 5%}",
            &[],
            "evictionHard (--eviction-hard): \"disk\" is not an eviction signal",
        ),
        (
            "evictionHard: {memory.available: 101%}",
            &[],
            "evictionHard (--eviction-hard): memory.available: 101%",
        ),
        ("evictionHard: {memory.available: x}", &[], "evictionHard (--eviction-hard): memory.available: "),
        (
            "evictionSoft: {memory.available: 1Gi}",
            &[],
            "evictionSoftGracePeriod (--eviction-soft-grace-period): must",
        ),
        (
            "evictionSoftGracePeriod: {memory.available: x}",
            &[],
            "evictionSoftGracePeriod (--eviction-soft-grace-period): mem",
        ),
        ("containerLogMaxSize: x", &[], "containerLogMaxSize (--container-log-max-size): "),
        ("containerLogMaxSize: \"-1\"", &[], "containerLogMaxSize (--container-log-max-size): -1 must not"),
        ("tlsMinVersion: TLS12", &[], "tlsMinVersion (--tls-min-version): \"TLS12\" must be one of"),
        ("tlsCipherSuites: [x]", &[], "tlsCipherSuites (--tls-cipher-suites): \"x\" is not"),
        ("tlsCipherSuites: [TLS_AES_128_GCM_SHA256]", &[], ""),
        ("tlsCurvePreferences: [29, 29]", &[], "tlsCurvePreferences: 29 is given twice"),
        ("tlsCurvePreferences: [0]", &[], "tlsCurvePreferences: 0 must be between"),
        ("", &["--exit-on-lock-contention"], "--exit-on-lock-contention: needs --lock-file"),
        ("", &["--exit-on-lock-contention", "--lock-file=/x"], ""),
        ("", &["--cloud-provider=aws"], "--cloud-provider: \"aws\" is not built in any more"),
        ("", &["--cloud-provider=external"], ""),
        ("", &["--node-ip=10.0.0.1,fd00::1"], ""),
        ("", &["--node-ip=10.0.0.1,10.0.0.2"], "--node-ip: must be one address"),
        (
            "",
            &["--node-labels=kubernetes.io/role=x"],
            "--node-labels: \"kubernetes.io/role\" belongs to Kubernetes",
        ),
        ("", &["--node-labels=a.k8s.io/role=x"], "--node-labels: \"a.k8s.io/role\" belongs to Kubernetes"),
        ("", &["--node-labels=kubernetes.io/os=linux,x.node.kubernetes.io/a=b,mine/a=b"], ""),
        ("", &["--node-labels=a b=c"], "--node-labels: a b=c: the name"),
    ] {
        let found = errors(fields, args, V2);
        if want.is_empty() {
            assert_eq!(found, [""; 0], "{fields} {args:?}");
        } else {
            assert_eq!(found.len(), 1, "{fields} {args:?}: {found:?}");
            let text = format!("invalid configuration: {want}");
            assert!(found[0].starts_with(&text), "{fields} {args:?}: {found:?}");
        }
    }
}

#[test]
fn cgroup_v1_is_refused_unless_allowed() {
    let found = errors("port: 1", &[], V1);
    assert!(found.len() == 1 && found[0].contains("failCgroupV1 (--fail-cgroupv1)"), "{found:?}");
    assert_eq!(errors("failCgroupV1: false", &[], V1), [""; 0]);
    assert_eq!(errors("singleProcessOOMKill: false", &[], V2), [""; 0]);
}

#[test]
fn all_violations_are_reported_at_once() {
    let found = errors(
        "{port: -1, maxPods: -1, hairpinMode: x, featureGates: {NoSuch: true}}",
        &["--cloud-provider=x"],
        V1,
    );
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn the_directory_of_logs_is_absolute() {
    let config = KubeletConfiguration { pod_logs_dir: "logs".to_owned(), ..KubeletConfiguration::default() };
    let found = validate(&config, &Options::default(), &FeatureSet::default(), V2);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), "invalid configuration: podLogsDir: \"logs\" must be an absolute path");
}
