//! systemd's manager object on a D-Bus: units are started, changed and stopped, and a job is waited for.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use core_cm::systemd::{Property, PropertyValue};
use futures_util::StreamExt as _;
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, Variant};

/// How long one call may take.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long a job of systemd may take, as long as upstream waits.
pub const JOB_LIMIT: Duration = Duration::from_secs(30);
/// Signals that may wait: those of all jobs that end while one of ours is waited for.
const QUEUE: NonZeroUsize = NonZeroUsize::new(256).unwrap();

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// What replaces a job that is under way for the unit.
const MODE: &str = "replace";

/// A bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// The system's, or what `DBUS_SYSTEM_BUS_ADDRESS` says.
    System,
    /// The one at this address.
    At(String),
}

/// Whether there was anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Done,
    /// The unit is as it should be.
    NothingToDo,
}

/// The manager on a bus.
pub(crate) struct Manager {
    bus: Bus,
    /// The connection in use; each call takes a handle of it.
    connection: Mutex<Option<Connection>>,
}

impl Manager {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus, connection: Mutex::new(None) }
    }

    /// Makes a transient unit and waits until it is there.
    pub(crate) async fn start(&self, unit: &str, properties: &[Property]) -> Result<Outcome, String> {
        let others: [(&str, Vec<(&str, Variant<'_>)>); 0] = [];
        let body = (unit, MODE, pairs(properties), &others[..]);
        self.job("StartTransientUnit", &body, UNIT_EXISTS).await
    }

    /// Stops a unit and waits until it is gone.
    pub(crate) async fn stop(&self, unit: &str) -> Result<Outcome, String> {
        self.job("StopUnit", &(unit, MODE), NO_SUCH_UNIT).await
    }

    /// Sets properties of a unit until the next boot.
    pub(crate) async fn set(&self, unit: &str, properties: &[Property]) -> Result<(), String> {
        if properties.is_empty() {
            return Ok(());
        }
        let bus = self.connected().await?;
        let only_until_boot = true;
        let body = (unit, only_until_boot, pairs(properties));
        let answer = bus.call_method(Some(NAME), PATH, Some(MANAGER), "SetUnitProperties", &body).await;
        answer.map(drop).map_err(|error| self.problem(&error))
    }

    /// Has systemd do something that it makes a job of. `is_so` is the error that says that nothing has to be done.
    async fn job<B>(&self, method: &str, body: &B, is_so: &str) -> Result<Outcome, String>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let bus = self.connected().await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(NAME)
            .path(PATH)
            .interface(MANAGER)
            .member("JobRemoved")
            .build();
        // Asked for before the call, so that no end is missed.
        let removed =
            MessageStream::for_match_rule(rule.map_err(|error| error.to_string())?, &bus, Some(QUEUE));
        let removed = removed.await.map_err(|error| self.problem(&error))?;
        let job = match bus.call_method(Some(NAME), PATH, Some(MANAGER), method, body).await {
            Ok(answer) => {
                answer.body().deserialize::<OwnedObjectPath>().map_err(|error| error.to_string())?
            }
            Err(zbus::Error::MethodError(name, ..)) if name.as_str() == is_so => {
                return Ok(Outcome::NothingToDo);
            }
            Err(error) => return Err(self.problem(&error)),
        };
        match tokio::time::timeout(JOB_LIMIT, end_of(&job, removed)).await {
            Ok(Some(result)) if result == "done" => Ok(Outcome::Done),
            Ok(Some(result)) => Err(format!("systemd says that its job ended as {result:?}")),
            Ok(None) => {
                self.forget();
                Err("the connection to D-Bus has ended".to_owned())
            }
            Err(_) => Err(format!("systemd has not done it in {JOB_LIMIT:?}")),
        }
    }

    async fn connected(&self) -> Result<Connection, String> {
        if let Some(bus) = self.lock().clone() {
            return Ok(bus);
        }
        let builder = match &self.bus {
            Bus::System => zbus::connection::Builder::system(),
            Bus::At(address) => zbus::connection::Builder::address(address.as_str()),
        };
        let building = tokio::time::timeout(CALL_LIMIT, builder.method_timeout(CALL_LIMIT).build()).await;
        let bus = building
            .map_err(|_| format!("the system's D-Bus has not answered in {CALL_LIMIT:?}"))?
            .map_err(|error| format!("the system's D-Bus cannot be reached: {error}"))?;
        *self.lock() = Some(bus.clone());
        Ok(bus)
    }

    /// What an error says; unless systemd itself said it, the next call connects anew.
    fn problem(&self, error: &zbus::Error) -> String {
        if !matches!(error, zbus::Error::MethodError(..)) {
            self.forget();
        }
        error.to_string()
    }

    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a job ended; `None` when the connection did.
async fn end_of(job: &OwnedObjectPath, mut removed: MessageStream) -> Option<String> {
    while let Some(signal) = removed.next().await {
        if let Some(result) = signal.ok().as_ref().and_then(|signal| result_of(job, signal)) {
            return Some(result);
        }
    }
    None
}

fn result_of(job: &OwnedObjectPath, signal: &Message) -> Option<String> {
    let body = signal.body();
    let (_, of, _, result) = body.deserialize::<(u32, OwnedObjectPath, String, String)>().ok()?;
    (of == *job).then_some(result)
}

fn pairs(properties: &[Property]) -> Vec<(&str, Variant<'_>)> {
    let variant = |value: &PropertyValue| match value {
        PropertyValue::Switch(on) => Variant::from(*on),
        PropertyValue::Number(number) => Variant::from(*number),
        PropertyValue::Text(text) => Variant::from(text.clone()),
        PropertyValue::Names(names) => Variant::from(names.clone()),
    };
    properties.iter().map(|property| (property.name, variant(&property.value))).collect()
}
