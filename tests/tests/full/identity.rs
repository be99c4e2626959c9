//! The node's identity at a real control plane: TLS bootstrap, signed certificates, and who may ask the node what.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::control_plane::{Identity, Validity};
use lab::wait::Stopwatch;
use lab::{ControlPlane, ControlPlaneParts};
use serde_json::{Value, json};
use tests::cluster::{apply, bound, until};
use tests::manifest::idle;
use tests::node::NODE_NAME;
use tests::{LATER, Node, eventually, eventually_true};

/// How long the start of a control plane and of what follows may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

fn control_plane() -> ControlPlane {
    ControlPlane::new(&ControlPlaneParts::ready().unwrap()).unwrap()
}

/// A node that takes its users from the control plane.
fn configure(node: &mut Node, plane: &ControlPlane) {
    let config = &mut node.agent.config;
    config["authentication"] = json!({
        "anonymous": { "enabled": false },
        "webhook": { "enabled": true },
        "x509": { "clientCAFile": plane.ca_file() },
    });
    config["authorization"] = json!({ "mode": "Webhook" });
    config["rotateCertificates"] = json!(true);
    config["serverTLSBootstrap"] = json!(true);
}

/// Has the node ask for its identity with a bootstrap token; returns the kubeconfig that comes of it.
fn bootstrap(node: &mut Node, plane: &ControlPlane) -> PathBuf {
    let kubeconfig = node.agent.root_dir().join("kubelet.conf");
    let bootstrap = plane.bootstrap_kubeconfig().unwrap();
    node.agent.flags.push(format!("--kubeconfig={}", kubeconfig.display()));
    node.agent.flags.push(format!("--bootstrap-kubeconfig={}", bootstrap.display()));
    kubeconfig
}

/// Asks the node itself with kubectl, which trusts certificates of the cluster's authority alone.
fn ask(node: &Node, plane: &ControlPlane, kubeconfig: &Path, path: &str) -> Result<String, String> {
    let server = format!("--server=https://127.0.0.1:{}", node.agent.ports().secure);
    let name = format!("--tls-server-name={NODE_NAME}");
    let raw = format!("--raw={path}");
    plane.kubectl_as(kubeconfig, &[&server, &name, "get", &raw]).map_err(|error| format!("{error:#}"))
}

fn requests(plane: &ControlPlane, signer: &str) -> Vec<Value> {
    let all = plane.kubectl(&["get", "csr", "-o=json"]).unwrap();
    let all: Value = serde_json::from_str(&all).unwrap();
    let all = all["items"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|request| request["spec"]["signerName"] == signer).collect()
}

fn bind(plane: &ControlPlane, role: &str, account: &str) {
    let subject = format!("--serviceaccount=default:{account}");
    let role_flag = format!("--clusterrole={role}");
    plane.kubectl(&["create", "serviceaccount", account]).unwrap();
    plane.kubectl(&["create", "clusterrolebinding", account, &role_flag, &subject]).unwrap();
}

