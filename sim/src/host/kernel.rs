//! What the simulated machine tells by itself: lines of the kernel's log that a test writes, an alarm that a test rings, and that it
//! goes down.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use core_types::Shutdown;
use ports::kernel_log::{KernelLine, KernelLines, KernelLog, KernelLogError, LogPlace};
use ports::machine_shutdown::{Held, Hold};
use ports::{MachineShutdown, MemoryAlarm, ShutdownError, ShutdownWatch};
use tokio::sync::{Notify, watch};

use super::lock;

/// The kernel.
#[derive(Debug, Default)]
pub struct FakeKernel {
    lines: watch::Sender<Vec<String>>,
    alarm: Notify,
    opened: Mutex<u64>,
    shutdown: watch::Sender<Going>,
}

/// Where a shutdown stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Going {
    state: Shutdown,
    /// What it waits for.
    held: u32,
    /// How often those who listened were cut off.
    cut: u32,
}

impl FakeKernel {
    /// Writes lines into the log.
    pub fn log(&self, lines: &[&str]) {
        self.lines.send_modify(|log| log.extend(lines.iter().map(|line| (*line).to_owned())));
    }

    /// Tells that memory runs short.
    pub fn ring(&self) {
        self.alarm.notify_one();
    }

    /// The machine goes down, or stays up after all.
    pub fn shut_down(&self, state: Shutdown) {
        self.shutdown.send_modify(|going| going.state = state);
    }

    /// Whether a shutdown waits for the agent.
    pub fn is_held(&self) -> bool {
        self.shutdown.borrow().held > 0
    }

    /// Cuts off whoever listens.
    pub fn cut_off(&self) {
        self.shutdown.send_modify(|going| going.cut += 1);
    }

    /// How often the log was opened.
    pub fn opened(&self) -> u64 {
        *lock(&self.opened)
    }
}

#[async_trait]
impl MemoryAlarm for FakeKernel {
    async fn rings(&self) {
        self.alarm.notified().await;
    }
}

#[async_trait]
impl KernelLog for FakeKernel {
    async fn open(&self, after: Option<&LogPlace>) -> Result<Box<dyn KernelLines>, KernelLogError> {
        *lock(&self.opened) += 1;
        let log = self.lines.subscribe();
        let end = log.borrow().len() as u64;
        let sequence = after.map_or(end, |place| place.sequence);
        Ok(Box::new(Lines { log, place: LogPlace { boot_id: "sim".to_owned(), sequence } }))
    }
}

struct Lines {
    log: watch::Receiver<Vec<String>>,
    place: LogPlace,
}

#[async_trait]
impl KernelLines for Lines {
    fn begins_after(&self) -> &LogPlace {
        &self.place
    }

    async fn next(&mut self) -> Result<KernelLine, KernelLogError> {
        let at = usize::try_from(self.place.sequence).unwrap_or(usize::MAX);
        let Ok(log) = self.log.wait_for(|log| log.len() > at).await else {
            return std::future::pending().await;
        };
        let text = log[at].clone();
        drop(log);
        self.place.sequence += 1;
        Ok(KernelLine { place: self.place.clone(), text })
    }
}

#[async_trait]
impl MachineShutdown for FakeKernel {
    async fn listen(&self) -> Result<Box<dyn ShutdownWatch>, ShutdownError> {
        let going = self.shutdown.subscribe();
        let known = *going.borrow();
        Ok(Box::new(Ear { sender: self.shutdown.clone(), going, known }))
    }
}

/// What listens.
struct Ear {
    sender: watch::Sender<Going>,
    going: watch::Receiver<Going>,
    known: Going,
}

/// What a shutdown waits for.
struct Waited(watch::Sender<Going>);

impl Drop for Waited {
    fn drop(&mut self) {
        self.0.send_modify(|going| going.held -= 1);
    }
}

#[async_trait]
impl ShutdownWatch for Ear {
    fn state(&self) -> Shutdown {
        self.known.state
    }

    async fn next(&mut self) -> Result<Shutdown, ShutdownError> {
        let error = ShutdownError { doing: "hear".to_owned(), problem: "cut off".to_owned() };
        let known = self.known;
        let differs = |going: &Going| going.state != known.state || going.cut != known.cut;
        match self.going.wait_for(differs).await {
            Ok(going) if going.cut == known.cut => {
                self.known.state = going.state;
                Ok(going.state)
            }
            Ok(_) | Err(_) => Err(error),
        }
    }

    async fn hold(&mut self, period: Duration) -> Result<Held, ShutdownError> {
        self.sender.send_modify(|going| going.held += 1);
        let hold = Hold::new(Waited(self.sender.clone()));
        Ok(Held { hold, granted: period, shortened_by: None })
    }
}
