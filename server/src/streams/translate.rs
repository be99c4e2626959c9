//! WebSocket `v5.channel.k8s.io` on the client's side, SPDY `v4.channel.k8s.io` on the runtime's (`ExtendWebSocketsToKubelet`).
//!
//! ```text
//! message [0, data..]  stdin  -> data on stream stdin        data on stdout -> message [1, data..]
//! message [4, json..]  size   -> data on stream resize       data on stderr -> message [2, data..]
//! message [255, 0]     stdin ends -> its last frame          status, exit   -> message [3, v1.Status], then close
//! ```
//! One task reads the client, one the runtime, and a queue of [`QUEUE_FRAMES`] leads to the one that writes to the runtime.
//! Whoever cannot write is not read from.

use core_spdy::{Command, CommandEnd, Decoder, End, Inputs, Output, Wanted};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::runtime::{Asking, Target};
use super::splice::Activity;
use super::websocket::{self, MAX_SENT_BYTES, Socket, V5, accept};
use super::{MAX_REFUSAL_BYTES, StreamError, Streams};
use crate::body::Body;
use crate::listener::Tasks;

/// Bytes read from the runtime at a time.
const READ_BYTES: usize = 32 * 1024;
/// Messages of the client on their way to the runtime; more wait at the client.
const QUEUE_FRAMES: usize = 2;
/// Protocol of remote commands with an exit code.
const V4: &str = "v4.channel.k8s.io";

/// Channels by number.
mod channel {
    pub(super) const STDIN: u8 = 0;
    pub(super) const STDOUT: u8 = 1;
    pub(super) const STDERR: u8 = 2;
    pub(super) const ERROR: u8 = 3;
    pub(super) const RESIZE: u8 = 4;
    /// No channel: the next byte names one that ends.
    pub(super) const CLOSE: u8 = 255;
}

impl Streams {
    /// Accepts the client's WebSocket, and then connects it with the command at `url`. What fails from then on is told in the
    /// error channel, as upstream does.
    pub(crate) fn translate(
        &self,
        request: Request<Incoming>,
        url: String,
        wanted: Wanted,
    ) -> Result<Response<Body>, StreamError> {
        let slot = self.slot()?;
        let (response, accepted) = accept(request, V5)?;
        let activity = Activity::new(self.idle_limit);
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            let _slot = slot;
            let Some(socket) = accepted.open().await else { return };
            let session = session(socket, &url, wanted, (&tasks, &activity));
            tokio::select! {
                () = Box::pin(session) => {}
                () = activity.idle() => {}
            }
        });
        Ok(response)
    }
}

async fn session(socket: Socket, url: &str, wanted: Wanted, (tasks, activity): (&Tasks, &Activity)) {
    let (mut sink, source) = socket.split();
    // An empty message shows the client that the connection is there.
    let first = match (wanted.stdout, wanted.stderr) {
        (true, _) => channel::STDOUT,
        (false, true) => channel::STDERR,
        (false, false) => channel::ERROR,
    };
    if sink.send(Message::binary(vec![first])).await.is_err() {
        return;
    }
    let status = match connect(url, tasks).await {
        Ok(runtime) => match exchange(runtime, wanted, (&mut sink, source), activity).await {
            Some(end) => EndStatus::of(end),
            None => return,
        },
        Err(problem) => EndStatus::internal(&problem),
    };
    let mut message = vec![channel::ERROR];
    if serde_json::to_writer(&mut message, &status).is_ok()
        && sink.send(Message::binary(message)).await.is_ok()
    {
        // The client may have gone with the status in its hands.
        let _ = sink.send(websocket::end()).await;
    }
}

async fn connect(url: &str, tasks: &Tasks) -> Result<impl AsyncRead + AsyncWrite + use<>, String> {
    let target = Target::parse(url).map_err(|error| error.to_string())?;
    let answer = target.ask(Asking::spdy([V4]), tasks).await.map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_REFUSAL_BYTES).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let words = String::from_utf8_lossy(&body).trim().to_owned();
        return Err(match words.is_empty() {
            true => format!("unable to upgrade connection: the runtime answered {status}"),
            false => format!("unable to upgrade connection: {words}"),
        });
    }
    hyper::upgrade::on(answer).await.map(TokioIo::new).map_err(|error| error.to_string())
}

/// Runs the command to its end; `None` when the client went away.
async fn exchange(
    runtime: impl AsyncRead + AsyncWrite,
    wanted: Wanted,
    (sink, source): (&mut SplitSink<Socket, Message>, SplitStream<Socket>),
    activity: &Activity,
) -> Option<CommandEnd> {
    let (from_runtime, mut to_runtime) = tokio::io::split(runtime);
    let mut opening = Vec::new();
    let (command, inputs) = Command::open(wanted, &mut opening);
    if to_runtime.write_all(&opening).await.is_err() {
        return Some(CommandEnd::Unknown);
    }
    let (queue, frames) = mpsc::channel(QUEUE_FRAMES);
    let output = output(command, from_runtime, (sink, queue.clone()), activity);
    tokio::select! {
        end = output => end,
        () = input(source, inputs, queue, activity) => None,
        () = write(frames, to_runtime) => None,
    }
}

