//! Bytes both ways between two connections, until one of them ends or nothing moves.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// Buffer of one direction: what fits into one record of TLS.
const BUFFER_BYTES: usize = 16 * 1024;

/// When something moved last, and how long nothing may.
pub(super) struct Activity {
    last: Mutex<Instant>,
    limit: Option<Duration>,
}

impl Activity {
    /// Begins now.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { last: Mutex::new(Instant::now()), limit }
    }

    /// Something moved.
    pub(super) fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until nothing has moved for the limit.
    pub(super) async fn idle(&self) {
        let Some(limit) = self.limit else { return std::future::pending().await };
        loop {
            let end = *self.last.lock().unwrap_or_else(PoisonError::into_inner) + limit;
            if end <= Instant::now() {
                return tracing::debug!(?limit, "a stream was idle too long");
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// Copies until either side ends or the stream is idle too long. What one side has sent before its end is delivered.
pub(super) async fn splice<C, R>(client: C, runtime: R, activity: &Activity)
where
    C: AsyncRead + AsyncWrite,
    R: AsyncRead + AsyncWrite,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_runtime, to_runtime) = tokio::io::split(runtime);
    tokio::select! {
        () = copy(from_client, to_runtime, activity) => {}
        () = copy(from_runtime, to_client, activity) => {}
        () = activity.idle() => {}
    }
}

/// Copies to the end of `from`, or until `to` takes nothing more. Both are ordinary ends of a stream.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, activity: &Activity) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        activity.touch();
        if to.write_all(&buffer[..count]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    // The other side may have gone already.
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_nothing_moved_for_the_limit() {
        let (mut client, client_end) = duplex(64);
        let (mut runtime, runtime_end) = duplex(64);
        let began = Instant::now();
        let activity = Activity::new(Some(Duration::from_secs(60)));
        let talk = async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            client.write_all(b"hi").await.expect("write");
            let mut got = [0; 2];
            runtime.read_exact(&mut got).await.expect("read");
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.expect("closed");
        };
        tokio::join!(splice(client_end, runtime_end, &activity), talk);
        assert_eq!(began.elapsed(), Duration::from_secs(110));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_let_go_after_the_limit() {
        let (_client, client_end) = duplex(64);
        let (mut runtime, runtime_end) = duplex(64);
        let began = Instant::now();
        let activity = Activity::new(Some(Duration::from_secs(60)));
        let flood = async {
            let mut written = 0;
            while let Ok(count) = runtime.write(&[b'x'; 64]).await {
                written += count;
            }
            written
        };
        let ((), written) = tokio::join!(splice(client_end, runtime_end, &activity), flood);
        assert!(written <= BUFFER_BYTES + 2 * 64, "{written} bytes were taken");
        assert_eq!(began.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test]
    async fn the_end_of_either_side_ends_the_stream_after_what_was_sent() {
        for end_of_runtime in [true, false] {
            let (mut client, client_end) = duplex(4096);
            let (mut runtime, runtime_end) = duplex(4096);
            let activity = Activity::new(None);
            let talk = async {
                let (from, to) =
                    if end_of_runtime { (&mut runtime, &mut client) } else { (&mut client, &mut runtime) };
                from.write_all(&[b'x'; 1000]).await.expect("write");
                from.shutdown().await.expect("end");
                let mut got = Vec::new();
                to.read_to_end(&mut got).await.expect("read");
                assert_eq!(got.len(), 1000);
            };
            // A reader that keeps its own side open holds nothing up.
            tokio::time::timeout(Duration::from_secs(10), async {
                tokio::join!(splice(client_end, runtime_end, &activity), talk)
            })
            .await
            .expect("ends");
        }
    }
}
