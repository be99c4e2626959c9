//! The programs a private runtime is made of, found in the cache or made there.
//!
//! Debian's runtime packages are unpacked into the cache and not installed: installing them would replace or start a runtime
//! that the machine already has (`runc` conflicts with other vendors' containerd, `containerd` starts a service). Only what
//! builds and runs need from the system itself is installed. containerd 2.4 and runc 1.5 are built from their Go modules.
//! The programs of a cluster's control plane are in [`kubernetes`]: they take minutes to build, so only who asks gets them. What a
//! guest machine is made of is in [`guest`].
//!
//! Writes: the cache folder (`PODWRIGHT_CACHE`, else `$XDG_CACHE_HOME/podwright`, else `~/.cache/podwright`), keyed by version;
//! a lock file there keeps builders apart, and a part appears by rename, so it is whole or absent.
//! Guarantees: says what it installs, unpacks or builds before it does.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{ContainerdVersion, command};

mod guest;
mod kubernetes;

pub use guest::GuestParts;
pub(crate) use kubernetes::metrics_server;
pub use kubernetes::{ConformanceParts, ControlPlaneParts, upstream_kubelet};

const CONTAINERD_VERSION: &str = "2.4.2";
const RUNC_VERSION: &str = "1.5.2";
const CONTAINERD_MODULE: &str = "github.com/containerd/containerd/v2";
const RUNC_MODULE: &str = "github.com/opencontainers/runc";
const CONTAINERD_PROGRAMS: [&str; 3] = ["containerd", "containerd-shim-runc-v2", "ctr"];

/// The lock file of the parts that every run needs. What few need has a lock of its own, so that nobody waits for its making.
const LOCK: &str = "lock";

/// The oldest Go that both modules accept.
const GO_MINOR_MIN: u32 = 26;

/// Packages whose programs, headers or libraries are used in place.
const INSTALLED: [&str; 8] =
    ["gcc", "libc6-dev", "libseccomp-dev", "pkg-config", "iptables", "iproute2", "util-linux", "openssl"];

/// Packages that are unpacked into the cache, each with a file that shows that the part is whole.
const UNPACKED: [(&str, &str); 5] = [
    ("busybox-static", "bin/busybox"),
    ("containernetworking-plugins", "usr/lib/cni/bridge"),
    ("containerd", "usr/bin/containerd"),
    ("runc", "usr/sbin/runc"),
    ("docker-registry", "usr/bin/docker-registry"),
];

/// The parts, all present.
#[derive(Clone, Debug)]
pub struct Parts {
    cache: PathBuf,
    debian: PathBuf,
}

