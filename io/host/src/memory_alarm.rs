//! A trigger on the kernel's pressure stall information: it rings when some task waits for memory for much of a window. It works
//! alike on both cgroup versions, and waiting costs nothing.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use ports::MemoryAlarm;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

/// A task stalls for 300 ms of 2 s. Windows of two seconds are open to everybody, shorter ones need CAP_SYS_RESOURCE.
const TRIGGER: &[u8] = b"some 300000 2000000\0";

/// The alarm of the machine.
#[derive(Debug)]
pub struct HostMemoryAlarm {
    path: PathBuf,
    trigger: Mutex<Option<AsyncFd<File>>>,
}

impl Default for HostMemoryAlarm {
    fn default() -> Self {
        Self { path: PathBuf::from("/proc/pressure/memory"), trigger: Mutex::new(None) }
    }
}

#[allow(unsafe_code)]
fn arm(path: &Path) -> io::Result<AsyncFd<File>> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut file = File::options().read(true).write(true).custom_flags(nonblocking).open(path)?;
    file.write_all(TRIGGER)?;
    // SAFETY: a file keeps its descriptor, the same one, until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }?)
}

#[async_trait]
impl MemoryAlarm for HostMemoryAlarm {
    async fn rings(&self) {
        let mut trigger = self.trigger.lock().await;
        if trigger.is_none() {
            match arm(&self.path) {
                Ok(armed) => *trigger = Some(armed),
                Err(error) => {
                    tracing::info!(%error, path = %self.path.display(), "the kernel does not tell of stalls for memory; it is looked at by time");
                }
            }
        }
        let rung = match &*trigger {
            Some(armed) => armed.ready(Interest::PRIORITY).await.map(|mut ready| ready.clear_ready()),
            None => std::future::pending().await,
        };
        if let Err(error) = rung {
            tracing::warn!(%error, "the kernel does not tell of stalls for memory any more; it is looked at by time");
            std::future::pending().await
        }
    }
}
