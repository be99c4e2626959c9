//! The programs of a cluster's control plane: Kubernetes' own, built from its Go module, and Debian's etcd. And upstream's kubelet, to
//! compare with, and metrics-server, which reads it.
//!
//! Kubernetes' module cannot be installed by `go install name@version`, because it replaces the modules it is staged with by
//! folders of its own repository. So a module of our own requires it and replaces each of those by its published version.
//! metrics-server is built in that module too: what it shares with Kubernetes is compiled once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{LOCK, debian_release, find_go, locked_cache, replace_whole, say, unpack_packages};
use crate::command;

const VERSION: &str = "1.37.2";
const MODULE: &str = "k8s.io/kubernetes";
const PROGRAMS: [&str; 4] = ["kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubectl"];
const METRICS_SERVER_VERSION: &str = "0.9.0";
const METRICS_SERVER_MODULE: &str = "sigs.k8s.io/metrics-server";

const ETCD: (&str, &str) = ("etcd-server", "usr/bin/etcd");

/// The programs, all present.
#[derive(Clone, Debug)]
pub struct ControlPlaneParts {
    kubernetes: PathBuf,
    etcd: PathBuf,
}

impl ControlPlaneParts {
    /// Finds the programs, making what is missing; the first time takes ten minutes, later ones milliseconds.
    pub fn ready() -> Result<Self> {
        let (cache, _lock) = locked_cache(LOCK)?;
        let debian = cache.join(debian_release()?);
        unpack_packages(&debian, &[ETCD])?;
        let kubernetes = cache.join(format!("kubernetes-{VERSION}"));
        build(&kubernetes, &[], &PROGRAMS.map(of_kubernetes), "10 minutes")?;
        Ok(Self { kubernetes, etcd: debian.join(ETCD.0).join(ETCD.1) })
    }

    /// `kube-apiserver`, `kube-scheduler`, `kube-controller-manager` or `kubectl`.
    #[must_use]
    pub fn kubernetes(&self, program: &str) -> PathBuf {
        self.kubernetes.join(program)
    }

    /// `etcd`.
    #[must_use]
    pub fn etcd(&self) -> &Path {
        &self.etcd
    }
}

/// Upstream's kubelet, made when it is missing, which takes minutes.
pub fn upstream_kubelet() -> Result<PathBuf> {
    let (cache, _lock) = locked_cache("kubelet.lock")?;
    let target = cache.join(format!("kubelet-{VERSION}"));
    build(&target, &[], &[of_kubernetes("kubelet")], "4 minutes")?;
    Ok(target.join("kubelet"))
}

/// metrics-server, made when it is missing, which takes minutes.
pub(crate) fn metrics_server() -> Result<PathBuf> {
    let (cache, _lock) = locked_cache("metrics-server.lock")?;
    let target = cache.join(format!("metrics-server-{METRICS_SERVER_VERSION}"));
    let package = format!("{METRICS_SERVER_MODULE}/cmd/metrics-server");
    build(&target, &[(METRICS_SERVER_MODULE, METRICS_SERVER_VERSION)], &[package], "2 minutes")?;
    Ok(target.join("metrics-server"))
}

fn of_kubernetes(program: &str) -> String {
    format!("{MODULE}/cmd/{program}")
}

/// Builds programs from their packages in our module, which requires `more` modules beside Kubernetes.
fn build(target: &Path, more: &[(&str, &str)], packages: &[String], takes: &str) -> Result<()> {
    let program = |package: &String| target.join(package.rsplit('/').next().unwrap_or_default());
    if packages.iter().all(|package| program(package).is_file()) {
        return Ok(());
    }
    let go = find_go(target)?;
    say(&format!("building {} into {} (about {takes})", packages.join(" "), target.display()));
    replace_whole(target, |fresh| {
        let module = fresh.join("module");
        fs::create_dir(&module)?;
        let published = fs::read_to_string(published_go_mod(&go)?)?;
        fs::write(module.join("go.mod"), go_mod(&published, more)?)?;
        let set = |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
        let mut parts = VERSION.split('.');
        let mut number = || parts.next().unwrap_or_default();
        let flags = [
            "-s -w".to_owned(),
            set("gitVersion", &format!("v{VERSION}")),
            set("gitMajor", number()),
            set("gitMinor", number()),
        ];
        let mut command = Command::new(&go);
        command
            .args(["build", "-mod=mod", "-trimpath", "-ldflags", &flags.join(" "), "-o"])
            .arg(fresh)
            .args(packages)
            .current_dir(&module)
            .env("CGO_ENABLED", "0");
        command::show(&mut command)?;
        fs::remove_dir_all(&module)?;
        Ok(())
    })
}

/// The file in Go's module cache with what the published module requires and replaces.
fn published_go_mod(go: &Path) -> Result<PathBuf> {
    let mut download = Command::new(go);
    download.args(["mod", "download", "-json", &format!("{MODULE}@v{VERSION}")]);
    let answer: serde_json::Value = serde_json::from_str(&command::output(&mut download)?)?;
    let file = answer["GoMod"].as_str().context("`go mod download` names no GoMod")?;
    Ok(PathBuf::from(file))
}

/// Our module: `published` says which modules Kubernetes is staged with. They carry its minor and patch version with major 0.
fn go_mod(published: &str, more: &[(&str, &str)]) -> Result<String> {
    let staged: Vec<&str> = published
        .lines()
        .filter_map(|line| line.trim().split_once(" => ./staging/"))
        .map(|(m, _)| m)
        .collect();
    let go = published.lines().find(|line| line.starts_with("go "));
    let (Some(go), false) = (go, staged.is_empty()) else {
        bail!("the go.mod of {MODULE} does not look as expected");
    };
    let staged_version = VERSION.replacen("1.", "0.", 1);
    let replace: Vec<String> = staged.iter().map(|m| format!("\t{m} => {m} v{staged_version}\n")).collect();
    let require = [&[(MODULE, VERSION)], more].concat();
    let require: Vec<String> = require.iter().map(|(m, version)| format!("\t{m} v{version}\n")).collect();
    Ok(format!(
        "module lab\n\n{go}\n\nrequire (\n{})\n\nreplace (\n{})\n",
        require.concat(),
        replace.concat()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_modules_are_replaced_by_their_published_versions() {
        let published = "module k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/api v0.0.0\n)\n\nreplace (\n\
                         \tk8s.io/api => ./staging/src/k8s.io/api\n\tother.org/a => other.org/b v1.0.0\n)\n";
        let ours = go_mod(published, &[("other.org/c", "0.9.0")]).expect("a module");
        assert!(ours.contains("\tk8s.io/api => k8s.io/api v0.37.2\n"), "{ours}");
        assert!(ours.contains("go 1.26.0\n") && !ours.contains("other.org/a"), "{ours}");
        assert!(ours.contains("\tk8s.io/kubernetes v1.37.2\n\tother.org/c v0.9.0\n"), "{ours}");
        assert!(go_mod("module x\n", &[]).is_err());
    }
}
