//! YAML in, pod or errors out.

use super::*;
use core_types::PodExt;
use core_types::keys::{CONFIG_HASH_ANNOTATION, CONFIG_MIRROR_ANNOTATION, CONFIG_SEEN_ANNOTATION};
use proptest::prelude::*;
use serde_json::json;

const WEB: &str = "\
# a comment
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  containers:
  - name: nginx
    image: nginx
    ports: [{containerPort: 80}]
    resources:
      limits: {cpu: 0.5, memory: 64Mi}
";

const SEEN: WallTime = WallTime::from_unix_secs(1_700_000_000);

fn context(source: PodSource) -> StaticContext<'static> {
    StaticContext {
        node_name: "node-1",
        source,
        origin: "/etc/kubernetes/manifests/web.yaml",
        gates: PodGates::default(),
    }
}

fn file(text: &str) -> Result<Manifest, Vec<ManifestIssue>> {
    decode_manifest(text.as_bytes(), ManifestMode::OnePod, &context(PodSource::File), SEEN)
}

fn pod(text: &str) -> Pod {
    let manifest = file(text).unwrap_or_else(|issues| panic!("{issues:#?}"));
    manifest.pods[0].as_ref().clone()
}

fn errors(text: &str) -> Vec<String> {
    match file(text) {
        Ok(manifest) => panic!("accepted: {manifest:#?}"),
        Err(issues) => issues.iter().map(ManifestIssue::text).collect(),
    }
}

/// A pod whose spec has these lines besides one good container.
fn with_spec(lines: &str) -> String {
    let spec: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers: [{{name: c, image: i}}]\n{spec}"
    )
}

/// A pod with one container that has these lines.
fn with_container(lines: &str) -> String {
    let fields: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - name: c\n    image: i\n{fields}"
    )
}

#[test]
fn a_minimal_pod_gets_every_default() {
    let pod = pod(WEB);
    let uid = pod.uid().as_str().to_owned();
    assert_eq!(uid.len(), 32);
    let value = serde_json::to_value(&pod).unwrap();
    assert_eq!(
        value,
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web-node-1",
                "namespace": "default",
                "uid": uid,
                "labels": {"app": "web"},
                "annotations": {
                    "kubernetes.io/config.hash": uid,
                    "kubernetes.io/config.seen": "2023-11-14T22:13:20.000000000Z",
                    "kubernetes.io/config.source": "file",
                },
            },
            "spec": {
                "containers": [{
                    "name": "nginx",
                    "image": "nginx",
                    "imagePullPolicy": "Always",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "resources": {
                        "limits": {"cpu": "500m", "memory": "64Mi"},
                        "requests": {"cpu": "500m", "memory": "64Mi"},
                    },
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }],
                "dnsPolicy": "ClusterFirst",
                "enableServiceLinks": true,
                "nodeName": "node-1",
                "restartPolicy": "Always",
                "schedulerName": "default-scheduler",
                "securityContext": {},
                "terminationGracePeriodSeconds": 30,
                "tolerations": [{"effect": "NoExecute", "operator": "Exists"}],
            },
            "status": {"phase": "Pending"},
        })
    );
}

