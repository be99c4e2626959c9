//! A guest machine: Debian's kernel under qemu, with the cgroup version, the systemd and the privileges that the machine may lack.
//!
//! ```text
//! initramfs (busybox, a few modules) -> a tmpfs as root, with folders of this machine over 9p -> systemd, if installed -> the jobs -> off
//! ttyS0 console.log   ttyS1 what the jobs say   ttyS2 "<job> <exit code>" of each   ttyS3 notes of skipped tests
//! ```
//!
//! The guest runs programs of this machine in place: it sees the folders with Debian's programs, the lab's parts and what cargo
//! built, all read-only; what it writes to them lies in its own memory. It has no disk and no network.
//! Reads: those folders, `/proc/cpuinfo`. Writes: a folder of its own below the claims'.
//! Guarantees: qemu ends with the call, or with us; a guest that runs out of time is an error with the end of its console.

use std::{
    fs::{self, File, OpenOptions},
    io::{Cursor, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use cpio::{NewcBuilder, newc::ModeFileType, write_cpio};

use crate::{
    claim::{Claim, GUESTS, sweep_stale},
    parts::GuestParts,
    process::{Program, Running, log_tail},
    wait,
};

/// Where a job finds the port that takes notes of skipped tests, for `PODWRIGHT_SKIPS`.
pub const NOTES: &str = "/dev/ttyS3";

/// Modules that the first root needs.
const FIRST_MODULES: [&str; 4] = [
    "kernel/drivers/virtio/virtio_pci.ko",
    "kernel/net/9p/9pnet_virtio.ko",
    "kernel/fs/9p/9p.ko",
    "kernel/fs/overlayfs/overlay.ko",
];

/// Folders with Debian's programs and what its package manager knows of them.
const OF_DEBIAN: [&str; 3] = ["/usr", "/etc/alternatives", "/var/lib/dpkg"];

const MEMORY_MIB: u32 = 3072;

/// Who runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// qemu, some ten times slower.
    Tcg,
}

impl Accelerator {
    /// What this machine has. One that is a guest itself may show `/dev/kvm` and be no host for a plain kernel, which the flags of its
    /// processor tell.
    #[must_use]
    pub fn of_machine() -> Self {
        let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let usable = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if usable && virtualizes(&flags) { Self::Kvm } else { Self::Tcg }
    }

    fn args(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max"],
        }
    }
}

/// Whether the processor, as `/proc/cpuinfo` tells it, runs guests by itself.
fn virtualizes(cpuinfo: &str) -> bool {
    let mut flags =
        cpuinfo.lines().filter_map(|line| line.strip_prefix("flags")).flat_map(str::split_whitespace);
    flags.any(|flag| flag == "vmx" || flag == "svm")
}

/// How the guest counts and limits what processes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// A hierarchy for each controller, which only systemd mounts.
    V1,
    /// One hierarchy.
    V2,
}

impl CgroupVersion {
    /// What the kernel's command line says of it.
    fn word(self) -> &'static str {
        match self {
            Self::V1 => "systemd.unified_cgroup_hierarchy=0",
            Self::V2 => "systemd.unified_cgroup_hierarchy=1",
        }
    }
}

/// A program that runs in the guest.
#[derive(Clone, Debug)]
pub struct Job {
    /// The executable, in one of the shared folders.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment besides PATH and HOME.
    pub env: Vec<(String, String)>,
}

