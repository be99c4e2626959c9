//! Sweeping an instance away from what can be seen on the machine alone, so that it also works after a `kill -9` of the
//! process that made it, and twice.
//!
//! Order: processes, cgroups, mounts, network, files. Guarantees: a process is killed only when it is one of our kinds of
//! program and its command line names the instance's folder, or when it descends from such a one; files are
//! deleted only once nothing is mounted below the folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use rustix::mount::{UnmountFlags, unmount};

use crate::{cgroups, network::Network, process};

/// The programs that run with our folder on their command line.
const PROGRAMS: [&str; 10] = [
    "kubelet",
    "containerd",
    "containerd-shim-runc-v2",
    "docker-registry",
    "runc",
    "etcd",
    "kube-apiserver",
    "kube-scheduler",
    "kube-controller-manager",
    "qemu-system-x86_64",
];

/// Where kubelets put links to container logs, whatever their root folder is.
const LOG_LINKS: &str = "/var/log/containers";

/// Where Debian's containerd puts its shims' sockets, whatever its state folder is.
const SHIM_SOCKETS: &str = "/run/containerd/s";

/// Stops and removes everything that belongs to the instance `number` in `dir`.
pub(crate) fn instance(number: u8, dir: &Path) -> Result<()> {
    let sockets = shim_sockets(dir);
    kill_processes(dir)?;
    cgroups::remove(&cgroup_name(number))?;
    unmount_below(dir)?;
    Network::new(number).remove()?;
    remove_log_links(dir);
    for socket in sockets {
        // A shim that had time to leave has removed it.
        let _gone = fs::remove_file(socket);
    }
    remove_files(dir)
}

/// Stops the programs that name `dir` and removes it, for what has no mounts, cgroups or network of its own.
pub(crate) fn programs_and_files(dir: &Path) -> Result<()> {
    kill_processes(dir)?;
    remove_files(dir)
}

fn remove_files(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

/// The name of the instance's cgroup root.
pub(crate) fn cgroup_name(number: u8) -> String {
    format!("podwright-test-{number}")
}

fn kill_processes(dir: &Path) -> Result<()> {
    // A runtime that is being killed may start one more process, so look until there is none.
    loop {
        let table = process::table();
        let roots: Vec<u32> =
            table.iter().filter(|entry| is_ours(entry, dir)).map(|entry| entry.pid).collect();
        if roots.is_empty() {
            return Ok(());
        }
        process::kill_all(&process::with_descendants(&table, &roots))?;
    }
}

fn is_ours(entry: &process::Entry, dir: &Path) -> bool {
    let below = format!("{}/", dir.display());
    PROGRAMS.contains(&entry.program.as_str()) && entry.args.iter().any(|arg| names_below(arg, &below))
}

/// `/a/b/c`, `--flag=/a/b/c` and `unix:///a/b/c` name something below `/a/b/`.
fn names_below(arg: &str, below: &str) -> bool {
    let value = arg.split_once('=').map_or(arg, |(_, value)| value);
    value.strip_prefix("unix://").unwrap_or(value).starts_with(below)
}

fn unmount_below(dir: &Path) -> Result<()> {
    for mount in mounts_below(dir)?.iter().rev() {
        unmount(mount, UnmountFlags::DETACH)
            .with_context(|| format!("cannot unmount {}", mount.display()))?;
    }
    let left = mounts_below(dir)?;
    if !left.is_empty() {
        bail!("still mounted, so nothing is deleted below {}: {left:?}", dir.display());
    }
    Ok(())
}

fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let points =
        text.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(unescape(point)));
    Ok(points.filter(|point| point.starts_with(dir)).collect())
}

/// mountinfo writes a space, tab, newline or backslash as three octal digits.
fn unescape(point: &str) -> String {
    let mut out = point.to_owned();
    for (code, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(code, plain);
    }
    out
}

fn remove_log_links(dir: &Path) {
    let Ok(entries) = fs::read_dir(LOG_LINKS) else { return };
    for link in entries.flatten().map(|entry| entry.path()) {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(dir)) {
            // A dangling link that stays is harmless.
            let _gone = fs::remove_file(link);
        }
    }
}

fn shim_sockets(dir: &Path) -> Vec<PathBuf> {
    let bundles = dir.join("state/io.containerd.runtime.v2.task/k8s.io");
    let Ok(entries) = fs::read_dir(bundles) else { return Vec::new() };
    let addresses = entries.flatten().filter_map(|e| fs::read_to_string(e.path().join("address")).ok());
    let paths = addresses.map(|address| PathBuf::from(address.trim().trim_start_matches("unix://")));
    paths.filter(|path| path.starts_with(SHIM_SOCKETS)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_programs_that_name_the_folder_are_ours() {
        let entry = |program: &str, args: &[&str]| process::Entry {
            pid: 9,
            parent: 1,
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        let dir = Path::new("/lab/1");
        for (program, args, ours) in [
            ("containerd", &["containerd", "--config", "/lab/1/containerd.toml"][..], true),
            ("kubelet", &["kubelet", "--config=/lab/1/kubelet/config.yaml"], true),
            ("containerd-shim-runc-v2", &["shim", "-address", "unix:///lab/1/s.sock"], true),
            ("containerd", &["containerd", "--config", "/lab/10/containerd.toml"], false),
            ("containerd", &["containerd"], false),
            ("vim", &["vim", "/lab/1/containerd.toml"], false),
        ] {
            assert_eq!(is_ours(&entry(program, args), dir), ours, "{program} {args:?}");
        }
    }

    #[test]
    fn a_sweep_of_nothing_is_no_error_and_a_sweep_removes_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let inner = dir.path().join("instance");
        fs::create_dir_all(inner.join("deep")).expect("made");
        unmount_below(&inner).expect("nothing mounted");
        kill_processes(&inner).expect("nothing runs");
        assert!(shim_sockets(&inner).is_empty());
    }

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }
}
