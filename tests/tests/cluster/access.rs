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
    certificates_are_asked_for_and_shown(&member);
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

/// A pod waits for its certificate; the signer is played by the test.
fn certificates_are_asked_for_and_shown(member: &Member) {
    let mut main = manifest::shell("main", manifest::IDLE);
    main["volumeMounts"] = json!([{ "name": "id", "mountPath": "/id" }]);
    let source = json!({ "podCertificate": {
        "signerName": "example.com/lab", "keyType": "ECDSAP256", "credentialBundlePath": "both.pem", "keyPath": "key.pem",
        "userAnnotations": { "example.com/team": "blue" },
    } });
    let pod = manifest::pod(
        "owner",
        json!({ "containers": [main], "volumes": [{ "name": "id", "projected": { "sources": [source] } }] }),
    );
    member.apply(&bound(&member.name, pod));
    let request = eventually("a request for a certificate", LATER, || {
        let text = member.kubectl(&["get", "podcertificaterequests", "-o=json"]);
        let list: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        list["items"].get(0).cloned().ok_or(text)
    });
    let spec = &request["spec"];
    assert_eq!((&spec["podName"], &spec["nodeName"]), (&json!("owner"), &json!(member.name)));
    assert_eq!(spec["unverifiedUserAnnotations"], json!({ "example.com/team": "blue" }));
    event(member, "owner", "FailedMount", "credential bundle is not issued yet");

    let name = request["metadata"]["name"].as_str().unwrap();
    let chain = signed(member, spec["stubPKCS10Request"].as_str().unwrap());
    let time = |offset: &str| {
        let date =
            std::process::Command::new("date").args(["-u", "-d", offset, "+%Y-%m-%dT%H:%M:%SZ"]).output();
        String::from_utf8(date.unwrap().stdout).unwrap().trim().to_owned()
    };
    let condition = json!({
        "type": "Issued", "status": "True", "reason": "Issued", "message": "by the test", "lastTransitionTime": time("now"),
    });
    let status = json!({ "status": {
        "certificateChain": chain, "conditions": [condition], "notBefore": chain_time(member, "-startdate"),
        "beginRefreshAt": time("now + 12 hours"), "notAfter": chain_time(member, "-enddate"),
    } });
    let patch = status.to_string();
    member.kubectl(&[
        "patch",
        "podcertificaterequest",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ]);
    member.until("owner", "ready", is_ready);
    let shown = member.node.cri.sh("owner", "main", "cat /id/both.pem");
    assert!(shown.starts_with("-----BEGIN PRIVATE KEY-----") && shown.ends_with(&chain), "{}", shown.len());
    assert!(shown.starts_with(&member.node.cri.sh("owner", "main", "cat /id/key.pem")));
    assert!(!member.node.agent.log().contains("PRIVATE KEY"), "the log shows a key");
    member.kubectl(&["delete", "pod", "owner", "--timeout=60s"]);
}

fn openssl(args: &[&str]) -> String {
    let done = std::process::Command::new("openssl").args(args).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Signs the key of a request with the cluster's authority, for a day.
fn signed(member: &Member, request_base64: &str) -> String {
    let dir = member.plane.dir();
    let path = |name: &str| dir.join(name).display().to_string();
    let pem =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{request_base64}\n-----END CERTIFICATE REQUEST-----\n");
    std::fs::write(path("pod.req"), pem).unwrap();
    std::fs::write(path("pod.ext"), "subjectAltName=critical,DNS:owner.example.com\n").unwrap();
    let authority = member.plane.ca_file();
    let (certificate, key) =
        (authority.display().to_string(), authority.with_extension("key").display().to_string());
    openssl(&[
        "x509",
        "-req",
        "-in",
        &path("pod.req"),
        "-CA",
        &certificate,
        "-CAkey",
        &key,
        "-days",
        "1",
        "-set_serial",
        "7",
        "-extfile",
        &path("pod.ext"),
        "-out",
        &path("pod.crt"),
    ]);
    std::fs::read_to_string(path("pod.crt")).unwrap()
}

/// When the signed certificate begins or ends.
fn chain_time(member: &Member, which: &str) -> String {
    let file = member.plane.dir().join("pod.crt").display().to_string();
    let said = openssl(&["x509", "-in", &file, "-noout", which, "-dateopt", "iso_8601"]);
    said.trim().split_once('=').unwrap().1.replace(' ', "T")
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
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": "plain" },
        "handler": "test-handler",
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
    assert_eq!(handlers, ["test-handler"]);
    member.kubectl(&["delete", "runtimeclass/plain", "pod/classy", "--timeout=60s"]);
}
