//! Talks to systemd: that the agent is ready, and, while it is well, that it still works (CONTRACT 1.9).
//!
//! Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; sends datagrams and waits for no answer. Without
//! `NOTIFY_SOCKET` nothing is sent.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::{Result, bail};

/// A shorter time would fail with one late answer; upstream's bound.
const MIN_WATCHDOG: Duration = Duration::from_secs(1);

/// systemd's end.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    ping_every: Option<Duration>,
}

impl Supervisor {
    /// Reads the environment.
    ///
    /// # Errors
    /// A watchdog time that is no number, or too short to be kept.
    pub(crate) fn from_environment() -> Result<Self> {
        let text = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let ping_every = ping_every(
            text("WATCHDOG_USEC").as_deref(),
            text("WATCHDOG_PID").as_deref(),
            std::process::id(),
        )?;
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = socket.and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: systemd is told nothing");
                None
            }
        });
        Ok(Self { socket, ping_every })
    }

    /// Says that the agent has started.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// Says again and again that the agent works, as long as `problem` finds none. Never returns.
    pub(crate) async fn keep_alive(&self, problem: impl Fn() -> Option<String>) {
        let (Some(every), true) = (self.ping_every, self.socket.is_some()) else {
            return std::future::pending().await;
        };
        tracing::info!(interval = ?every, "systemd's watchdog is told that the agent works");
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match problem() {
                None => self.send("WATCHDOG=1"),
                Some(problem) => {
                    tracing::error!(problem, "the watchdog is not told that the agent works: it does not")
                }
            }
        }
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, state, "systemd could not be told");
        }
    }
}

/// A socket that never blocks, and the address; a name that begins with `@` is an abstract one.
fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Half of the watchdog's time; `None` when there is no watchdog or it watches another process.
fn ping_every(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Result<Option<Duration>> {
    let Some(usec) = usec else { return Ok(None) };
    let Some(usec) = usec.parse::<u64>().ok().filter(|usec| *usec > 0) else {
        bail!("WATCHDOG_USEC {usec:?} is no number of microseconds");
    };
    if let Some(pid) = pid {
        match pid.parse::<u32>() {
            Ok(pid) if pid == own_pid => {}
            Ok(_) => return Ok(None),
            Err(_) => bail!("WATCHDOG_PID {pid:?} is no process ID"),
        }
    }
    let timeout = Duration::from_micros(usec);
    if timeout <= MIN_WATCHDOG {
        bail!(
            "the watchdog time {timeout:?} (WatchdogSec of the systemd unit) is too short: it must be more than {MIN_WATCHDOG:?}"
        );
    }
    Ok(Some(timeout / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_come_at_half_of_the_watchdogs_time() {
        let table = [
            (None, None, Some(None)),
            (Some("10000000"), None, Some(Some(5))),
            (Some("10000000"), Some("7"), Some(Some(5))),
            (Some("10000000"), Some("8"), Some(None)),
            (Some("1000000"), None, None),
            (Some("0"), None, None),
            (Some("x"), None, None),
            (Some("10000000"), Some("x"), None),
        ];
        for (usec, pid, want) in table {
            let got = ping_every(usec, pid, 7).ok();
            assert_eq!(got, want.map(|secs: Option<u64>| secs.map(Duration::from_secs)), "{usec:?} {pid:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_is_told_while_all_is_well() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        systemd.set_nonblocking(true).unwrap();
        let heard = || {
            let mut buffer = [0; 64];
            systemd.recv(&mut buffer).ok().map(|count| String::from_utf8_lossy(&buffer[..count]).into_owned())
        };
        let socket = Some(connect(path.as_os_str()).unwrap());
        let supervisor = Supervisor { socket, ping_every: Some(Duration::from_secs(5)) };
        supervisor.ready();
        assert_eq!(heard().as_deref(), Some("READY=1"));

        let sick = std::cell::Cell::new(false);
        let within = Duration::from_secs(12);
        let alive = || supervisor.keep_alive(|| sick.get().then(|| "stuck".to_owned()));
        assert!(tokio::time::timeout(within, alive()).await.is_err());
        assert_eq!([heard(), heard(), heard(), heard()].iter().flatten().count(), 3);
        sick.set(true);
        assert!(tokio::time::timeout(within, alive()).await.is_err());
        assert_eq!(heard(), None);
    }
}
