//! What the API server has for pods: services, service accounts, Secrets and ConfigMaps, pull secrets, runtime classes. And what
//! it is told of them: events.

use lab::agent::is_ready;
use lab::{images, registry};
use serde_json::{Value, json};
use tests::cluster::{Member, bound};
use tests::{LATER, eventually, eventually_true, manifest};

/// Waits for an event of an object, and returns it.
#[track_caller]
fn event(member: &Member, object: &str, reason: &str, message: &str) -> Value {
    let selector = format!("--field-selector=involvedObject.name={object},reason={reason}");
    eventually(&format!("the event {reason} of {object}"), LATER, || {
        let text = member.kubectl(&["get", "events", &selector, "-o=json"]);
        let list: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let all = list["items"].as_array().cloned().unwrap_or_default();
        let holds = |event: &Value| event["message"].as_str().unwrap_or_default().contains(message);
        all.iter().find(|event| holds(event)).cloned().ok_or_else(|| format!("{all:?}"))
    })
}

/// A pod that runs on the host's network, as the API server listens on loopback alone, and has kubectl.
fn with_kubectl(member: &Member) -> Value {
    let port = member.plane.url().rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap_or_default();
    let script = format!("/kubectl auth whoami -o=json; echo; env | sort; {}", manifest::IDLE);
    let mut main = manifest::shell("main", &script);
    main["volumeMounts"] = json!([{ "name": "kubectl", "mountPath": "/kubectl", "readOnly": true }]);
    main["env"] = json!([
        { "name": "KUBERNETES_SERVICE_HOST", "value": "127.0.0.1" },
        { "name": "KUBERNETES_SERVICE_PORT", "value": port },
    ]);
    let mut pod = manifest::pod(
        "inside",
        json!({
            "nodeName": member.name, "hostNetwork": true, "containers": [main],
            "volumes": [{ "name": "kubectl", "hostPath": { "path": member.plane.kubectl_program(), "type": "File" } }],
        }),
    );
    pod["spec"]["serviceAccountName"] = json!("robot");
    pod
}

#[test]
fn pods_have_services_an_identity_and_objects_that_follow_changes() {
    let member = Member::started("access-1");
    member.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "my-db" },
        "spec": { "clusterIP": null, "ports": [{ "name": "sql", "port": 5432 }] },
    }));
    let ip = member.kubectl(&["get", "service", "my-db", "-o=jsonpath={.spec.clusterIP}"]);
    member.kubectl(&["create", "serviceaccount", "robot"]);
    member.apply(&with_kubectl(&member));
    member.until("inside", "ready", is_ready);
    eventually_true("the pod's words", LATER, || member.node.log_of("inside", "main").contains("PATH="));
    let words = member.node.log_of("inside", "main");
    for line in [
        "\"username\": \"system:serviceaccount:default:robot\"",
        &format!("MY_DB_SERVICE_HOST={ip}"),
        "MY_DB_SERVICE_PORT_SQL=5432",
        "KUBERNETES_PORT_443_TCP_PROTO=tcp",
        "KUBERNETES_SERVICE_HOST=127.0.0.1",
    ] {
        assert!(words.contains(line), "{line} is missing in\n{words}");
    }

    volumes_follow_their_objects(&member);
    authorities_are_shown_once_there_are_some(&member);
    the_node_object_judges_and_configures(&member);

    // What happened is told with its count.
    let started = event(&member, "inside", "Started", "Container started");
    assert_eq!(started["involvedObject"]["fieldPath"], "spec.containers{main}");
    assert_eq!(
        (&started["source"]["component"], &started["source"]["host"]),
        (&json!("kubelet"), &json!("access-1"))
    );
    assert_eq!(started["count"], 1);
    event(&member, "access-1", "Starting", "Starting kubelet.");
    member.kubectl(&["delete", "pod", "inside", "--timeout=60s"]);
    member.kubectl(&["delete", "service/my-db", "serviceaccount/robot"]);
}

