//! Merging of file, drop-ins and flags against recorded answers.

use super::*;
use crate::duration::GoDuration;
use crate::features::Feature;
use crate::flags::parse;
use crate::validate::CgroupVersion;
use proptest::prelude::*;

const HOST: HostFacts = HostFacts { cgroup_version: CgroupVersion::V2 };
const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

fn file(path: &str, text: &str) -> InputFile {
    InputFile { path: path.into(), bytes: text.as_bytes().to_vec() }
}

fn run(args: &[&str], config: Option<&str>, drop_ins: &[(&str, &str)]) -> Result<Config, String> {
    let flags = parse(args.iter().map(|arg| (*arg).to_owned())).unwrap();
    let config = config.map(|fields| file("/etc/kubelet/config.yaml", &format!("{HEAD}{fields}")));
    let drop_ins = drop_ins.iter().map(|(path, fields)| file(path, &format!("{HEAD}{fields}"))).collect();
    assemble(&flags, config, drop_ins, HOST).map_err(|errors| errors.to_string())
}

fn messages(config: &Config) -> Vec<&str> {
    config.notices.iter().map(|notice| notice.message.as_str()).collect()
}

/// Upstream's effective configuration, recorded for flags, file and drop-ins together.
#[test]
fn the_effective_configuration_is_upstreams() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("../../testdata/merge.json")).unwrap();
    for case in &recorded {
        let args = case["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned());
        let flags = parse(args).unwrap();
        let config = case["config"].as_str();
        let config = config.map(|fields| file("/etc/kubelet/config.yaml", &format!("{HEAD}{fields}")));
        let drop_ins = case["dropins"].as_object().unwrap().iter();
        let drop_ins = drop_ins.map(|(name, fields)| {
            file(&format!("/d/{name}"), &format!("{HEAD}{}", fields.as_str().unwrap()))
        });
        let mut assembly = Assembly { flags: &flags, notices: Vec::new() };
        let kubelet = assembly.configuration(config, drop_ins.collect()).unwrap();
        let differ = difference(&case["effective"], &kubelet.to_document());
        assert_eq!(differ, [""; 0], "{} {} {}", case["args"], case["config"], case["dropins"]);
    }
    assert!(recorded.len() > 30);
}

fn difference(want: &Value, got: &Value) -> Vec<String> {
    let (want, got) = (want.as_object().unwrap(), got.as_object().unwrap());
    let keys: std::collections::BTreeSet<&String> = want.keys().chain(got.keys()).collect();
    keys.into_iter()
        .filter(|key| want.get(*key) != got.get(*key))
        .map(|key| format!("{key}: want {:?}, got {:?}", want.get(key), got.get(key)))
        .collect()
}

#[test]
fn without_a_file_the_defaults_of_old_apply() {
    let kubelet = run(&[], None, &[]).unwrap().kubelet;
    assert!(kubelet.authentication.anonymous.enabled && !kubelet.authentication.webhook.enabled);
    assert_eq!((kubelet.authorization.mode.as_str(), kubelet.read_only_port), ("AlwaysAllow", 10255));
    assert_eq!(kubelet.eviction_hard, None);
}

#[test]
fn with_a_file_the_safe_defaults_apply() {
    let kubelet = run(&["--config=/etc/kubelet/config.yaml"], Some(""), &[]).unwrap().kubelet;
    let eviction_hard = Some(default_eviction_hard());
    let want = KubeletConfiguration { eviction_hard, ..KubeletConfiguration::default() };
    assert_eq!(kubelet, want);
}

#[test]
fn flags_win_over_drop_ins_and_drop_ins_over_the_file() {
    let drop_ins = [("/d/20.conf", "port: 20\nmaxPods: 20"), ("/d/10.conf", "port: 10\nhealthzPort: 10")];
    let kubelet =
        run(&["--max-pods=30"], Some("port: 1\nhealthzPort: 1\nmaxPods: 1\npodsPerCore: 1"), &drop_ins)
            .unwrap()
            .kubelet;
    assert_eq!(
        (kubelet.port, kubelet.healthz_port, kubelet.max_pods, kubelet.pods_per_core),
        (20, 10, 30, 1)
    );
}

