//! A spec in, the errors in upstream's words out.

use super::*;
use crate::manifest::apply_api_defaults;
use core_types::{EnvFileRefs, RestartRules};
use serde_json::{Value, json};

fn errors(spec: Value) -> Vec<String> {
    errors_of(json!({"metadata": {"name": "a", "namespace": "default"}, "spec": spec}))
}

fn errors_of(pod: Value) -> Vec<String> {
    errors_with(pod, PodGates::default())
}

fn errors_with(mut pod: Value, gates: PodGates) -> Vec<String> {
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    let mut pod: Pod = serde_json::from_value(pod).unwrap();
    apply_api_defaults(&mut pod);
    validate_pod(&pod, gates).iter().map(ToString::to_string).collect()
}

fn container(fields: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    container.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    json!({"containers": [container]})
}

fn spec(fields: Value) -> Value {
    let mut spec = container(json!({}));
    spec.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    spec
}

/// Every input gives exactly the one error.
fn table(cases: Vec<(Value, &str)>) {
    for (spec, expected) in cases {
        assert_eq!(errors(spec.clone()), [expected], "{spec}");
    }
}

#[test]
fn a_good_pod_has_no_errors() {
    let good = json!({
        "hostname": "h", "subdomain": "s", "activeDeadlineSeconds": 1, "nodeSelector": {"a": "b"},
        "dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": ["a.b.", "."], "options": [{"name": "x"}]},
        "hostAliases": [{"ip": "::1", "hostnames": ["a.b"]}],
        "securityContext": {"runAsUser": 0, "fsGroup": 5, "sysctls": [{"name": "net/ipv4/x", "value": "1"}]},
        "tolerations": [{"key": "a", "operator": "Exists"}, {"operator": "Exists"}, {"key": "b", "value": "c", "effect": "NoExecute", "tolerationSeconds": 1}],
        "volumes": [
            {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "h", "hostPath": {"path": "/a", "type": "Directory"}},
            {"name": "d", "downwardAPI": {"items": [{"path": "a/b", "fieldRef": {"fieldPath": "metadata.labels['x']"}}, {"path": "c", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}}]}},
        ],
        "initContainers": [{"name": "i", "image": "i"}, {"name": "s", "image": "i", "restartPolicy": "Always"}],
        "containers": [{
            "name": "c", "image": "i",
            "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080}, {"containerPort": 80, "protocol": "UDP"}],
            "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}}],
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "4Mi", "x.com/gpu": "1"}},
            "volumeMounts": [{"name": "e", "mountPath": "/e", "subPath": "a/b"}, {"name": "h", "mountPath": "/h", "readOnly": true, "recursiveReadOnly": "Enabled"}],
            "securityContext": {"privileged": true, "seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"}},
        }],
    });
    assert_eq!(errors(good), Vec::<String>::new());
}

#[test]
fn metadata_is_checked() {
    let name_error = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let key_error = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let cases = [
        (json!({"name": "A"}), format!("metadata.name: Invalid value: \"A\": {name_error}")),
        (json!({"labels": {"-a": "x"}}), format!("metadata.labels: Invalid value: \"-a\": {key_error}")),
        (json!({"annotations": {"-A": "x"}}), format!("metadata.annotations: Invalid value: \"-A\": {key_error}")),
        (json!({"annotations": {"a": "x".repeat(256 << 10)}}), "metadata.annotations: Too long: may not be more than 262144 bytes".to_owned()),
        (
            json!({"uid": "../../etc"}),
            "metadata.uid: Invalid value: \"../../etc\": must be at most 63 letters, digits, '-', '_' or '.', not starting with '.': leave it out to have it derived from the manifest".to_owned(),
        ),
    ];
    for (meta, expected) in cases {
        let mut all = json!({"name": "a", "namespace": "default"});
        all.as_object_mut().unwrap().append(&mut meta.as_object().unwrap().clone());
        assert_eq!(errors_of(json!({"metadata": all, "spec": container(json!({}))})), [expected]);
    }
}

