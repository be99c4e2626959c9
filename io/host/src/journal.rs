//! The journal of systemd, through its own reader `journalctl`: `ports::Journal` (CONTRACT 2.8).
//!
//! The journal's files have no other stable reader. The program gets its arguments one by one, no shell sees them, and it is
//! ended with its reader or at its deadline. A machine without it has no journal.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use ports::node_files::{Bytes, Journal};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// Reader of the journal, looked up in `PATH`.
const PROGRAM: &str = "journalctl";
/// Time for the list of services.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// Largest list of services that is looked at: some ten thousand names.
const MAX_LIST_BYTES: u64 = 1 << 20;
/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// The journal of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostJournal;

#[async_trait]
impl Journal for HostJournal {
    async fn knows(&self, service: &str) -> bool {
        let list = async {
            let mut child = command(&["--field".to_owned(), "_SYSTEMD_UNIT".to_owned()]);
            let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
            let mut text = Vec::new();
            child.stdout.take()?.take(MAX_LIST_BYTES).read_to_end(&mut text).await.ok()?;
            child.wait().await.ok().filter(std::process::ExitStatus::success)?;
            Some(String::from_utf8_lossy(&text).into_owned())
        };
        let list = tokio::time::timeout(LIST_LIMIT, list).await.ok().flatten();
        list.is_some_and(|list| list.contains(&format!("{service}.service")))
    }

    async fn read(&self, arguments: Vec<String>, limit: Duration) -> io::Result<Bytes> {
        // One pipe for both outputs keeps their order.
        let (reader, writer) = io::pipe()?;
        let mut command = command(&arguments);
        let child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
        // The command holds writing ends, which would keep the pipe open.
        drop(command);
        let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let end = tokio::time::Instant::now() + limit;
        let reading = Reading { _child: child, pipe, end };
        Ok(Box::pin(futures_util::stream::unfold(reading, |mut reading| async {
            let mut buffer = bytes::BytesMut::with_capacity(READ_BYTES);
            match tokio::time::timeout_at(reading.end, reading.pipe.read_buf(&mut buffer)).await {
                Ok(Ok(1..)) => Some((Ok(buffer.freeze()), reading)),
                Ok(Err(error)) => Some((Err(error), reading)),
                Ok(Ok(0)) | Err(_) => None,
            }
        })))
    }
}

/// A reader that prints; dropping it ends the program.
struct Reading {
    _child: Child,
    pipe: pipe::Receiver,
    end: tokio::time::Instant,
}

fn command(arguments: &[String]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}
