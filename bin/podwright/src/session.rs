//! A command running in a container: the client's end of the runtime's stream (`v4.channel.k8s.io` over SPDY, CONTRACT 2.6).
//!
//! ```text
//! stdin, resize, pongs -> one queue -> writer -> runtime -> reader -> stdout, stderr, status
//! ```
//! Writing and reading go on side by side: a command that prints before it reads cannot block both. The session ends
//! when the runtime ends the connection or all its streams; the status then holds the exit code.

use core_spdy::{Command, CommandEnd, Decoder, End, Inputs, Output, SpdyError, Wanted};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use url::form_urlencoded::Serializer;

use crate::error::CliError;
use crate::terminal;

/// Bytes read at a time.
const READ_BYTES: usize = 32 * 1024;
/// Frames on their way to the runtime; more wait where they come from.
const QUEUE_FRAMES: usize = 16;

/// The person's end.
pub(crate) struct Ends<I, O, E> {
    pub(crate) stdin: I,
    pub(crate) stdout: O,
    pub(crate) stderr: E,
}

/// The streams in a query, as upstream's paths have them.
pub(crate) fn query(wanted: Wanted) -> String {
    command_query(&[] as &[&str], wanted)
}

/// A command and its streams in a query, as upstream's exec path has them.
pub(crate) fn command_query(command: &[impl AsRef<str>], wanted: Wanted) -> String {
    let mut query = Serializer::new(String::new());
    for argument in command {
        query.append_pair("command", argument.as_ref());
    }
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    for (name, is_set) in [("input", stdin), ("output", stdout), ("error", stderr), ("tty", tty)] {
        if is_set {
            query.append_pair(name, "1");
        }
    }
    query.finish()
}

/// Runs the session to its end and gives the command's exit code.
pub(crate) async fn run<S, I, O, E>(
    connection: S,
    wanted: Wanted,
    ends: Ends<I, O, E>,
) -> Result<u8, CliError>
where
    S: AsyncRead + AsyncWrite,
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let (from_runtime, mut to_runtime) = tokio::io::split(connection);
    let mut opening = Vec::new();
    let (command, inputs) = Command::open(wanted, &mut opening);
    to_runtime.write_all(&opening).await.map_err(broke)?;

    let (queue, frames) = mpsc::channel(QUEUE_FRAMES);
    let mut reader = Reader { command, queue: queue.clone() };
    let send = async {
        tokio::join!(
            write(frames, to_runtime),
            send_stdin(wanted, inputs, ends.stdin, queue.clone()),
            send_sizes(wanted, inputs, queue)
        )
    };
    tokio::select! {
        result = reader.run(from_runtime, ends.stdout, ends.stderr) => result?,
        _ = send => {}
    }
    exit_code(reader.command.end())
}

/// Writes what comes through the queue. A runtime that does not take it any more shows at the reader.
async fn write(mut frames: mpsc::Receiver<Vec<u8>>, mut to_runtime: impl AsyncWrite + Unpin) {
    while let Some(bytes) = frames.recv().await {
        if to_runtime.write_all(&bytes).await.is_err() || to_runtime.flush().await.is_err() {
            break;
        }
    }
    std::future::pending().await
}

/// Sends standard input, and its end.
async fn send_stdin(
    wanted: Wanted,
    inputs: Inputs,
    mut stdin: impl AsyncRead + Unpin,
    queue: mpsc::Sender<Vec<u8>>,
) {
    if !wanted.stdin {
        return;
    }
    let mut data = vec![0; READ_BYTES];
    loop {
        // What cannot be read any more has ended.
        let count = stdin.read(&mut data).await.unwrap_or(0);
        let end = if count == 0 { End::Last } else { End::More };
        let Some(frames) = inputs.stdin(&data[..count], end) else { return };
        if queue.send(frames).await.is_err() || end == End::Last {
            return;
        }
    }
}

/// Sends the terminal's size now and at each change.
async fn send_sizes(wanted: Wanted, inputs: Inputs, queue: mpsc::Sender<Vec<u8>>) {
    if !wanted.tty {
        return;
    }
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((width, height)) = terminal::size() {
            let size = format!("{{\"Width\":{width},\"Height\":{height}}}\n");
            let Some(frames) = inputs.size(size.as_bytes()) else { return };
            if queue.send(frames).await.is_err() {
                return;
            }
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

struct Reader {
    command: Command,
    queue: mpsc::Sender<Vec<u8>>,
}

impl Reader {
    async fn run(
        &mut self,
        mut from_runtime: impl AsyncRead + Unpin,
        mut stdout: impl AsyncWrite + Unpin,
        mut stderr: impl AsyncWrite + Unpin,
    ) -> Result<(), CliError> {
        let mut decoder = Decoder::default();
        let mut data = vec![0; READ_BYTES];
        while !self.command.is_over() {
            let count = match from_runtime.read(&mut data).await {
                Ok(0) => break,
                Ok(count) => count,
                // With the status at hand, how the connection ends does not matter.
                Err(_) if self.command.end() != CommandEnd::Unknown => break,
                Err(error) => return Err(broke(error)),
            };
            decoder.push(&data[..count]);
            while let Some(frame) =
                decoder.next_frame().map_err(|error: SpdyError| CliError::Stream(error.to_string()))?
            {
                match self.command.take(frame) {
                    Output::Stdout(data) => stdout.write_all(&data).await?,
                    Output::Stderr(data) => stderr.write_all(&data).await?,
                    // With the queue full the runtime sees life enough.
                    Output::Answer(bytes) => drop(self.queue.try_send(bytes)),
                    Output::Nothing => {}
                }
            }
            stdout.flush().await?;
            stderr.flush().await?;
        }
        Ok(())
    }
}

fn broke(error: std::io::Error) -> CliError {
    CliError::Stream(error.to_string())
}

/// The exit code for how a command ended.
fn exit_code(end: CommandEnd) -> Result<u8, CliError> {
    match end {
        CommandEnd::Success => Ok(0),
        CommandEnd::ExitCode(code) => Ok(code),
        CommandEnd::Failed(words) => Err(CliError::Refused(words)),
        CommandEnd::Unknown => {
            Err(CliError::Stream("the runtime ended it without the command's exit code".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
