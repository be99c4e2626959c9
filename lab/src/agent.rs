//! Our `kubelet`, run as a user would: a config file, flags, a log; stopped in order or with SIGKILL.
//!
//! Reads: `PODWRIGHT_BIN_DIR`, else the folder of the running test or tool, for our programs.
//! Guarantees: the ports are free ones of loopback; the process ends with the value that owns it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    free_port::free_port,
    http,
    process::{Program, Running, Signal, log_tail},
    wait,
};

/// How long the agent may take until it answers on its health port.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Three free ports of loopback.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For `port` (TLS).
    pub secure: u16,
    /// For `readOnlyPort`.
    pub read_only: u16,
    /// For `healthzPort`.
    pub healthz: u16,
}

impl Ports {
    pub(crate) fn free() -> Result<Self> {
        Ok(Self { secure: free_port()?, read_only: free_port()?, healthz: free_port()? })
    }
}

/// Whose kubelet a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Ours.
    Podwright,
    /// Kubernetes'; it knows nothing of our own flags.
    Upstream,
}

/// A kubelet that can be started, stopped, killed and started again on the same state.
#[derive(Debug)]
pub struct Agent {
    /// The KubeletConfiguration, written out at each start; change it before.
    pub config: Value,
    /// Flags added after our own, so that they win.
    pub flags: Vec<String>,
    /// Environment variables added to ours.
    pub env: Vec<(String, String)>,
    program: PathBuf,
    make: Make,
    dir: PathBuf,
    ports: Ports,
    running: Option<Running>,
}

impl Agent {
    pub(crate) fn new(
        (program, make): (PathBuf, Make),
        dir: PathBuf,
        ports: Ports,
        config: Value,
    ) -> Result<Self> {
        for sub in ["manifests", "root", "pki", "pod-logs"] {
            fs::create_dir_all(dir.join(sub)).with_context(|| format!("{}/{sub}", dir.display()))?;
        }
        Ok(Self { config, flags: Vec::new(), env: Vec::new(), program, make, dir, ports, running: None })
    }

    /// Starts the process without waiting for anything.
    pub fn spawn(&mut self) -> Result<()> {
        if self.is_running() {
            bail!("the kubelet already runs");
        }
        let config = self.dir.join("config.yaml");
        fs::write(&config, serde_json::to_vec_pretty(&self.config)?).context("the kubelet's config file")?;
        let mut args = vec![
            format!("--config={}", config.display()),
            format!("--root-dir={}", self.root_dir().display()),
            format!("--cert-dir={}", self.cert_dir().display()),
            "--hostname-override=podwright-lab".to_owned(),
        ];
        if self.make == Make::Podwright {
            args.push(format!("--local-socket={}", self.local_socket().display()));
        }
        args.extend(self.flags.iter().cloned());
        self.running = Some(Running::start(&Program {
            file: self.program.clone(),
            args,
            env: self.env.clone(),
            log: self.log_file(),
        })?);
        Ok(())
    }

