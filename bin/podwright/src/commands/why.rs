//! `podwright why`: one screen about one pod.

use std::process::ExitCode;
use std::sync::Arc;

use core_types::local::EventsLine;
use core_types::{EventRecord, PodKey, WallTime};

use super::events;
use crate::cli::{Format, WhyOptions};
use crate::client::{Agent, PodReport};
use crate::error::CliError;
use crate::output;
use crate::pods;

/// Events shown; the screen has room for no more.
const EVENTS: usize = 10;

pub(crate) async fn execute(agent: &Agent, options: WhyOptions) -> Result<ExitCode, CliError> {
    let all = agent.pods().await?;
    let report = match pods::resolve(&all, &options.pod) {
        Ok(report) => report,
        Err(error) => {
            let known = events::all(agent).await?;
            let Ok(pod) = events::choose(&known.events, &options.pod) else { return Err(error) };
            return gone(&pod, &known, options.output);
        }
    };
    match options.output {
        Some(format) => output::print_value(&report.explanation, format)?,
        None => output::print(&screen(report))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A pod that the node has no more, but remembers.
fn gone(pod: &PodKey, known: &EventsLine, format: Option<Format>) -> Result<ExitCode, CliError> {
    let own: Vec<_> = known.events.iter().filter(|event| events::is_of(event, pod)).cloned().collect();
    match format {
        Some(format) => output::print_value(&own, format)?,
        None => {
            let cause = "it is not on this node any more; this is what is remembered of it";
            output::print(&format!("Pod {pod}: gone\nCause:      {cause}\n{}", latest(&own, known.now)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The explanation and the latest events.
pub(crate) fn screen(report: &PodReport) -> String {
    format!("{}{}", report.explanation, latest(&report.events, report.explanation.now))
}

/// The latest events below an empty line; nothing when there are none.
fn latest(events: &[Arc<EventRecord>], now: WallTime) -> String {
    if events.is_empty() {
        return String::new();
    }
    let latest = &events[events.len().saturating_sub(EVENTS)..];
    let rows: Vec<Vec<String>> = latest.iter().map(|event| row(event, now)).collect();
    format!("\n{}", output::table(&["LAST SEEN", "TYPE", "REASON", "MESSAGE"], &rows))
}

fn row(event: &EventRecord, now: WallTime) -> Vec<String> {
    vec![
        events::last_seen(event, now),
        event.event_type.as_str().to_owned(),
        event.reason.clone(),
        event.message.lines().collect::<Vec<_>>().join(" "),
    ]
}
