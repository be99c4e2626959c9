//! A command running in a container: the client's end of the runtime's stream (`v4.channel.k8s.io` over SPDY, CONTRACT 2.6).
//!
//! ```text
//! stdin, resize, pongs -> one queue -> writer -> runtime -> reader -> stdout, stderr, status
//! ```
//! Writing and reading go on side by side: a command that prints before it reads cannot block both. The session ends
//! when the runtime ends the connection or all its streams; the status then holds the exit code.

use core_spdy::{Decoder, Encoder, End, Frame, SpdyError, StreamId};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::CliError;
use crate::terminal;

/// Bytes read at a time.
const READ_BYTES: usize = 32 * 1024;
/// Frames on their way to the runtime; more wait where they come from.
const QUEUE_FRAMES: usize = 16;
/// Largest status the runtime may send.
const MAX_STATUS_BYTES: usize = 1 << 20;

/// Which streams the command gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Standard input.
    pub(crate) stdin: bool,
    /// A terminal; there is no standard error then.
    pub(crate) tty: bool,
}

/// The person's end.
pub(crate) struct Ends<I, O, E> {
    pub(crate) stdin: I,
    pub(crate) stdout: O,
    pub(crate) stderr: E,
}

/// Numbers of the streams of one session.
struct Streams {
    error: StreamId,
    stdin: Option<StreamId>,
    stdout: StreamId,
    stderr: Option<StreamId>,
    resize: Option<StreamId>,
}

impl Streams {
    fn open(wanted: Wanted, encoder: &mut Encoder, out: &mut Vec<u8>) -> Self {
        let mut open = |kind: &str| encoder.open(&[("streamtype", kind)], out);
        Self {
            error: open("error"),
            stdin: wanted.stdin.then(|| open("stdin")),
            stdout: open("stdout"),
            stderr: (!wanted.tty).then(|| open("stderr")),
            resize: wanted.tty.then(|| open("resize")),
        }
    }
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
    let mut encoder = Encoder::default();
    let mut opening = Vec::new();
    let streams = Streams::open(wanted, &mut encoder, &mut opening);
    to_runtime.write_all(&opening).await.map_err(broke)?;

    let (queue, frames) = mpsc::channel(QUEUE_FRAMES);
    let mut reader =
        Reader { streams: &streams, queue: queue.clone(), status: Vec::new(), open: streams.outputs() };
    let send = async {
        tokio::join!(
            write(frames, to_runtime),
            send_stdin(streams.stdin, ends.stdin, queue.clone()),
            send_sizes(streams.resize, queue)
        )
    };
    tokio::select! {
        result = reader.run(from_runtime, ends.stdout, ends.stderr) => result?,
        _ = send => {}
    }
    exit_code(&reader.status)
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
    stream: Option<StreamId>,
    mut stdin: impl AsyncRead + Unpin,
    queue: mpsc::Sender<Vec<u8>>,
) {
    let Some(stream) = stream else { return };
    let encoder = Encoder::default();
    let mut data = vec![0; READ_BYTES];
    loop {
        // What cannot be read any more has ended.
        let count = stdin.read(&mut data).await.unwrap_or(0);
        let end = if count == 0 { End::Last } else { End::More };
        let mut frame = Vec::new();
        encoder.data(stream, &data[..count], end, &mut frame);
        if queue.send(frame).await.is_err() || end == End::Last {
            return;
        }
    }
}

/// Sends the terminal's size now and at each change.
async fn send_sizes(stream: Option<StreamId>, queue: mpsc::Sender<Vec<u8>>) {
    let Some(stream) = stream else { return };
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((width, height)) = terminal::size() {
            let size = format!("{{\"Width\":{width},\"Height\":{height}}}\n");
            let mut frame = Vec::new();
            Encoder::default().data(stream, size.as_bytes(), End::More, &mut frame);
            if queue.send(frame).await.is_err() {
                return;
            }
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

impl Streams {
    /// Streams on which the runtime sends.
    fn outputs(&self) -> Vec<StreamId> {
        [Some(self.error), Some(self.stdout), self.stderr].into_iter().flatten().collect()
    }
}

struct Reader<'a> {
    streams: &'a Streams,
    queue: mpsc::Sender<Vec<u8>>,
    status: Vec<u8>,
    open: Vec<StreamId>,
}

impl Reader<'_> {
    async fn run(
        &mut self,
        mut from_runtime: impl AsyncRead + Unpin,
        mut stdout: impl AsyncWrite + Unpin,
        mut stderr: impl AsyncWrite + Unpin,
    ) -> Result<(), CliError> {
        let mut decoder = Decoder::default();
        let mut data = vec![0; READ_BYTES];
        while !self.open.is_empty() {
            let count = match from_runtime.read(&mut data).await {
                Ok(0) => break,
                Ok(count) => count,
                // With the status at hand, how the connection ends does not matter.
                Err(_) if !self.status.is_empty() => break,
                Err(error) => return Err(broke(error)),
            };
            decoder.push(&data[..count]);
            while let Some(frame) =
                decoder.next_frame().map_err(|error: SpdyError| CliError::Stream(error.to_string()))?
            {
                self.take(frame, &mut stdout, &mut stderr).await?;
            }
            stdout.flush().await?;
            stderr.flush().await?;
        }
        Ok(())
    }

    async fn take(
        &mut self,
        frame: Frame,
        stdout: &mut (impl AsyncWrite + Unpin),
        stderr: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), CliError> {
        match frame {
            Frame::Data { stream, data, is_last } => {
                if stream == self.streams.stdout {
                    stdout.write_all(&data).await?;
                } else if Some(stream) == self.streams.stderr {
                    stderr.write_all(&data).await?;
                } else if stream == self.streams.error && self.status.len() + data.len() <= MAX_STATUS_BYTES {
                    self.status.extend_from_slice(&data);
                }
                if is_last {
                    self.open.retain(|open| *open != stream);
                }
            }
            Frame::Reply { stream, is_last: true } | Frame::Reset { stream, .. } => {
                self.open.retain(|open| *open != stream);
            }
            Frame::Ping { id } => {
                let mut pong = Vec::new();
                Encoder::default().pong(id, &mut pong);
                // With the queue full the runtime sees life enough.
                let _ = self.queue.try_send(pong);
            }
            Frame::GoAway => self.open.clear(),
            Frame::Reply { .. } | Frame::Other => {}
        }
        Ok(())
    }
}

fn broke(error: std::io::Error) -> CliError {
    CliError::Stream(error.to_string())
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Details,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// Reads the `v1.Status` that ends a session.
fn exit_code(status: &[u8]) -> Result<u8, CliError> {
    if status.is_empty() {
        return Err(CliError::Stream("the runtime ended it without the command's exit code".to_owned()));
    }
    let text = || String::from_utf8_lossy(status).trim().to_owned();
    let Ok(status) = serde_json::from_slice::<Status>(status) else { return Err(CliError::Stream(text())) };
    if status.status == "Success" {
        return Ok(0);
    }
    let code = status.details.causes.iter().find(|cause| cause.reason == "ExitCode");
    match code.and_then(|cause| cause.message.parse::<i32>().ok()) {
        // Exit codes of processes have eight bits.
        Some(code) if status.reason == "NonZeroExitCode" => Ok((code & 0xff) as u8),
        _ => Err(CliError::Refused(status.message)),
    }
}

#[cfg(test)]
mod tests;