    /// Starts the process and waits until `/healthz` answers with 200.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        let address = format!("127.0.0.1:{}", self.ports.healthz);
        let running = self.running.as_mut().context("just started")?;
        wait::until("the kubelet's /healthz to say ok", START_LIMIT, || {
            running.still_runs()?;
            Ok(match http::get(&address, "/healthz") {
                Ok(reply) if reply.status == 200 => wait::Look::Done(()),
                Ok(reply) => wait::Look::Waiting(format!("{} {}", reply.status, reply.body)),
                Err(error) => wait::Look::Waiting(format!("{error:#}")),
            })
        })
    }

    /// Sends SIGTERM and waits up to `grace` for the end, then kills.
    pub fn stop(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.running.take().context("the kubelet does not run")?.stop(grace)
    }

    /// SIGKILL, as a crash would be.
    pub fn kill(&mut self) -> Result<()> {
        self.running.take().context("the kubelet does not run")?.kill().map(drop)
    }

    /// Waits up to `limit` for the process to end by itself.
    pub fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let running = self.running.as_mut().context("the kubelet does not run")?;
        let status = wait::until("the kubelet to end", limit, || {
            Ok(running.ended()?.map_or(wait::Look::Waiting("it runs".to_owned()), wait::Look::Done))
        })?;
        self.running = None;
        Ok(status)
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| matches!(running.ended(), Ok(None)))
    }

    /// The process ID, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.running.as_ref().context("the kubelet does not run")?.signal(signal)
    }

    /// The ports in the config.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The folder that `staticPodPath` names.
    #[must_use]
    pub fn manifest_dir(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    /// `--cert-dir`.
    #[must_use]
    pub fn cert_dir(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// `--root-dir`.
    #[must_use]
    pub fn root_dir(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// `podLogsDir`.
    #[must_use]
    pub fn pod_logs_dir(&self) -> PathBuf {
        self.dir.join("pod-logs")
    }

    /// `--local-socket`, for `podwright --socket`.
    #[must_use]
    pub fn local_socket(&self) -> PathBuf {
        self.dir.join("podwright.sock")
    }

    /// Where the process writes its log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("kubelet.log")
    }

    /// The whole log so far, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// The last `lines` lines of the log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.log_file(), lines)
    }

    /// Puts a manifest into the manifest folder in one step, replacing one of that name.
    pub fn put_manifest(&self, name: &str, text: &str) -> Result<()> {
        let dir = self.manifest_dir();
        let hidden = dir.join(format!(".{name}"));
        fs::write(&hidden, text).with_context(|| format!("{}", hidden.display()))?;
        fs::rename(&hidden, dir.join(name)).with_context(|| format!("{name} in {}", dir.display()))
    }

    /// Takes a manifest out of the manifest folder.
    pub fn remove_manifest(&self, name: &str) -> Result<()> {
        let file = self.manifest_dir().join(name);
        fs::remove_file(&file).with_context(|| format!("{}", file.display()))
    }

    /// GET on the read-only port.
    pub fn read_only(&self, path: &str) -> Result<http::Reply> {
        http::get(&format!("127.0.0.1:{}", self.ports.read_only), path)
    }

    /// GET on the health port.
    pub fn healthz(&self, path: &str) -> Result<http::Reply> {
        http::get(&format!("127.0.0.1:{}", self.ports.healthz), path)
    }

    /// The pods as `/pods` on the read-only port shows them.
    pub fn pods(&self) -> Result<Vec<Value>> {
        let reply = self.read_only("/pods")?;
        if reply.status != 200 {
            bail!("/pods answered {} {}", reply.status, reply.body);
        }
        let list: Value = serde_json::from_str(&reply.body).context("/pods is no JSON")?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The pod whose `metadata.name` is `name` or, as static pods are named, `<name>-<node>`.
    pub fn pod(&self, name: &str) -> Result<Option<Value>> {
        let full = format!("{name}-podwright-lab");
        let named = |pod: &Value| pod["metadata"]["name"] == name || pod["metadata"]["name"] == full.as_str();
        Ok(self.pods()?.into_iter().find(named))
    }

    /// Waits until pod `name` is there and `holds` for it, and returns it.
    pub fn wait_pod(
        &mut self,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        wait::until(&format!("pod {name} to be {what}"), limit, || {
            self.running.as_mut().context("the kubelet does not run")?.still_runs()?;
            Ok(match self.pod(name) {
                Ok(Some(pod)) if holds(&pod) => wait::Look::Done(pod),
                Ok(Some(pod)) => wait::Look::Waiting(format!("its status is {}", pod["status"])),
                Ok(None) => wait::Look::Waiting("there is no such pod".to_owned()),
                Err(error) => wait::Look::Waiting(format!("{error:#}")),
            })
        })
    }

    /// Waits until pod `name` is Ready, and returns it.
    pub fn wait_ready(&mut self, name: &str, limit: Duration) -> Result<Value> {
        self.wait_pod(name, "Ready", limit, is_ready)
    }

    /// Waits until there is no pod `name`.
    pub fn wait_gone(&mut self, name: &str, limit: Duration) -> Result<()> {
        wait::until(&format!("pod {name} to be gone"), limit, || {
            Ok(match self.pod(name) {
                Ok(None) => wait::Look::Done(()),
                Ok(Some(pod)) => wait::Look::Waiting(format!("its status is {}", pod["status"])),
                Err(error) => wait::Look::Waiting(format!("{error:#}")),
            })
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the kubelet's log:\n{}", self.log_tail(60));
        }
        if let Some(Err(error)) = self.running.take().map(Running::kill) {
            eprintln!("cannot kill the kubelet: {error:#}");
        }
    }
}

/// Whether a pod's Ready condition is True.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// One of our own programs, as cargo built it beside the running test or tool.
pub fn own_program(name: &str) -> Result<PathBuf> {
    let dir = match std::env::var_os("PODWRIGHT_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => build_dir(&std::env::current_exe().context("the running program's own path")?)?,
    };
    let file = dir.join(name);
    if !file.is_file() {
        bail!("there is no {}: build it first with `cargo build -p {name}`", file.display());
    }
    Ok(file)
}

/// `target/debug` of `target/debug/xtask` and of `target/debug/deps/test-1234`.
fn build_dir(exe: &Path) -> Result<PathBuf> {
    let dir = exe.parent().context("a program lies in a folder")?;
    let up = if dir.ends_with("deps") { dir.parent() } else { Some(dir) };
    Ok(up.context("a deps folder lies in a folder")?.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ready_is_the_condition_and_not_the_phase() {
        let pod = |status: &str| json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": status }] } });
        assert!(is_ready(&pod("True")));
        assert!(!is_ready(&pod("False")));
        assert!(!is_ready(&json!({})));
    }

    #[test]
    fn programs_lie_beside_tests_and_tools() {
        assert_eq!(build_dir(Path::new("/t/debug/deps/x-1")).expect("found"), Path::new("/t/debug"));
        assert_eq!(build_dir(Path::new("/t/debug/xtask")).expect("found"), Path::new("/t/debug"));
    }
}
