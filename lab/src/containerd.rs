//! A private containerd: own root, state, sockets, network and log, no shared folder, nothing started by the system.
//!
//! Reads: the parts. Writes: below the instance's folder only (libcni's notes and Debian's shim sockets excepted, which the
//! sweep removes).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    Parts, command, images,
    process::{Program, Running, Signal, log_tail, path_with},
    wait,
};

/// How long containerd may take until it answers; it takes well under a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to leave after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Names by which a RuntimeClass can ask for runc; upstream's end-to-end tests know the second.
const HANDLERS: [&str; 2] = ["runc", "test-handler"];
/// The file system type of overlayfs, on which containerd's overlayfs snapshotter cannot work.
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;

/// Which containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerdVersion {
    /// 2.4, with CRI events and RuntimeConfig.
    V2_4,
    /// Debian's, which answers Unimplemented to the newer calls.
    V1_6,
}

impl ContainerdVersion {
    /// What `PODWRIGHT_LAB_CONTAINERD` asks tests to use: `2.4` (also when unset) or `1.6`.
    pub fn from_env() -> Result<Self> {
        match std::env::var("PODWRIGHT_LAB_CONTAINERD").as_deref() {
            Err(_) | Ok("" | "2.4") => Ok(Self::V2_4),
            Ok("1.6") => Ok(Self::V1_6),
            Ok(other) => anyhow::bail!("PODWRIGHT_LAB_CONTAINERD is {other:?}; it can be 2.4 or 1.6"),
        }
    }

    /// The value of `PODWRIGHT_LAB_CONTAINERD` for this version.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V2_4 => "2.4",
            Self::V1_6 => "1.6",
        }
    }
}

/// Who makes the cgroups of containers and pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupDriver {
    /// runc and the kubelet.
    Cgroupfs,
    /// systemd, which has to run the machine.
    Systemd,
}

/// A containerd of our own.
#[derive(Debug)]
pub struct Containerd {
    version: ContainerdVersion,
    dir: PathBuf,
    programs: PathBuf,
    path: String,
    running: Option<Running>,
}

impl Containerd {
    /// Writes the configuration below `dir`; [`Self::start`] starts it.
    pub(crate) fn configure(
        parts: &Parts,
        version: ContainerdVersion,
        driver: CgroupDriver,
        dir: &Path,
    ) -> Result<Self> {
        let runc = parts.runc(version);
        let config = config(&ConfigInput {
            version,
            driver,
            dir,
            runc: &runc,
            plugins: &parts.cni_plugins(),
            snapshotter: snapshotter(dir)?,
            app_armor: has_app_armor(),
        });
        fs::write(dir.join("containerd.toml"), config).context("the configuration of containerd")?;
        fs::create_dir_all(dir.join("certs.d")).context("containerd's folder for registries")?;
        let programs = parts.containerd_dir(version);
        // The shim is looked up on PATH, and an older one of the system must not come first.
        let path = path_with(&[&programs, runc.parent().unwrap_or(dir)])?;
        Ok(Self { version, dir: dir.to_owned(), programs, path, running: None })
    }

    /// Starts containerd and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        let mut running = Running::start(&Program {
            file: self.programs.join("containerd"),
            args: vec!["--config".to_owned(), self.dir.join("containerd.toml").display().to_string()],
            env: vec![("PATH".to_owned(), self.path.clone())],
            log: self.log(),
        })?;
        wait::until("containerd to answer", START_LIMIT, || {
            running.still_runs()?;
            Ok(match self.ctr(&["version"]) {
                Ok(_) => wait::Look::Done(()),
                Err(error) => wait::Look::Waiting(format!("{error:#}")),
            })
        })?;
        self.running = Some(running);
        Ok(())
    }

    /// Stops containerd in order; its containers go on.
    pub fn stop(&mut self) -> Result<()> {
        self.running.take().map_or(Ok(()), |running| running.stop(STOP_LIMIT).map(drop))
    }

    /// Kills containerd with SIGKILL; its containers go on.
    pub fn kill(&mut self) -> Result<()> {
        self.running.take().map_or(Ok(()), |running| running.kill().map(drop))
    }

    /// The process ID, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    /// Makes containerd hang: it accepts calls and answers none until [`Self::thaw`].
    pub fn freeze(&self) -> Result<()> {
        self.running.as_ref().context("containerd does not run")?.signal(Signal::STOP)
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.running.as_ref().context("containerd does not run")?.signal(Signal::CONT)
    }

    /// Which containerd this is.
    #[must_use]
    pub fn version(&self) -> ContainerdVersion {
        self.version
    }

    /// The CRI socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    /// The CRI socket as `containerRuntimeEndpoint` wants it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The log file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("containerd.log")
    }

    /// The last `lines` lines of the log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.log(), lines)
    }

    /// Runs `ctr` in the namespace that CRI uses and returns what it printed.
    pub fn ctr(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(self.programs.join("ctr"));
        command.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]).args(args);
        command::output(&mut command)
    }

    /// Imports an image archive.
    pub fn import(&self, archive: &Path) -> Result<()> {
        self.ctr(&["images", "import", &archive.display().to_string()]).map(drop)
    }

    /// Lets containerd pull from `host` (`127.0.0.1:5000`) over plain HTTP; it is read at each pull.
    pub fn allow_plain_registry(&self, host: &str) -> Result<()> {
        let dir = self.dir.join("certs.d").join(host);
        fs::create_dir_all(&dir)?;
        let text = format!(
            "server = \"http://{host}\"\n[host.\"http://{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
        );
        fs::write(dir.join("hosts.toml"), text).with_context(|| format!("{}", dir.display()))
    }
}