/// Objects that change reach the volumes of a running pod; one that is missing is waited for, or not when it is optional.
fn volumes_follow_their_objects(member: &Member) {
    let map = |text: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "page" }, "data": { "t": text } });
    member.apply(&map("one"));
    member.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "fixed" }, "immutable": true,
        "stringData": { "k": "sealed" },
    }));
    let script = "last=; while :; do now=$(cat /all/t /all/k /late/l 2>/dev/null | tr '\\n' ' '); \
         [ \"$now\" = \"$last\" ] || echo \"saw $now\"; last=$now; sleep 0.2; done";
    let mut main = manifest::shell("main", script);
    main["volumeMounts"] =
        json!([{ "name": "all", "mountPath": "/all" }, { "name": "late", "mountPath": "/late" }]);
    main["env"] =
        json!([{ "name": "NEEDED", "valueFrom": { "secretKeyRef": { "name": "later", "key": "k" } } }]);
    let pod = manifest::pod(
        "reader",
        json!({
            "containers": [main],
            "volumes": [
                { "name": "all", "projected": { "sources": [{ "configMap": { "name": "page" } }, { "secret": { "name": "fixed" } }] } },
                { "name": "late", "configMap": { "name": "late", "optional": true } },
            ],
        }),
    );
    member.apply(&bound(&member.name, pod));
    let waits = member.until("reader", "waiting for its Secret", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    });
    let message = &waits["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
    assert_eq!(message, "secret \"later\" not found");
    member.kubectl(&["create", "secret", "generic", "later", "--from-literal=k=v"]);
    member.until("reader", "ready", is_ready);
    let says = |line: &str| {
        eventually(&format!("the pod to say {line:?}"), LATER, || {
            let words = member.node.log_of("reader", "main");
            if words.lines().any(|said| said.trim_end() == line) { Ok(()) } else { Err(words) }
        });
    };
    says("saw onesealed");
    member.apply(&map("two"));
    says("saw twosealed");
    member.kubectl(&["create", "configmap", "late", "--from-literal=l=here"]);
    says("saw twosealedhere");
    member.kubectl(&["delete", "configmap", "late"]);
    member.kubectl(&["delete", "pod", "reader", "--timeout=60s"]);
    member.kubectl(&["delete", "configmap/page", "secret/fixed", "secret/later"]);
}

/// A trust bundle that comes to be reaches the volume that shows it.
fn authorities_are_shown_once_there_are_some(member: &Member) {
    let mut main = manifest::shell("main", manifest::IDLE);
    main["volumeMounts"] = json!([{ "name": "trust", "mountPath": "/trust" }]);
    let bundle = json!({ "clusterTrustBundle": { "name": "lab", "path": "ca.pem", "optional": true } });
    let pod = manifest::pod(
        "truster",
        json!({ "containers": [main], "volumes": [{ "name": "trust", "projected": { "sources": [bundle] } }] }),
    );
    member.apply(&bound(&member.name, pod));
    member.until("truster", "ready", is_ready);
    let shown = || member.node.cri.sh("truster", "main", "cat /trust/ca.pem");
    assert_eq!(shown(), "");
    let authority = std::fs::read_to_string(member.plane.ca_file()).unwrap();
    member.apply(&json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "metadata": { "name": "lab" },
        "spec": { "trustBundle": authority },
    }));
    eventually_true("the authority to be shown", LATER, || shown().trim() == authority.trim());
    member.kubectl(&["delete", "pod/truster", "clustertrustbundle/lab", "--timeout=60s"]);
}

