//! The client of one remote command (exec or attach, `v4.channel.k8s.io`): its streams, and the status that ends it.
//!
//! ```text
//! open -> Command: frames come in, Output goes out; when every stream of the runtime has ended, CommandEnd
//!      -> Inputs:  standard input and sizes of the terminal become frames
//! ```

use serde::Deserialize;

use crate::{Encoder, End, Frame, StreamId};

/// Largest status the runtime may send; the rest is dropped, and what is left is then no valid status.
const MAX_STATUS_BYTES: usize = 1 << 20;

/// Which streams a command gets, besides the one for its status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error. There is none with a terminal.
    pub stderr: bool,
    /// A terminal, whose size can change.
    pub tty: bool,
}

/// What came of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The command wrote to its standard output.
    Stdout(Vec<u8>),
    /// The command wrote to its standard error.
    Stderr(Vec<u8>),
    /// These bytes must go to the runtime.
    Answer(Vec<u8>),
    /// Nothing that concerns anybody else.
    Nothing,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// Exit code 0.
    Success,
    /// Another exit code.
    ExitCode(u8),
    /// It did not run, or nobody knows how it ended; with the runtime's words.
    Failed(String),
    /// The stream ended without a status.
    Unknown,
}

/// What the runtime sends for one command.
#[derive(Debug)]
pub struct Command {
    error: StreamId,
    stdout: Option<StreamId>,
    stderr: Option<StreamId>,
    /// Streams on which the runtime still sends.
    open: Vec<StreamId>,
    status: Vec<u8>,
}

/// What the runtime gets for one command.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    stdin: Option<StreamId>,
    resize: Option<StreamId>,
}

impl Inputs {
    /// Standard input as frames; none when the command has no standard input.
    pub fn stdin(&self, data: &[u8], end: End) -> Option<Vec<u8>> {
        self.stdin.map(|stream| frames(stream, data, end))
    }

    /// A change of the terminal's size, `{"Width":80,"Height":24}`, as frames; none when there is no terminal.
    pub fn size(&self, json: &[u8]) -> Option<Vec<u8>> {
        self.resize.map(|stream| frames(stream, json, End::More))
    }
}

fn frames(stream: StreamId, data: &[u8], end: End) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().data(stream, data, end, &mut out);
    out
}

impl Command {
    /// A command whose streams are opened by the bytes appended to `out`.
    pub fn open(wanted: Wanted, out: &mut Vec<u8>) -> (Self, Inputs) {
        let mut encoder = Encoder::default();
        let mut open = |kind: &str| encoder.open(&[("streamtype", kind)], out);
        let error = open("error");
        let stdin = wanted.stdin.then(|| open("stdin"));
        let stdout = wanted.stdout.then(|| open("stdout"));
        let stderr = (wanted.stderr && !wanted.tty).then(|| open("stderr"));
        let resize = wanted.tty.then(|| open("resize"));
        let open = [Some(error), stdout, stderr].into_iter().flatten().collect();
        (Self { error, stdout, stderr, open, status: Vec::new() }, Inputs { stdin, resize })
    }

    /// Takes a frame of the runtime.
    pub fn take(&mut self, frame: Frame) -> Output {
        match frame {
            Frame::Data { stream, data, is_last } => {
                if is_last {
                    self.close(stream);
                }
                if Some(stream) == self.stdout {
                    return Output::Stdout(data);
                } else if Some(stream) == self.stderr {
                    return Output::Stderr(data);
                } else if stream == self.error && self.status.len() + data.len() <= MAX_STATUS_BYTES {
                    self.status.extend_from_slice(&data);
                }
            }
            Frame::Reply { stream, is_last: true } | Frame::Reset { stream, .. } => self.close(stream),
            Frame::Ping { id } => {
                let mut pong = Vec::new();
                Encoder::default().pong(id, &mut pong);
                return Output::Answer(pong);
            }
            Frame::GoAway => self.open.clear(),
            Frame::Reply { .. } | Frame::Other => {}
        }
        Output::Nothing
    }

    fn close(&mut self, stream: StreamId) {
        self.open.retain(|open| *open != stream);
    }

    /// True when the runtime sends nothing more.
    pub fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// How the command ended, as far as the runtime has said.
    pub fn end(&self) -> CommandEnd {
        read_status(&self.status)
    }
}

/// The part of `v1.Status` that tells how a command ended.
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

fn read_status(bytes: &[u8]) -> CommandEnd {
    if bytes.is_empty() {
        return CommandEnd::Unknown;
    }
    let Ok(status) = serde_json::from_slice::<Status>(bytes) else {
        return CommandEnd::Failed(String::from_utf8_lossy(bytes).trim().to_owned());
    };
    if status.status == "Success" {
        return CommandEnd::Success;
    }
    let code = status.details.causes.iter().find(|cause| cause.reason == "ExitCode");
    match code.and_then(|cause| cause.message.parse::<i32>().ok()) {
        // Exit codes of processes have eight bits.
        Some(code) if status.reason == "NonZeroExitCode" => CommandEnd::ExitCode((code & 0xff) as u8),
        _ => CommandEnd::Failed(status.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIT_3: &str = r#"{"status":"Failure","message":"command terminated with non-zero exit code",
        "reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;

    #[test]
    fn the_status_tells_how_a_command_ended() {
        let table = [
            (r#"{"metadata":{},"status":"Success"}"#, CommandEnd::Success),
            (EXIT_3, CommandEnd::ExitCode(3)),
            (
                r#"{"status":"Failure","reason":"InternalError","message":"no such file"}"#,
                CommandEnd::Failed("no such file".into()),
            ),
            ("plain text\n", CommandEnd::Failed("plain text".into())),
            ("", CommandEnd::Unknown),
        ];
        for (status, end) in table {
            assert_eq!(read_status(status.as_bytes()), end, "{status}");
        }
    }

    #[test]
    fn only_the_streams_that_are_wanted_are_opened_and_waited_for() {
        let mut out = Vec::new();
        let all = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
        let (mut command, inputs) = Command::open(all, &mut out);
        let (error, stdin, stdout, stderr) = (StreamId(1), StreamId(3), StreamId(5), StreamId(7));
        assert_eq!(inputs.stdin(b"x", End::Last).expect("stdin")[..5], [0, 0, 0, 3, 1]);
        assert_eq!(inputs.size(b"{}"), None);
        let data = |stream, text: &str, is_last| Frame::Data { stream, data: text.into(), is_last };
        assert_eq!(command.take(data(stdout, "out", true)), Output::Stdout("out".into()));
        assert_eq!(command.take(data(stderr, "err", false)), Output::Stderr("err".into()));
        assert_eq!(command.take(data(stdin, "?", true)), Output::Nothing);
        assert_eq!(command.take(data(error, EXIT_3, false)), Output::Nothing);
        assert!(matches!(command.take(Frame::Ping { id: 9 }), Output::Answer(pong) if pong.ends_with(&[9])));
        command.take(Frame::Reset { stream: stderr, status: 5 });
        assert!(!command.is_over());
        command.take(Frame::Reply { stream: error, is_last: true });
        assert!(command.is_over());
        assert_eq!(command.end(), CommandEnd::ExitCode(3));

        let (mut terminal, inputs) = Command::open(Wanted { tty: true, ..all }, &mut out);
        assert_eq!(inputs.size(b"{}").expect("terminal")[..4], [0, 0, 0, 7]);
        terminal.take(Frame::GoAway);
        assert!(terminal.is_over());
    }
}
