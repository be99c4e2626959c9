//! The frame of a task of the agent: it works until it is stopped.

use tokio_util::sync::CancellationToken;

/// Does `work` until the agent stops. Work that has come to its end rests until then: a task that ends although nobody stopped
/// it is an error of the agent ([`crate::Agent::failed`]).
pub(crate) async fn until_stopped(stop: &CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = work => {}
    }
    stop.cancelled().await;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn finished_work_rests_and_unfinished_work_is_dropped_at_the_stop() {
        for work in [std::future::ready(()).boxed(), std::future::pending().boxed()] {
            let stop = CancellationToken::new();
            let mut task = std::pin::pin!(until_stopped(&stop, work));
            assert!(task.as_mut().now_or_never().is_none());
            stop.cancel();
            assert!(task.now_or_never().is_some());
        }
    }
}
