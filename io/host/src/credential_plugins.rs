//! Runs credential plugins: a configured program, bounded as [`crate::programs`] bounds every one.

use async_trait::async_trait;
use ports::CredentialPlugins;
use ports::credential_plugins::{PluginCommand, PluginError};

use crate::programs::{self, MAX_OUTPUT_BYTES, Program, ProgramError};

/// The runner of plugins.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostCredentialPlugins;

#[async_trait]
impl CredentialPlugins for HostCredentialPlugins {
    async fn run(&self, command: &PluginCommand, input: &[u8]) -> Result<Vec<u8>, PluginError> {
        let program = Program {
            file: command.program.clone(),
            args: command.args.clone(),
            env: command.env.clone(),
            limit: command.limit,
        };
        programs::run(&program, input).await.map_err(|error| match error {
            ProgramError::Start(error) => PluginError::Start(error),
            ProgramError::Timeout => PluginError::Timeout { after: command.limit },
            ProgramError::TooLong => PluginError::TooLong { max_bytes: MAX_OUTPUT_BYTES },
            ProgramError::Failed { status, stderr } => {
                PluginError::Failed { status: status.to_string(), stderr }
            }
        })
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
        assert!(noisy.unwrap_err().to_string().len() < 2 * programs::MAX_STDERR_BYTES);
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
