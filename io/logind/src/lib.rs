//! systemd-logind over D-Bus: what tells that the machine goes down, and what delays it (CONTRACT 4.9).
//!
//! Reads: `PrepareForShutdown`, `PreparingForShutdown` and `InhibitDelayMaxUSec` of `org.freedesktop.login1`. Writes: a delay
//! inhibitor while a shutdown should wait, and `99-kubelet.conf` in the directory for parts of logind's configuration when
//! logind would not wait long enough, after which systemd is asked to have logind read it.
//!
//! Guarantees: each call ends in [`CALL_LIMIT`]; only logind is believed, for anybody on the bus may send a signal; a shutdown
//! that waits less than it should is better than one that does not wait, so the inhibitor is taken all the same.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use core_types::Shutdown;
use futures_util::StreamExt as _;
use ports::machine_shutdown::{Held, Hold, MachineShutdown, ShutdownError, ShutdownWatch};
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedVariant};

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long logind may take to read its configuration again, and how often it is asked whether it has.
const RELOAD_LIMIT: Duration = Duration::from_secs(5);
const RELOAD_STEP: Duration = Duration::from_millis(100);
/// Signals that may wait: shutdowns and their ends are rare.
const QUEUE: NonZeroUsize = NonZeroUsize::new(16).unwrap();

const LOGIND: &str = "org.freedesktop.login1";
const LOGIND_PATH: &str = "/org/freedesktop/login1";
const LOGIND_MANAGER: &str = "org.freedesktop.login1.Manager";
const SIGNAL: &str = "PrepareForShutdown";
const DBUS: &str = "org.freedesktop.DBus";
const DBUS_PATH: &str = "/org/freedesktop/DBus";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
const SYSTEMD_MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// The signal that has a daemon read its configuration.
const SIGHUP: i32 = 1;

/// Our part of logind's configuration; upstream's name.
const DROP_IN: &str = "99-kubelet.conf";

/// A bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// The system's, or what `DBUS_SYSTEM_BUS_ADDRESS` says.
    System,
    /// The one at this address.
    At(String),
}

/// The logind of the machine.
#[derive(Clone, Debug)]
pub struct Logind {
    bus: Bus,
    conf_dir: PathBuf,
}

impl Logind {
    /// The logind on that bus. `conf_dir` is where parts of its configuration lie.
    pub fn new(bus: Bus, conf_dir: &Path) -> Self {
        Self { bus, conf_dir: conf_dir.to_path_buf() }
    }
}

#[async_trait]
impl MachineShutdown for Logind {
    async fn listen(&self) -> Result<Box<dyn ShutdownWatch>, ShutdownError> {
        let connecting = async {
            let builder = match &self.bus {
                Bus::System => zbus::connection::Builder::system(),
                Bus::At(address) => zbus::connection::Builder::address(address.as_str()),
            };
            let bus = builder.method_timeout(CALL_LIMIT).build().await?;
            let rule = MatchRule::builder()
                .msg_type(Type::Signal)
                .sender(LOGIND)
                .path(LOGIND_PATH)
                .interface(LOGIND_MANAGER)
                .member(SIGNAL)
                .build()?;
            let signals = MessageStream::for_match_rule(rule, &bus, Some(QUEUE)).await?;
            Ok::<_, zbus::Error>((bus, signals))
        };
        let doing = "reach the system's D-Bus";
        let (bus, signals) = match tokio::time::timeout(CALL_LIMIT, connecting).await {
            Ok(result) => result.map_err(|error| failed(doing, &error))?,
            Err(_) => return Err(failed(doing, &format!("no answer in {CALL_LIMIT:?}"))),
        };
        let mut watch = LogindWatch { bus, signals, state: Shutdown::None, conf_dir: self.conf_dir.clone() };
        // Asked after the subscription, so that nothing is missed in between.
        watch.state = match watch.property::<bool>("PreparingForShutdown").await? {
            true => Shutdown::InProgress,
            false => Shutdown::None,
        };
        Ok(Box::new(watch))
    }
}

/// One connection.
struct LogindWatch {
    bus: Connection,
    signals: MessageStream,
    state: Shutdown,
    conf_dir: PathBuf,
}

#[async_trait]
impl ShutdownWatch for LogindWatch {
    fn state(&self) -> Shutdown {
        self.state
    }

    async fn next(&mut self) -> Result<Shutdown, ShutdownError> {
        let doing = "hear of shutdowns";
        loop {
            let signal = match self.signals.next().await {
                Some(signal) => signal.map_err(|error| failed(doing, &error))?,
                None => return Err(failed(doing, &"the connection to D-Bus has ended")),
            };
            if let Some(word) = self.word(&signal).await? {
                return Ok(word);
            }
        }
    }

