//! Sessions against a fake runtime on an in-memory stream: that they end, and with which code.

use std::time::Duration;

use core_spdy::{Encoder, Frame, StreamId};
use tokio::io::{DuplexStream, duplex};

use super::*;

const EXIT_3: &str = r#"{"status":"Failure","message":"command terminated with non-zero exit code",
    "reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;

/// A runtime whose command is `cat`: gives back what comes on stdin until its end, then the status.
async fn cat(stream: DuplexStream, chunks_before_input: usize) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let encoder = Encoder::default();
    // Streams in the order in which this client opens them: error, stdin, stdout, stderr.
    let (error, stdin, stdout) = (StreamId(1), StreamId(3), StreamId(5));
    let send = async |stream, data: &[u8], end, writer: &mut tokio::io::WriteHalf<DuplexStream>| {
        let mut frame = Vec::new();
        encoder.data(stream, data, end, &mut frame);
        writer.write_all(&frame).await.expect("write");
    };
    for _ in 0..chunks_before_input {
        send(stdout, &[b'.'; 1000], End::More, &mut writer).await;
    }
    // Control frames of a client are read as `Other`, which is what this fake needs.
    let mut decoder = Decoder::default();
    let mut data = vec![0; 4096];
    loop {
        let count = reader.read(&mut data).await.expect("read");
        assert!(count > 0, "the client must end its stdin before it hangs up");
        decoder.push(&data[..count]);
        while let Some(frame) = decoder.next_frame().expect("frame") {
            let Frame::Data { stream, data, is_last } = frame else { continue };
            assert_eq!(stream, stdin);
            send(stdout, &data, End::More, &mut writer).await;
            if is_last {
                send(error, EXIT_3.as_bytes(), End::More, &mut writer).await;
                return;
            }
        }
    }
}

async fn session(input: Vec<u8>, chunks_before_input: usize) -> (Result<u8, CliError>, Vec<u8>) {
    let (own, runtime) = duplex(4096);
    let mut stdout = Vec::new();
    let ends = Ends { stdin: &input[..], stdout: &mut stdout, stderr: tokio::io::sink() };
    let run = run(own, Wanted { stdin: true, stdout: true, stderr: true, tty: false }, ends);
    let both = async { tokio::join!(run, cat(runtime, chunks_before_input)).0 };
    let code = tokio::time::timeout(Duration::from_secs(10), both).await.expect("must end");
    (code, stdout)
}

#[tokio::test]
async fn a_command_that_reads_to_the_end_ends() {
    let (code, stdout) = session(b"hi\n".to_vec(), 0).await;
    assert_eq!((code.expect("code"), stdout), (3, b"hi\n".to_vec()));
    let (code, stdout) = session(Vec::new(), 0).await;
    assert_eq!((code.expect("code"), stdout.len()), (3, 0));
}

#[tokio::test]
async fn a_command_that_writes_before_it_reads_blocks_nobody() {
    let (code, stdout) = session(vec![b'x'; 200_000], 200).await;
    assert_eq!((code.expect("code"), stdout.len()), (3, 400_000));
}

#[tokio::test]
async fn a_connection_that_breaks_without_status_is_an_error() {
    let (own, runtime) = duplex(4096);
    drop(runtime);
    let ends = Ends { stdin: tokio::io::empty(), stdout: tokio::io::sink(), stderr: tokio::io::sink() };
    assert!(run(own, Wanted { stdout: true, ..Wanted::default() }, ends).await.is_err());
}
