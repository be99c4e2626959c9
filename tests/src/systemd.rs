//! What stands in for systemd's manager of units on a private D-Bus: units are started, changed and stopped, each by a job.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lab::Bus;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, interface};

use crate::dbus::Place;

const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";

/// Properties of a unit by name, as text.
pub type Unit = BTreeMap<String, String>;

#[derive(Debug, Default)]
struct State {
    units: BTreeMap<String, Unit>,
    jobs: u32,
    /// How jobs end, when not as they should.
    trouble: Option<String>,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

type Pairs = Vec<(String, OwnedVariant)>;

fn texts(pairs: Pairs) -> impl Iterator<Item = (String, String)> {
    pairs.into_iter().map(|(name, value)| (name, text(&value)))
}

/// A value of one of the kinds that systemd takes for a slice.
fn text(value: &OwnedVariant) -> String {
    let copy = || value.try_clone().unwrap();
    let number = u64::try_from(copy()).map(|number| number.to_string());
    let switch = || bool::try_from(copy()).map(|on| on.to_string());
    let names = || Vec::<String>::try_from(copy()).map(|names| names.join(" "));
    number.or_else(|_| switch()).or_else(|_| names()).or_else(|_| String::try_from(copy())).unwrap()
}

/// What systemd does not do.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Refusal {
    #[zbus(error)]
    Bus(zbus::Error),
    UnitExists(String),
    NoSuchUnit(String),
}

struct Manager(Shared);

impl Manager {
    /// A job for a unit, whose end is told before the caller knows of the job.
    async fn job(&self, bus: &Connection, unit: &str) -> Result<OwnedObjectPath, Refusal> {
        let (number, result) = {
            let mut state = lock(&self.0);
            state.jobs += 1;
            (state.jobs, state.trouble.clone().unwrap_or_else(|| "done".to_owned()))
        };
        let path: OwnedObjectPath = format!("{PATH}/job/{number}").try_into().unwrap();
        let end = (number, &path, unit, result);
        bus.emit_signal(None::<&str>, PATH, INTERFACE, "JobRemoved", &end).await?;
        Ok(path)
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: Pairs,
        others: Vec<(String, Pairs)>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<OwnedObjectPath, Refusal> {
        assert_eq!((mode, others.len()), ("replace", 0));
        if lock(&self.0).units.contains_key(name) {
            return Err(Refusal::UnitExists(name.to_owned()));
        }
        lock(&self.0).units.insert(name.to_owned(), texts(properties).collect());
        self.job(bus, name).await
    }

    async fn stop_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<OwnedObjectPath, Refusal> {
        assert_eq!(mode, "replace");
        if lock(&self.0).units.remove(name).is_none() {
            return Err(Refusal::NoSuchUnit(name.to_owned()));
        }
        self.job(bus, name).await
    }

    fn set_unit_properties(&self, name: &str, runtime: bool, properties: Pairs) -> Result<(), Refusal> {
        assert!(runtime, "only until the next boot");
        let mut state = lock(&self.0);
        let unit = state.units.get_mut(name).ok_or_else(|| Refusal::NoSuchUnit(name.to_owned()))?;
        unit.extend(texts(properties));
        Ok(())
    }
}

/// The stand-in.
#[derive(Debug)]
pub struct Units {
    place: Place,
    state: Shared,
}

impl Units {
    /// Comes up on the bus, without units.
    #[track_caller]
    pub fn start(bus: &Bus) -> Self {
        let mut this = Self { place: Place::new(bus), state: Shared::default() };
        this.connect();
        this
    }

    /// Comes up again on a bus that was started anew, with the units it had.
    #[track_caller]
    pub fn connect(&mut self) {
        let state = &self.state;
        self.place
            .take(|bus| bus.serve_at(PATH, Manager(Arc::clone(state))).name("org.freedesktop.systemd1"));
    }

    /// The properties of a unit; `None` when there is no such unit.
    pub fn unit(&self, name: &str) -> Option<Unit> {
        lock(&self.state).units.get(name).cloned()
    }

    /// Jobs end with `result` from now on.
    pub fn jobs_end(&self, result: &str) {
        lock(&self.state).trouble = (result != "done").then(|| result.to_owned());
    }
}