#[test]
fn defaults_of_volumes_probes_and_host_ports_are_the_apis() {
    let text = with_spec(
        "hostNetwork: true\nterminationGracePeriodSeconds: -5\nvolumes:\n- name: none\n- name: host\n  hostPath: {path: /x}\n- name: down\n  downwardAPI: {items: [{path: p, fieldRef: {fieldPath: metadata.name}}]}\ninitContainers:\n- name: init\n  image: i:1\n  ports: [{containerPort: 9}]",
    );
    let pod = pod(&text);
    let spec = serde_json::to_value(pod.spec.as_ref()).unwrap();
    assert_eq!(spec["terminationGracePeriodSeconds"], 1);
    assert_eq!(
        spec["initContainers"][0]["ports"][0],
        json!({"containerPort": 9, "hostPort": 9, "protocol": "TCP"})
    );
    assert_eq!(spec["initContainers"][0]["imagePullPolicy"], "IfNotPresent");
    assert_eq!(spec["volumes"][0], json!({"name": "none", "emptyDir": {}}));
    assert_eq!(spec["volumes"][1]["hostPath"], json!({"path": "/x", "type": ""}));
    assert_eq!(spec["volumes"][2]["downwardAPI"]["defaultMode"], 0o644);
    assert_eq!(spec["volumes"][2]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"], "v1");
}

#[test]
fn quantities_get_their_canonical_form_and_are_rounded_up_to_thousandths() {
    let pod =
        pod(&with_container("resources: {requests: {cpu: 0.0001, memory: 1024Mi}, limits: {cpu: 1000m}}"));
    let resources =
        serde_json::to_value(pod.spec.as_ref().unwrap().containers[0].resources.as_ref()).unwrap();
    assert_eq!(resources["requests"], json!({"cpu": "1m", "memory": "1Gi"}));
    assert_eq!(resources["limits"], json!({"cpu": "1"}));
}

#[test]
fn a_uid_follows_the_meaning_of_the_manifest() {
    let uid = |text: &str| pod(text).uid();
    let reordered = "kind: Pod\nspec: {containers: [{image: nginx, name: nginx, resources: {limits: {memory: 64Mi, cpu: \"0.5\"}}, ports: [{containerPort: 80}]}]}\nmetadata: {labels: {app: web}, name: web}\napiVersion: v1";
    assert_eq!(uid(WEB), uid(reordered));
    assert_eq!(uid(WEB), uid(&format!("{WEB}status: {{}}\n")));
    assert_ne!(uid(WEB), uid(&WEB.replace("80", "81")));
    assert_ne!(uid(WEB), uid(&WEB.replace("name: web", "name: web2")));
    let of = |context: StaticContext<'_>| {
        decode_manifest(WEB.as_bytes(), ManifestMode::OnePod, &context, SEEN).unwrap().pods[0].uid()
    };
    let here = context(PodSource::File);
    assert_ne!(of(here), of(StaticContext { node_name: "other", ..here }));
    assert_ne!(of(here), of(StaticContext { origin: "/other", ..here }));
    assert_ne!(of(here), of(context(PodSource::Http)));
    let local = context(PodSource::Local);
    assert_eq!(of(local), of(StaticContext { origin: "/elsewhere", ..local }));
    assert_eq!(pod(&WEB.replace("  name: web\n", "  name: web\n  uid: my-uid\n")).uid().as_str(), "my-uid");
}

#[test]
fn the_uid_of_a_known_manifest_is_upstreams_and_never_changes() {
    // A change of this value restarts every static pod of every node at the upgrade.
    assert_eq!(pod(WEB).uid().as_str(), "b56fc811730782c2ed1190a93f104802");
}

#[test]
fn a_local_pod_keeps_its_name_and_reads_back_the_same() {
    let local = context(PodSource::Local);
    let read =
        |bytes: &[u8]| decode_manifest(bytes, ManifestMode::Everything, &local, SEEN).unwrap().pods.remove(0);
    let first = read(WEB.as_bytes());
    assert_eq!(first.metadata.name.as_deref(), Some("web"));
    assert_eq!(first.spec.as_ref().unwrap().tolerations.as_ref().unwrap().len(), 1);
    let again = read(&serde_json::to_vec(&*first).unwrap());
    assert_eq!(first, again);
    assert!(first.is_local() && first.is_static());
    // A manifest of the node's owner cannot say that it is a person's, nor the other way round.
    let said = WEB.replace("  labels:", "  annotations: {podwright.io/source: local}\n  labels:");
    assert!(!pod(&said).is_local() && pod(&said).is_static());
}

#[test]
fn http_pods_are_not_given_the_toleration() {
    let manifest =
        decode_manifest(WEB.as_bytes(), ManifestMode::PodOrList, &context(PodSource::Http), SEEN).unwrap();
    assert_eq!(manifest.pods[0].spec.as_ref().unwrap().tolerations, None);
    assert_eq!(manifest.pods[0].metadata.name.as_deref(), Some("web-node-1"));
}

