//! One line of a log file: its format, and what of it goes out.

use bytes::{Bytes, BytesMut};
use core_types::WallTime;
use ports::logs::{LogFollow, LogRequest, LogStreams, LogTimestamps};

/// A chunk is handed out when it has this many bytes, or when no whole line is left to read.
const CHUNK_BYTES: usize = 64 * 1024;

/// How the lines of a file are written; the first line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `2016-10-06T00:17:09.669794202Z stdout F text`.
    Cri,
    /// `{"log":"text\n","stream":"stdout","time":"2016-10-20T18:39:20.57606443Z"}`.
    DockerJson,
}

impl Format {
    /// The format in which the line can be read.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        [Self::Cri, Self::DockerJson].into_iter().find(|format| format.parse(line).is_some())
    }

    fn parse(self, line: &[u8]) -> Option<Message<'_>> {
        match self {
            Self::Cri => parse_cri(line),
            Self::DockerJson => parse_docker_json(line),
        }
    }
}

struct Message<'a> {
    time_text: std::borrow::Cow<'a, str>,
    time: WallTime,
    is_stdout: bool,
    text: std::borrow::Cow<'a, [u8]>,
}

fn parse_cri(line: &[u8]) -> Option<Message<'_>> {
    let mut parts = line.splitn(4, |&byte| byte == b' ');
    let time_text = std::str::from_utf8(parts.next()?).ok()?;
    let is_stdout = stream_is_stdout(parts.next()?)?;
    let tags = parts.next()?;
    let mut text = parts.next()?;
    if tags.split(|&byte| byte == b':').next() == Some(b"P") {
        text = text.strip_suffix(b"\n").unwrap_or(text);
    }
    Some(Message { time: parse_time(time_text)?, time_text: time_text.into(), is_stdout, text: text.into() })
}

#[derive(serde::Deserialize)]
struct DockerLine {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    time: String,
}

fn parse_docker_json(line: &[u8]) -> Option<Message<'_>> {
    let line: DockerLine = serde_json::from_slice(line).ok()?;
    Some(Message {
        time: parse_time(&line.time)?,
        time_text: line.time.into(),
        is_stdout: stream_is_stdout(line.stream.as_bytes())?,
        text: line.log.into_bytes().into(),
    })
}

fn stream_is_stdout(name: &[u8]) -> Option<bool> {
    match name {
        b"stdout" => Some(true),
        b"stderr" => Some(false),
        _ => None,
    }
}

fn parse_time(text: &str) -> Option<WallTime> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(WallTime::from_unix_nanos(i64::try_from(time.as_nanosecond()).ok()?))
}

/// The same time with nine digits of a second, in its own zone.
fn fixed_width_time(text: &str) -> String {
    let zone_at = text.rfind(['Z', '+']).or_else(|| text.rfind('-')).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone_at);
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    format!("{seconds}.{fraction:0<9}{zone}")
}

/// What goes out: lines chosen, cut and stamped as asked.
pub(super) struct Output {
    since: Option<WallTime>,
    timestamps: LogTimestamps,
    streams: LogStreams,
    bytes_left: u64,
    lines_left: Option<u64>,
    at_line_start: bool,
    chunk: BytesMut,
}

impl Output {
    pub(super) fn new(request: &LogRequest) -> Self {
        Self {
            since: request.since,
            timestamps: request.timestamps,
            streams: request.streams,
            bytes_left: request.limit_bytes.unwrap_or(u64::MAX),
            // Without following, the tail was counted at the start, and what is written meanwhile does not belong to it.
            lines_left: request.tail_lines.filter(|_| matches!(request.follow, LogFollow::No)),
            at_line_start: true,
            chunk: BytesMut::new(),
        }
    }

    /// True when nothing more may go out.
    pub(super) fn is_finished(&self) -> bool {
        self.bytes_left == 0 || self.lines_left == Some(0)
    }

    /// Lets nothing more out.
    pub(super) fn finish(&mut self) {
        self.bytes_left = 0;
    }

    /// True when the chunk should be taken.
    pub(super) fn is_full(&self) -> bool {
        self.chunk.len() >= CHUNK_BYTES
    }

    /// What has gathered.
    pub(super) fn take_chunk(&mut self) -> Option<Bytes> {
        (!self.chunk.is_empty()).then(|| self.chunk.split().freeze())
    }

    /// Frees the memory of chunks that were taken.
    pub(super) fn rest(&mut self) {
        if self.chunk.is_empty() {
            self.chunk = BytesMut::new();
        }
    }

    /// Adds one line as it stands in the file.
    pub(super) fn add(&mut self, format: Format, line: &[u8]) {
        let Some(message) = format.parse(line) else { return };
        self.write(&message);
        self.lines_left = self.lines_left.map(|lines| lines.saturating_sub(1));
        self.at_line_start = message.text.last().is_none_or(|&byte| byte == b'\n');
    }

    fn write(&mut self, message: &Message<'_>) {
        let wanted = match self.streams {
            LogStreams::All => true,
            LogStreams::Stdout => message.is_stdout,
            LogStreams::Stderr => !message.is_stdout,
        };
        if !wanted || self.since.is_some_and(|since| message.time < since) {
            return;
        }
        if self.timestamps == LogTimestamps::Show && self.at_line_start {
            self.put(fixed_width_time(&message.time_text).as_bytes());
            self.put(b" ");
        }
        self.put(&message.text);
    }

    fn put(&mut self, bytes: &[u8]) {
        let fits = usize::try_from(self.bytes_left).unwrap_or(usize::MAX).min(bytes.len());
        self.chunk.extend_from_slice(&bytes[..fits]);
        self.bytes_left -= fits as u64;
    }
}