/// Writes what comes through the queue. A runtime that does not take it any more shows where it is read.
async fn write(mut frames: mpsc::Receiver<Vec<u8>>, mut to_runtime: impl AsyncWrite + Unpin) {
    while let Some(bytes) = frames.recv().await {
        if to_runtime.write_all(&bytes).await.is_err() || to_runtime.flush().await.is_err() {
            break;
        }
    }
    std::future::pending().await
}

/// Reads the runtime until the command has ended; `None` when the client takes nothing more.
async fn output(
    mut command: Command,
    mut from_runtime: impl AsyncRead + Unpin,
    (sink, queue): (&mut SplitSink<Socket, Message>, mpsc::Sender<Vec<u8>>),
    activity: &Activity,
) -> Option<CommandEnd> {
    let mut decoder = Decoder::default();
    let mut data = vec![0; READ_BYTES];
    while !command.is_over() {
        let count = match from_runtime.read(&mut data).await {
            Ok(count @ 1..) => count,
            // With the status at hand it does not matter how the connection ends.
            Ok(0) | Err(_) => break,
        };
        activity.touch();
        decoder.push(&data[..count]);
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return Some(CommandEnd::Failed(error.to_string())),
            };
            match command.take(frame) {
                Output::Stdout(bytes) => send(sink, channel::STDOUT, &bytes).await?,
                Output::Stderr(bytes) => send(sink, channel::STDERR, &bytes).await?,
                // With the queue full the runtime sees life enough.
                Output::Answer(bytes) => drop(queue.try_send(bytes)),
                Output::Nothing => {}
            }
        }
    }
    Some(command.end())
}

async fn send(sink: &mut SplitSink<Socket, Message>, channel: u8, bytes: &[u8]) -> Option<()> {
    for part in bytes.chunks(MAX_SENT_BYTES) {
        let mut message = Vec::with_capacity(part.len() + 1);
        message.push(channel);
        message.extend_from_slice(part);
        sink.send(Message::binary(message)).await.ok()?;
    }
    Some(())
}

/// Reads the client until it goes away or says what no client says.
async fn input(
    mut source: SplitStream<Socket>,
    inputs: Inputs,
    queue: mpsc::Sender<Vec<u8>>,
    activity: &Activity,
) {
    while let Some(Ok(message)) = source.next().await {
        let data = match &message {
            Message::Binary(data) => &data[..],
            Message::Text(text) => text.as_bytes(),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        activity.touch();
        let frames = match data {
            [channel::CLOSE, channel::STDIN] => inputs.stdin(&[], End::Last),
            [channel::CLOSE, channel::STDOUT..=channel::RESIZE] => None,
            [channel::CLOSE, ..] => return tracing::debug!("a client ended a channel that does not exist"),
            [channel::STDIN, data @ ..] if !data.is_empty() => inputs.stdin(data, End::More),
            [channel::RESIZE, size @ ..] => inputs.size(size),
            _ => None,
        };
        if let Some(frames) = frames
            && queue.send(frames).await.is_err()
        {
            return;
        }
    }
}

/// `v1.Status` as the error channel carries it.
#[derive(Debug, Serialize)]
struct EndStatus {
    metadata: Empty,
    status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
}

#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Debug, Serialize)]
struct Cause {
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    message: String,
}

impl EndStatus {
    fn of(end: CommandEnd) -> Self {
        match end {
            CommandEnd::Success => Self {
                metadata: Empty {},
                status: "Success",
                message: String::new(),
                reason: "",
                details: None,
                code: None,
            },
            CommandEnd::ExitCode(code) => {
                let message = format!(
                    "command terminated with non-zero exit code: command terminated with exit code {code}"
                );
                let cause = Cause { reason: "ExitCode", message: code.to_string() };
                Self::failure("NonZeroExitCode", message, cause)
            }
            CommandEnd::Failed(words) => Self::internal(&words),
            CommandEnd::Unknown => {
                Self::internal("the container runtime ended the stream without the command's exit code")
            }
        }
    }

    fn internal(words: &str) -> Self {
        let cause = Cause { reason: "", message: words.to_owned() };
        let failure = Self::failure("InternalError", format!("Internal error occurred: {words}"), cause);
        Self { code: Some(500), ..failure }
    }

    fn failure(reason: &'static str, message: String, cause: Cause) -> Self {
        let details = Some(Details { causes: vec![cause] });
        Self { metadata: Empty {}, status: "Failure", message, reason, details, code: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_upstreams() {
        let json = |end| serde_json::to_string(&EndStatus::of(end)).expect("JSON");
        assert_eq!(json(CommandEnd::Success), r#"{"metadata":{},"status":"Success"}"#);
        assert_eq!(
            json(CommandEnd::ExitCode(3)),
            r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#
        );
        assert_eq!(
            json(CommandEnd::Failed("no such file".into())),
            r#"{"metadata":{},"status":"Failure","message":"Internal error occurred: no such file","reason":"InternalError","details":{"causes":[{"message":"no such file"}]},"code":500}"#
        );
    }
}