impl Job {
    /// The job as a shell script.
    fn script(&self) -> String {
        let mut script = String::new();
        for (name, value) in &self.env {
            script += &format!("export {name}={}\n", quoted(value));
        }
        script += &format!("exec {}", quoted(&self.program.display().to_string()));
        for arg in &self.args {
            script += &format!(" {}", quoted(arg));
        }
        script + "\n"
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What a job did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// It said a line.
    Line(&'a str),
    /// It ended with this exit code, and the next one begins.
    Ended(i32),
}

/// A folder of this machine, at the same or another place in the guest.
#[derive(Clone, Debug)]
struct Share {
    from: PathBuf,
    at: PathBuf,
}

/// A guest machine that can be started.
#[derive(Debug)]
pub struct Guest {
    parts: GuestParts,
    accelerator: Accelerator,
    cgroup_version: CgroupVersion,
    shares: Vec<Share>,
}

impl Guest {
    /// A guest that sees `folders` besides Debian's and the parts'.
    #[must_use]
    pub fn new(
        parts: &GuestParts,
        accelerator: Accelerator,
        cgroup_version: CgroupVersion,
        folders: &[&Path],
    ) -> Self {
        let here = |dir: &Path| Share { from: dir.to_owned(), at: dir.to_owned() };
        let debian = OF_DEBIAN.map(|dir| here(Path::new(dir)));
        let mut shares: Vec<Share> = debian.into_iter().chain([here(parts.cache())]).collect();
        shares.extend(folders.iter().map(|dir| here(dir)));
        shares.push(Share { from: parts.modules(), at: "/lib/modules".into() });
        Self { parts: parts.clone(), accelerator, cgroup_version, shares }
    }

    /// Starts the machine and runs the jobs one after another; `tell` hears what they say and how they end, in that order. It is an error
    /// when not all have ended after `limit`. Returns the notes of skipped tests. Leftovers of killed runs are removed first.
    pub fn run(&self, jobs: &[Job], limit: Duration, mut tell: impl FnMut(Seen<'_>)) -> Result<Vec<String>> {
        sweep_stale()?;
        let mut claim = Claim::take(&GUESTS, |_number| Ok(true))?;
        let dir = claim.dir().to_owned();
        let initramfs = dir.join("initramfs");
        self.write_initramfs(jobs, &initramfs)?;
        let log = dir.join("qemu.log");
        let args = self.args(&dir, &initramfs)?;
        let mut running = Running::start(&Program {
            file: self.parts.qemu().to_owned(),
            args,
            env: Vec::new(),
            log: log.clone(),
        })?;
        let mut output = Tail::of(&dir.join("output.log"));
        let mut ends = Tail::of(&dir.join("ends.log"));
        let mut ended = 0;
        let seen = wait::until("the guest to run its jobs", limit, || {
            let off = running.ended()?.is_some();
            // How a job ended is written after everything it said.
            let codes = ends.lines();
            for line in output.lines() {
                tell(Seen::Line(&line));
            }
            for code in codes.iter().filter_map(|line| line.split(' ').nth(1)?.parse().ok()) {
                tell(Seen::Ended(code));
                ended += 1;
            }
            Ok(if off { wait::Look::Done(()) } else { wait::Look::Waiting(format!("{ended} have ended")) })
        });
        running.kill()?;
        if let Err(problem) = seen.and_then(|()| all_ended(ended, jobs.len())) {
            let console = log_tail(&dir.join("console.log"), 20);
            bail!(
                "{problem:#}; qemu said:\n{}\nthe end of the guest's console:\n{console}",
                log_tail(&log, 5)
            );
        }
        let notes = crate::skipped(&dir.join("notes.log"));
        claim.release()?;
        Ok(notes)
    }

    fn args(&self, dir: &Path, initramfs: &Path) -> Result<Vec<String>> {
        let words = "-nodefaults -no-user-config -display none -no-reboot -smp 2 -m";
        let mut args: Vec<String> = words.split(' ').map(str::to_owned).collect();
        args.push(MEMORY_MIB.to_string());
        args.extend(self.accelerator.args().map(str::to_owned));
        // Guards against other users of the machine, which has none, cost much under emulation.
        let line = format!("console=ttyS0 panic=-1 psi=1 mitigations=off {}", self.cgroup_version.word());
        let kernel = self.parts.kernel_image()?.display().to_string();
        for (option, value) in
            [("-kernel", &*kernel), ("-initrd", &initramfs.display().to_string()), ("-append", &line)]
        {
            args.extend([option.to_owned(), value.to_owned()]);
        }
        for port in ["console.log", "output.log", "ends.log", "notes.log"] {
            args.extend(["-serial".to_owned(), format!("file:{}", dir.join(port).display())]);
        }
        for (tag, share) in self.tagged() {
            let from = share.from.display();
            args.push("-virtfs".to_owned());
            args.push(format!(
                "local,path={from},mount_tag={tag},security_model=none,readonly=on,multidevs=remap"
            ));
        }
        Ok(args)
    }

    fn tagged(&self) -> impl Iterator<Item = (String, &Share)> {
        self.shares.iter().enumerate().map(|(index, share)| (format!("share{index}"), share))
    }

    fn write_initramfs(&self, jobs: &[Job], to: &Path) -> Result<()> {
        let init = include_str!("../assets/guest/init");
        let start = include_str!("../assets/guest/start");
        let run = include_str!("../assets/guest/run");
        let shares: String =
            self.tagged().map(|(tag, share)| format!("{tag} {}\n", share.at.display())).collect();
        let busybox = self.parts.busybox();
        let busybox = fs::read(busybox).with_context(|| format!("{}", busybox.display()))?;
        let mut files = vec![
            ("bin/busybox".to_owned(), busybox),
            ("init".to_owned(), init.into()),
            ("guest/start".to_owned(), start.into()),
            ("guest/run".to_owned(), run.into()),
            ("guest/shares.list".to_owned(), shares.into()),
        ];
        for (index, job) in jobs.iter().enumerate() {
            files.push((format!("guest/jobs/{index:03}"), job.script().into()));
        }
        let release = self.parts.kernel_release()?;
        let modules = self.parts.modules().join(&release);
        let read = |name: &str| fs::read(modules.join(name)).with_context(|| format!("the kernel's {name}"));
        let needs = read("modules.dep")?;
        for name in with_needed(&String::from_utf8_lossy(&needs), &FIRST_MODULES) {
            files.push((format!("lib/modules/{release}/{name}"), read(&name)?));
        }
        files.push((format!("lib/modules/{release}/modules.dep"), needs));
        let file = File::create(to).with_context(|| format!("{}", to.display()))?;
        write_archive(&files, file).with_context(|| format!("{}", to.display()))
    }
}

fn all_ended(ended: usize, jobs: usize) -> Result<()> {
    if ended != jobs {
        bail!("the guest went off after {ended} of {jobs} jobs");
    }
    Ok(())
}

/// `wanted` modules and those they need, by the lines of `modules.dep`: `a.ko: b.ko c.ko`, which lead to the last one.
fn with_needed(modules_dep: &str, wanted: &[&str]) -> Vec<String> {
    let lines = modules_dep.lines().filter_map(|line| line.split_once(':'));
    let lines = lines.filter(|(name, _)| wanted.contains(name));
    let mut found: Vec<String> = lines
        .flat_map(|(name, needs)| std::iter::once(name).chain(needs.split_whitespace()))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Writes executable files, and the folders they are in, the way the kernel unpacks them.
fn write_archive(files: &[(String, Vec<u8>)], to: File) -> Result<()> {
    let mut folders: Vec<&Path> =
        files.iter().flat_map(|(name, _)| Path::new(name).ancestors().skip(1)).collect();
    folders.retain(|dir| !dir.as_os_str().is_empty());
    folders.sort_unstable();
    folders.dedup();
    let folders = folders.into_iter().map(|dir| {
        let entry = NewcBuilder::new(&dir.display().to_string());
        (entry.mode(0o755).set_mode_file_type(ModeFileType::Directory), Cursor::new(&[][..]))
    });
    let files = files.iter().map(|(name, content)| {
        let entry = NewcBuilder::new(name);
        (entry.mode(0o755).set_mode_file_type(ModeFileType::Regular), Cursor::new(&content[..]))
    });
    write_cpio(folders.chain(files), to)?;
    Ok(())
}

/// A file that grows, read line by line.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// The begin of a line whose end is not there yet.
    begun: Vec<u8>,
}

impl Tail {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, begun: Vec::new() }
    }

    /// The whole lines that were added since the last call; none while the file is not there.
    fn lines(&mut self) -> Vec<String> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return Vec::new() };
        // What cannot be read now is read by the next call, or missed at the end, where that is told.
        let _ = file.read_to_end(&mut self.begun);
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = self.begun.split_off(whole);
        let whole = std::mem::replace(&mut self.begun, rest);
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_processor_tells_whether_it_runs_guests() {
        assert!(virtualizes("processor : 0\nflags\t\t: fpu vmx sse\n"));
        assert!(virtualizes("flags : svm\n"));
        assert!(!virtualizes("flags : fpu sse\nbugs : vmx\n"));
    }