#[test]
fn what_only_the_server_writes_is_dropped() {
    let pod = pod(&WEB.replace(
        "  labels:",
        "  deletionTimestamp: \"2024-01-01T00:00:00Z\"\n  resourceVersion: \"5\"\n  annotations: {kubernetes.io/config.mirror: x, kubernetes.io/config.seen: old, a: b}\n  labels:",
    ));
    assert_eq!(pod.metadata.deletion_timestamp, None);
    assert_eq!(pod.metadata.resource_version, None);
    let annotations = pod.metadata.annotations.unwrap();
    assert_eq!(annotations.get("a").map(String::as_str), Some("b"));
    assert!(!annotations.contains_key(CONFIG_MIRROR_ANNOTATION));
    assert_ne!(annotations[CONFIG_SEEN_ANNOTATION], "old");
    assert_eq!(annotations[CONFIG_HASH_ANNOTATION].len(), 32);
}

#[test]
fn an_own_no_execute_toleration_is_made_endless() {
    let pod = pod(&with_spec(
        "tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 5}, {key: a, operator: Exists}]",
    ));
    let tolerations = pod.spec.unwrap().tolerations.unwrap();
    assert_eq!(tolerations.len(), 2);
    assert_eq!(tolerations[0].toleration_seconds, None);
}

#[test]
fn broken_manifests_give_one_clear_line_each() {
    let deep = format!("a: {}1{}", "[".repeat(5000), "]".repeat(5000));
    let cases: &[(&str, &[&str])] = &[
        ("", &["there is no pod in it: write \"apiVersion: v1\" and \"kind: Pod\" and what follows"]),
        (
            "hello",
            &[
                "line 1: this is a text, not a map of fields: a pod manifest starts with \"apiVersion: v1\" and \"kind: Pod\"",
            ],
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\n",
            &[
                "line 2: kind: kind Deployment is not a Pod; a node runs pods only: write its pod template as a Pod, or apply it to a cluster",
            ],
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\n",
            &[
                "line 2: kind: kind ConfigMap is not a Pod; a node runs pods only: a pod manifest starts with \"apiVersion: v1\" and \"kind: Pod\"",
            ],
        ),
        (
            "apiVersion: v2\nkind: Pod\n",
            &["line 1: apiVersion: Unsupported value: \"v2\": supported values: \"v1\""],
        ),
        (
            "kind: Pod\n",
            &[
                "line 1: apiVersion: Required value: a pod manifest starts with \"apiVersion: v1\" and \"kind: Pod\"",
            ],
        ),
        (
            "metadata: {name: x}\n",
            &[
                "line 1: kind: Required value: a pod manifest starts with \"apiVersion: v1\" and \"kind: Pod\"",
            ],
        ),
        (
            "apiVersion: v1\nkind: PodList\nitems: []\n",
            &["line 2: kind: a list of pods is not taken here: put every pod in a file of its own"],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {}\nspec: {}\n",
            &[
                "line 3: metadata.name: Required value: name or generateName is required",
                "line 4: spec.containers: Required value",
            ],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    image: i\n    env:\n    - {name: A, value: 1}\n",
            &[
                "line 9: spec.containers[0].env[0].value: invalid type: integer `1`, expected a string: put the value in quotes",
            ],
        ),
        (
            "a: &a [*a]\n",
            &["line 1: the anchor this alias names contains the alias itself: write the value out"],
        ),
        (
            "a: b\0c",
            &[
                "line 1: byte 0x00 does not belong in YAML or JSON, this is not a text file: write it as UTF-8 text",
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(text), *expected, "{text:?}");
    }
    assert_eq!(errors(&deep).len(), 1);
    for cut in 1..WEB.len() {
        if let Err(issues) = file(&WEB[..cut]) {
            assert!(issues.iter().all(|issue| !issue.to_string().contains('\n')), "{issues:?}");
        }
    }
    let error = file("kind: Pod\n").unwrap_err().remove(0).to_string();
    assert!(error.starts_with("/etc/kubernetes/manifests/web.yaml: line 1: apiVersion: "), "{error}");
}

#[test]
fn a_huge_manifest_is_refused_unread() {
    let huge = vec![b'#'; (10 << 20) + 1];
    let issues = decode_manifest(&huge, ManifestMode::OnePod, &context(PodSource::File), SEEN).unwrap_err();
    assert_eq!(issues[0].text(), "10485761 bytes are more than the 10485760 allowed: make the file smaller");
}

#[test]
fn unknown_fields_doubled_keys_and_further_documents_are_warnings() {
    let text =
        WEB.replace("    image: nginx\n", "    image: old\n    image: nginx\n    imagePulPolicy: Never\n");
    let manifest = file(&format!("{text}---\nkind: [\n")).unwrap();
    assert_eq!(manifest.pods[0].spec.as_ref().unwrap().containers[0].image.as_deref(), Some("nginx"));
    let manifest = file(&format!("{text}---\nkind: Other\n")).unwrap();
    let warnings: Vec<String> = manifest.warnings.iter().map(ManifestIssue::text).collect();
    assert_eq!(
        warnings,
        [
            "line 17: only the first document of this file is read: put every pod in a file of its own",
            "line 11: key \"image\" is already set at line 10: the later value counts",
            "line 12: spec.containers[0].imagePulPolicy: unknown field, it is ignored",
        ]
    );
}

#[test]
fn everything_takes_documents_and_lists() {
    let item = "{metadata: {name: b}, spec: {containers: [{name: c, image: i}]}}";
    let text = format!(
        "{WEB}---\n---\napiVersion: v1\nkind: PodList\nitems: [{item}]\n---\napiVersion: v1\nkind: List\nitems: []\n"
    );
    let read = |text: &str| {
        decode_manifest(text.as_bytes(), ManifestMode::Everything, &context(PodSource::Local), SEEN)
    };
    let names: Vec<String> = read(&text).unwrap().pods.iter().map(|pod| pod.key().to_string()).collect();
    assert_eq!(names, ["default/web", "default/b"]);
    let bad = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service}\n- {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c}]}}\n- {apiVersion: v1, kind: List}\n";
    let texts: Vec<String> = read(bad).unwrap_err().iter().map(ManifestIssue::text).collect();
    assert_eq!(
        texts,
        [
            "line 4: items[0].kind: kind Service is not a Pod; a node runs pods only: a pod manifest starts with \"apiVersion: v1\" and \"kind: Pod\"",
            "line 5: items[1].spec.containers[0].image: Required value",
            "line 6: items[2]: this item is not a Pod: a list holds pods only",
        ]
    );
}

