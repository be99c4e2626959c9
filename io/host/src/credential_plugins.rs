//! Runs credential plugins: a configured program, no shell, bounded in time and in what it may say.
//!
//! Each plugin is a process group of its own. The group is killed at the deadline, when it says too much, and when nobody
//! waits for it any more.

use std::process::Stdio;

use async_trait::async_trait;
use ports::CredentialPlugins;
use ports::credential_plugins::{PluginCommand, PluginError};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Longest answer that is read. Real ones have some kilobytes.
const MAX_OUTPUT_BYTES: usize = 1 << 20;

/// How much of what a plugin says on standard error is kept; the rest is read and forgotten.
const MAX_STDERR_BYTES: usize = 4 << 10;

/// The runner of plugins.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostCredentialPlugins;

#[async_trait]
impl CredentialPlugins for HostCredentialPlugins {
    async fn run(&self, command: &PluginCommand, input: &[u8]) -> Result<Vec<u8>, PluginError> {
        let mut child = Command::new(&command.program)
            .args(&command.args)
            .envs(command.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(PluginError::Start)?;
        let _group = Group::of(&child);
        match tokio::time::timeout(command.limit, talk(&mut child, input)).await {
            Ok(result) => result,
            Err(_) => Err(PluginError::Timeout { after: command.limit }),
        }
    }
}

async fn talk(child: &mut Child, input: &[u8]) -> Result<Vec<u8>, PluginError> {
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(stdin) = &mut stdin {
            // A plugin that does not read its input is free not to.
            let _ = stdin.write_all(input).await;
        }
        drop(stdin);
    };
    let ((), out, err) = tokio::join!(write, read(stdout, MAX_OUTPUT_BYTES + 1), read_start(stderr));
    let out = out.map_err(PluginError::Start)?;
    if out.len() > MAX_OUTPUT_BYTES {
        return Err(PluginError::TooLong { max_bytes: MAX_OUTPUT_BYTES });
    }
    let status = child.wait().await.map_err(PluginError::Start)?;
    if status.success() {
        return Ok(out);
    }
    let stderr = String::from_utf8_lossy(&err).trim().to_owned();
    Err(PluginError::Failed { status: status.to_string(), stderr })
}

async fn read(from: Option<impl AsyncRead + Unpin>, max_bytes: usize) -> std::io::Result<Vec<u8>> {
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

/// Kills what is left of a plugin's process group when it goes.
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn sh(script: &str, limit_secs: u64) -> PluginCommand {
        PluginCommand {
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: vec![("GREETING".to_owned(), "hello".to_owned())],
            limit: Duration::from_secs(limit_secs),
        }
    }

    #[tokio::test]
    async fn a_plugin_gets_its_input_and_gives_its_output() {
        let run = HostCredentialPlugins.run(&sh("printf %s \"$GREETING \"; cat", 60), b"there").await;
        assert_eq!(run.unwrap(), b"hello there");
        let deaf = HostCredentialPlugins.run(&sh("exec 0<&-; echo x", 60), &[b'y'; 1 << 20]).await;
        assert_eq!(deaf.unwrap(), b"x\n");
    }

    #[tokio::test]
    async fn failures_say_what_the_plugin_said() {
        let failed = HostCredentialPlugins.run(&sh("echo no region >&2; exit 3", 60), b"").await;
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no region"), "{error}");
        let noisy = HostCredentialPlugins.run(&sh("yes x | head -c 9000000 >&2; exit 1", 60), b"").await;
        assert!(noisy.unwrap_err().to_string().len() < 2 * MAX_STDERR_BYTES);
        let missing = PluginCommand { program: PathBuf::from("/no/such/plugin"), ..sh("", 60) };
        let error = HostCredentialPlugins.run(&missing, b"").await.unwrap_err();
        assert!(matches!(error, PluginError::Start(_)), "{error}");
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_or_never_stops_is_killed_with_its_children() {
        let temp = tempfile::tempdir().unwrap();
        let pid_file = temp.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
        let hung = HostCredentialPlugins.run(&sh(&script, 1), b"").await;
        assert!(matches!(hung, Err(PluginError::Timeout { .. })), "{hung:?}");
        let child = std::fs::read_to_string(&pid_file).unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", child.trim()));
        let gone = || match std::fs::read_to_string(&stat) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        let wait = async {
            while !gone() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the child of the plugin is gone");
        let endless = HostCredentialPlugins.run(&sh("yes", 60), b"").await;
        assert!(matches!(endless, Err(PluginError::TooLong { .. })), "{endless:?}");
    }
}