/// Labels that an admin gives count for pods that come after; the range of the pods reaches the runtime.
fn the_node_object_judges_and_configures(member: &Member) {
    let node = member.name.as_str();
    member.kubectl(&["label", "node", node, "example.com/disk=ssd"]);
    let wants = |name: &str, disk: &str| {
        let mut pod = bound(node, manifest::idle(name));
        pod["spec"]["nodeSelector"] = json!({ "example.com/disk": disk });
        member.apply(&pod);
    };
    wants("fits", "ssd");
    wants("fits-not", "hdd");
    member.until("fits", "ready", is_ready);
    let refused = member.until("fits-not", "refused", |pod| pod["status"]["phase"] == "Failed");
    assert_eq!(refused["status"]["reason"], "NodeAffinity");
    let range = json!({ "spec": { "podCIDR": "10.244.7.0/24", "podCIDRs": ["10.244.7.0/24"] } });
    member.kubectl(&["patch", "node", node, "-p", &range.to_string()]);
    member.node.logged(0, &["updating pod CIDR", "10.244.7.0/24"]);
    member.kubectl(&["delete", "pod", "fits", "fits-not", "--timeout=60s"]);
}

#[test]
fn pull_secrets_open_a_private_registry_and_classes_choose_the_handler() {
    let member = Member::started("access-2");
    // It comes first: what was pulled with a secret is not for pods without, under whatever name.
    classes_choose_the_handler(&member);
    let private = member.node.instance.registry(registry::Access::SignIn).unwrap();
    let containerd = member.node.instance.containerd();
    let image = private.push(containerd, images::BUSYBOX, "private/busybox:1").unwrap();
    let mut pod = bound("access-2", manifest::of_image("puller", &image, "Always"));
    pod["spec"]["imagePullSecrets"] = json!([{ "name": "login" }]);
    member.apply(&pod);
    event(&member, "puller", "FailedToRetrieveImagePullSecret", "login");
    let login = json!({ "username": registry::USER, "password": registry::PASSWORD });
    member.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" }, "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": json!({ "auths": { private.host(): login } }).to_string() },
    }));
    member.until("puller", "ready", is_ready);
    // The old form of the same.
    member.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "old" }, "type": "kubernetes.io/dockercfg",
        "stringData": { ".dockercfg": json!({ private.host(): login }).to_string() },
    }));
    let mut pod = bound("access-2", manifest::of_image("old-puller", &image, "Always"));
    pod["spec"]["imagePullSecrets"] = json!([{ "name": "old" }]);
    member.apply(&pod);
    member.until("old-puller", "ready", is_ready);
    let log = member.node.agent.log();
    assert!(!log.contains(registry::PASSWORD), "the log shows a password");
    member.kubectl(&["delete", "pod", "puller", "old-puller", "--timeout=60s"]);
    member.kubectl(&["delete", "secret", "login", "old"]);
}

/// A class that is gone when the node looks for it is waited for; its handler is the sandbox's.
fn classes_choose_the_handler(member: &Member) {
    let class = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": "plain" }, "handler": "runc",
    });
    member.apply(&class);
    let mut pod = bound("access-2", manifest::idle("classy"));
    pod["spec"]["nodeName"] = Value::Null;
    pod["spec"]["schedulerName"] = json!("nobody");
    pod["spec"]["runtimeClassName"] = json!("plain");
    member.apply(&pod);
    member.kubectl(&["delete", "runtimeclass", "plain"]);
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "classy" },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "access-2" },
    });
    let file = member.plane.dir().join("binding.json");
    std::fs::write(&file, binding.to_string()).unwrap();
    member.kubectl(&[
        "create",
        "--raw=/api/v1/namespaces/default/pods/classy/binding",
        "-f",
        &file.display().to_string(),
    ]);
    event(member, "classy", "FailedCreatePodSandBox", "runtimeclass.node.k8s.io \"plain\" not found");
    member.apply(&class);
    member.until("classy", "ready", is_ready);
    let handlers: Vec<String> =
        member.node.cri.sandboxes("classy").into_iter().map(|it| it.runtime_handler).collect();
    assert_eq!(handlers, ["runc"]);
    member.kubectl(&["delete", "runtimeclass/plain", "pod/classy", "--timeout=60s"]);
}
