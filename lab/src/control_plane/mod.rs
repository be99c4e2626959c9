//! A cluster's control plane without nodes: etcd, kube-apiserver, kube-scheduler and kube-controller-manager as real processes.
//!
//! Nodes are authorized and restricted as in a cluster that kubeadm made (Node and RBAC authorization, NodeRestriction), pods get
//! service accounts and tokens, certificate requests are signed. The API server can be stopped, paused and started again on
//! the same port, for tests of what a node does meanwhile.
//!
//! Writes: one folder `/var/tmp/podwright-lab/cluster-<n>` with data, logs, keys and kubeconfigs.
//! Guarantees: listens on loopback only; everything ends with the value, and after a SIGKILL with the next sweep.
//! Leaves out: auditing, several replicas, and networks of services.

mod pki;
mod programs;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{
    ControlPlaneParts,
    claim::{CONTROL_PLANES, Claim, sweep_stale},
    command,
    free_port::free_port,
    process::{Program, Running, Signal, log_tail},
    wait::{self, Look},
};
use pki::Pki;
pub use pki::{Identity, Validity};
use programs::Layout;

/// How long each program may take until it is ready. It is a few seconds on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long the API server may take to leave by itself; it waits for its clients' watches to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long certificates are good that are asked for; the program's own default.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A bootstrap token that the cluster knows once asked to.
const TOKEN_ID: &str = "podwrt";
const TOKEN_SECRET: &str = "0123456789abcdef";

/// A running control plane; closing or dropping it removes all of it.
#[derive(Debug)]
pub struct ControlPlane {
    parts: ControlPlaneParts,
    claim: Claim,
    pki: Pki,
    ports: Ports,
    admin: PathBuf,
    etcd: Option<Running>,
    api_server: Option<Running>,
    scheduler: Option<Running>,
    controller_manager: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    etcd: u16,
    etcd_peer: u16,
    api: u16,
}

impl ControlPlane {
    /// Starts all of it and waits until the API answers and the `default` namespace has its service account. Leftovers of
    /// killed runs are removed first.
    pub fn new(parts: &ControlPlaneParts) -> Result<Self> {
        Self::signing_for(parts, CERTIFICATE_LIFE)
    }

    /// The same, where certificates that are asked for end after `certificate_life`. They all begin five minutes in the past.
    pub fn signing_for(parts: &ControlPlaneParts, certificate_life: Duration) -> Result<Self> {
        sweep_stale()?;
        let claim = Claim::take(&CONTROL_PLANES, |_number| Ok(true))?;
        let pki = Pki::create(&claim.dir().join("pki"))?;
        let ports = Ports { etcd: free_port()?, etcd_peer: free_port()?, api: free_port()? };
        let admin = Identity { user: "admin", group: "system:masters", validity: Validity::Valid };
        let admin = pki.client_kubeconfig("admin", admin, &url(ports))?;
        let mut plane = Self {
            parts: parts.clone(),
            claim,
            pki,
            ports,
            admin,
            etcd: None,
            api_server: None,
            scheduler: None,
            controller_manager: None,
        };
        plane.etcd = Some(Running::start(&plane.program(parts.etcd(), plane.layout().etcd()))?);
        plane.start_api_server()?;
        plane.start_controllers(certificate_life)?;
        Ok(plane)
    }