#[test]
fn containers_are_checked() {
    table(vec![
        (json!({"containers": []}), "spec.containers: Required value"),
        (json!({"containers": [{"name": "a"}]}), "spec.containers[0].image: Required value"),
        (json!({"containers": [{"image": "a"}]}), "spec.containers[0].name: Required value"),
        (
            json!({"containers": [{"name": "a.b", "image": "i"}]}),
            "spec.containers[0].name: Invalid value: \"a.b\": must not contain dots",
        ),
        (
            json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
            "spec.containers[1].name: Duplicate value: \"a\"",
        ),
        (
            spec(json!({"initContainers": [{"name": "c", "image": "i"}]})),
            "spec.initContainers[0].name: Duplicate value: \"c\"",
        ),
        (
            container(json!({"image": " i"})),
            "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
        ),
        (
            container(json!({"imagePullPolicy": "Sometimes"})),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (
            container(json!({"terminationMessagePolicy": "X"})),
            "spec.containers[0].terminationMessagePolicy: Unsupported value: \"X\": supported values: \"File\", \"FallbackToLogsOnError\"",
        ),
        (
            spec(json!({"initContainers": [{"name": "i", "image": "i", "livenessProbe": {}}]})),
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
    ]);
}

#[test]
fn variables_from_files_need_their_gate() {
    let env =
        json!([{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "e", "key": "A"}}}]);
    let pod = spec(json!({
        "containers": [{"name": "c", "image": "i", "env": env}], "volumes": [{"name": "v", "emptyDir": {}}],
    }));
    let pod = json!({"metadata": {"name": "a", "namespace": "default"}, "spec": pod});
    let found = |env_files| errors_with(pod.clone(), PodGates { env_files, ..PodGates::default() });
    assert_eq!(found(EnvFileRefs::Read), Vec::<String>::new());
    assert_eq!(
        found(EnvFileRefs::Ignored),
        [
            "spec.containers[0].env[0].valueFrom.fileKeyRef: Forbidden: may not be set when the feature gate EnvFiles is off"
        ]
    );
}

