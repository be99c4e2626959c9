//! `podwright events`: what happened on this node, also to pods that are gone.

use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use core_types::local::EventsLine;
use core_types::{EventRecord, ObjectKind, ObjectRef, PodKey, WallTime};
use http::Method;

use crate::cli::EventsOptions;
use crate::client::Agent;
use crate::error::CliError;
use crate::output;

const HEADING: [&str; 5] = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];

pub(crate) async fn execute(agent: &Agent, options: EventsOptions) -> Result<ExitCode, CliError> {
    let path = if options.follow { "/v1/events?follow=true" } else { "/v1/events" };
    let mut lines = agent.send(Method::GET, path, Bytes::new()).await?.lines();
    let Some(first) = lines.next::<EventsLine>().await? else { return Ok(ExitCode::SUCCESS) };
    let pod = match &options.pod {
        Some(reference) => Some(choose(&first.events, reference)?),
        None => None,
    };
    let is_meant = |event: &Arc<EventRecord>| pod.as_ref().is_none_or(|pod| is_of(event, pod));
    let events: Vec<_> = first.events.into_iter().filter(is_meant).collect();
    match (options.output, options.follow) {
        (Some(format), false) => output::print_value(&events, format)?,
        (Some(_), true) => print_values(&events)?,
        (None, _) => output::print(&table(&events, first.now))?,
    }
    while let Some(line) = lines.next::<EventsLine>().await? {
        let events: Vec<_> = line.events.into_iter().filter(is_meant).collect();
        match options.output {
            Some(_) => print_values(&events)?,
            None => output::print(&rows_only(&events, line.now))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All events of the agent.
pub(crate) async fn all(agent: &Agent) -> Result<EventsLine, CliError> {
    let mut lines = agent.send(Method::GET, "/v1/events", Bytes::new()).await?.lines();
    Ok(lines.next().await?.unwrap_or_default())
}

/// The pod that a person means, among those that events tell of: by name, or by the beginning of it.
pub(crate) fn choose(events: &[Arc<EventRecord>], reference: &str) -> Result<PodKey, CliError> {
    let (namespace, name) = match reference.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, reference),
    };
    let pods = events.iter().filter(|event| event.object.kind == ObjectKind::Pod);
    let mut known: Vec<PodKey> = pods.map(|event| key(&event.object)).collect();
    known.sort();
    known.dedup();
    known.retain(|pod| namespace.is_none_or(|namespace| *pod.namespace == *namespace));
    let exact: Vec<&PodKey> = known.iter().filter(|pod| &*pod.name == name).collect();
    let begun = || known.iter().filter(|pod| !name.is_empty() && pod.name.starts_with(name)).collect();
    match (if exact.is_empty() { begun() } else { exact }).as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(CliError::Pod(format!("no event tells of a pod {reference:?}"))),
        many => {
            let names: Vec<String> = many.iter().map(|pod| pod.to_string()).collect();
            Err(CliError::Pod(format!("{reference:?} may mean {}: name one of them", names.join(" or "))))
        }
    }
}

fn key(object: &ObjectRef) -> PodKey {
    PodKey::new(object.namespace.as_str(), object.name.as_str())
}

/// True for events of this pod.
pub(crate) fn is_of(event: &EventRecord, pod: &PodKey) -> bool {
    event.object.kind == ObjectKind::Pod && key(&event.object) == *pod
}

fn print_values(events: &[Arc<EventRecord>]) -> Result<(), CliError> {
    let one_line = |event: &Arc<EventRecord>| serde_json::to_string(event).map_err(std::io::Error::from);
    for event in events {
        output::print(&(one_line(event)? + "\n"))?;
    }
    Ok(())
}

/// The table with its heading.
pub(crate) fn table(events: &[Arc<EventRecord>], now: WallTime) -> String {
    let rows: Vec<Vec<String>> = events.iter().map(|event| row(event, now)).collect();
    output::table(&HEADING, &rows)
}

/// Rows that follow a table; their columns are as wide as they need.
fn rows_only(events: &[Arc<EventRecord>], now: WallTime) -> String {
    let text = table(events, now);
    text.split_once('\n').map_or_else(String::new, |(_heading, rows)| rows.to_owned())
}

fn row(event: &EventRecord, now: WallTime) -> Vec<String> {
    let container = event.object.container();
    let object = match container {
        "" => event.object.to_string(),
        container => format!("{}[{container}]", event.object),
    };
    vec![
        last_seen(event, now),
        event.event_type.as_str().to_owned(),
        event.reason.clone(),
        object,
        event.message.split_whitespace().collect::<Vec<_>>().join(" "),
    ]
}

/// `30s`, or `30s (x4 over 2m)` for what was seen more than once, as kubectl shows it.
pub(crate) fn last_seen(event: &EventRecord, now: WallTime) -> String {
    let last = output::age(now.since(event.last_seen));
    match event.count {
        0 | 1 => last,
        count => format!("{last} (x{count} over {})", output::age(now.since(event.first_seen))),
    }
}