    #[test]
    fn a_job_is_quoted_for_the_shell() {
        let job = Job {
            program: "/a b/test".into(),
            args: vec!["it's".to_owned(), "$x".to_owned()],
            env: vec![("NAME".to_owned(), "two words".to_owned())],
        };
        assert_eq!(job.script(), "export NAME='two words'\nexec '/a b/test' 'it'\\''s' '$x'\n");
    }

    #[test]
    fn modules_come_with_what_they_need() {
        let text = "fs/9p.ko: net/9p.ko lib/x.ko\nnet/9p.ko:\nother.ko: net/9p.ko\nfs/o.ko:\n";
        assert_eq!(
            with_needed(text, &["fs/9p.ko", "fs/o.ko"]),
            ["fs/9p.ko", "fs/o.ko", "lib/x.ko", "net/9p.ko"]
        );
    }

    #[test]
    fn a_growing_file_gives_whole_lines_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let mut tail = Tail::of(&path);
        assert!(tail.lines().is_empty());
        let mut file = File::create(&path).expect("made");
        file.write_all(b"one\ntw").expect("written");
        assert_eq!(tail.lines(), ["one"]);
        file.write_all(b"o\n\nthree").expect("written");
        assert_eq!(tail.lines(), ["two", ""]);
        assert!(tail.lines().is_empty());
    }

    #[test]
    fn an_archive_has_folders_before_their_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("archive");
        let files = [("a/b/c".to_owned(), b"text".to_vec()), ("init".to_owned(), Vec::new())];
        write_archive(&files, File::create(&path).expect("made")).expect("written");
        let mut rest = File::open(&path).expect("there");
        let mut seen = Vec::new();
        loop {
            let entry = cpio::NewcReader::new(rest).expect("an entry");
            if entry.entry().is_trailer() {
                break;
            }
            seen.push((entry.entry().name().to_owned(), entry.entry().mode(), entry.entry().file_size()));
            rest = entry.finish().expect("the next");
        }
        let names: Vec<_> = seen.iter().map(|(name, mode, size)| (name.as_str(), *mode, *size)).collect();
        assert_eq!(
            names,
            [("a", 0o40755, 0), ("a/b", 0o40755, 0), ("a/b/c", 0o100_755, 4), ("init", 0o100_755, 0)]
        );
    }
}