    /// `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.ports)
    }

    /// The folder with everything in it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.claim.dir()
    }

    /// The authority's certificate: it signs servers, clients and certificate requests.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.pki.file("ca.crt")
    }

    /// The kubeconfig of somebody who may do everything.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// A kubeconfig of the node `name`: user `system:node:<name>` in group `system:nodes`.
    pub fn node_kubeconfig(&self, name: &str) -> Result<PathBuf> {
        let user = format!("system:node:{name}");
        self.kubeconfig(
            &format!("node-{name}"),
            Identity { user: &user, group: "system:nodes", validity: Validity::Valid },
        )
    }

    /// A kubeconfig, in a file named after `name`, with a fresh client certificate for `identity`.
    pub fn kubeconfig(&self, name: &str, identity: Identity<'_>) -> Result<PathBuf> {
        self.pki.client_kubeconfig(name, identity, &self.url())
    }

    /// A kubeconfig with a bearer token.
    pub fn token_kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.pki.kubeconfig(name, &json!({ "token": token }), &self.url())
    }

    /// A kubeconfig with a bootstrap token, which is made known to the cluster together with the rights that kubeadm gives to
    /// new nodes: to ask for a client certificate and to have it approved, and later to renew it.
    pub fn bootstrap_kubeconfig(&self) -> Result<PathBuf> {
        for object in bootstrap_objects() {
            self.apply(&object)?;
        }
        self.token_kubeconfig("bootstrap", &format!("{TOKEN_ID}.{TOKEN_SECRET}"))
    }

    /// Runs `kubectl` as the admin and returns what it prints.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_as(&self.admin, args)
    }

    /// Runs `kubectl` with another kubeconfig.
    pub fn kubectl_as(&self, kubeconfig: &Path, args: &[&str]) -> Result<String> {
        command::output(&mut self.kubectl_command(kubeconfig, args))
    }

    /// `kubectl` of the cluster's own version.
    #[must_use]
    pub fn kubectl_program(&self) -> PathBuf {
        self.parts.kubernetes("kubectl")
    }

    /// A `kubectl` to start oneself, e.g. one that goes on.
    #[must_use]
    pub fn kubectl_command(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(self.kubectl_program());
        command
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--cache-dir={}", self.dir().join("kubectl-cache").display()))
            .args(args);
        command
    }

    /// `kubectl apply` of one object, as the admin.
    pub fn apply(&self, object: &Value) -> Result<String> {
        let file = self.dir().join("applied.json");
        fs::write(&file, serde_json::to_vec(object)?).with_context(|| format!("{}", file.display()))?;
        self.kubectl(&["apply", "-f", &file.display().to_string()])
    }

    /// Stops the API server in order, or kills it when that takes too long.
    pub fn stop_api_server(&mut self) -> Result<()> {
        self.api_server.take().context("the API server does not run")?.stop(STOP_LIMIT)?;
        Ok(())
    }

    /// Starts the API server, on the same port as before, and waits until it is ready.
    pub fn start_api_server(&mut self) -> Result<()> {
        if self.api_server.is_some() {
            bail!("the API server already runs");
        }
        let program = self.program(&self.parts.kubernetes("kube-apiserver"), self.layout().api_server());
        self.api_server = Some(Running::start(&program)?);
        self.wait_until("the API server's /readyz to say ok", |plane| {
            plane.kubectl(&["--request-timeout=5s", "get", "--raw=/readyz"])
        })
    }

    /// The API server's process ID, while it runs.
    #[must_use]
    pub fn api_server_pid(&self) -> Option<u32> {
        self.api_server.as_ref().map(Running::pid)
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause_api_server(&self) -> Result<()> {
        self.signal_api_server(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume_api_server(&self) -> Result<()> {
        self.signal_api_server(Signal::CONT)
    }

    /// Removes everything and says what could not be removed; dropping does the same but can only print it.
    pub fn close(mut self) -> Result<()> {
        self.claim.release()
    }

    fn signal_api_server(&self, signal: Signal) -> Result<()> {
        self.api_server.as_ref().context("the API server does not run")?.signal(signal)
    }

    fn start_controllers(&mut self, certificate_life: Duration) -> Result<()> {
        let scheduler = self.controller_kubeconfig("kube-scheduler")?;
        let args = self.layout().scheduler(&scheduler);
        self.scheduler = Some(Running::start(&self.program(&self.parts.kubernetes("kube-scheduler"), args))?);
        let manager = self.controller_kubeconfig("kube-controller-manager")?;
        let args = self.layout().controller_manager(&manager, certificate_life);
        let program = self.program(&self.parts.kubernetes("kube-controller-manager"), args);
        self.controller_manager = Some(Running::start(&program)?);
        self.wait_until("the service account of the default namespace", |plane| {
            plane.kubectl(&["get", "serviceaccount/default", "configmap/kube-root-ca.crt"])
        })
    }

    fn controller_kubeconfig(&self, name: &str) -> Result<PathBuf> {
        let user = format!("system:{name}");
        self.kubeconfig(name, Identity { user: &user, group: "system:masters", validity: Validity::Valid })
    }

    fn wait_until(&mut self, what: &str, look: impl Fn(&Self) -> Result<String>) -> Result<()> {
        wait::until(what, START_LIMIT, || {
            let all =
                [&mut self.etcd, &mut self.api_server, &mut self.scheduler, &mut self.controller_manager];
            for running in all.into_iter().flatten() {
                running.still_runs()?;
            }
            Ok(match look(self) {
                Ok(_answer) => Look::Done(()),
                Err(error) => Look::Waiting(format!("{error:#}")),
            })
        })
    }

    fn layout(&self) -> Layout<'_> {
        Layout {
            dir: self.claim.dir(),
            pki: &self.pki,
            etcd_port: self.ports.etcd,
            etcd_peer_port: self.ports.etcd_peer,
            api_port: self.ports.api,
        }
    }

    fn program(&self, file: &Path, args: Vec<String>) -> Program {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Program { file: file.to_owned(), args, env: Vec::new(), log: self.dir().join(format!("{name}.log")) }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.dir().join("kube-apiserver.log");
            eprintln!("the end of the API server's log:\n{}", log_tail(&log, 10));
        }
    }
}

fn url(ports: Ports) -> String {
    format!("https://127.0.0.1:{}", ports.api)
}

/// The token, and for whom kubeadm binds which roles.
fn bootstrap_objects() -> Vec<Value> {
    let binding = |name: &str, role: &str, group: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group }],
        })
    };
    let approve = "system:certificates.k8s.io:certificatesigningrequests";
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": format!("bootstrap-token-{TOKEN_ID}"), "namespace": "kube-system" },
            "type": "bootstrap.kubernetes.io/token",
            "stringData": {
                "token-id": TOKEN_ID,
                "token-secret": TOKEN_SECRET,
                "usage-bootstrap-authentication": "true",
            },
        }),
        binding("lab:bootstrap", "system:node-bootstrapper", "system:bootstrappers"),
        binding("lab:approve-first", &format!("{approve}:nodeclient"), "system:bootstrappers"),
        binding("lab:approve-renewal", &format!("{approve}:selfnodeclient"), "system:nodes"),
    ]
}
