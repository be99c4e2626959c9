//! The line to what knows that the machine goes down: opened again when it breaks, and held as the shutdown task wishes.
//!
//! Reads: the port, wishes of the shutdown task. Publishes: each word of the machine, to that task. A task of its own, so that a
//! bus that hangs holds up nothing but itself.
//!
//! ```text
//! listen > hold, unless it goes down already > words and wishes until it breaks > wait, 1 s to 60 s > listen
//! ```

use std::sync::Arc;
use std::time::Duration;

use core_types::{MonoTime, Shutdown};
use ports::machine_shutdown::Hold;
use ports::{Clock, MachineShutdown, ShutdownError, ShutdownWatch};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{task, timer};

/// First wait after a line that broke; upstream's only one. A machine without logind is asked ever less often.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Words and wishes that may wait; there are a few in the life of a machine.
const QUEUE: usize = 8;

/// What the shutdown task wants of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The next shutdown waits.
    Hold,
    /// The shutdown goes on.
    LetGo,
}

/// The shutdown task's ends.
pub(super) struct LineEnds {
    pub(super) words: mpsc::Receiver<Shutdown>,
    wishes: mpsc::Sender<Wish>,
}

impl LineEnds {
    pub(super) async fn wish(&self, wish: Wish) {
        if self.wishes.send(wish).await.is_err() {
            tracing::debug!("the line has ended, and holds nothing any more");
        }
    }
}

/// The line's own ends.
pub(super) struct OwnEnds {
    words: mpsc::Sender<Shutdown>,
    wishes: mpsc::Receiver<Wish>,
}

/// Both.
pub(super) fn line() -> (LineEnds, OwnEnds) {
    let (word_sender, words) = mpsc::channel(QUEUE);
    let (wish_sender, wishes) = mpsc::channel(QUEUE);
    (LineEnds { words, wishes: wish_sender }, OwnEnds { words: word_sender, wishes })
}

/// The task.
pub(super) struct Line {
    port: Arc<dyn MachineShutdown>,
    clock: Arc<dyn Clock>,
    /// How long pods need.
    period: Duration,
    ends: OwnEnds,
    /// What a shutdown waits for. It outlives a line that breaks: pods may be ending at that time.
    hold: Option<Hold>,
    said: Option<ShutdownError>,
}

impl Line {
    pub(super) fn new(
        port: Arc<dyn MachineShutdown>,
        clock: Arc<dyn Clock>,
        period: Duration,
        ends: OwnEnds,
    ) -> Self {
        Self { port, clock, period, ends, hold: None, said: None }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        task::until_stopped(&stop, self.live()).await;
    }

    async fn live(&mut self) {
        let mut wait = RETRY_FIRST;
        loop {
            let since = self.clock.now();
            let Err(error) = self.follow().await else { return };
            if self.said.as_ref() != Some(&error) {
                tracing::error!(
                    "nobody tells when the machine goes down, and pods would end without grace; trying again: {error}"
                );
                self.said = Some(error);
            }
            let lasted = self.clock.now().since(since);
            wait = if lasted > RETRY_MAX { RETRY_FIRST } else { wait };
            self.rest_until(self.clock.now() + wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Waits, and lets go meanwhile what need not be held; the next one is held when the line is open again.
    async fn rest_until(&mut self, due: MonoTime) {
        let clock = Arc::clone(&self.clock);
        loop {
            tokio::select! {
                biased;
                () = timer::until(clock.as_ref(), Some(due)) => return,
                Some(wish) = self.ends.wishes.recv() => {
                    if wish == Wish::LetGo {
                        self.hold = None;
                    }
                }
            }
        }
    }

    /// Listens until it breaks; well ended only when the shutdown task is gone.
    async fn follow(&mut self) -> Result<(), ShutdownError> {
        let mut watch = self.port.listen().await?;
        // What was said while nobody listened is said now.
        let state = watch.state();
        if self.ends.words.send(state).await.is_err() {
            return Ok(());
        }
        if state == Shutdown::None {
            self.hold(watch.as_mut()).await?;
        }
        self.said = None;
        loop {
            tokio::select! {
                biased;
                word = watch.next() => {
                    if self.ends.words.send(word?).await.is_err() {
                        return Ok(());
                    }
                }
                wish = self.ends.wishes.recv() => match wish {
                    Some(Wish::Hold) => self.hold(watch.as_mut()).await?,
                    Some(Wish::LetGo) => self.hold = None,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn hold(&mut self, watch: &mut dyn ShutdownWatch) -> Result<(), ShutdownError> {
        let held = watch.hold(self.period).await?;
        // The one before goes only now: there is no moment without.
        self.hold = Some(held.hold);
        match held.shortened_by {
            None => tracing::info!(granted = ?held.granted, "a shutdown of the machine waits for pods"),
            Some(error) => tracing::error!(
                "a shutdown of the machine waits for pods for {:?} only, and {:?} are configured: {error}",
                held.granted,
                self.period
            ),
        }
        Ok(())
    }
}
