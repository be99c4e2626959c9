//! Clients of the streams of 10250: remote commands and port-forward, over SPDY and over WebSocket, as kubectl and the API server
//! make them.
//!
//! Each call opens one TLS connection, does what it is for, and gives back what came. Every call has a deadline.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use core_spdy::{Command, CommandEnd, Decoder, Encoder, End, Frame, Output, Wanted};
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::https::{self, Identity};

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(90);
/// What a client sends at a time.
const PIECE_BYTES: usize = 32 * 1024;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// SPDY/3.1.
    Spdy,
    /// WebSocket `v5.channel.k8s.io`; for port-forward SPDY inside WebSocket.
    WebSocket,
}

/// What came of a remote command.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Exit code; `None` when the command did not run.
    pub code: Option<u8>,
    /// Why it did not run.
    pub problem: String,
}

/// A client of one port 10250.
#[derive(Debug)]
pub struct Streams<'a> {
    /// Port of loopback.
    pub port: u16,
    /// Who asks.
    pub identity: Option<&'a Identity>,
}

/// Why there is no stream: status and body.
pub type Refused = (u16, String);

impl Streams<'_> {
    /// Runs a remote command with this standard input to its end.
    #[track_caller]
    pub fn command(&self, wire: Wire, path: &str, wanted: Wanted, input: &[u8]) -> Result<Ended, Refused> {
        run(async {
            match wire {
                Wire::Spdy => spdy_command(self.spdy(path, "v4.channel.k8s.io").await?, wanted, input).await,
                Wire::WebSocket => {
                    web_socket_command(self.web_socket(path, "v5.channel.k8s.io").await?, input).await
                }
            }
        })
    }

    /// Runs a remote command without input over a WebSocket of this older protocol to its end.
    #[track_caller]
    pub fn older_web_socket(&self, protocol: &str, path: &str) -> Result<Ended, Refused> {
        run(async {
            let mut socket = self.web_socket(path, protocol).await?;
            let mut channels: [Vec<u8>; 4] = Default::default();
            while let Some(Ok(message)) = socket.next().await {
                match message {
                    Message::Binary(data) => channels[usize::from(data[0])].extend_from_slice(&data[1..]),
                    Message::Text(text) => {
                        let (channel, encoded) = text.split_at(1);
                        let data = BASE64_STANDARD.decode(encoded).unwrap();
                        channels[channel.parse::<usize>().unwrap()].extend(data);
                    }
                    _ => {}
                }
            }
            Ok(ended(&channels))
        })
    }

    /// Sends standard input and reads until standard output holds `until`; then goes away. Returns what was read.
    #[track_caller]
    pub fn converse(&self, wire: Wire, path: &str, wanted: Wanted, input: &str, until: &str) -> String {
        run(async {
            match wire {
                Wire::Spdy => {
                    let mut stream = self.spdy(path, "v4.channel.k8s.io").await.unwrap();
                    let mut frames = Vec::new();
                    let (command, inputs) = Command::open(wanted, &mut frames);
                    frames.extend(inputs.stdin(input.as_bytes(), End::More).unwrap());
                    stream.write_all(&frames).await.unwrap();
                    spdy_until(command, stream, until).await
                }
                Wire::WebSocket => {
                    let mut socket = self.web_socket(path, "v5.channel.k8s.io").await.unwrap();
                    socket.send(Message::binary([&[0], input.as_bytes()].concat())).await.unwrap();
                    let mut out = String::new();
                    while !out.contains(until) {
                        let data = socket.next().await.expect("more").unwrap().into_data();
                        if data.first() == Some(&1) {
                            out.push_str(&String::from_utf8_lossy(&data[1..]));
                        }
                    }
                    out
                }
            }
        })
    }

    /// Sends each text to its port over one connection and gives back what each port answered until it closed.
    #[track_caller]
    pub fn forward(&self, wire: Wire, path: &str, talks: &[(u16, &str)]) -> Result<Vec<String>, Refused> {
        run(async {
            match wire {
                Wire::Spdy => {
                    let stream = self.spdy(path, "portforward.k8s.io").await?;
                    Ok(talk(stream, talks).await)
                }
                Wire::WebSocket => {
                    let socket = self.web_socket(path, "SPDY/3.1+portforward.k8s.io").await?;
                    let (inside, outside) = duplex(PIECE_BYTES);
                    let answers = tokio::select! {
                        answers = talk(inside, talks) => answers,
                        () = carry(socket, outside) => panic!("the tunnel ended before the talks"),
                    };
                    Ok(answers)
                }
            }
        })
    }

    /// A SPDY stream, or the refusal; the connection stays open until dropped.
    async fn spdy(&self, path: &str, protocol: &str) -> Result<TlsStream<TcpStream>, Refused> {
        let mut stream = self.connect().await;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
            X-Stream-Protocol-Version: {protocol}\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status: u16 = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
        if status == 101 {
            return Ok(stream);
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        Err((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn web_socket(
        &self,
        path: &str,
        protocol: &str,
    ) -> Result<WebSocketStream<TlsStream<TcpStream>>, Refused> {
        let mut request = format!("ws://node{path}").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(protocol).unwrap());
        match tokio_tungstenite::client_async(request, self.connect().await).await {
            Ok((socket, answer)) => {
                assert_eq!(answer.headers()["sec-websocket-protocol"], protocol);
                Ok(socket)
            }
            Err(Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                Err((answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(https::config(self.identity)).connect(name, stream).await.unwrap()
    }

    /// Opens a remote command's stream, reads its first output, and goes away without a word.
    #[track_caller]
    pub fn leave_after_first_output(&self, wire: Wire, path: &str, wanted: Wanted) {
        run(async {
            match wire {
                Wire::Spdy => {
                    let mut stream = self.spdy(path, "v4.channel.k8s.io").await.unwrap();
                    let mut opening = Vec::new();
                    let _streams = Command::open(wanted, &mut opening);
                    stream.write_all(&opening).await.unwrap();
                    let mut some = vec![0; 100_000];
                    stream.read_exact(&mut some).await.unwrap();
                }
                Wire::WebSocket => {
                    let mut socket = self.web_socket(path, "v5.channel.k8s.io").await.unwrap();
                    for _ in 0..5 {
                        socket.next().await.unwrap().unwrap();
                    }
                }
            }
        });
    }
}

/// Reads a SPDY connection until the command's standard output holds `until`.
async fn spdy_until(mut command: Command, mut reader: impl AsyncRead + Unpin, until: &str) -> String {
    let (mut decoder, mut data, mut out) = (Decoder::default(), vec![0; PIECE_BYTES], String::new());
    while !out.contains(until) {
        let count = reader.read(&mut data).await.unwrap();
        assert!(count > 0, "the stream ended after {out:?}");
        decoder.push(&data[..count]);
        while let Some(frame) = decoder.next_frame().unwrap() {
            if let Output::Stdout(data) = command.take(frame) {
                out.push_str(&String::from_utf8_lossy(&data));
            }
        }
    }
    out
}

#[track_caller]
fn run<T>(work: impl Future<Output = T>) -> T {
    let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    reactor.block_on(async { tokio::time::timeout(LIMIT, work).await }).expect("done in time")
}

async fn spdy_command(
    stream: impl AsyncRead + AsyncWrite,
    wanted: Wanted,
    input: &[u8],
) -> Result<Ended, Refused> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut opening = Vec::new();
    let (mut command, inputs) = Command::open(wanted, &mut opening);
    writer.write_all(&opening).await.unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let send = async {
        for piece in input.chunks(PIECE_BYTES) {
            if let Some(frames) = inputs.stdin(piece, End::More) {
                writer.write_all(&frames).await.unwrap();
            }
        }
        if let Some(frames) = inputs.stdin(&[], End::Last) {
            writer.write_all(&frames).await.unwrap();
        }
    };
    let receive = async {
        let (mut decoder, mut data) = (Decoder::default(), vec![0; PIECE_BYTES]);
        while !command.is_over() {
            let count = reader.read(&mut data).await.unwrap_or(0);
            if count == 0 {
                break;
            }
            decoder.push(&data[..count]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                match command.take(frame) {
                    Output::Stdout(data) => out.extend(data),
                    Output::Stderr(data) => err.extend(data),
                    Output::Answer(_) | Output::Nothing => {}
                }
            }
        }
    };
    tokio::join!(send, receive);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (code, problem) = match command.end() {
        CommandEnd::Success => (Some(0), String::new()),
        CommandEnd::ExitCode(code) => (Some(code), String::new()),
        CommandEnd::Failed(words) => (None, words),
        CommandEnd::Unknown => (None, "no status".to_owned()),
    };
    Ok(Ended { out: text(&out), err: text(&err), code, problem })
}

async fn web_socket_command(
    socket: WebSocketStream<TlsStream<TcpStream>>,
    input: &[u8],
) -> Result<Ended, Refused> {
    let (mut sink, mut source) = socket.split();
    let mut channels: [Vec<u8>; 4] = Default::default();
    let send = async {
        for piece in input.chunks(PIECE_BYTES) {
            sink.send(Message::binary([&[0], piece].concat())).await.unwrap();
        }
        sink.send(Message::binary(vec![255, 0])).await.unwrap();
    };
    let receive = async {
        while let Some(Ok(message)) = source.next().await {
            if let Message::Binary(data) = message {
                channels[usize::from(data[0])].extend_from_slice(&data[1..]);
            }
        }
    };
    tokio::join!(send, receive);
    Ok(ended(&channels))
}

/// What the channels of a WebSocket hold when it ends: input, both outputs, status.
fn ended(channels: &[Vec<u8>; 4]) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status: Value = serde_json::from_slice(&channels[3]).unwrap_or_default();
    let code = match status["status"].as_str() {
        Some("Success") => Some(0),
        _ => status["details"]["causes"][0]["message"].as_str().and_then(|code| code.parse().ok()),
    };
    let problem = status["message"].as_str().filter(|_| code.is_none()).unwrap_or_default();
    Ended { out: text(&channels[1]), err: text(&channels[2]), code, problem: problem.to_owned() }
}

/// Messages of a tunnel to bytes and back.
async fn carry(socket: WebSocketStream<TlsStream<TcpStream>>, bytes: impl AsyncRead + AsyncWrite) {
    let (mut sink, mut source) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(bytes);
    let up = async {
        let mut data = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = reader.read(&mut data).await {
            sink.send(Message::binary(data[..count].to_vec())).await.unwrap();
        }
    };
    let down = async {
        while let Some(Ok(message)) = source.next().await {
            writer.write_all(&message.into_data()).await.unwrap();
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Talks with several ports over one SPDY connection.
async fn talk(stream: impl AsyncRead + AsyncWrite, talks: &[(u16, &str)]) -> Vec<String> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut encoder = Encoder::default();
    let mut streams = Vec::new();
    for (number, (port, text)) in talks.iter().enumerate() {
        let (port, number) = (port.to_string(), number.to_string());
        let mut frames = Vec::new();
        let mut open = |kind| {
            encoder.open(&[("streamtype", kind), ("port", &port), ("requestid", &number)], &mut frames)
        };
        let (_error, data) = (open("error"), open("data"));
        encoder.data(data, text.as_bytes(), End::Last, &mut frames);
        writer.write_all(&frames).await.unwrap();
        streams.push((data, Vec::new()));
    }
    let (mut decoder, mut data) = (Decoder::default(), vec![0; PIECE_BYTES]);
    let mut open = streams.len();
    while open > 0 {
        let count = reader.read(&mut data).await.unwrap();
        assert!(count > 0, "the connection ended before its streams");
        decoder.push(&data[..count]);
        while let Some(frame) = decoder.next_frame().unwrap() {
            if let Frame::Data { stream, data, is_last } = frame
                && let Some((_, text)) = streams.iter_mut().find(|(id, _)| *id == stream)
            {
                text.extend(data);
                open -= usize::from(is_last);
            }
        }
    }
    streams.into_iter().map(|(_, text)| String::from_utf8_lossy(&text).into_owned()).collect()
}
