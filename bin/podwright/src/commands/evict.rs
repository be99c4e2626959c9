//! `podwright evict --dry-run`: what the node is short of, and which pods would go for it, in their order. Nothing is done.

use std::process::ExitCode;

use core_types::pressure::{EvictionOutlook, EvictionPlace, SignalState};

use crate::cli::EvictOptions;
use crate::client::Agent;
use crate::error::CliError;
use crate::output;

pub(crate) async fn execute(agent: &Agent, options: EvictOptions) -> Result<ExitCode, CliError> {
    let outlook: EvictionOutlook = agent.get("/v1/eviction").await?;
    match options.output {
        Some(format) => output::print_value(&outlook, format)?,
        None => output::print(&screen(&outlook, &options.signal)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Signals, then the order for one of them.
fn screen(outlook: &EvictionOutlook, signal: &str) -> Result<String, CliError> {
    let Some(of_order) = outlook.signals.iter().find(|state| state.signal == signal) else {
        let known: Vec<&str> = outlook.signals.iter().map(|state| state.signal.as_str()).collect();
        let problem = format!("there is no signal {signal:?} now; there are {}", known.join(", "));
        return Err(CliError::Refused(problem));
    };
    let shown = outlook.pressures.conditions();
    let mut text = match shown.is_empty() {
        true => "The node shows no pressure.\n".to_owned(),
        false => format!("The node shows {}.\n", shown.join(", ")),
    };
    let rows: Vec<Vec<String>> = outlook.signals.iter().map(signal_row).collect();
    text += &format!("\n{}", output::table(&["SIGNAL", "AVAILABLE", "CAPACITY", "PODS GO BELOW"], &rows));
    text += &match of_order.order.is_empty() {
        true => format!("\nNo pod would go for {signal}.\n"),
        false => {
            let rows: Vec<Vec<String>> = of_order.order.iter().map(place_row).collect();
            let table = output::table(&["POD", "USES", "ASKED FOR", "EXCEEDS", "PRIORITY"], &rows);
            format!("\nFor {signal} pods would go in this order, one at a time:\n{table}")
        }
    };
    for (pod, message) in &outlook.over_limit {
        text += &format!("\nPod {pod} goes for a limit of its own: {message}\n");
    }
    if !outlook.critical.is_empty() {
        let names: Vec<String> = outlook.critical.iter().map(ToString::to_string).collect();
        text += &format!("\nNever: {}\n", names.join(", "));
    }
    Ok(text)
}

fn signal_row(state: &SignalState) -> Vec<String> {
    let limits = state.limits.iter().map(|limit| {
        let grace = match limit.grace_secs {
            0 => String::new(),
            secs => format!(" for {secs}s"),
        };
        format!("{}{grace}{}", limit.below, if limit.is_met { " (now)" } else { "" })
    });
    let limits: Vec<String> = limits.collect();
    let limits = if limits.is_empty() { "-".to_owned() } else { limits.join(", ") };
    vec![state.signal.clone(), state.available.clone(), state.capacity.clone(), limits]
}

fn place_row(place: &EvictionPlace) -> Vec<String> {
    let exceeds = match place.exceeds_request {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let used = if place.used.is_empty() { "unknown".to_owned() } else { place.used.clone() };
    vec![place.key.to_string(), used, place.requested.clone(), exceeds.to_owned(), place.priority.to_string()]
}