#[test]
fn restart_rules_are_checked_as_far_as_gates_let_them_be() {
    let rules = |count: usize, action: &str| {
        json!({"restartPolicy": "Never", "restartPolicyRules": vec![
            json!({"action": action, "exitCodes": {"operator": "In", "values": [42]}}); count
        ]})
    };
    let init = |policy: &str, fields: Value| {
        let mut container = json!({"name": "i", "image": "i"});
        container.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        container["restartPolicy"] = policy.into();
        spec(json!({"initContainers": [container]}))
    };
    let (of_pod, of_containers, all) =
        (RestartRules::OfPod, RestartRules::OfContainers, RestartRules::OfAllContainers);
    let policies = "supported values: \"Always\", \"Never\", \"OnFailure\"";
    for (pod, gate, expected) in [
        (container(rules(20, "RestartAllContainers")), all, vec![]),
        (init("Always", rules(1, "RestartAllContainers")), all, vec![]),
        (
            container(rules(21, "Restart")),
            all,
            vec!["containers[0].restartPolicyRules: Too many: 21: must have at most 20 items".to_owned()],
        ),
        (
            container(rules(1, "Stop")),
            all,
            vec!["containers[0].restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"".to_owned()],
        ),
        (
            container(rules(1, "RestartAllContainers")),
            of_containers,
            vec!["containers[0].restartPolicyRules[0].action: Unsupported value: \"RestartAllContainers\": supported values: \"Restart\"".to_owned()],
        ),
        (
            container(json!({"restartPolicyRules": [{"action": "Restart"}]})),
            all,
            vec![
                "containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used".to_owned(),
                "containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified".to_owned(),
            ],
        ),
        (
            container(json!({"restartPolicy": "Sometimes"})),
            all,
            vec![format!("containers[0].restartPolicy: Unsupported value: \"Sometimes\": {policies}")],
        ),
        (
            container(rules(1, "Restart")),
            of_pod,
            vec!["containers[0].restartPolicy: Forbidden: may not be set for non-init containers".to_owned()],
        ),
        (
            init("Always", rules(1, "Restart")),
            of_containers,
            vec!["initContainers[0].restartPolicyRules: Forbidden: restartPolicyRules are not allowed for init containers with restart policy Always".to_owned()],
        ),
        (
            init("Never", json!({})),
            of_pod,
            vec!["initContainers[0].restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"".to_owned()],
        ),
    ] {
        let pod = json!({"metadata": {"name": "a", "namespace": "default"}, "spec": pod});
        let found = errors_with(pod.clone(), PodGates { restart_rules: gate, ..PodGates::default() });
        let expected: Vec<_> = expected.into_iter().map(|text| format!("spec.{text}")).collect();
        assert_eq!(found, expected, "{gate:?} {pod}");
    }
}

#[test]
fn a_stop_signal_belongs_to_the_named_operating_system() {
    let with = |os: Value, signal: &str| {
        let mut spec = container(json!({"lifecycle": {"stopSignal": signal}}));
        spec["os"] = os;
        errors(spec)
    };
    let linux = json!({"name": "linux"});
    assert_eq!(with(linux.clone(), "SIGRTMIN+3"), Vec::<String>::new());
    let path = "spec.containers[0].lifecycle.stopSignal";
    assert_eq!(
        with(Value::Null, "SIGINT"),
        [format!("{path}: Forbidden: may not be set for containers with empty `spec.os.name`")]
    );
    let found = with(linux, "SIGNOT");
    assert!(
        found[0]
            .starts_with(&format!("{path}: Unsupported value: \"SIGNOT\": supported values: \"SIGABRT\"")),
        "{found:?}"
    );
    assert_eq!(
        with(json!({"name": "windows"}), "SIGINT"),
        [format!("{path}: Unsupported value: \"SIGINT\": supported values: \"SIGKILL\", \"SIGTERM\"")]
    );
}

#[test]
fn probes_are_checked() {
    let probe = |field: &str, probe: serde_json::Value| container(json!({field: probe}));
    let at = |detail: &str| format!("spec.containers[0].{detail}");
    let cases = [
        (probe("livenessProbe", json!({})), at("livenessProbe: Required value: must specify a handler type")),
        (
            probe("startupProbe", json!({"exec": {"command": ["a"]}, "grpc": {"port": 1}})),
            at("startupProbe.grpc: Forbidden: may not specify more than 1 handler type"),
        ),
        (
            probe("livenessProbe", json!({"tcpSocket": {"port": 1}, "successThreshold": 2})),
            at("livenessProbe.successThreshold: Invalid value: 2: must be 1"),
        ),
        (
            probe("readinessProbe", json!({"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 3})),
            at(
                "readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes",
            ),
        ),
        (
            probe("livenessProbe", json!({"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 0})),
            at("livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"),
        ),
        (
            probe("readinessProbe", json!({"httpGet": {"port": 0}})),
            at("readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ),
        (probe("readinessProbe", json!({"exec": {}})), at("readinessProbe.exec.command: Required value")),
        (
            probe("readinessProbe", json!({"httpGet": {"port": 1, "scheme": "FTP"}})),
            at(
                "readinessProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"",
            ),
        ),
        (
            probe("readinessProbe", json!({"httpGet": {"port": 1, "scheme": "HTTP", "protocol": "HTTP3"}})),
            at(
                "readinessProbe.httpGet.protocol: Unsupported value: \"HTTP3\": supported values: \"HTTP1\", \"HTTP2\"",
            ),
        ),
        (
            probe("readinessProbe", json!({"httpGet": {"port": 1, "scheme": "HTTPS", "protocol": "HTTP2"}})),
            at(
                "readinessProbe.httpGet.protocol: Invalid value: \"HTTP2\": is only supported with HTTP (H2C)",
            ),
        ),
        (
            probe(
                "readinessProbe",
                json!({"httpGet": {"port": 1, "scheme": "HTTP", "protocol": "HTTP2", "host": "a"}}),
            ),
            at(
                "readinessProbe.httpGet.host: Invalid value: \"a\": must be empty when `protocol` is \"HTTP2\"",
            ),
        ),
        (
            probe("livenessProbe", json!({"grpc": {"port": 1, "mode": "tls"}})),
            at(
                "livenessProbe.grpc.mode: Unsupported value: \"tls\": supported values: \"Plaintext\", \"TLS\"",
            ),
        ),
        (
            probe("readinessProbe", json!({"grpc": {"port": 1}, "periodSeconds": -1})),
            at("readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"),
        ),
    ];
    table(cases.iter().map(|(spec, error)| (spec.clone(), error.as_str())).collect());
}

#[test]
fn ports_are_checked() {
    table(vec![
        (
            container(json!({"ports": [{"hostPort": 1}]})),
            "spec.containers[0].ports[0].containerPort: Required value",
        ),
        (
            container(json!({"ports": [{"containerPort": 70000}]})),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            container(
                json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}),
            ),
            "spec.containers[0].ports[1].name: Duplicate value: \"a\"",
        ),
        (
            container(json!({"ports": [{"containerPort": 1, "protocol": "tcp"}]})),
            "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            container(
                json!({"ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]}),
            ),
            "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//5\"",
        ),
        (
            json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1, "hostPort": 2}]}]}),
            "spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true",
        ),
    ]);
}

#[test]
fn environments_are_checked() {
    let from = |source: Value| container(json!({"env": [{"name": "A", "valueFrom": source}]}));
    table(vec![
        (container(json!({"env": [{"value": "x"}]})), "spec.containers[0].env[0].name: Required value"),
        (
            container(json!({"env": [{"name": "A=B"}]})),
            "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
        ),
        (
            from(json!({})),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        (
            container(
                json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            ),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            from(json!({"fieldRef": {"fieldPath": "metadata.nome"}})),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.nome\": error converting fieldPath: field label not supported: metadata.nome",
        ),
        (
            from(json!({"fieldRef": {"fieldPath": "status.phase"}})),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
        ),
        (
            from(json!({"resourceFieldRef": {"resource": "limits.gpu"}})),
            "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
        ),
        (
            from(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}})),
            "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
        ),
    ]);
}

#[test]
fn resources_are_checked() {
    let resources = |value: Value| container(json!({"resources": value}));
    table(vec![
        (
            resources(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            resources(json!({"requests": {"memory": "-1"}})),
            "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            resources(json!({"requests": {"x.com/gpu": "1"}, "limits": {"x.com/gpu": "2"}})),
            "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to x.com/gpu limit of 2",
        ),
        (
            resources(json!({"requests": {"x.com/gpu": "1"}})),
            "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
    ]);
    let texts = errors(resources(json!({"limits": {"memory": "lots"}})));
    assert_eq!(texts.len(), 1, "not again for the request that defaults to it: {texts:?}");
    assert!(
        texts[0].starts_with("spec.containers[0].resources.limits[memory]: Invalid value: \"lots\": "),
        "{texts:?}"
    );
    let texts = errors(resources(json!({"requests": {"cpus": "1"}})));
    assert_eq!(
        texts,
        [
            "spec.containers[0].resources.requests[cpus]: Invalid value: \"cpus\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.requests[cpus]: Invalid value: \"cpus\": must be a standard resource for containers",
        ]
    );
}

#[test]
fn resources_of_the_pod_as_a_whole_are_checked() {
    let whole = |resources: Value, own: Value| json!({"containers": [{"name": "c", "image": "i", "resources": own}], "resources": resources});
    let none = || json!({});
    table(vec![
        (
            whole(json!({"requests": {"ephemeral-storage": "1Gi"}}), none()),
            "spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
        ),
        (
            whole(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}), none()),
            "spec.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            whole(json!({"requests": {"cpu": "100m"}}), json!({"requests": {"cpu": "200m"}})),
            "spec.resources.requests[cpu]: Invalid value: \"100m\": must be greater than or equal to aggregate container requests of 200m",
        ),
        (
            whole(json!({"limits": {"memory": "1Mi"}}), json!({"limits": {"memory": "2Mi"}})),
            "spec.resources.containers[0][memory].limits: Invalid value: \"2Mi\": must be less than or equal to pod limits of 1Mi",
        ),
        (
            whole(json!({"claims": [], "limits": {"cpu": "1"}}), none()),
            "spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "overhead": {"cpu": "-1"}}),
            "spec.overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "runtimeClassName": "a_b"}),
            "spec.runtimeClassName: Invalid value: \"a_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
    ]);
}

#[test]
fn volumes_and_mounts_are_checked() {
    let volumes = |value: Value| spec(json!({"volumes": value}));
    let mounts = |value: Value| {
        let mut spec = container(json!({"volumeMounts": value}));
        spec["volumes"] = json!([{"name": "v"}]);
        spec
    };
    table(vec![
        (volumes(json!([{"name": "a"}, {"name": "a"}])), "spec.volumes[1].name: Duplicate value: \"a\""),
        (volumes(json!([{"emptyDir": {}}])), "spec.volumes[0].name: Required value"),
        (
            volumes(json!([{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}])),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            volumes(json!([{"name": "a", "hostPath": {"path": ""}}])),
            "spec.volumes[0].hostPath.path: Required value",
        ),
        (
            volumes(json!([{"name": "a", "hostPath": {"path": "/a/../b"}}])),
            "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            volumes(json!([{"name": "a", "hostPath": {"path": "/a", "type": "Disk"}}])),
            "spec.volumes[0].hostPath.type: Unsupported value: \"Disk\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
        ),
        (
            volumes(
                json!([{"name": "a", "downwardAPI": {"items": [{"path": "/x", "fieldRef": {"fieldPath": "metadata.name"}}]}}]),
            ),
            "spec.volumes[0].downwardAPI.items[0].path: Invalid value: \"/x\": must be a relative path",
        ),
        (
            volumes(json!([{"name": "a", "downwardAPI": {"defaultMode": 512}}])),
            "spec.volumes[0].downwardAPI.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            mounts(json!([{"name": "w", "mountPath": "/a"}])),
            "spec.containers[0].volumeMounts[0].name: Not found: \"w\"",
        ),
        (mounts(json!([{"name": "v"}])), "spec.containers[0].volumeMounts[0].mountPath: Required value"),
        (
            mounts(json!([{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}])),
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
        ),
        (
            mounts(json!([{"name": "v", "mountPath": "/a", "subPath": "a/../../b"}])),
            "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"a/../../b\": must not contain '..'",
        ),
        (
            mounts(json!([{"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"}])),
            "spec.containers[0].volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
        ),
    ]);
}

#[test]
fn the_rest_of_the_spec_is_checked() {
    table(vec![
        (
            spec(json!({"restartPolicy": "Sometimes"})),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            spec(json!({"dnsPolicy": "X"})),
            "spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
        ),
        (
            spec(json!({"dnsPolicy": "None"})),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            spec(json!({"dnsConfig": {"nameservers": ["x"]}})),
            "spec.dnsConfig.nameservers[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            spec(json!({"activeDeadlineSeconds": 0})),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            spec(json!({"securityContext": {"runAsUser": -1}})),
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            spec(
                json!({"securityContext": {"sysctls": [{"name": "kernel.sem", "value": ""}, {"name": "kernel.sem", "value": ""}]}}),
            ),
            "spec.securityContext.sysctls[1].name: Duplicate value: \"kernel.sem\"",
        ),
        (
            spec(
                json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net/core/somaxconn", "value": ""}]}}),
            ),
            "spec.securityContext.sysctls[0].name: Invalid value: \"net/core/somaxconn\": may not be specified when 'hostNetwork' is true",
        ),
        (
            container(
                json!({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "none", "path": "e", "key": "A"}}}]}),
            ),
            "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"none\"",
        ),
        (
            spec(json!({"hostUsers": false, "hostNetwork": true})),
            "spec.hostNetwork: Forbidden: when `hostUsers` is false",
        ),
        (
            spec(json!({"hostUsers": false, "hostPID": true})),
            "spec.HostPID: Forbidden: when `hostUsers` is false",
        ),
        (
            spec(json!({"hostUsers": false, "hostIPC": true})),
            "spec.HostIPC: Forbidden: when `hostUsers` is false",
        ),
        (
            container(json!({"securityContext": {"seccompProfile": {"type": "Localhost"}}})),
            "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ),
        (
            spec(json!({"hostAliases": [{"ip": "1.2.3"}]})),
            "spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            spec(json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]})),
            "spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'",
        ),
        (
            spec(json!({"hostnameOverride": "a", "setHostnameAsFQDN": true})),
            "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
        ),
        (
            spec(json!({"os": {"name": "plan9"}})),
            "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
        ),
        (
            spec(json!({"ephemeralContainers": [{"name": "e"}]})),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
    ]);
}

