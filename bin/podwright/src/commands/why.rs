//! `podwright why`: one screen about one pod.

use std::process::ExitCode;

use core_types::{EventType, PodEvent, WallTime};

use crate::cli::WhyOptions;
use crate::client::{Agent, PodReport};
use crate::error::CliError;
use crate::output;
use crate::pods;

/// Events shown; the screen has room for no more.
const EVENTS: usize = 10;

pub(crate) async fn execute(agent: &Agent, options: WhyOptions) -> Result<ExitCode, CliError> {
    let all = agent.pods().await?;
    let report = pods::resolve(&all, &options.pod)?;
    match options.output {
        Some(format) => output::print_value(&report.explanation, format)?,
        None => output::print(&screen(report))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The explanation and the latest events.
pub(crate) fn screen(report: &PodReport) -> String {
    let mut text = report.explanation.to_string();
    if report.events.is_empty() {
        return text;
    }
    let latest = &report.events[report.events.len().saturating_sub(EVENTS)..];
    let rows: Vec<Vec<String>> = latest.iter().map(|event| row(event, report.explanation.now)).collect();
    text.push('\n');
    text.push_str(&output::table(&["LAST SEEN", "TYPE", "REASON", "MESSAGE"], &rows));
    text
}

fn row(event: &PodEvent, now: WallTime) -> Vec<String> {
    let times = if event.count > 1 { format!(" (x{})", event.count) } else { String::new() };
    vec![
        output::age(now.since(event.last_seen)),
        match event.event_type {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
        .to_owned(),
        event.reason.clone(),
        format!("{}{times}", event.message.lines().collect::<Vec<_>>().join(" ")),
    ]
}
