//! Long-running helper processes, and the process table for sweeping up after a killed run.
//!
//! A [`Running`] process writes to a log file, sits in its own process group (so that Ctrl-C reaches only us, who then stop
//! it in order) and gets SIGKILL from the kernel when we die without doing so (`setpriv --pdeathsig`). The kernel ties that
//! to the thread that forked, not to the process; therefore one thread that never ends does all the forking.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::wait;

/// How long a process may take to vanish after SIGKILL: on a loaded machine the kernel closes what it had open only by and by.
const KILL_LIMIT: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub file: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables set on top of ours.
    pub env: Vec<(String, String)>,
    /// Where standard output and error are appended.
    pub log: PathBuf,
}

/// A process that we started and have not yet seen end.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts `program`.
    pub fn start(program: &Program) -> Result<Self> {
        let name = program.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = log_file(&program.log)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program.file)
            .args(&program.args)
            .envs(program.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = fork(command).with_context(|| format!("cannot start {}", program.file.display()))?;
        Ok(Self { child, name, log: program.log.clone() })
    }

    /// The process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the process has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error with the end of the log when the process has ended; it is called while waiting for its readiness.
    pub fn still_runs(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!(
                "{} ended with {status}; the end of {}:\n{}",
                self.name,
                self.log.display(),
                log_tail(&self.log, 15)
            );
        }
        Ok(())
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(pid_of(&self.child)?, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Sends SIGTERM, waits up to `grace`, then SIGKILL; the process is gone afterwards.
    pub fn stop(mut self, grace: Duration) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            self.signal(Signal::TERM)?;
        }
        match self.wait_end(grace) {
            Ok(status) => Ok(status),
            Err(_) => self.kill(),
        }
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            self.signal(Signal::KILL)?;
        }
        self.wait_end(KILL_LIMIT)
    }

    fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} (process {}) to end", self.name, self.pid());
        wait::until_even_if_interrupted(&what, limit, || {
            Ok(self.child.try_wait()?.map_or(wait::Look::Waiting("it runs".to_owned()), wait::Look::Done))
        })
    }
}

fn pid_of(child: &Child) -> Result<Pid> {
    raw_pid(child.id()).context("a child has a process ID")
}

fn raw_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

fn log_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

/// The last `lines` lines of a log file, empty when it cannot be read.
#[must_use]
pub fn log_tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

struct Order {
    command: Command,
    reply: Sender<std::io::Result<Child>>,
}

fn fork(command: Command) -> std::io::Result<Child> {
    static FORKER: OnceLock<Sender<Order>> = OnceLock::new();
    let forker = FORKER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for mut order in inbox {
                let child = order.command.spawn();
                // Nobody waits for the reply only when the asking thread has died.
                drop(order.reply.send(child));
            }
        });
        orders
    });
    let gone = || std::io::Error::other("the forking thread has ended");
    let (reply, answer) = channel();
    forker.send(Order { command, reply }).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// One line of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The process ID.
    pub pid: u32,
    /// The parent's process ID.
    pub parent: u32,
    /// File name of the executable.
    pub program: String,
    /// The command line.
    pub args: Vec<String>,
}

/// All processes of the machine that can be read, in the order of `/proc`.
#[must_use]
pub fn table() -> Vec<Entry> {
    let Ok(dir) = std::fs::read_dir("/proc") else { return Vec::new() };
    dir.flatten().filter_map(|entry| read_entry(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn read_entry(pid: u32) -> Option<Entry> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (state, parent) = state_and_parent(&stat)?;
    if state == "Z" {
        return None;
    }
    let args = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let args = args
        .split(|b| *b == 0)
        .filter(|a| !a.is_empty())
        .map(|a| String::from_utf8_lossy(a).into_owned())
        .collect();
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let program =
        exe.file_name().unwrap_or_default().to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    Some(Entry { pid, parent, program, args })
}

/// State letter and parent of a `/proc/<pid>/stat` line; the name in it may hold spaces and brackets.
fn state_and_parent(stat: &str) -> Option<(&str, u32)> {
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?, words.next()?.parse().ok()?))
}

/// `roots` and everything below them in `table`.
#[must_use]
pub fn with_descendants(table: &[Entry], roots: &[u32]) -> Vec<u32> {
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = table.iter().filter(|e| e.parent == parent).map(|e| e.pid);
        let new: Vec<u32> = children.filter(|pid| !found.contains(pid)).collect();
        found.extend(new);
        next += 1;
    }
    found
}

/// Sends SIGKILL to each of `pids` and waits until all are gone (or wait for their parent to reap them).
pub fn kill_all(pids: &[u32]) -> Result<()> {
    for pid in pids.iter().filter_map(|pid| raw_pid(*pid)) {
        // One that ended by itself in the meantime is what we want.
        let _gone = kill_process(pid, Signal::KILL);
    }
    wait::until_even_if_interrupted("killed processes to vanish", KILL_LIMIT, || {
        let left: Vec<u32> = pids.iter().copied().filter(|pid| read_entry(*pid).is_some()).collect();
        Ok(if left.is_empty() {
            wait::Look::Done(())
        } else {
            wait::Look::Waiting(format!("{left:?} still run"))
        })
    })
}

/// The value for PATH that has `first` before ours.
pub(crate) fn path_with(first: &[&Path]) -> Result<String> {
    let ours = std::env::var_os("PATH").unwrap_or_default();
    let dirs = first.iter().map(|dir| dir.to_path_buf()).chain(std::env::split_paths(&ours));
    let joined = std::env::join_paths(dirs).context("a folder name with a colon cannot be on PATH")?;
    Ok(AsRef::<OsStr>::as_ref(&joined).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: u32, parent: u32) -> Entry {
        Entry { pid, parent, program: String::new(), args: Vec::new() }
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_stat_fields() {
        assert_eq!(state_and_parent("7 (a) Z (b)) S 41 7 7 0"), Some(("S", 41)));
        assert_eq!(state_and_parent("nonsense"), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_order() {
        let table = [entry(5, 4), entry(2, 1), entry(4, 2), entry(9, 1)];
        assert_eq!(with_descendants(&table, &[2]), vec![2, 4, 5]);
    }

    #[test]
    fn a_started_process_is_logged_stopped_and_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        let args = vec!["-c".to_owned(), "echo hello; exec sleep 100".to_owned()];
        let program = Program { file: "/bin/sh".into(), args, env: Vec::new(), log: log.clone() };
        let mut running = Running::start(&program).expect("started");
        wait::until_true("the greeting", KILL_LIMIT, || log_tail(&log, 1) == "hello").expect("logged");
        running.still_runs().expect("runs");
        let pid = running.pid();
        let status = running.stop(KILL_LIMIT).expect("stopped");
        assert!(!status.success());
        assert_eq!(read_entry(pid), None);
    }

    #[test]
    fn a_process_that_ended_is_reported_with_its_last_words() {
        let dir = tempfile::tempdir().expect("a folder");
        let args = vec!["-c".to_owned(), "echo last words; exit 3".to_owned()];
        let program = Program { file: "/bin/sh".into(), args, env: Vec::new(), log: dir.path().join("log") };
        let mut running = Running::start(&program).expect("started");
        running.wait_end(KILL_LIMIT).expect("ended");
        assert!(running.still_runs().expect_err("ended").to_string().contains("last words"));
    }
}
