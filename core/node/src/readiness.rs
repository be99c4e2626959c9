//! Why the node is not ready, in upstream's words: the Ready condition's message (CONTRACT 4.7).

use std::time::Duration;

use core_types::runtime::{RuntimeCondition, RuntimeStatus};
use core_types::{MonoTime, Shutdown};

/// How long the runtime may fail until the node is not ready for it (CONTRACT 1.14).
pub const RUNTIME_PATIENCE: Duration = Duration::from_secs(30);

/// Every reason; none for a node that is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    problems: Vec<String>,
}

/// What readiness is judged by.
#[derive(Clone, Debug)]
pub struct Signs<'a> {
    /// The runtime's latest status; `None` before the first.
    pub status: Option<&'a RuntimeStatus>,
    /// Since when the runtime cannot be used; `None` while it can.
    pub failing_since: Option<MonoTime>,
    /// Whether all pods were ever listed.
    pub has_relisted: bool,
    /// Why the PLEG is not healthy; `None` when it is.
    pub pleg_problem: Option<&'a str>,
    /// Whether the machine goes down.
    pub shutdown: Shutdown,
}

impl Readiness {
    /// Judges the signs at `now`.
    pub fn judge(signs: &Signs<'_>, now: MonoTime) -> Self {
        let mut problems = Vec::new();
        let status = signs.status;
        match signs.failing_since {
            _ if status.is_none() => {
                problems.push("container runtime status check may not have completed yet".to_owned());
            }
            Some(since) if now.since(since) >= RUNTIME_PATIENCE => {
                problems.push("container runtime is down".to_owned());
            }
            _ => {}
        }
        let never = (!signs.has_relisted).then_some("pleg has yet to be successful");
        if let Some(problem) = signs.pleg_problem.or(never) {
            problems.push(format!("PLEG is not healthy: {problem}"));
        }
        if let Some(runtime) = status.map(|status| &status.runtime_ready).filter(|ready| !ready.ok) {
            problems.push(format!("container runtime not ready: {}", condition("RuntimeReady", runtime)));
        }
        match status.map(|status| &status.network_ready) {
            None => problems.push("network state unknown".to_owned()),
            Some(network) if !network.ok => {
                problems.push(format!(
                    "container runtime network not ready: {}",
                    condition("NetworkReady", network)
                ));
            }
            Some(_) => {}
        }
        if signs.shutdown == Shutdown::InProgress {
            problems.push("node is shutting down".to_owned());
        }
        Self { problems }
    }

    /// Whether nothing speaks against it.
    pub fn is_ready(&self) -> bool {
        self.problems.is_empty()
    }

    /// The condition's message.
    pub(crate) fn message(&self) -> String {
        match self.problems.as_slice() {
            [] => "kubelet is posting ready status".to_owned(),
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        }
    }
}

/// When the judgement changes by time alone; `None` when it does not.
pub fn changes_at(failing_since: Option<MonoTime>, now: MonoTime) -> Option<MonoTime> {
    failing_since.map(|since| since + RUNTIME_PATIENCE).filter(|at| *at > now)
}

fn condition(name: &str, condition: &RuntimeCondition) -> String {
    format!("{name}={} reason:{} message:{}", condition.ok, condition.reason, condition.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> RuntimeCondition {
        RuntimeCondition { ok: true, ..RuntimeCondition::default() }
    }

    fn status() -> RuntimeStatus {
        RuntimeStatus { runtime_ready: good(), network_ready: good(), ..RuntimeStatus::default() }
    }

    fn bad(reason: &str) -> RuntimeCondition {
        RuntimeCondition { ok: false, reason: reason.to_owned(), message: "m".to_owned() }
    }

    #[test]
    fn the_words_are_upstreams() {
        let start = MonoTime::from_secs(100);
        let healthy = status();
        let network = RuntimeStatus { network_ready: bad("NetworkPluginNotReady"), ..status() };
        let runtime = RuntimeStatus { runtime_ready: bad("R"), ..status() };
        let signs = |status, failing_since, pleg_problem, shutdown| Signs {
            status,
            failing_since,
            has_relisted: status.is_some(),
            pleg_problem,
            shutdown,
        };
        let none = Shutdown::None;
        let table = [
            (signs(Some(&healthy), None, None, none), "kubelet is posting ready status"),
            (
                signs(None, Some(start), None, none),
                "[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be \
                 successful, network state unknown]",
            ),
            (signs(Some(&healthy), Some(start), None, none), "container runtime is down"),
            (
                signs(Some(&network), None, None, none),
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:m",
            ),
            (
                signs(Some(&runtime), Some(start), None, none),
                "[container runtime is down, container runtime not ready: RuntimeReady=false reason:R message:m]",
            ),
            (signs(Some(&healthy), None, None, Shutdown::InProgress), "node is shutting down"),
            (signs(Some(&healthy), None, Some("stale"), none), "PLEG is not healthy: stale"),
        ];
        for (signs, want) in table {
            let readiness = Readiness::judge(&signs, start + RUNTIME_PATIENCE);
            assert_eq!(readiness.message(), want);
        }
    }

    #[test]
    fn a_short_failure_of_the_runtime_is_overlooked() {
        let (start, healthy) = (MonoTime::from_secs(100), status());
        let signs = Signs {
            status: Some(&healthy),
            failing_since: Some(start),
            has_relisted: true,
            pleg_problem: None,
            shutdown: Shutdown::None,
        };
        assert!(Readiness::judge(&signs, start + Duration::from_secs(29)).is_ready());
        assert!(!Readiness::judge(&signs, start + Duration::from_secs(30)).is_ready());
        assert_eq!(changes_at(Some(start), start), Some(start + RUNTIME_PATIENCE));
        assert_eq!(changes_at(Some(start), start + RUNTIME_PATIENCE), None);
        assert_eq!(changes_at(None, start), None);
    }
}