impl Parts {
    /// Finds every part, making what is missing; the first time takes minutes, later ones milliseconds.
    pub fn ready() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!(
                "a private container runtime needs root (mounts, network namespaces, cgroups): run this as root"
            );
        }
        let (cache, _lock) = locked_cache(LOCK)?;
        let parts = Self { debian: cache.join(debian_release()?), cache };
        install_packages(&INSTALLED)?;
        unpack_packages(&parts.debian, &UNPACKED)?;
        parts.build_containerd()?;
        parts.build_runc()?;
        Ok(parts)
    }

    /// The folder with `containerd`, its shim and `ctr`.
    #[must_use]
    pub fn containerd_dir(&self, version: ContainerdVersion) -> PathBuf {
        match version {
            ContainerdVersion::V2_4 => self.built_containerd(),
            ContainerdVersion::V1_6 => self.debian.join("containerd/usr/bin"),
        }
    }

    /// The `runc` that goes with that containerd.
    #[must_use]
    pub fn runc(&self, version: ContainerdVersion) -> PathBuf {
        match version {
            ContainerdVersion::V2_4 => self.built_runc().join("runc"),
            ContainerdVersion::V1_6 => self.debian.join("runc/usr/sbin/runc"),
        }
    }

    /// The folder with the CNI plugins.
    #[must_use]
    pub fn cni_plugins(&self) -> PathBuf {
        self.debian.join("containernetworking-plugins/usr/lib/cni")
    }

    /// A static busybox.
    #[must_use]
    pub fn busybox(&self) -> PathBuf {
        self.debian.join("busybox-static/bin/busybox")
    }

    /// A registry server.
    #[must_use]
    pub fn registry(&self) -> PathBuf {
        self.debian.join("docker-registry/usr/bin/docker-registry")
    }

    fn built_containerd(&self) -> PathBuf {
        self.cache.join(format!("containerd-{CONTAINERD_VERSION}"))
    }

    fn built_runc(&self) -> PathBuf {
        self.cache.join(format!("runc-{RUNC_VERSION}"))
    }

    fn build_containerd(&self) -> Result<()> {
        let target = self.built_containerd();
        if CONTAINERD_PROGRAMS.iter().all(|program| target.join(program).is_file()) {
            return Ok(());
        }
        let go = find_go(&target)?;
        say(&format!("building containerd {CONTAINERD_VERSION} into {} (about 3 minutes)", target.display()));
        replace_whole(&target, |fresh| {
            let mut command = Command::new(&go);
            command
                .args(["install", "-trimpath", "-tags", "no_btrfs,no_devmapper,no_zfs", "-ldflags"])
                .arg(format!("-s -w -X {CONTAINERD_MODULE}/version.Version=v{CONTAINERD_VERSION}"))
                .args(
                    CONTAINERD_PROGRAMS.map(|p| format!("{CONTAINERD_MODULE}/cmd/{p}@v{CONTAINERD_VERSION}")),
                )
                .env("GOBIN", fresh)
                .env("CGO_ENABLED", "0");
            command::show(&mut command)
        })
    }

    fn build_runc(&self) -> Result<()> {
        let target = self.built_runc();
        if target.join("runc").is_file() {
            return Ok(());
        }
        let go = find_go(&target)?;
        say(&format!("building runc {RUNC_VERSION} into {} (about half a minute)", target.display()));
        replace_whole(&target, |fresh| {
            let mut command = Command::new(&go);
            command
                .args(["install", "-trimpath", "-tags", "seccomp", "-ldflags", "-s -w"])
                .arg(format!("{RUNC_MODULE}@v{RUNC_VERSION}"))
                .env("GOBIN", fresh)
                .env("CGO_ENABLED", "1");
            command::show(&mut command)
        })
    }
}

/// `dbus-daemon`, installed when it is missing.
pub(crate) fn dbus_daemon() -> Result<PathBuf> {
    let (_, _lock) = locked_cache(LOCK)?;
    debian_release()?;
    install_packages(&["dbus-daemon"])?;
    command::find_program("dbus-daemon", &["/usr/bin"])
        .context("the package dbus-daemon holds no dbus-daemon")
}

/// The cache folder, and the lock that keeps other builders out of it until it is dropped.
fn locked_cache(lock: &str) -> Result<(PathBuf, File)> {
    let cache = cache_dir()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make the cache {}", cache.display()))?;
    let lock = File::create(cache.join(lock)).context("the lock file of the cache")?;
    lock.lock().context("the lock file of the cache")?;
    Ok((cache, lock))
}

/// Unpacks those of `packages` into `into` that are not there, each with a file that shows that it is whole.
fn unpack_packages(into: &Path, packages: &[(&str, &str)]) -> Result<()> {
    let missing = |(package, file): &&(&str, &str)| !into.join(package).join(file).is_file();
    let missing: Vec<_> = packages.iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    say(&format!(
        "unpacking Debian packages into {} (not installing them): {}",
        into.display(),
        names.join(" ")
    ));
    for (package, file) in missing {
        unpack(into, package, file).with_context(|| format!("the Debian package {package}"))?;
    }
    Ok(())
}

fn unpack(into: &Path, package: &str, file: &str) -> Result<()> {
    replace_whole(&into.join(package), |fresh| {
        let deb = download(package, fresh)?;
        command::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(fresh))?;
        fs::remove_file(&deb)?;
        if !fresh.join(file).is_file() {
            bail!("it holds no {file}");
        }
        Ok(())
    })
}

