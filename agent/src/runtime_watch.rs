//! Watches whether the container runtime can be used.
//!
//! Reads: `Version`, `Status` and `RuntimeConfig`. Publishes: [`RuntimeUp`] snapshots. It asks at the start, again with
//! back-off while the answer is bad, and when somebody pokes it (a call failed, a relist was done); never on a ticker of
//! its own, so that a quiet node makes no calls.

use std::sync::Arc;
use std::time::Duration;

use core_pods::admission::StrictGroups;
use core_types::MonoTime;
use core_types::runtime::{CgroupDriver, RuntimeStatus, RuntimeVersion};
use ports::RuntimeError;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::outside::Outside;

/// First wait after a bad answer; doubles to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(200);
/// Longest wait after a bad answer: upstream checks every 5 s (CONTRACT 1.7).
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What is known of the runtime.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuntimeUp {
    /// Version, once it has answered.
    pub(crate) version: Option<RuntimeVersion>,
    /// Latest status.
    pub(crate) status: Option<RuntimeStatus>,
    /// Cgroup driver: the runtime's, or `None` when it does not tell.
    pub(crate) cgroup_driver: Option<CgroupDriver>,
    /// Why it cannot be used; empty when it can.
    pub(crate) error: String,
    /// Since when it cannot be used; `None` while it can.
    pub(crate) failing_since: Option<MonoTime>,
}

impl RuntimeUp {
    /// True when pods may be synced.
    pub(crate) fn is_ready(&self) -> bool {
        self.version.is_some() && self.error.is_empty()
    }

    /// What it does with pods that want only the groups that they name.
    pub(crate) fn strict_groups(&self) -> StrictGroups {
        match self.status.as_ref().map(|status| status.supplemental_groups_policy) {
            None => StrictGroups::Unknown,
            Some(true) => StrictGroups::Honoured,
            Some(false) => StrictGroups::Ignored,
        }
    }

    /// Why pods with a network of their own cannot start; `None` when they can.
    pub(crate) fn network_problem(&self) -> Option<String> {
        let network = &self.status.as_ref()?.network_ready;
        (!network.ok).then(|| format!("{}: {}", network.reason, network.message))
    }
}

/// Asks for a new check.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuntimePoke(Arc<Notify>);

impl RuntimePoke {
    pub(crate) fn poke(&self) {
        self.0.notify_one();
    }
}

/// Runs the watch until it is stopped.
pub(crate) async fn run(
    outside: Outside,
    poke: RuntimePoke,
    published: watch::Sender<RuntimeUp>,
    stop: CancellationToken,
) {
    let mut wait = RETRY_MIN;
    loop {
        let known = published.borrow().clone();
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = check(&outside, known) => next,
        };
        let good = next.is_ready() && next.network_problem().is_none();
        published.send_if_modified(|current| replace(current, next));
        let pause = async {
            match good {
                true => std::future::pending().await,
                false => tokio::time::sleep(wait).await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = poke.0.notified() => {}
            () = pause => {}
        }
        wait = if good { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
    }
}

/// Takes the new picture; true when it differs. Says once what changed.
fn replace(current: &mut RuntimeUp, next: RuntimeUp) -> bool {
    if current.error != next.error {
        match next.error.is_empty() {
            true => {
                let version = next.version.clone().unwrap_or_default();
                tracing::info!(
                    name = version.name,
                    version = version.version,
                    "the container runtime is ready"
                );
            }
            false => tracing::error!("{}; pods wait, running containers stay as they are", next.error),
        }
    }
    if let Some(problem) = next.network_problem()
        && current.network_problem().as_ref() != Some(&problem)
    {
        tracing::warn!(
            "the runtime's network is not ready: {problem}; pods with a network of their own wait"
        );
    }
    let changed =
        current.error != next.error || current.status != next.status || current.version != next.version;
    *current = next;
    changed
}

async fn check(outside: &Outside, known: RuntimeUp) -> RuntimeUp {
    let failing_since = known.failing_since;
    let mut next = match ask(outside, &known).await {
        Ok(up) => up,
        Err(error) => RuntimeUp { error: format!("the container runtime cannot be used: {error}"), ..known },
    };
    let failing = !next.error.is_empty();
    next.failing_since = failing.then(|| failing_since.unwrap_or_else(|| outside.clock.now()));
    next
}

async fn ask(outside: &Outside, known: &RuntimeUp) -> Result<RuntimeUp, RuntimeError> {
    let status = outside.runtime.status().await?;
    let error = match status.runtime_ready.ok {
        true => String::new(),
        false => format!(
            "the container runtime says that it is not ready: {}: {}",
            status.runtime_ready.reason, status.runtime_ready.message
        ),
    };
    // The runtime may have been replaced while it was away: ask again for what it is.
    let asked_before = known.error.is_empty() && known.version.is_some();
    let (version, cgroup_driver) = match asked_before {
        true => (known.version.clone(), known.cgroup_driver),
        false => (Some(outside.runtime.version().await?), cgroup_driver(outside).await?),
    };
    Ok(RuntimeUp { version, status: Some(status), cgroup_driver, error, failing_since: None })
}

async fn cgroup_driver(outside: &Outside) -> Result<Option<CgroupDriver>, RuntimeError> {
    match outside.runtime.cgroup_driver().await {
        Ok(driver) => Ok(Some(driver)),
        Err(RuntimeError::Unimplemented { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
