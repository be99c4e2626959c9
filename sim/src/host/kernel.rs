//! What the simulated kernel tells by itself: lines of its log that a test writes, and an alarm that a test rings.

use std::sync::Mutex;

use async_trait::async_trait;
use ports::MemoryAlarm;
use ports::kernel_log::{KernelLine, KernelLines, KernelLog, KernelLogError, LogPlace};
use tokio::sync::{Notify, watch};

use super::lock;

/// The kernel.
#[derive(Debug, Default)]
pub struct FakeKernel {
    lines: watch::Sender<Vec<String>>,
    alarm: Notify,
    opened: Mutex<u64>,
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