/// overlayfs, or plain copies where the folder itself lies on an overlay, as on a machine that is a container.
fn snapshotter(dir: &Path) -> Result<&'static str> {
    let fs_type = rustix::fs::statfs(dir).with_context(|| format!("statfs {}", dir.display()))?.f_type;
    Ok(if fs_type == OVERLAYFS_MAGIC { "native" } else { "overlayfs" })
}

/// Whether the kernel holds containers to AppArmor profiles and the program that loads them is there.
fn has_app_armor() -> bool {
    let switch = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    let loads = || command::find_program("apparmor_parser", &["/usr/sbin"]).is_some();
    switch.starts_with('Y') && Path::new("/sys/kernel/security/apparmor").exists() && loads()
}

struct ConfigInput<'a> {
    version: ContainerdVersion,
    driver: CgroupDriver,
    dir: &'a Path,
    runc: &'a Path,
    plugins: &'a Path,
    snapshotter: &'static str,
    app_armor: bool,
}

fn config(input: &ConfigInput<'_>) -> String {
    let (dir, plugins) = (input.dir.display(), input.plugins.display());
    let (pause, snapshotter, no_app_armor) = (images::PAUSE, input.snapshotter, !input.app_armor);
    let common = format!(
        "\
root = '{dir}/root'
state = '{dir}/state'
imports = []
[grpc]
address = '{dir}/containerd.sock'
[ttrpc]
address = '{dir}/containerd.sock.ttrpc'
[plugins.'io.containerd.internal.v1.opt']
path = '{dir}/opt'
"
    );
    match input.version {
        ContainerdVersion::V2_4 => format!(
            "\
version = 3
{common}
[plugins.'io.containerd.nri.v1.nri']
disable = true
[plugins.'io.containerd.image-verifier.v1.bindir']
bin_dir = '{dir}/verifiers'
[plugins.'io.containerd.shim.v1.manager']
socket_dir = '{dir}/s'
[plugins.'io.containerd.cri.v1.images']
snapshotter = '{snapshotter}'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{pause}'
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = '{dir}/certs.d'
[plugins.'io.containerd.cri.v1.runtime']
disable_apparmor = {no_app_armor}
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{plugins}']
conf_dir = '{dir}/cni'
{}",
            handlers(input, "io.containerd.cri.v1.runtime")
        ),
        ContainerdVersion::V1_6 => format!(
            "\
version = 2
{common}
[plugins.'io.containerd.grpc.v1.cri']
sandbox_image = '{pause}'
disable_apparmor = {no_app_armor}
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins.'io.containerd.grpc.v1.cri'.cni]
bin_dir = '{plugins}'
conf_dir = '{dir}/cni'
[plugins.'io.containerd.grpc.v1.cri'.registry]
config_path = '{dir}/certs.d'
[plugins.'io.containerd.grpc.v1.cri'.containerd]
snapshotter = '{snapshotter}'
{}",
            handlers(input, "io.containerd.grpc.v1.cri")
        ),
    }
}

/// The handlers, as a part of this plugin's configuration.
fn handlers(input: &ConfigInput<'_>, plugin: &str) -> String {
    let (dir, runc) = (input.dir.display(), input.runc.display());
    let systemd = input.driver == CgroupDriver::Systemd;
    let handler = |name| {
        format!(
            "\
[plugins.'{plugin}'.containerd.runtimes.{name}]
runtime_type = 'io.containerd.runc.v2'
[plugins.'{plugin}'.containerd.runtimes.{name}.options]
BinaryName = '{runc}'
Root = '{dir}/runc'
SystemdCgroup = {systemd}
"
        )
    };
    HANDLERS.map(handler).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_configuration_leaves_a_shared_folder_in_use() {
        for version in [ContainerdVersion::V2_4, ContainerdVersion::V1_6] {
            let text = config(&ConfigInput {
                version,
                driver: CgroupDriver::Cgroupfs,
                dir: Path::new("/lab/1"),
                runc: Path::new("/parts/runc"),
                plugins: Path::new("/parts/cni"),
                snapshotter: "overlayfs",
                app_armor: false,
            });
            for shared in ["/var/lib/containerd", "/run/containerd", "/etc/", "/opt/cni", "/opt/containerd"] {
                assert!(!text.contains(shared), "{version:?} names {shared}");
            }
            assert!(text.contains("restrict_oom_score_adj = true"));
        }
    }
}
