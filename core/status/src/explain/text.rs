//! The explanation as plain text: one screen, no colours.

use std::fmt;

use core_types::WallTime;
use core_types::api::ContainerStatus;
use core_types::pressure::{EvictionDecision, EvictionPlace};

use super::{ContainerRow, Explanation, State};
use crate::containers::{ended, running, waiting};

/// Seconds as people say them: `12 s`, `3 min 5 s`, `2 h 4 min`, `5 d 3 h`.
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (large, large_unit, small, small_unit) = match self.0 {
            0..60 => return write!(f, "{} s", self.0),
            60..3_600 => (self.0 / 60, "min", self.0 % 60, "s"),
            3_600..86_400 => (self.0 / 3_600, "h", self.0 % 3_600 / 60, "min"),
            _ => (self.0 / 86_400, "d", self.0 % 86_400 / 3_600, "h"),
        };
        write!(f, "{large} {large_unit}")?;
        if small > 0 { write!(f, " {small} {small_unit}") } else { Ok(()) }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::NotReady => "running, not ready",
            Self::Ready => "ready",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Terminating => "terminating",
            Self::Stopped => "stopped",
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Pod {}: {}", self.key, self.state)?;
        line(f, "Cause", &self.cause_text)?;
        if let Some(since) = self.since {
            line(f, "Since", &format!("{} ({} ago)", Clock(since), self.ago(since)))?;
        }
        if let Some(error) = &self.last_error {
            let of =
                if error.container.is_empty() { String::new() } else { format!(" [{}]", error.container) };
            let text = format!("{}{of}: {} ({} ago)", error.reason, error.message.trim(), self.ago(error.at));
            line(f, "Last error", &text)?;
        }
        if let Some(offline) = &self.offline {
            let text = format!(
                "the API server has not answered since the agent started ({} ago); the pod is as it was known before {}",
                self.ago(offline.since),
                Clock(offline.saved_at)
            );
            line(f, "Offline", &text)?;
        }
        if !self.resize.is_empty() {
            line(f, "Resize", &self.resize)?;
        }
        if let Some(at) = self.next_retry {
            let left = at.since(self.now).as_secs();
            let text =
                if left == 0 { "now".to_owned() } else { format!("in {} ({})", Span(left), Clock(at)) };
            line(f, "Next retry", &text)?;
        }
        if !self.next.is_empty() {
            line(f, "Next", &self.next)?;
        }
        if !self.hint.is_empty() {
            line(f, "To do", &self.hint)?;
        }
        self.table(f)?;
        self.eviction.as_ref().map_or(Ok(()), |decision| eviction(f, decision))
    }
}

/// The order in which pods would have gone, and the figures that gave it.
fn eviction(f: &mut fmt::Formatter<'_>, decision: &EvictionDecision) -> fmt::Result {
    writeln!(f)?;
    let EvictionDecision { signal, limit, available, .. } = decision;
    match limit.is_empty() {
        true => line(f, "Evicted", &format!("it exceeded a limit of its own ({signal})"))?,
        false => line(
            f,
            "Evicted",
            &format!("{signal} was {available}, less than {limit}; pods were to go in this order:"),
        )?,
    }
    for place in &decision.order {
        let used = if place.used.is_empty() { "an unknown amount" } else { &place.used };
        let beyond = match place.exceeds_request {
            Some(true) => ", more than it asked for",
            Some(false) => "",
            None => ", not measured",
        };
        let EvictionPlace { key, priority, requested, .. } = place;
        writeln!(f, "{:12}{key}: used {used} of {requested}{beyond}, priority {priority}", "")?;
    }
    Ok(())
}

impl Explanation {
    fn ago(&self, time: WallTime) -> Span {
        Span(self.now.since(time).as_secs())
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.containers.is_empty() {
            return Ok(());
        }
        let heading = ["CONTAINER", "KIND", "READY", "RESTARTS", "SINCE", "STATE"].map(str::to_owned);
        let cells = |row: &ContainerRow| {
            [
                row.name.clone(),
                row.kind.clone(),
                if row.ready { "yes" } else { "no" }.to_owned(),
                row.restarts.to_string(),
                row.since.map_or_else(|| "-".to_owned(), |since| self.ago(since).to_string()),
                row.state.clone(),
            ]
        };
        let rows: Vec<[String; 6]> =
            std::iter::once(heading).chain(self.containers.iter().map(cells)).collect();
        writeln!(f)?;
        for row in &rows {
            for (column, cell) in row.iter().enumerate().take(5) {
                let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
                write!(f, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", row[5])?;
        }
        Ok(())
    }
}

/// State of a container in words, and since when.
pub(super) fn state_of(status: &ContainerStatus) -> (String, Option<WallTime>) {
    if let Some(running) = running(status) {
        return ("running".to_owned(), running.started_at.as_ref().map(WallTime::from_api));
    }
    if let Some(end) = ended(status) {
        let text = match end.reason.as_deref() {
            Some(reason) => format!("exited with code {} ({reason})", end.exit_code),
            None => format!("exited with code {}", end.exit_code),
        };
        return (text, end.finished_at.as_ref().map(WallTime::from_api));
    }
    match waiting(status).and_then(|why| why.reason.as_deref()) {
        Some(reason) => (format!("waiting ({reason})"), None),
        None => ("waiting".to_owned(), None),
    }
}

/// A label and its text; further lines of the text are indented.
fn line(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    let mut lines = text.lines();
    writeln!(f, "{:<12}{}", format!("{label}:"), lines.next().unwrap_or_default())?;
    lines.try_for_each(|rest| writeln!(f, "{:12}{rest}", ""))
}

/// A time to the second.
struct Clock(WallTime);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", WallTime::from_unix_secs(self.0.unix_secs()))
    }
}
