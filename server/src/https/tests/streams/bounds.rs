//! Clients and runtimes that break the rules of a stream, or do not keep up: their own stream ends or waits, and everybody else goes on.

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;

/// What a runtime offers to a client that reads nothing.
const OFFERED_BYTES: usize = 512 << 20;
/// More than all buffers between a runtime and a client can hold: two connections of the kernel, and one message.
const HELD_BYTES: usize = 64 << 20;
/// A write that waits for so long is taken to wait for ever.
const STALL: Duration = Duration::from_secs(3);
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const V5: &str = "v5.channel.k8s.io";

/// A runtime that waits for the end of its connection.
async fn patient() -> (String, oneshot::Receiver<()>) {
    let (ended, end) = oneshot::channel();
    let url = runtime(&[], async |mut stream: TcpStream| {
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let _ = ended.send(());
    });
    (url.await, end)
}

/// A runtime that writes the block again and again, tells how much was taken, and waits for the end of its connection.
async fn flooding(block: Vec<u8>) -> (String, oneshot::Receiver<usize>, oneshot::Receiver<()>) {
    let (told, taken) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let url = runtime(&[], async move |mut stream: TcpStream| {
        let mut total = 0;
        while total < OFFERED_BYTES {
            match timeout(STALL, stream.write(&block[total % block.len()..])).await {
                Ok(Ok(count)) => total += count,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        let _ = told.send(total);
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let _ = ended.send(());
    });
    (url.await, taken, end)
}

impl Running {
    /// A command with another client works to its end, and so does everything else.
    async fn assert_well(&self, after: &str) {
        self.set_url(runtime(&[], cat).await);
        let (mut socket, _) = self.websocket(EXEC, V5).await.expect("upgraded");
        socket.send(Message::binary(vec![0, b'x'])).await.expect("send");
        socket.send(Message::binary(vec![255, 0])).await.expect("send");
        let [_, stdout, ..] = to_the_end(&mut socket).await;
        assert_eq!(stdout, b"x", "after {after}");
        assert_eq!(self.get("/healthz").await.body, "ok", "after {after}");
    }
}

/// Bytes that no client of a WebSocket may send.
fn no_frames() -> Vec<(&'static str, Vec<u8>)> {
    let fragment = |first: u8| {
        let mut frame = vec![first, 0xfe, 0xff, 0xff, 0, 0, 0, 0];
        frame.resize(frame.len() + 0xffff, 0);
        frame
    };
    let endless = std::iter::once(fragment(0x02)).chain((0..20).map(|_| fragment(0x00)));
    let mut random = fastrand::Rng::with_seed(7);
    vec![
        ("a frame without a mask", vec![0x82, 3, 0, 1, 2]),
        ("an opcode that does not exist", vec![0x83, 0x80, 0, 0, 0, 0]),
        ("bits that nobody agreed on", vec![0xf2, 0x80, 0, 0, 0, 0]),
        ("a length of 2^62", vec![0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a ping that is too long", [&[0x89, 0xfe, 0, 200, 0, 0, 0, 0][..], &[0; 200]].concat()),
        ("a ping in pieces", vec![0x09, 0x80, 0, 0, 0, 0]),
        ("the rest of nothing", vec![0x80, 0x81, 0, 0, 0, 0, 1]),
        ("text that is none", vec![0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]),
        ("a message without end", endless.flatten().collect()),
        ("noise", [&[0xff][..], &(0..2000).map(|_| random.u8(..)).collect::<Vec<_>>()].concat()),
    ]
}

#[tokio::test]
async fn what_is_no_frame_of_a_web_socket_ends_its_own_stream_only() {
    let (running, _directory) = running().await;
    for (path, protocol) in [(EXEC, V5), ("/portForward/default/web", TUNNEL)] {
        for (what, bytes) in no_frames() {
            let (url, end) = patient().await;
            running.set_url(url);
            let (mut socket, _) = running.websocket(path, protocol).await.expect("upgraded");
            let raw = socket.get_mut();
            // The server may be gone before it has read everything.
            let _ = raw.write_all(&bytes).await;
            let _ = raw.flush().await;
            timeout(SOON, end)
                .await
                .unwrap_or_else(|_| panic!("{path}: {what} did not end it"))
                .expect("ended");
        }
        running.assert_well(path).await;
    }
}

#[tokio::test]
async fn what_is_no_spdy_is_the_runtimes_to_judge() {
    let (running, _directory) = running().await;
    let mut random = fastrand::Rng::with_seed(11);
    let noise: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
    for path in [EXEC, "/attach/default/web/main?output=1", "/portForward/default/web"] {
        let (told, heard) = oneshot::channel();
        let url = runtime(&[], async |mut stream: TcpStream| {
            // As a runtime does that cannot make sense of it: it goes away in the middle.
            let mut some = vec![0; 1000];
            stream.read_exact(&mut some).await.expect("read");
            let _ = told.send(some);
        });
        running.set_url(url.await);
        let answer = running.spdy("POST", path).await;
        let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.expect("upgraded"));
        // The runtime is gone before it has read everything.
        let _ = stream.write_all(&noise).await;
        assert!(heard.await.expect("heard") == noise[..1000], "{path}: it came through unchanged");
        let _ = timeout(SOON, stream.read_to_end(&mut Vec::new())).await.expect("the client is let go");
        running.assert_well(path).await;
    }
}

#[tokio::test]
async fn a_runtime_that_speaks_no_spdy_is_told_to_the_client() {
    let (running, _directory) = running().await;
    for (bytes, words) in [
        (&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9][..], "the server speaks SPDY version 2, not 3"),
        (&[0x80, 3, 0, 3, 0, 0, 0, 0], "a frame of kind 3 with 0 bytes, which is too short"),
        // It announces 16 MB, and ends.
        (&[0, 0, 0, 5, 0, 0xff, 0xff, 0xff, 1], "without the command's exit code"),
    ] {
        let url = runtime(&[], async |mut stream: TcpStream| {
            stream.write_all(bytes).await.expect("write");
            stream.shutdown().await.expect("end");
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        running.set_url(url.await);
        let (mut socket, _) = running.websocket(EXEC, V5).await.expect("upgraded");
        let [.., status] = to_the_end(&mut socket).await;
        let status = String::from_utf8(status).expect("text");
        assert!(status.contains(words), "{words}: {status}");
    }
    running.assert_well("a runtime that speaks no SPDY").await;
}

/// The command's output, as frames of SPDY.
fn output() -> Vec<u8> {
    let mut block = Vec::new();
    Encoder::default().data(STDOUT, &[b'x'; 32 * 1024], End::More, &mut block);
    block
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_up_its_own_command_only() {
    let (running, _directory) = running().await;
    for (path, protocol) in [(EXEC, Some(V5)), ("/portForward/default/web", Some(TUNNEL)), (EXEC, None)] {
        let (url, taken, end) = flooding(output()).await;
        running.set_url(url);
        let client: Box<dyn std::any::Any> = match protocol {
            Some(protocol) => Box::new(running.websocket(path, protocol).await.expect("upgraded")),
            None => Box::new(hyper::upgrade::on(running.spdy("POST", path).await).await.expect("upgraded")),
        };
        let taken = taken.await.expect("told");
        assert!(
            taken < HELD_BYTES,
            "{path} {protocol:?}: {taken} bytes were taken for a client that reads none"
        );
        running.assert_well("a client that reads nothing").await;
        drop(client);
        timeout(SOON, end).await.expect("in time").expect("the runtime is let go with its client");
    }
}