/// Downloads a Debian package into the empty folder `into`.
fn download(package: &str, into: &Path) -> Result<PathBuf> {
    let download = || command::output(Command::new("apt-get").args(["download", package]).current_dir(into));
    if download().is_err() {
        command::output(Command::new("apt-get").args(["-q", "update"]))?;
        download()?;
    }
    only_file(into)
}

fn say(what: &str) {
    println!("set-up: {what}");
}

/// The folder that the parts are kept in.
pub fn cache_dir() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("PODWRIGHT_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|dir| dir.join("podwright")))
        .or_else(|| from("HOME").map(|dir| dir.join(".cache/podwright")))
        .context("no place for the cache: set PODWRIGHT_CACHE or HOME")
}

/// `debian-12` on Debian 12; the packages of another release may not run here.
fn debian_release() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    if command::find_program("apt-get", &[]).is_none() {
        bail!("the set-up uses Debian packages, and this machine ({}) has no apt-get", field("PRETTY_NAME"));
    }
    Ok(format!("{}-{}", field("ID"), field("VERSION_ID")))
}

fn install_packages(wanted: &[&str]) -> Result<()> {
    let missing: Vec<&str> = wanted.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!("installing Debian packages: {}", missing.join(" ")));
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["-q", "-y", "--no-install-recommends", "install"]).args(&missing);
        command::output(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    if install().is_err() {
        command::output(Command::new("apt-get").args(["-q", "update"]))?;
        install()?;
    }
    Ok(())
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f=${Status}", package]);
    command::output(&mut query).is_ok_and(|status| status.ends_with(" installed"))
}

/// Lets `fill` fill a fresh folder, which then takes the place of `target` in one step.
fn replace_whole(target: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let fresh = target.with_extension("fresh");
    remove_dir(&fresh)?;
    fs::create_dir_all(&fresh).with_context(|| format!("{}", fresh.display()))?;
    fill(&fresh)?;
    remove_dir(target)?;
    fs::rename(&fresh, target).with_context(|| format!("{}", target.display()))
}

fn remove_dir(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
    }
    Ok(())
}

fn only_file(dir: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(dir)?;
    let first = entries.next().context("nothing was downloaded")??;
    Ok(first.path())
}

fn find_go(wanted_for: &Path) -> Result<PathBuf> {
    let go = command::find_program("go", &["/usr/local/go/bin", "/usr/lib/go/bin"]);
    let version = go.as_ref().and_then(|go| command::output(Command::new(go).arg("version")).ok());
    match (go, version.as_deref().and_then(go_minor)) {
        (Some(go), Some(minor)) if minor >= GO_MINOR_MIN => Ok(go),
        (_, found) => {
            let found =
                found.map_or("no Go was found".to_owned(), |minor| format!("only Go 1.{minor} was found"));
            bail!(
                "{found} on PATH or in /usr/local/go/bin, and {} has to be built from Go modules: install Go 1.{GO_MINOR_MIN} \
                 or newer, or put the built programs into that folder",
                wanted_for.display()
            )
        }
    }
}

/// 26 of `go version go1.26.8 linux/amd64`.
fn go_minor(version: &str) -> Option<u32> {
    version.split(' ').nth(2)?.strip_prefix("go1.")?.split(['.', '\n']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_of_go_is_read() {
        assert_eq!(go_minor("go version go1.26.8 linux/amd64\n"), Some(26));
        assert_eq!(go_minor("go version go1.30 linux/amd64\n"), Some(30));
        assert_eq!(go_minor("go version devel +abc"), None);
    }

    #[test]
    fn a_part_that_fails_half_way_leaves_the_old_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let target = dir.path().join("part");
        replace_whole(&target, |fresh| Ok(fs::write(fresh.join("a"), "old")?)).expect("made");
        let failed = replace_whole(&target, |fresh| {
            fs::write(fresh.join("a"), "new")?;
            bail!("half way")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(target.join("a")).expect("read"), "old");
        replace_whole(&target, |fresh| Ok(fs::write(fresh.join("a"), "new")?)).expect("made");
        assert_eq!(fs::read_to_string(target.join("a")).expect("read"), "new");
    }
}