#[test]
fn drop_ins_apply_in_the_order_of_a_walk() {
    let drop_ins = [
        ("/d/a/9.conf", "port: 3"),
        ("/d/b.conf", "port: 4"),
        ("/d/a.conf", "port: 2"),
        ("/d/z.txt", "port: 5"),
    ];
    assert_eq!(run(&[], Some(""), &drop_ins).unwrap().kubelet.port, 4);
    assert_eq!(run(&[], Some(""), &drop_ins[..1]).unwrap().kubelet.port, 3);
    assert_eq!(run(&[], Some("port: 1"), &drop_ins[3..]).unwrap().kubelet.port, 1);
}

#[test]
fn a_drop_in_merges_objects_replaces_lists_and_deletes_with_null() {
    let base = "clusterDNS: [10.0.0.1, 10.0.0.2]\nsystemReserved: {cpu: \"1\", memory: 1Gi}\n\
                maxPods: 5\nauthentication: {x509: {clientCAFile: /ca}}";
    let patch = "clusterDNS: [10.0.0.3]\nsystemReserved: {cpu: null, pid: \"10\"}\n\
                 maxPods: null\nauthentication: {anonymous: {enabled: true}}";
    let kubelet = run(&[], Some(base), &[("/d/1.conf", patch)]).unwrap().kubelet;
    assert_eq!(kubelet.cluster_dns, ["10.0.0.3"]);
    assert_eq!(kubelet.system_reserved.keys().collect::<Vec<_>>(), ["memory", "pid"]);
    assert_eq!(kubelet.max_pods, 110);
    assert_eq!(kubelet.authentication.x509.client_ca_file, "/ca");
    assert!(kubelet.authentication.anonymous.enabled && kubelet.authentication.webhook.enabled);
}

#[test]
fn drop_ins_work_without_a_file() {
    let kubelet = run(&["--port=7"], None, &[("/d/1.conf", "maxPods: 9")]).unwrap().kubelet;
    assert_eq!((kubelet.max_pods, kubelet.port, kubelet.read_only_port), (9, 7, 10255));
}

#[test]
fn feature_gates_merge_key_by_key_and_flags_win() {
    let gates = "featureGates: {MemoryQoS: false, NodeSwap: true, CustomCPUCFSQuotaPeriod: false}";
    let patch = [("/d/1.conf", "featureGates: {KubeletSeparateDiskGC: false}")];
    let config =
        run(&["--feature-gates=MemoryQoS=true,ContainerCheckpoint=false"], Some(gates), &patch).unwrap();
    let f = &config.features;
    assert!(f.enabled(Feature::MemoryQoS) && f.enabled(Feature::NodeSwap));
    assert!(!f.enabled(Feature::CustomCPUCFSQuotaPeriod) && !f.enabled(Feature::KubeletSeparateDiskGC));
    assert!(!f.enabled(Feature::ContainerCheckpoint));
    assert_eq!(config.kubelet.feature_gates.len(), 5);
}

#[test]
fn gates_change_the_defaults_they_govern() {
    let off = "featureGates: {KubeletCrashLoopBackOffMax: false, KubeletEnsureSecretPulledImages: false}";
    let kubelet = run(&[], Some(off), &[]).unwrap().kubelet;
    assert_eq!(kubelet.crash_loop_back_off.max_container_restart_period, None);
    assert_eq!(kubelet.image_pull_credentials_verification_policy, "");
    let flag = "--feature-gates=KubeletCrashLoopBackOffMax=false,KubeletEnsureSecretPulledImages=false";
    assert_eq!(run(&[flag], Some(""), &[]).unwrap().kubelet.image_pull_credentials_verification_policy, "");
    assert_eq!(run(&[flag], None, &[]).unwrap().kubelet.image_pull_credentials_verification_policy, "");
}

#[test]
fn eviction_defaults_come_with_a_file_that_sets_none() {
    let hard = |fields: &str, drop_ins: &[(&str, &str)], args: &[&str]| {
        run(args, Some(fields), drop_ins).unwrap().kubelet.eviction_hard.unwrap_or_default()
    };
    assert_eq!(hard("", &[], &[]), default_eviction_hard());
    let own = "evictionHard: {memory.available: 1Gi}";
    assert_eq!(hard(own, &[], &[]).len(), 1);
    let merged = hard(&format!("{own}\nmergeDefaultEvictionSettings: true"), &[], &[]);
    assert_eq!((merged.len(), merged["memory.available"].as_str()), (5, "1Gi"));
    assert_eq!(hard("evictionHard: {}", &[], &[]).len(), 0);
    assert_eq!(hard("", &[("/d/1.conf", own)], &[]).len(), 5);
    assert_eq!(hard("", &[], &["--eviction-hard=memory.available<2Gi"]).len(), 1);
}

