//! `podwright ps`: the pods of this node.

use std::process::ExitCode;
use std::time::Duration;

use core_types::local::NodeReport;
use core_types::view::PodSource;
use core_types::{PodExt, WallTime};

use crate::cli::{Format, ListFormat, PsOptions};
use crate::client::{Agent, PodReport};
use crate::error::CliError;
use crate::output;
use crate::pods;

/// Whether the table has all columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Normal,
    Wide,
}

pub(crate) async fn execute(agent: &Agent, options: PsOptions) -> Result<ExitCode, CliError> {
    let pods = agent.pods().await?;
    let width = match options.output {
        Some(ListFormat::Json) => return values(&pods, Format::Json),
        Some(ListFormat::Yaml) => return values(&pods, Format::Yaml),
        Some(ListFormat::Wide) => Width::Wide,
        None => Width::Normal,
    };
    let node = agent.node().await?;
    if pods.is_empty() {
        eprintln!("no pods on {}; start one with 'podwright run FILE'", node.node_name);
    } else {
        output::print(&table(&pods, &node.node_name, width))?;
    }
    for warning in warnings(&node) {
        eprintln!("{warning}");
    }
    Ok(ExitCode::SUCCESS)
}

fn values(pods: &[PodReport], format: Format) -> Result<ExitCode, CliError> {
    output::print_value(&pods, format)?;
    Ok(ExitCode::SUCCESS)
}

/// The table of pods.
pub(crate) fn table(pods: &[PodReport], node_name: &str, width: Width) -> String {
    let mut heading = vec!["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"];
    if width == Width::Wide {
        heading.extend(["IP", "NODE", "SOURCE", "UID"]);
    }
    let rows: Vec<Vec<String>> = pods.iter().map(|report| row(report, node_name, width)).collect();
    output::table(&heading, &rows)
}

fn row(report: &PodReport, node_name: &str, width: Width) -> Vec<String> {
    let key = report.pod.key();
    let status = report.pod.status.as_ref();
    let (ready, all) = pods::readiness(report);
    let mut row = vec![
        key.namespace.to_string(),
        key.name.to_string(),
        format!("{ready}/{all}"),
        pods::status_word(report),
        pods::restarts(report).to_string(),
        age(report).map_or_else(|| "-".to_owned(), output::age),
    ];
    if width == Width::Wide {
        let or_none = |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
        let source = report.source.map(|source| match source {
            PodSource::File => "file",
            PodSource::Http => "http",
            PodSource::Local => "local",
            PodSource::Api => "api",
        });
        row.extend([
            or_none(status.and_then(|status| status.pod_ip.as_deref())),
            or_none(Some(node_name)),
            or_none(source),
            or_none(report.pod.metadata.uid.as_deref()),
        ]);
    }
    row
}

/// Time since the pod was started or created, by the agent's clock.
fn age(report: &PodReport) -> Option<Duration> {
    let start = report.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let since = start.or(report.pod.metadata.creation_timestamp.as_ref()).map(WallTime::from_api)?;
    Some(report.explanation.now.since(since))
}

/// What is wrong with the node as a whole.
pub(crate) fn warnings(node: &NodeReport) -> Vec<String> {
    let mut warnings = Vec::new();
    let runtime = &node.runtime;
    if !runtime.ready {
        let why = if runtime.message.is_empty() { "it has not answered yet" } else { &runtime.message };
        warnings.push(format!("warning: the container runtime is not ready: {why}"));
    } else if !runtime.network_ready {
        warnings.push(format!("warning: the pod network is not ready: {}", runtime.message));
    }
    let problems = node.source_problems.iter();
    warnings.extend(problems.map(|problem| format!("warning: {}: {}", problem.origin, problem.message)));
    warnings
}