#[test]
fn references_to_api_objects_are_forbidden_by_name() {
    let forbidden = |text: &str| {
        let texts = errors(text);
        texts.iter().map(|text| text.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    let cases = [
        (
            with_spec("serviceAccountName: sa"),
            "spec.serviceAccountName: Forbidden: static pods may not reference serviceaccounts",
        ),
        (
            with_spec("imagePullSecrets: [{name: s}]"),
            "spec.imagePullSecrets: Forbidden: static pods may not reference secrets",
        ),
        (
            with_container("env: [{name: A, valueFrom: {configMapKeyRef: {name: m, key: k}}}]"),
            "spec.containers[0].env[0].valueFrom.configMapKeyRef: Forbidden: static pods may not reference configmaps",
        ),
        (
            with_container("envFrom: [{secretRef: {name: m}}]"),
            "spec.containers[0].envFrom[0].secretRef: Forbidden: static pods may not reference secrets",
        ),
        (
            with_spec("volumes: [{name: v, configMap: {name: m}}]"),
            "spec.volumes[0].configMap: Forbidden: static pods may not reference configmaps (via configmap volumes)",
        ),
        (
            with_spec("volumes: [{name: v, persistentVolumeClaim: {claimName: m}}]"),
            "spec.volumes[0].persistentVolumeClaim: Forbidden: static pods may not reference persistentvolumeclaims",
        ),
        (
            with_spec("volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]"),
            "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: static pods may not reference serviceaccounts (via projected volumes)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(forbidden(&text), [expected], "{text}");
    }
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let cases = [
        (
            with_spec(
                "initContainers: [{name: s, image: i, volumeMounts: [{name: v, mountPath: /v, bindMountOptions: [noexec]}]}]\nvolumes: [{name: v, emptyDir: {}}]",
            ),
            "spec.initContainers[0].volumeMounts[0].bindMountOptions: Forbidden: bind mount options are not implemented yet: remove the field",
        ),
        (
            with_spec("volumes: [{name: v, nfs: {server: s, path: /}}]"),
            "spec.volumes[0].nfs: Forbidden: nfs volumes are not implemented yet: use an emptyDir, hostPath or downwardAPI volume",
        ),
    ];
    for (text, expected) in cases {
        let texts = errors(&text);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].ends_with(expected), "{texts:?}");
    }
    let supported = [
        with_spec("setHostnameAsFQDN: true"),
        with_container("livenessProbe: {grpc: {port: 1, mode: TLS}}"),
        with_container("livenessProbe: {httpGet: {port: 1, protocol: HTTP2}}"),
        with_spec("hostnameOverride: other"),
        with_spec("runtimeClassName: kata"),
        with_spec("overhead: {cpu: 100m, memory: 8Mi}"),
        with_spec("resources: {requests: {cpu: 100m}, limits: {memory: 64Mi}}"),
        with_spec("initContainers: [{name: s, image: i, restartPolicy: Always}, {name: t, image: i}]"),
        with_spec("securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: \"1\"}]}"),
        with_spec("volumes: [{name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]"),
    ];
    supported.iter().for_each(|text| drop(pod(text)));
}

#[test]
fn many_errors_are_bounded() {
    let labels: String = (0..500).map(|n| format!("    \"-{n}\": x\n")).collect();
    let text = WEB.replace("  labels: {app: web}\n", &format!("  labels:\n{labels}"));
    let issues = file(&text).unwrap_err();
    assert_eq!(issues.len(), MAX_ISSUES);
    assert_eq!(issues.iter().filter(|issue| issue.line.is_some()).count(), MAX_LOCATED_ISSUES);
}

#[test]
fn a_large_manifest_is_judged_in_bounded_time_and_space() {
    let fill = |head: &str, item: &str| {
        let mut text = head.to_owned();
        while text.len() + item.len() < 2 << 20 {
            text.push_str(item);
        }
        text
    };
    let head =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    image: i\n";
    for text in [
        fill(&format!("{head}    resizePolicy:\n"), "    - {resourceName: x}\n"),
        fill(&format!("{head}    ports:\n"), "    - {containerPort: -1}\n"),
        fill(&format!("{head}    resources: {{limits: {{"), "a"),
        format!("{}: 1}}}}\n", fill(&format!("{head}    resources: {{limits: {{"), "a")),
        fill(head, "    xxxxxxxx"),
        fill("apiVersion: v1\nkind: List\nitems:\n", "- {kind: Pod, apiVersion: v1, unknown: 1}\n"),
    ] {
        let issues =
            decode_manifest(text.as_bytes(), ManifestMode::Everything, &context(PodSource::Local), SEEN)
                .unwrap_err();
        assert!(issues.len() <= MAX_ISSUES);
        assert!(issues.iter().all(|issue| issue.to_string().len() < 10_000));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for mode in [ManifestMode::OnePod, ManifestMode::PodOrList, ManifestMode::Everything] {
            let _ = decode_manifest(&bytes, mode, &context(PodSource::File), SEEN);
        }
    }

    #[test]
    fn no_mutation_of_a_manifest_makes_it_panic(
        cuts in proptest::collection::vec((0..300usize, 0..12usize, "[-a-z0-9:\\[\\]{}&*!|>#'\" \n.,]{0,6}"), 1..6),
    ) {
        let mut text = format!("{WEB}  volumes: [{{name: v, hostPath: {{path: /a}}}}]\n  hostNetwork: true\n").into_bytes();
        for (at, len, insert) in cuts {
            let at = at % text.len();
            let end = (at + len).min(text.len());
            text.splice(at..end, insert.into_bytes());
            if text.is_empty() { text.push(b'a'); }
        }
        if let Ok(manifest) = decode_manifest(&text, ManifestMode::OnePod, &context(PodSource::File), SEEN) {
            // Whatever is accepted is a pod that defaulting leaves alone and validation still takes.
            let mut pod = manifest.pods[0].as_ref().clone();
            apply_api_defaults(&mut pod);
            prop_assert_eq!(&pod, manifest.pods[0].as_ref());
            prop_assert!(validate_pod(&pod, PodGates::default()).is_empty());
        }
    }
}