    async fn hold(&mut self, period: Duration) -> Result<Held, ShutdownError> {
        let mut granted = self.longest_delay().await?;
        let mut shortened_by = None;
        if granted < period {
            shortened_by = self.ask_for(period).await.err();
            granted = self.longest_delay().await?;
        }
        let reason = ("shutdown", "kubelet", "Kubelet needs time to handle node shutdown", "delay");
        let doing = "have a shutdown wait";
        let answer = self
            .bus
            .call_method(Some(LOGIND), LOGIND_PATH, Some(LOGIND_MANAGER), "Inhibit", &reason)
            .await
            .map_err(|error| failed(doing, &error))?;
        let lock: zbus::OwnedFd = answer.body().deserialize().map_err(|error| failed(doing, &error))?;
        // A shutdown waits as long as this is open.
        Ok(Held { hold: Hold::new(lock), granted, shortened_by })
    }
}

impl LogindWatch {
    /// What a signal says; `None` for one that logind did not send.
    async fn word(&self, signal: &Message) -> Result<Option<Shutdown>, ShutdownError> {
        let doing = "find out who sent a signal";
        let answer = self
            .bus
            .call_method(Some(DBUS), DBUS_PATH, Some(DBUS), "GetNameOwner", &LOGIND)
            .await
            .map_err(|error| failed(doing, &error))?;
        let body = answer.body();
        let owner: &str = body.deserialize().map_err(|error| failed(doing, &error))?;
        if signal.header().sender().is_none_or(|sender| sender.as_str() != owner) {
            return Ok(None);
        }
        Ok(match signal.body().deserialize::<bool>() {
            Ok(true) => Some(Shutdown::InProgress),
            Ok(false) => Some(Shutdown::None),
            Err(_) => None,
        })
    }

    async fn property<T>(&self, name: &str) -> Result<T, ShutdownError>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: std::fmt::Display,
    {
        let doing = format!("read {name} of systemd-logind");
        let interface = Some("org.freedesktop.DBus.Properties");
        let answer = self
            .bus
            .call_method(Some(LOGIND), LOGIND_PATH, interface, "Get", &(LOGIND_MANAGER, name))
            .await
            .map_err(|error| failed(&doing, &error))?;
        let value: OwnedVariant = answer.body().deserialize().map_err(|error| failed(&doing, &error))?;
        T::try_from(value).map_err(|error| failed(&doing, &error))
    }

    async fn longest_delay(&self) -> Result<Duration, ShutdownError> {
        Ok(Duration::from_micros(self.property("InhibitDelayMaxUSec").await?))
    }

    /// Has logind wait for `period` at most.
    async fn ask_for(&self, period: Duration) -> Result<(), ShutdownError> {
        self.configure(period).await?;
        let reload = ("systemd-logind.service", "all", SIGHUP);
        self.bus
            .call_method(Some(SYSTEMD), SYSTEMD_PATH, Some(SYSTEMD_MANAGER), "KillUnit", &reload)
            .await
            .map_err(|error| failed("have systemd-logind read its configuration", &error))?;
        let mut waited = Duration::ZERO;
        loop {
            let granted = self.longest_delay().await?;
            if granted >= period {
                return Ok(());
            }
            if waited >= RELOAD_LIMIT {
                let problem = format!(
                    "it still is {granted:?}; does another file of its configuration set InhibitDelayMaxSec?"
                );
                return Err(failed("raise the InhibitDelayMaxSec of systemd-logind", &problem));
            }
            tokio::time::sleep(RELOAD_STEP).await;
            waited += RELOAD_STEP;
        }
    }

    /// Writes our part of the configuration, as a whole or not at all.
    async fn configure(&self, period: Duration) -> Result<(), ShutdownError> {
        let secs = period.as_secs() + u64::from(period.subsec_nanos() > 0);
        let text = format!("# Kubelet logind override\n[Login]\nInhibitDelayMaxSec={secs}\n");
        let (dir, fresh) = (&self.conf_dir, self.conf_dir.join(format!(".{DROP_IN}.new")));
        let path = dir.join(DROP_IN);
        let write = async {
            tokio::fs::create_dir_all(dir).await?;
            tokio::fs::write(&fresh, text).await?;
            tokio::fs::rename(&fresh, &path).await
        };
        write.await.map_err(|error: io::Error| failed(&format!("write {}", path.display()), &error))
    }
}

fn failed(doing: &str, problem: &dyn std::fmt::Display) -> ShutdownError {
    ShutdownError { doing: doing.to_owned(), problem: problem.to_string() }
}
