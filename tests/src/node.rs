//! A private runtime with our kubelet on it.

use std::{os::unix::net::UnixStream, path::PathBuf, process::Command, sync::OnceLock, time::Duration};

use lab::{Agent, CgroupDriver, ContainerdVersion, Instance, Parts, http};
use serde_json::Value;

use crate::{Cri, Podwright, SOON, eventually, status};

/// The node's name, which upstream's rules append to the name of each static pod.
pub const NODE_NAME: &str = "podwright-lab";

/// A private runtime and a kubelet; dropping it removes both and everything they made.
#[derive(Debug)]
pub struct Node {
    /// The kubelet.
    pub agent: Agent,
    /// The tests' own view of the runtime.
    pub cri: Cri,
    /// The runtime. It comes last: what uses it is dropped first.
    pub instance: Instance,
}

impl Node {
    /// A runtime, and a kubelet that does not run yet.
    #[track_caller]
    pub fn prepared() -> Self {
        Self::prepared_with(CgroupDriver::Cgroupfs)
    }

    /// Like [`Self::prepared`], with cgroups made by `driver`.
    #[track_caller]
    pub fn prepared_with(driver: CgroupDriver) -> Self {
        build_programs();
        let version = ContainerdVersion::from_env().unwrap();
        let instance = Instance::with_driver(&Parts::ready().unwrap(), version, driver).unwrap();
        let agent = instance.agent().unwrap();
        let cri = Cri::connect(instance.containerd());
        Self { agent, cri, instance }
    }

    /// A runtime, and a kubelet that runs.
    #[track_caller]
    pub fn started() -> Self {
        let mut node = Self::prepared();
        node.start();
        node
    }

    /// Starts the agent and waits until it answers everywhere: the socket for `podwright` is the last that it opens.
    #[track_caller]
    pub fn start(&mut self) {
        self.agent.start().unwrap_or_else(|error| panic!("{error:#}"));
        let socket = self.agent.local_socket();
        eventually(&format!("the agent to listen on {}", socket.display()), SOON, || {
            UnixStream::connect(&socket).map(drop).map_err(|error| error.to_string())
        });
    }

    /// Puts the pod's manifest into the manifest folder, as `<name>.json`.
    #[track_caller]
    pub fn put(&self, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        self.agent.put_manifest(&format!("{name}.json"), &pod.to_string()).unwrap();
    }

    /// Takes the manifest of pod `name` out of the manifest folder.
    #[track_caller]
    pub fn take(&self, name: &str) {
        self.agent.remove_manifest(&format!("{name}.json")).unwrap();
    }

    /// Waits until pod `name` is Ready, and returns it.
    #[track_caller]
    pub fn ready(&mut self, name: &str) -> Value {
        self.agent.wait_ready(name, SOON).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Waits until `holds` for pod `name`, and returns it.
    #[track_caller]
    pub fn until(
        &mut self,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        self.agent.wait_pod(name, what, limit, holds).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Waits until the phase of pod `name` is `phase`, and returns the pod.
    #[track_caller]
    pub fn phase(&mut self, name: &str, phase: &str) -> Value {
        self.until(name, phase, SOON, |pod| pod["status"]["phase"] == phase)
    }

    /// Waits until a container of pod `name` waits for `reason`, and returns that container's status.
    #[track_caller]
    pub fn waiting(&mut self, name: &str, reason: &str) -> Value {
        let pod = self.until(name, &format!("waiting for {reason}"), SOON, |pod| {
            status::containers(pod).iter().any(|c| c["state"]["waiting"]["reason"] == reason)
        });
        let mut found = status::containers(&pod);
        found.retain(|container| container["state"]["waiting"]["reason"] == reason);
        found.remove(0)
    }

    /// Waits until pod `name` is known no more and the runtime has nothing of it that runs.
    #[track_caller]
    pub fn gone(&mut self, name: &str) {
        self.agent.wait_gone(name, SOON).unwrap_or_else(|error| panic!("{error:#}"));
        self.cri.wait_stopped(name);
    }

    /// The pod as `/pods` shows it now.
    #[track_caller]
    pub fn pod(&self, name: &str) -> Value {
        self.agent.pod(name).unwrap().unwrap_or_else(|| panic!("there is no pod {name}"))
    }

    /// The folder of the pod with this UID below the root directory.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.agent.root_dir().join("pods").join(uid)
    }

    /// Waits until the log of the agent, from byte `from` on, has a line that holds every one of `parts`; returns that line.
    #[track_caller]
    pub fn logged(&self, from: usize, parts: &[&str]) -> String {
        eventually(&format!("the agent to log a line with {parts:?}"), SOON, || {
            let log = self.agent.log();
            let found = log
                .get(from..)
                .unwrap_or_default()
                .lines()
                .find(|line| holds_all(line, parts))
                .map(str::to_owned);
            found.ok_or_else(|| self.agent.log_tail(5))
        })
    }

    /// The lines of the agent's log, from byte `from` on, that hold every one of `parts`.
    pub fn log_lines(&self, from: usize, parts: &[&str]) -> Vec<String> {
        let log = self.agent.log();
        let news = log.get(from..).unwrap_or_default();
        news.lines().filter(|line| holds_all(line, parts)).map(str::to_owned).collect()
    }

    /// How long the agent's log is by now, as a place to look from.
    pub fn log_mark(&self) -> usize {
        self.agent.log().len()
    }

    /// `podwright` talking to this node's agent.
    pub fn podwright(&self) -> Podwright {
        Podwright::new(&self.agent)
    }

    /// SIGKILL to the agent, and a start anew.
    #[track_caller]
    pub fn crash(&mut self) {
        self.agent.kill().unwrap();
        self.start();
    }

    /// Waits until GET `http://<address>/` answers, and returns the page.
    #[track_caller]
    pub fn page(&self, address: &str) -> String {
        eventually(&format!("a page at {address}"), SOON, || match http::get(address, "/") {
            Ok(reply) if reply.status == 200 => Ok(reply.body),
            Ok(reply) => Err(format!("status {}", reply.status)),
            Err(error) => Err(format!("{error:#}")),
        })
    }

    /// What the CRI log of a container says, without times and tags; empty while there is none.
    pub fn log_of(&self, name: &str, container: &str) -> String {
        let Ok(Some(pod)) = self.agent.pod(name) else { return String::new() };
        let file = self.log_dir(&pod).join(container).join("0.log");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(|line| format!("{line}\n")).collect()
    }

    /// The folder below `podLogsDir` with the logs of a pod.
    pub fn log_dir(&self, pod: &Value) -> PathBuf {
        let meta = &pod["metadata"];
        let text = |key: &str| meta[key].as_str().unwrap_or_default().to_owned();
        self.agent.pod_logs_dir().join(format!("{}_{}_{}", text("namespace"), text("name"), text("uid")))
    }
}

fn holds_all(line: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| line.contains(part))
}

/// The name of a static pod as the API has it.
pub fn full_name(name: &str) -> String {
    format!("{name}-{NODE_NAME}")
}

/// Builds our programs once per run, unless `PODWRIGHT_BIN_DIR` says where they are.
fn build_programs() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if std::env::var_os("PODWRIGHT_BIN_DIR").is_some() {
            return;
        }
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "kubelet", "--package", "podwright"]);
        lab::command::show(&mut build).unwrap();
    });
}
