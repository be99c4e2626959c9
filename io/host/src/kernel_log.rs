//! The kernel's log from `/dev/kmsg`: one read gives one record, and waiting costs nothing.
//!
//! A record is `priority,sequence,microseconds,flags;text`, then lines that begin with a space. A reader that the kernel has
//! overtaken gets EPIPE once and goes on with the oldest record that is left.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use async_trait::async_trait;
use ports::kernel_log::{KernelLine, KernelLines, KernelLog, KernelLogError, LogPlace};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Longest record that the kernel gives; a shorter buffer would be refused.
const RECORD_BYTES: usize = 8192;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// `/dev/kmsg`, or a file that stands for it.
#[derive(Clone, Debug)]
pub struct HostKernelLog {
    path: PathBuf,
}

impl Default for HostKernelLog {
    fn default() -> Self {
        Self { path: PathBuf::from("/dev/kmsg") }
    }
}

impl HostKernelLog {
    fn failed(&self, source: io::Error) -> KernelLogError {
        KernelLogError { path: self.path.display().to_string(), source }
    }

    #[allow(unsafe_code)]
    fn start(&self, after: Option<&LogPlace>) -> io::Result<Lines> {
        let boot_id = std::fs::read_to_string(BOOT_ID)?.trim().to_owned();
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let mut file = File::options().read(true).custom_flags(nonblocking).open(&self.path)?;
        let known = after.filter(|place| place.boot_id == boot_id).map(|place| place.sequence);
        let mut end = known.unwrap_or_default();
        if known.is_none() {
            // The end has no number of its own: that of the last record is found by reading on from the end of what is there.
            while let Some(record) = read(&mut file)? {
                end = record.map_or(end, |(sequence, _)| sequence);
            }
            file.seek(SeekFrom::End(0))?;
        }
        let place = LogPlace { boot_id, sequence: end };
        // SAFETY: a file keeps its descriptor, the same one, until it is dropped.
        let file = unsafe { AsyncFd::register(file) }?;
        Ok(Lines { path: self.path.clone(), file, place })
    }
}

#[async_trait]
impl KernelLog for HostKernelLog {
    async fn open(&self, after: Option<&LogPlace>) -> Result<Box<dyn KernelLines>, KernelLogError> {
        let lines = self.start(after).map_err(|source| self.failed(source))?;
        Ok(Box::new(lines))
    }
}

struct Lines {
    path: PathBuf,
    file: AsyncFd<File>,
    place: LogPlace,
}

#[async_trait]
impl KernelLines for Lines {
    fn begins_after(&self) -> &LogPlace {
        &self.place
    }

    async fn next(&mut self) -> Result<KernelLine, KernelLogError> {
        let path = self.path.display().to_string();
        let failed = |source| KernelLogError { path: path.clone(), source };
        loop {
            let mut ready = self.file.readable_mut().await.map_err(failed)?;
            match read(ready.get_inner_mut()).map_err(failed)? {
                None => ready.clear_ready(),
                Some(Some((sequence, text))) if sequence > self.place.sequence => {
                    self.place.sequence = sequence;
                    return Ok(KernelLine { place: self.place.clone(), text });
                }
                Some(_) => {}
            }
        }
    }
}

/// The next record; `None` when there is none now, `Some(None)` for one without meaning and where records were lost.
fn read(file: &mut File) -> io::Result<Option<Option<(u64, String)>>> {
    let mut buffer = [0u8; RECORD_BYTES];
    match file.read(&mut buffer) {
        Ok(0) => Ok(None),
        Ok(length) => Ok(Some(record(&buffer[..length]))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(None)),
        Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => {
            tracing::warn!("lines of the kernel's log were overwritten before they were read");
            Ok(Some(None))
        }
        Err(error) => Err(error),
    }
}

fn record(bytes: &[u8]) -> Option<(u64, String)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, rest) = text.split_once(';')?;
    let sequence = head.split(',').nth(1)?.parse().ok()?;
    Some((sequence, rest.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_its_number_and_its_first_line() {
        let bytes = b"6,7148,14759512628,-;eth0: left; promiscuous mode\n SUBSYSTEM=net\n DEVICE=n2\n";
        assert_eq!(record(bytes), Some((7148, "eth0: left; promiscuous mode".to_owned())));
        assert_eq!(record(b"6,x,1,-;text\n"), None);
        assert_eq!(record(b"no head"), None);
    }

    #[tokio::test]
    async fn the_real_log_is_read_on_from_a_place() {
        let log = HostKernelLog::default();
        let Ok(lines) = log.open(None).await else {
            eprintln!("skipped: /dev/kmsg cannot be read here");
            return;
        };
        let end = lines.begins_after().clone();
        let before = LogPlace { sequence: end.sequence.saturating_sub(3), ..end.clone() };
        let mut again = log.open(Some(&before)).await.expect("it opened before");
        let line = again.next().await.expect("there are three more lines");
        assert!(line.place.sequence > before.sequence, "{line:?}");
        let other = LogPlace { boot_id: "of another boot".to_owned(), sequence: 1 };
        let fresh = log.open(Some(&other)).await.expect("it opened before");
        assert!(fresh.begins_after().sequence >= end.sequence);
    }
}