#[test]
fn lifecycle_hooks_are_checked() {
    let of = |handler: Value| container(json!({"lifecycle": {"preStop": handler}}));
    let header = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
    let bad_header =
        format!("spec.containers[0].lifecycle.preStop.httpGet.httpHeaders: Invalid value: \"a b\": {header}");
    table(vec![
        (of(json!({})), "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"),
        (
            of(json!({"exec": {"command": ["a"]}, "sleep": {"seconds": 1}})),
            "spec.containers[0].lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type",
        ),
        (
            of(json!({"exec": {"command": []}})),
            "spec.containers[0].lifecycle.preStop.exec.command: Required value",
        ),
        (
            of(json!({"sleep": {"seconds": 31}})),
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            of(json!({"httpGet": {"port": 80, "scheme": "FTP"}})),
            "spec.containers[0].lifecycle.preStop.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"",
        ),
        (
            of(json!({"httpGet": {"port": 0}})),
            "spec.containers[0].lifecycle.preStop.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (of(json!({"httpGet": {"port": 80, "httpHeaders": [{"name": "a b", "value": "c"}]}})), &bad_header),
        (
            of(json!({"tcpSocket": {"port": 65536}})),
            "spec.containers[0].lifecycle.preStop.tcpSocket.port: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ),
    ]);
    for good in [
        json!({"exec": {"command": ["a"]}}),
        json!({"sleep": {"seconds": 30}}),
        json!({"httpGet": {"port": "web"}}),
        json!({"tcpSocket": {"port": 1}}),
    ] {
        assert_eq!(errors(of(good.clone())), Vec::<String>::new(), "{good}");
    }
}
