//! The programs of a cluster's control plane: Kubernetes' own, built from its Go module, and Debian's etcd. And upstream's kubelet, to
//! compare with, metrics-server, which reads it, and upstream's end-to-end tests.
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

const E2E_TESTS: &str = "e2e.test";
const BASH: (&str, &str) = ("bash-static", "bin/bash-static");
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
        let packages = PROGRAMS.map(|program| of_kubernetes(&format!("cmd/{program}")));
        build(&kubernetes, &Wanted { packages: &packages, takes: "10 minutes", ..Wanted::default() })?;
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
    let packages = [of_kubernetes("cmd/kubelet")];
    build(&target, &Wanted { packages: &packages, takes: "4 minutes", ..Wanted::default() })?;
    Ok(target.join("kubelet"))
}

/// Upstream's end-to-end tests, what runs them, and the programs of their pods.
#[derive(Clone, Debug)]
pub struct ConformanceParts {
    dir: PathBuf,
    bash: PathBuf,
}

impl ConformanceParts {
    /// Finds the parts, making what is missing; the first time takes minutes.
    pub fn ready() -> Result<Self> {
        let (cache, _lock) = locked_cache("conformance.lock")?;
        let debian = cache.join(debian_release()?);
        unpack_packages(&debian, &[BASH])?;
        let dir = cache.join(format!("conformance-{VERSION}"));
        let images = ["agnhost", "nonewprivs"].map(|image| of_kubernetes(&format!("test/images/{image}")));
        let packages = [images.as_slice(), &["github.com/onsi/ginkgo/v2/ginkgo".to_owned()]].concat();
        let tests = of_kubernetes("test/e2e");
        let tests = Some((E2E_TESTS, tests.as_str()));
        build(&dir, &Wanted { packages: &packages, tests, takes: "8 minutes", ..Wanted::default() })?;
        Ok(Self { dir, bash: debian.join(BASH.0).join(BASH.1) })
    }

    /// The program that runs the tests side by side.
    #[must_use]
    pub fn ginkgo(&self) -> PathBuf {
        self.dir.join("ginkgo")
    }

    /// The program of all tests.
    #[must_use]
    pub fn tests(&self) -> PathBuf {
        self.dir.join(E2E_TESTS)
    }

    /// `agnhost`, which plays most parts in the pods of the tests, or `nonewprivs`.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A static shell, which keeps variables whose names are no names to a shell.
    pub(crate) fn bash(&self) -> &Path {
        &self.bash
    }

    /// A file of Kubernetes' own sources, e.g. a certificate of the tests.
    pub(crate) fn source(&self, path: &str) -> Result<Vec<u8>> {
        let file = published_module(&find_go(&self.dir)?, "Dir")?.join(path);
        fs::read(&file).with_context(|| format!("{}", file.display()))
    }
}

/// metrics-server, made when it is missing, which takes minutes.
pub(crate) fn metrics_server() -> Result<PathBuf> {
    let (cache, _lock) = locked_cache("metrics-server.lock")?;
    let target = cache.join(format!("metrics-server-{METRICS_SERVER_VERSION}"));
    let package = format!("{METRICS_SERVER_MODULE}/cmd/metrics-server");
    let more = [(METRICS_SERVER_MODULE, METRICS_SERVER_VERSION)];
    build(&target, &Wanted { more: &more, packages: &[package], takes: "2 minutes", ..Wanted::default() })?;
    Ok(target.join("metrics-server"))
}

fn of_kubernetes(package: &str) -> String {
    format!("{MODULE}/{package}")
}

/// What is to be built.
#[derive(Clone, Copy, Default)]
struct Wanted<'a> {
    /// Modules that are required beside Kubernetes, with their versions.
    more: &'a [(&'a str, &'a str)],
    /// Programs, by their packages; the last word is the program's name.
    packages: &'a [String],
    /// A program of tests: its name and the package.
    tests: Option<(&'a str, &'a str)>,
    /// How long it takes, for who waits.
    takes: &'a str,
}

/// Builds programs in our module.
fn build(target: &Path, wanted: &Wanted<'_>) -> Result<()> {
    let name = |package: &String| package.rsplit('/').next().unwrap_or_default().to_owned();
    let mut names = wanted.packages.iter().map(name).chain(wanted.tests.map(|(name, _)| name.to_owned()));
    if names.all(|name| target.join(name).is_file()) {
        return Ok(());
    }
    let go = find_go(target)?;
    let packages = wanted.packages.iter().map(String::as_str).chain(wanted.tests.map(|(_, package)| package));
    let packages = packages.collect::<Vec<_>>().join(" ");
    say(&format!("building {packages} into {} (about {})", target.display(), wanted.takes));
    replace_whole(target, |fresh| {
        let module = fresh.join("module");
        fs::create_dir(&module)?;
        let published = fs::read_to_string(published_module(&go, "GoMod")?)?;
        fs::write(module.join("go.mod"), go_mod(&published, wanted.more)?)?;
        let go = |words: &[&str], output: &Path, packages: &[&str]| {
            let mut command = Command::new(&go);
            command.args(words).args(["-mod=mod", "-trimpath", "-ldflags", &link_flags(), "-o"]).arg(output);
            command::show(command.args(packages).current_dir(&module).env("CGO_ENABLED", "0"))
        };
        go(&["build"], fresh, &wanted.packages.iter().map(String::as_str).collect::<Vec<_>>())?;
        if let Some((name, package)) = wanted.tests {
            go(&["test", "-c"], &fresh.join(name), &[package])?;
        }
        fs::remove_dir_all(&module)?;
        Ok(())
    })
}

/// Without symbols, and with the version that the programs say.
fn link_flags() -> String {
    let set = |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
    let mut parts = VERSION.split('.');
    let mut number = || parts.next().unwrap_or_default();
    let flags = [
        "-s -w".to_owned(),
        set("gitVersion", &format!("v{VERSION}")),
        set("gitMajor", number()),
        set("gitMinor", number()),
    ];
    flags.join(" ")
}

/// Where Go's module cache has the published module: its folder (`Dir`), or the file with what it requires and replaces (`GoMod`).
fn published_module(go: &Path, what: &str) -> Result<PathBuf> {
    let mut download = Command::new(go);
    download.args(["mod", "download", "-json", &format!("{MODULE}@v{VERSION}")]);
    let answer: serde_json::Value = serde_json::from_str(&command::output(&mut download)?)?;
    let path = answer[what].as_str().with_context(|| format!("`go mod download` names no {what}"))?;
    Ok(PathBuf::from(path))
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
