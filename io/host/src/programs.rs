//! Runs a program of the host: no shell, bounded in time and in what it may say.
//!
//! Each one is a process group of its own. The group is killed at the deadline, when it says too much, and when nobody waits for it
//! any more.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Longest answer that is read. Real ones have some kilobytes.
pub(crate) const MAX_OUTPUT_BYTES: usize = 1 << 20;

/// How much of what a program says on standard error is kept; the rest is read and forgotten.
pub(crate) const MAX_STDERR_BYTES: usize = 4 << 10;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) file: PathBuf,
    pub(crate) args: Vec<String>,
    /// Variables on top of the agent's own.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) limit: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum ProgramError {
    /// It could not be started, or read.
    Start(io::Error),
    /// It took too long.
    Timeout,
    /// It said more than [`MAX_OUTPUT_BYTES`].
    TooLong,
    /// It ended with an error.
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said about that.
        stderr: String,
    },
}

/// Runs a program with this input and gives what it says.
pub(crate) async fn run(program: &Program, input: &[u8]) -> Result<Vec<u8>, ProgramError> {
    let mut child = Command::new(&program.file)
        .args(&program.args)
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(ProgramError::Start)?;
    let _group = Group::of(&child);
    match tokio::time::timeout(program.limit, talk(&mut child, input)).await {
        Ok(result) => result,
        Err(_) => Err(ProgramError::Timeout),
    }
}

async fn talk(child: &mut Child, input: &[u8]) -> Result<Vec<u8>, ProgramError> {
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(stdin) = &mut stdin {
            // A program that does not read its input is free not to.
            let _ = stdin.write_all(input).await;
        }
        drop(stdin);
    };
    let ((), out, err) = tokio::join!(write, read(stdout, MAX_OUTPUT_BYTES + 1), read_start(stderr));
    let out = out.map_err(ProgramError::Start)?;
    if out.len() > MAX_OUTPUT_BYTES {
        return Err(ProgramError::TooLong);
    }
    let status = child.wait().await.map_err(ProgramError::Start)?;
    if status.success() {
        return Ok(out);
    }
    let stderr = String::from_utf8_lossy(&err).trim().to_owned();
    Err(ProgramError::Failed { status, stderr })
}

async fn read(from: Option<impl AsyncRead + Unpin>, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    if let Some(from) = from {
        from.take(max_bytes as u64).read_to_end(&mut content).await?;
    }
    Ok(content)
}

/// The beginning of what is said; the rest is read too, so that nobody waits for a full pipe.
async fn read_start(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut from) = from else { return Vec::new() };
    let mut start = Vec::new();
    let _ = (&mut from).take(MAX_STDERR_BYTES as u64).read_to_end(&mut start).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    start
}

/// Kills what is left of a program's process group when it goes.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