#[test]
fn lists_and_maps_of_flags_replace_those_of_the_file() {
    let fields = "clusterDNS: [1.1.1.1]\nkubeReserved: {pid: \"5\"}\nstaticPodURLHeader: {A: [b]}";
    let args = [
        "--cluster-dns=2.2.2.2",
        "--cluster-dns=3.3.3.3",
        "--kube-reserved=cpu=1",
        "--kube-reserved=memory=1Gi",
    ];
    let kubelet = run(&args, Some(fields), &[]).unwrap().kubelet;
    assert_eq!(kubelet.cluster_dns, ["2.2.2.2", "3.3.3.3"]);
    assert_eq!(kubelet.kube_reserved.keys().collect::<Vec<_>>(), ["cpu", "memory"]);
    assert_eq!(kubelet.static_pod_url_header["A"], ["b"]);
}

#[test]
fn relative_paths_belong_to_the_files_directory() {
    let fields = "staticPodPath: manifests\npodLogsDir: ../logs/./x\nresolvConf: \"\"\n\
                  tlsCertFile: /abs\nauthentication: {x509: {clientCAFile: ca.crt}}";
    let kubelet =
        run(&["--tls-private-key-file=rel.key"], Some(fields), &[("/d/1.conf", "volumePluginDir: plug")])
            .unwrap()
            .kubelet;
    assert_eq!(kubelet.static_pod_path, "/etc/kubelet/manifests");
    assert_eq!(kubelet.pod_logs_dir, "/etc/logs/x");
    assert_eq!((kubelet.resolv_conf.as_str(), kubelet.tls_cert_file.as_str()), ("", "/abs"));
    assert_eq!(kubelet.authentication.x509.client_ca_file, "/etc/kubelet/ca.crt");
    assert_eq!(
        (kubelet.tls_private_key_file.as_str(), kubelet.volume_plugin_dir.as_str()),
        ("rel.key", "plug")
    );
}

#[test]
fn unknown_and_repeated_fields_are_noticed_with_their_line() {
    let fields = "maxPod: 1\nauthentication: {anonymus: {enabled: true}}\nport: 1\nport: 2\n";
    let config = run(&[], Some(fields), &[("/d/1.conf", "nope: 1")]).unwrap();
    assert_eq!(config.kubelet.port, 2);
    let mut found = messages(&config);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "/d/1.conf:3: unknown field \"nope\", it has no effect",
            "/etc/kubelet/config.yaml:3: unknown field \"maxPod\", it has no effect",
            "/etc/kubelet/config.yaml:4: unknown field \"authentication.anonymus\", it has no effect",
            "/etc/kubelet/config.yaml:6: \"port\" is given twice, the last one counts",
        ]
    );
}

#[test]
fn a_wrong_type_is_told_with_file_line_and_field() {
    for (fields, drop_in, want) in [
        (
            "port: 1\nmaxPods: many",
            "",
            "/etc/kubelet/config.yaml:4: maxPods: invalid type: string \"many\", expected i32",
        ),
        (
            "syncFrequency: 1 minute",
            "",
            "/etc/kubelet/config.yaml:3: syncFrequency: \"1 minute\" is not a duration",
        ),
        ("clusterDNS: [1.1.1.1, 5]", "", "/etc/kubelet/config.yaml:3: clusterDNS[1]: invalid type: integer"),
        (
            "authentication:\n  anonymous:\n    enabled: 1",
            "",
            "/etc/kubelet/config.yaml:5: authentication.anonymous.enabled: ",
        ),
        ("port: 1", "\nport: x", "/d/1.conf:4: port: invalid type: string \"x\", expected i32"),
        ("a: [", "", "/etc/kubelet/config.yaml: line 3, column"),
    ] {
        let error = run(&[], Some(fields), &[("/d/1.conf", drop_in)]).unwrap_err();
        assert!(error.starts_with(want), "{error}");
    }
}

