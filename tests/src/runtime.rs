//! The tests' own view of the runtime, through CRI: what it is told and what runs, whatever the agent says.

use std::{fmt, time::Duration};

use core_metrics::Registry;
use core_types::{
    ContainerId, SandboxId, keys,
    runtime::{
        ContainerState, ContainerStatus, ContainerSummary, SandboxConfig, SandboxState, SandboxStatus,
        SandboxSummary,
    },
};
use io_cri::{CriClient, CriOptions};
use lab::{Containerd, ContainerdVersion};
use ports::{ContainerRuntime as _, runtime::RuntimeResult};

use crate::{SOON, eventually, node::full_name};

/// Whether the tests run on containerd 1.6, which lacks much that is newer.
#[track_caller]
pub fn is_1_6() -> bool {
    ContainerdVersion::from_env().unwrap() == ContainerdVersion::V1_6
}

/// A blocking CRI client.
pub struct Cri {
    client: CriClient,
    reactor: tokio::runtime::Runtime,
}

impl fmt::Debug for Cri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cri")
    }
}

impl Cri {
    /// A client of that runtime; it connects with its first call.
    #[track_caller]
    pub fn connect(containerd: &Containerd) -> Self {
        let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = CriOptions::new(containerd.endpoint());
        let client = {
            let _inside = reactor.enter();
            CriClient::connect(&options, &Registry::new()).unwrap()
        };
        Self { client, reactor }
    }

    fn ask<T>(&self, call: impl Future<Output = RuntimeResult<T>>) -> T {
        self.reactor.block_on(call).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until the runtime answers again after a restart.
    #[track_caller]
    pub fn wait_up(&self) {
        eventually("the runtime to answer", SOON, || {
            self.reactor.block_on(self.client.version()).map(drop).map_err(|error| error.to_string())
        });
    }

    /// All sandboxes of the static pod `name`, the newest first.
    pub fn sandboxes(&self, name: &str) -> Vec<SandboxSummary> {
        let mut found = self.ask(self.client.list_sandboxes(None));
        found.retain(|sandbox| is_of(name, &sandbox.name));
        found.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.created_at));
        found
    }

    /// One sandbox in full.
    pub fn sandbox(&self, id: &SandboxId) -> SandboxStatus {
        self.ask(self.client.sandbox_status(id))
    }

    /// All containers of the static pod `name`, the newest first.
    pub fn containers(&self, name: &str) -> Vec<ContainerSummary> {
        let mut found = self.all_containers();
        found.retain(|c| c.labels.get(keys::POD_NAME_LABEL).is_some_and(|of| is_of(name, of)));
        found.sort_by_key(|container| std::cmp::Reverse(container.created_at));
        found
    }

    /// The containers of every pod.
    pub fn all_containers(&self) -> Vec<ContainerSummary> {
        self.ask(self.client.list_containers(None))
    }

    /// The IDs of everything that runs, in order.
    pub fn running_ids(&self) -> Vec<ContainerId> {
        let all = self.all_containers();
        let mut ids: Vec<_> =
            all.into_iter().filter(|c| c.state == ContainerState::Running).map(|c| c.id).collect();
        ids.sort();
        ids
    }

    /// The running container `container` of pod `name`, in full.
    #[track_caller]
    pub fn running(&self, name: &str, container: &str) -> ContainerStatus {
        let found = self.containers(name).into_iter();
        let mut live = found.filter(|c| c.name == container && c.state == ContainerState::Running);
        let live = live.next().unwrap_or_else(|| panic!("container {container} of pod {name} does not run"));
        self.status(&live.id)
    }

    /// One container in full.
    pub fn status(&self, id: &ContainerId) -> ContainerStatus {
        self.ask(self.client.container_status(id))
    }

    /// What a shell script prints inside the running container `container` of pod `name`; it has to end with exit code 0.
    #[track_caller]
    pub fn sh(&self, name: &str, container: &str, script: &str) -> String {
        let (output, code) = self.sh_any(name, container, script);
        assert_eq!(code, 0, "`{script}` in {name}/{container} printed {output:?}");
        output
    }

    /// What a shell script prints inside a container, and its exit code.
    #[track_caller]
    pub fn sh_any(&self, name: &str, container: &str, script: &str) -> (String, i32) {
        let id = self.running(name, container).id;
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        let done = self.ask(self.client.exec_sync(&id, &command, SOON));
        let mut output = done.stdout;
        output.extend(done.stderr);
        (String::from_utf8_lossy(&output).into_owned(), done.exit_code)
    }

    /// Makes a sandbox behind the agent's back.
    pub fn make_sandbox(&self, config: &SandboxConfig) -> SandboxId {
        self.ask(self.client.run_sandbox(config, ""))
    }

    /// Stops a container behind the agent's back.
    pub fn stop(&self, id: &ContainerId, grace: Duration) {
        self.ask(self.client.stop_container(id, grace));
    }

    /// Removes all of pod `name` from the runtime behind the agent's back.
    pub fn wipe(&self, name: &str) {
        for sandbox in self.sandboxes(name) {
            self.ask(self.client.stop_sandbox(&sandbox.id));
            self.ask(self.client.remove_sandbox(&sandbox.id));
        }
    }

    /// Waits until nothing of pod `name` runs, no sandbox either.
    #[track_caller]
    pub fn wait_stopped(&self, name: &str) {
        eventually(&format!("nothing of pod {name} to run"), SOON, || {
            let live =
                self.containers(name).into_iter().filter(|c| c.state == ContainerState::Running).count();
            let ready = self.sandboxes(name).into_iter().filter(|s| s.state == SandboxState::Ready).count();
            if live + ready == 0 { Ok(()) } else { Err(format!("{live} containers, {ready} sandboxes")) }
        });
    }

    /// Waits until the runtime knows nothing of pod `name` any more.
    #[track_caller]
    pub fn wait_removed(&self, name: &str) {
        eventually(&format!("nothing of pod {name} to be left in the runtime"), SOON, || {
            let left = (self.containers(name).len(), self.sandboxes(name).len());
            if left == (0, 0) { Ok(()) } else { Err(format!("{left:?} containers and sandboxes")) }
        });
    }
}

/// Whether the runtime's pod name is that of the pod whose manifest says `name`.
fn is_of(name: &str, runtime_name: &str) -> bool {
    runtime_name == name || runtime_name == full_name(name)
}

/// The process ID of a running container's first process, as seen from outside.
#[track_caller]
pub fn pid_of(containerd: &Containerd, id: &ContainerId) -> u32 {
    let tasks = containerd.ctr(&["tasks", "list"]).unwrap();
    let line = tasks.lines().find(|line| line.starts_with(id.as_str()));
    let pid = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|pid| pid.parse().ok());
    pid.unwrap_or_else(|| panic!("no process of {id} in:\n{tasks}"))
}

/// SIGKILL to a container's first process, as the OOM killer would do it.
#[track_caller]
pub fn kill_container(containerd: &Containerd, id: &ContainerId) {
    containerd.ctr(&["tasks", "kill", "--signal", "SIGKILL", id.as_str()]).unwrap();
}