/// Files below `dir` that hold this text, but for the certificate directory.
fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_node_bootstraps_serves_a_signed_certificate_and_asks_the_cluster_who_may() {
    let plane = control_plane();
    let mut node = Node::prepared();
    configure(&mut node, &plane);
    let kubeconfig = bootstrap(&mut node, &plane);
    node.agent.flags.push("--v=4".to_owned());
    node.start();

    let who = eventually("the node to be known", LIMIT, || {
        let said = plane.kubectl_as(&kubeconfig, &["auth", "whoami", "-o=json"]);
        said.map_err(|error| format!("{error:#}"))
    });
    assert!(who.contains(&format!("system:node:{NODE_NAME}")) && who.contains("system:nodes"), "{who}");

    // Nobody approves serving certificates by himself: until somebody does, handshakes fail.
    let admin = plane.admin_kubeconfig();
    ask(&node, &plane, admin, "/healthz").expect_err("no serving certificate yet");
    let request = eventually("a request for a serving certificate", LIMIT, || {
        requests(&plane, "kubernetes.io/kubelet-serving").pop().ok_or_else(|| "none".to_owned())
    });
    assert_eq!(request["spec"]["username"], format!("system:node:{NODE_NAME}"));
    assert_eq!(request["spec"]["usages"], json!(["digital signature", "server auth"]));
    let name = request["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("csr-"), "{name}");
    plane.kubectl(&["certificate", "approve", name]).unwrap();
    let healthy = eventually("the node to serve", LATER, || ask(&node, &plane, admin, "/healthz"));
    assert_eq!(healthy, "ok");

    let expired = Identity { user: "admin", group: "system:masters", validity: Validity::Expired };
    let expired = plane.kubeconfig("expired", expired).unwrap();
    let refused = ask(&node, &plane, &expired, "/healthz").unwrap_err();
    assert!(refused.contains("has asked for the client to provide credentials"), "{refused}");
    who_may(&node, &plane);

    // A second life goes on with the same certificates and asks for none.
    let before = plane.kubectl(&["get", "csr", "-o=name"]).unwrap();
    node.agent.stop(LATER).unwrap();
    node.start();
    assert_eq!(eventually("the node to serve", LATER, || ask(&node, &plane, admin, "/healthz")), "ok");
    assert_eq!(plane.kubectl(&["get", "csr", "-o=name"]).unwrap(), before);
}

#[test]
fn a_client_certificate_is_renewed_before_its_end_and_the_node_goes_on_with_the_new_one() {
    // Signed as of five minutes ago, it is renewed 1 to 87 s after it came.
    let life = Duration::from_secs(130);
    let plane = ControlPlane::signing_for(&ControlPlaneParts::ready().unwrap(), life).unwrap();
    let mut node = Node::prepared();
    bootstrap(&mut node, &plane);
    node.agent.config["rotateCertificates"] = json!(true);
    node.start();

    let in_use = node.agent.cert_dir().join("kubelet-client-current.pem");
    let first = eventually("the first certificate", LIMIT, || {
        std::fs::read_link(&in_use).map_err(|error| error.to_string())
    });
    let came = Stopwatch::start();
    eventually_true("another certificate to be in use", life, || {
        std::fs::read_link(&in_use).is_ok_and(|now| now != first)
    });
    assert!(came.elapsed() < life, "it was renewed after its end");

    eventually_true("the first certificate to end", life, || came.elapsed() > life);
    let renewed = || {
        let lease =
            ["get", "lease", NODE_NAME, "--namespace=kube-node-lease", "-o=jsonpath={.spec.renewTime}"];
        plane.kubectl(&lease).unwrap()
    };
    let at_end = renewed();
    eventually_true("the Lease to be renewed", LATER, || renewed() != at_end);
    apply(&plane, "renewal", &bound(NODE_NAME, idle("after-renewal")));
    until(&plane, "after-renewal", "running", |pod| pod["status"]["phase"] == "Running");
    let log = node.agent.log();
    // The word is part of a setting's name, which the log shows too.
    let refused =
        log.lines().find(|line| line.contains("Unauthorized") && !line.contains("cacheUnauthorizedTTL"));
    assert_eq!(refused, None, "a request was made with a certificate that had ended");
}

fn who_may(node: &Node, plane: &ControlPlane) {
    plane.kubectl(&["create", "clusterrole", "metrics", "--verb=get", "--resource=nodes/metrics"]).unwrap();
    bind(plane, "metrics", "prometheus");
    bind(plane, "system:kubelet-api-admin", "operator");
    let token = |account: &str, more: &[&str]| {
        let args = [&["create", "token", account], more].concat();
        plane.kubectl(&args).unwrap().trim().to_owned()
    };
    let kubeconfig = |name: &str, token: &str| plane.token_kubeconfig(name, token).unwrap();
    let prometheus = token("prometheus", &[]);
    let monitor = kubeconfig("monitor", &prometheus);
    assert!(ask(node, plane, &monitor, "/metrics").unwrap().contains("kubelet_"));
    let refused = ask(node, plane, &monitor, "/pods").unwrap_err();
    let text = "Forbidden (user=system:serviceaccount:default:prometheus, verb=get, resource=nodes, subresource(s)=[pods proxy])";
    assert!(refused.contains(text), "{refused}");
    let operator = kubeconfig("operator", &token("operator", &[]));
    assert!(ask(node, plane, &operator, "/pods").unwrap().contains("PodList"));
    let vault = token("operator", &["--audience=vault"]);
    let (forged, other) = (kubeconfig("forged", "eyJhbGciOiJub25lIn0.e30."), kubeconfig("other", &vault));
    for (what, kubeconfig) in [("forged", forged), ("for another audience", other)] {
        let refused = ask(node, plane, &kubeconfig, "/pods").unwrap_err();
        assert!(refused.contains("has asked for the client to provide credentials"), "{what}: {refused}");
    }
    for secret in [prometheus.as_str(), vault.as_str(), "0123456789abcdef"] {
        assert!(!node.agent.log().contains(secret), "a token in the log");
        assert_eq!(files_with(&node.agent.root_dir(), secret), Vec::<String>::new());
    }
}