#[test]
fn a_file_must_say_what_it_is() {
    let flags = parse([]).unwrap();
    for (text, want) in [
        ("", "/c: the file is empty"),
        ("port: 1", "/c: apiVersion \"\" and kind \"\" are not a kubelet configuration"),
        ("apiVersion: v1\nkind: Pod", "/c: apiVersion \"v1\" and kind \"Pod\" are not"),
        ("[1]", "/c: apiVersion \"\" and kind \"\""),
        ("# nothing", "/c: "),
    ] {
        let error = assemble(&flags, Some(file("/c", text)), Vec::new(), HOST).unwrap_err().to_string();
        assert!(error.starts_with(want), "{text:?}: {error}");
        let error = assemble(&flags, None, vec![file("/c.conf", text)], HOST).unwrap_err().to_string();
        assert!(error.starts_with(&want.replace("/c", "/c.conf")), "{text:?}: {error}");
    }
}

#[test]
fn a_huge_file_is_refused_unread() {
    let flags = parse([]).unwrap();
    let huge = InputFile { path: "/c".into(), bytes: vec![b'a'; 100 << 20] };
    let error = assemble(&flags, Some(huge), Vec::new(), HOST).unwrap_err().to_string();
    assert_eq!(error, "/c: 104857600 bytes are more than the 10485760 allowed: make the file smaller");
}

#[test]
fn errors_come_one_a_line() {
    let error = run(&["--port=0"], Some("maxPods: -1\nfeatureGates: {Nope: true}"), &[]).unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(
        lines[0].contains("Nope")
            && lines[1].contains("maxPods (--max-pods)")
            && lines[2].contains("port (--port)")
    );
}

#[test]
fn options_and_notices_reach_the_configuration() {
    let args =
        ["--hostname-override=n1", "--seccomp-default", "--cadvisor-port=4194", "--pod-cidr=10.0.0.0/24"];
    let config = run(&args, Some("kubeletCgroups: /a\nkubeReservedCgroup: /b"), &[]).unwrap();
    assert_eq!((config.options.hostname_override.as_str(), config.options.cadvisor_port), ("n1", 4194));
    assert!(config.kubelet.seccomp_default && config.options.is_standalone());
    assert!(messages(&config).iter().any(|text| text.starts_with("--pod-cidr is deprecated")));
    assert!(messages(&config).iter().any(|text| text.starts_with("kubeletCgroups is not within")));
    assert_eq!(config.kubelet.sync_frequency, GoDuration::from_secs(60));
}

#[test]
fn parallel_pulls_in_a_file_switch_serial_pulls_off_and_in_a_drop_in_do_not() {
    assert!(!run(&[], Some("maxParallelImagePulls: 3"), &[]).unwrap().kubelet.serialize_image_pulls);
    let error = run(&[], Some(""), &[("/d/1.conf", "maxParallelImagePulls: 3")]).unwrap_err();
    assert!(error.contains("maxParallelImagePulls"), "{error}");
}

#[test]
fn a_json_file_reads_like_yaml() {
    let flags = parse([]).unwrap();
    let text =
        r#"{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "port": 5}"#;
    assert_eq!(assemble(&flags, Some(file("/c", text)), Vec::new(), HOST).unwrap().kubelet.port, 5);
}

#[test]
fn a_merge_patch_follows_rfc_7386() {
    for (target, patch, want) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
        (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ] {
        let mut value: Value = serde_json::from_str(target).unwrap();
        merge_patch(&mut value, serde_json::from_str(patch).unwrap());
        assert_eq!(value, serde_json::from_str::<Value>(want).unwrap(), "{target} + {patch}");
    }
}

proptest! {
    #[test]
    fn arbitrary_files_never_panic(
        fields in "([a-zA-Z]{1,12}: ?[-a-z0-9\"{}\\[\\],: ]{0,20}\n){0,4}",
        raw in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = run(&[], Some(&fields), &[("/d/1.conf", &fields)]);
        let flags = parse([]).unwrap();
        let _ = assemble(&flags, Some(InputFile { path: "/c".into(), bytes: raw }), Vec::new(), HOST);
    }
}
