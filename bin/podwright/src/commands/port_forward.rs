//! `podwright port-forward`: ports of this machine that lead to ports of a pod.
//!
//! Each connection has a stream of its own to the runtime, so one that nobody reads holds no other up, and none is kept in
//! memory.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use core_spdy::{Decoder, Encoder, End, Frame, StreamId};
use core_types::PodExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cli::{PortForwardOptions, PortPair};
use crate::client::{Agent, StreamProtocol};
use crate::error::CliError;
use crate::pods;

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// Bytes read at a time.
const READ_BYTES: usize = 32 * 1024;
/// Largest message of the runtime about what went wrong with a connection.
const MAX_ERROR_BYTES: usize = 4 * 1024;

pub(crate) async fn execute(agent: &Agent, options: PortForwardOptions) -> Result<ExitCode, CliError> {
    let all = agent.pods().await?;
    let report = pods::resolve(&all, &options.pod)?;
    let path: Arc<str> = format!("/v1/portForward/{}", report.pod.key()).into();
    let mut listeners = Vec::new();
    for pair in options.ports {
        listeners.push((listen(options.address, pair).await?, pair.remote));
    }
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut accepting = JoinSet::new();
    for (listener, remote) in listeners {
        let forward = Forward { agent: agent.clone(), path: path.clone(), remote, slots: slots.clone() };
        accepting.spawn(forward.accept(listener));
    }
    // It ends with a signal, or when a listener breaks.
    match accepting.join_next().await {
        Some(Ok(Err(error))) => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

async fn listen(address: IpAddr, pair: PortPair) -> Result<TcpListener, CliError> {
    let address = SocketAddr::new(address, pair.local);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| CliError::Pod(format!("cannot listen on {address}: {error}")))?;
    println!("Forwarding from {} -> {}", listener.local_addr()?, pair.remote);
    Ok(listener)
}

/// What the connections of one listener lead to.
#[derive(Clone)]
struct Forward {
    agent: Agent,
    path: Arc<str>,
    remote: u16,
    slots: Arc<Semaphore>,
}

impl Forward {
    async fn accept(self, listener: TcpListener) -> io::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            // The semaphore is never closed.
            let Ok(slot) = self.slots.clone().acquire_owned().await else { return Ok(()) };
            let (stream, _) = listener.accept().await?;
            let forward = self.clone();
            connections.spawn(async move {
                if let Err(error) = forward.connect(stream).await {
                    eprintln!("podwright: port {}: {error}", forward.remote);
                }
                drop(slot);
            });
            while connections.try_join_next().is_some() {}
        }
    }

    async fn connect(&self, local: TcpStream) -> Result<(), CliError> {
        let runtime = self.agent.open_stream(&self.path, StreamProtocol::PortForward).await?;
        let (from_local, to_local) = local.into_split();
        let problem = exchange(runtime, self.remote, from_local, to_local).await?;
        match problem.is_empty() {
            true => Ok(()),
            false => Err(CliError::Refused(problem)),
        }
    }
}

/// Carries one connection to its end, and gives what the runtime says went wrong.
async fn exchange(
    runtime: impl AsyncRead + AsyncWrite,
    port: u16,
    mut from_local: impl AsyncRead + Unpin,
    mut to_local: impl AsyncWrite + Unpin,
) -> Result<String, CliError> {
    let (mut from_runtime, mut to_runtime) = tokio::io::split(runtime);
    let mut encoder = Encoder::default();
    let mut opening = Vec::new();
    let port = port.to_string();
    let mut open =
        |kind| encoder.open(&[("streamtype", kind), ("port", &port), ("requestid", "0")], &mut opening);
    let (error, data) = (open("error"), open("data"));
    // Nothing is said to the runtime about errors.
    encoder.data(error, &[], End::Last, &mut opening);
    let upwards = async {
        to_runtime.write_all(&opening).await?;
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let count = from_local.read(&mut bytes).await?;
            let end = if count == 0 { End::Last } else { End::More };
            let mut frames = Vec::new();
            encoder.data(data, &bytes[..count], end, &mut frames);
            to_runtime.write_all(&frames).await?;
            to_runtime.flush().await?;
            if end == End::Last {
                return Ok(());
            }
        }
    };
    let downwards = receive(&mut from_runtime, &mut to_local, error, data);
    tokio::pin!(upwards, downwards);
    let sent: io::Result<()> = tokio::select! {
        received = &mut downwards => return received,
        sent = &mut upwards => sent,
    };
    // A local end that broke ends the connection; one that only has nothing more to say waits for the answer.
    match sent {
        Ok(()) => downwards.await,
        Err(_) => Ok(String::new()),
    }
}

async fn receive(
    from_runtime: &mut (impl AsyncRead + Unpin),
    to_local: &mut (impl AsyncWrite + Unpin),
    error: StreamId,
    data: StreamId,
) -> Result<String, CliError> {
    let (mut decoder, mut bytes, mut problem) = (Decoder::default(), vec![0; READ_BYTES], Vec::new());
    let mut open = vec![error, data];
    while !open.is_empty() {
        let count = from_runtime.read(&mut bytes).await.unwrap_or(0);
        if count == 0 {
            break;
        }
        decoder.push(&bytes[..count]);
        while let Some(frame) = decoder.next_frame().map_err(|error| CliError::Stream(error.to_string()))? {
            let ended = match frame {
                Frame::Data { stream, data: bytes, is_last } => {
                    if stream == data && to_local.write_all(&bytes).await.is_err() {
                        return Ok(String::new());
                    }
                    if stream == error && problem.len() + bytes.len() <= MAX_ERROR_BYTES {
                        problem.extend_from_slice(&bytes);
                    }
                    is_last.then_some(stream)
                }
                Frame::Reset { stream, .. } | Frame::Reply { stream, is_last: true } => Some(stream),
                _ => None,
            };
            if ended == Some(data) {
                // The local end may have gone already.
                let _ = to_local.shutdown().await;
            }
            open.retain(|one| Some(*one) != ended);
        }
    }
    Ok(String::from_utf8_lossy(&problem).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// A runtime that sends back in capitals what comes on the data stream, and then says `words` on the other.
    async fn shout(stream: impl AsyncRead + AsyncWrite, words: &str) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (mut decoder, mut bytes) = (Decoder::default(), vec![0; 1000]);
        let encoder = Encoder::default();
        loop {
            let count = reader.read(&mut bytes).await.expect("read");
            decoder.push(&bytes[..count]);
            while let Some(frame) = decoder.next_frame().expect("frame") {
                let Frame::Data { stream: StreamId(3), data, is_last } = frame else { continue };
                let mut out = Vec::new();
                let end = if is_last { End::Last } else { End::More };
                encoder.data(StreamId(3), &data.to_ascii_uppercase(), end, &mut out);
                if is_last {
                    encoder.data(StreamId(1), words.as_bytes(), End::Last, &mut out);
                }
                writer.write_all(&out).await.expect("write");
                if is_last {
                    return;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_connection_goes_both_ways_to_its_end_and_a_problem_is_told() {
        for words in ["", "connection refused"] {
            let (own, runtime) = duplex(4096);
            let input = vec![b'a'; 200_000];
            let mut output = Vec::new();
            let (problem, ()) =
                tokio::join!(exchange(own, 80, &input[..], &mut output), shout(runtime, words));
            assert_eq!(problem.expect("no error"), words);
            assert!(output == vec![b'A'; 200_000], "{} bytes", output.len());
        }
    }
}
