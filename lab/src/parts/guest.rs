//! What a guest machine is made of: qemu, a kernel of Debian's with its modules, and the programs that the guest runs of this machine.
//!
//! qemu is installed, because its libraries are many and are found by the system's loader only; it starts nothing by itself. The
//! kernel is unpacked: installed, it would become this machine's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{LOCK, Parts, debian_release, download, install_packages, locked_cache, replace_whole, say};
use crate::command;

const QEMU: &str = "qemu-system-x86";
/// With the program that loads AppArmor profiles; on a machine whose kernel has no AppArmor it does nothing.
const APP_ARMOR: &str = "apparmor";
/// The program that archives what runs in a container; Debian's knows the guest's kernel.
const CRIU: &str = "criu";

/// Debian's name for its newest kernel; the package of that name only leads to the one that holds it. The kernel for clouds would
/// do, had it the file system that qemu shares folders by.
const KERNEL: &str = "linux-image-amd64";

/// The programs and files, all present.
#[derive(Clone, Debug)]
pub struct GuestParts {
    qemu: PathBuf,
    busybox: PathBuf,
    kernel: PathBuf,
    cache: PathBuf,
}

impl GuestParts {
    /// Finds the parts, making what is missing; `parts` are those that run in the guest.
    pub fn ready(parts: &Parts) -> Result<Self> {
        let (cache, _lock) = locked_cache(LOCK)?;
        install_packages(&[QEMU, APP_ARMOR, CRIU])?;
        let qemu = command::find_program("qemu-system-x86_64", &["/usr/bin"])
            .with_context(|| format!("the package {QEMU} holds no qemu-system-x86_64"))?;
        let kernel = cache.join(debian_release()?).join(KERNEL);
        if !kernel.is_dir() {
            say(&format!("unpacking Debian's kernel into {} (not installing it)", kernel.display()));
            replace_whole(&kernel, |fresh| unpack_kernel(fresh, &parts.busybox()))
                .with_context(|| format!("the Debian package {KERNEL}"))?;
        }
        Ok(Self { qemu, busybox: parts.busybox(), kernel, cache })
    }

    /// `qemu-system-x86_64`.
    #[must_use]
    pub fn qemu(&self) -> &Path {
        &self.qemu
    }

    /// A static busybox.
    #[must_use]
    pub fn busybox(&self) -> &Path {
        &self.busybox
    }

    /// The kernel's image.
    pub fn kernel_image(&self) -> Result<PathBuf> {
        let boot = self.kernel.join("boot");
        entry(&boot, |name| name.starts_with("vmlinuz-")).map(|name| boot.join(name))
    }

    /// The folder with the modules of each release.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.kernel.join("lib/modules")
    }

    /// The kernel's release, as its folder of modules is named.
    pub fn kernel_release(&self) -> Result<String> {
        entry(&self.modules(), |_| true)
    }

    /// The folder that the parts of runs and tests lie in.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }
}

fn unpack_kernel(fresh: &Path, busybox: &Path) -> Result<()> {
    let package = newest_kernel()?;
    let deb = download(&package, fresh)?;
    command::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(fresh))?;
    fs::remove_file(&deb)?;
    let release = entry(&fresh.join("lib/modules"), |_| true)?;
    // Which module needs which is found out when a kernel is installed, which this one is not.
    command::output(Command::new(busybox).arg("depmod").arg("-b").arg(fresh).arg(release)).map(drop)
}

/// `linux-image-6.1.0-57-amd64`, which `linux-image-amd64` depends on.
fn newest_kernel() -> Result<String> {
    let ask = || command::output(Command::new("apt-cache").args(["depends", KERNEL]));
    let found = |text: &str| dependency(text).map(str::to_owned);
    if let Some(package) = ask().ok().as_deref().and_then(found) {
        return Ok(package);
    }
    command::output(Command::new("apt-get").args(["-q", "update"]))?;
    found(&ask()?).context("it depends on no kernel")
}

fn dependency(depends: &str) -> Option<&str> {
    let lines = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    lines.into_iter().find(|package| package.starts_with("linux-image-"))
}

/// The name of the entry of `dir` that `wanted` picks.
fn entry(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let entries = fs::read_dir(dir).with_context(|| format!("{}", dir.display()))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.into_iter().find(|name| wanted(name)).with_context(|| format!("nothing fits in {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_what_the_package_of_its_name_depends_on() {
        let text = "linux-image-amd64\n  Depends: linux-image-6.1.0-57-amd64\n  Conflicts: <x>\n";
        assert_eq!(dependency(text), Some("linux-image-6.1.0-57-amd64"));
        assert_eq!(dependency("linux-image-amd64\n"), None);
    }
}
