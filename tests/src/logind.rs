//! What stands in for systemd and its logind on a private D-Bus: inhibitors, the word that the machine goes down, and a
//! configuration that is read again at a signal.

use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lab::Bus;
use zbus::{Connection, fdo, interface};

use crate::dbus::Place;

const PATH: &str = "/org/freedesktop/login1";
const INTERFACE: &str = "org.freedesktop.login1.Manager";
/// The delay of a logind that nobody configured.
const DEFAULT_DELAY: Duration = Duration::from_secs(5);

/// An inhibitor: what, who, why, mode.
pub type Inhibitor = [String; 4];

#[derive(Debug, Default)]
struct State {
    goes_down: bool,
    delay: Duration,
    /// With the end of the pipe that tells whether the other is still open.
    inhibitors: Vec<(Inhibitor, UnixStream)>,
    conf_dir: PathBuf,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Reads the configuration, as logind does at its start and at SIGHUP.
    fn configure(&mut self) {
        let text = std::fs::read_to_string(self.conf_dir.join("99-kubelet.conf")).unwrap_or_default();
        let secs = text.lines().find_map(|line| line.strip_prefix("InhibitDelayMaxSec=")?.parse().ok());
        self.delay = secs.map_or(DEFAULT_DELAY, Duration::from_secs);
    }
}

struct Login(Shared);

#[interface(name = "org.freedesktop.login1.Manager")]
impl Login {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> fdo::Result<zbus::OwnedFd> {
        let mut state = lock(&self.0);
        if state.goes_down {
            return Err(fdo::Error::Failed("The operation is already running".to_owned()));
        }
        let (own, theirs) = UnixStream::pair().map_err(|error| fdo::Error::Failed(error.to_string()))?;
        own.set_nonblocking(true).map_err(|error| fdo::Error::Failed(error.to_string()))?;
        state.inhibitors.push(([what, who, why, mode].map(str::to_owned), own));
        Ok(OwnedFd::from(theirs).into())
    }

    #[zbus(property)]
    fn preparing_for_shutdown(&self) -> bool {
        lock(&self.0).goes_down
    }

    #[zbus(property, name = "InhibitDelayMaxUSec")]
    fn inhibit_delay_max(&self) -> u64 {
        u64::try_from(lock(&self.0).delay.as_micros()).unwrap_or(u64::MAX)
    }
}

struct Systemd(Shared);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn kill_unit(&self, unit: &str, who: &str, signal: i32) {
        assert_eq!((unit, who, signal), ("systemd-logind.service", "all", 1));
        lock(&self.0).configure();
    }
}

/// The stand-in.
#[derive(Debug)]
pub struct StandIn {
    place: Place,
    state: Shared,
}

impl StandIn {
    /// Comes up on the bus, with a configuration in `conf_dir`.
    #[track_caller]
    pub fn start(bus: &Bus, conf_dir: &Path) -> Self {
        let mut state = State { conf_dir: conf_dir.to_owned(), ..State::default() };
        state.configure();
        let state = Arc::new(Mutex::new(state));
        let mut this = Self { place: Place::new(bus), state };
        this.connect();
        this
    }

    /// Comes up again on a bus that was started anew.
    #[track_caller]
    pub fn connect(&mut self) {
        let state = &self.state;
        self.place.take(|bus| {
            bus.serve_at(PATH, Login(Arc::clone(state)))
                .serve_at("/org/freedesktop/systemd1", Systemd(Arc::clone(state)))
                .name("org.freedesktop.systemd1")
                .name("org.freedesktop.login1")
        });
    }

    /// The machine goes down as soon as nobody inhibits it.
    #[track_caller]
    pub fn goes_down(&self) {
        self.becomes(true);
    }

    /// The shutdown is called off.
    #[track_caller]
    pub fn stays_up(&self) {
        self.becomes(false);
    }

    #[track_caller]
    fn becomes(&self, goes_down: bool) {
        lock(&self.state).goes_down = goes_down;
        self.send(self.place.connection(), goes_down);
    }

    /// Sends the word that the machine goes down as somebody who is not logind.
    #[track_caller]
    pub fn lie(&self) {
        self.send(&self.place.stranger(), true);
    }

    #[track_caller]
    fn send(&self, from: &Connection, goes_down: bool) {
        let sending = from.emit_signal(None::<&str>, PATH, INTERFACE, "PrepareForShutdown", &goes_down);
        self.place.wait(sending).unwrap();
    }

    /// What holds a shutdown up now.
    pub fn inhibitors(&self) -> Vec<Inhibitor> {
        let mut state = lock(&self.state);
        let is_open = |stream: &mut UnixStream| match stream.read(&mut [0]) {
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        state.inhibitors.retain_mut(|(_, stream)| is_open(stream));
        state.inhibitors.iter().map(|(inhibitor, _)| inhibitor.clone()).collect()
    }
}
