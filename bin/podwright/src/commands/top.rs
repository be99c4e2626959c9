//! `podwright top`: what the node and its pods use now, and what is close to its limit.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use core_types::PodExt;
use serde::Deserialize;

use crate::cli::TopOptions;
use crate::client::{Agent, PodReport};
use crate::error::CliError;
use crate::{output, pods};

/// Rates are over the time between two readings; the agent shares a reading for a second.
const FIRST_PAUSE: Duration = Duration::from_millis(1100);

/// A container that uses more of its memory limit than this is named, in percent.
const CLOSE_PERCENT: u64 = 90;

/// Moves to the corner of the terminal and empties it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The part of the agent's summary that is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    node: Parts,
    pods: Vec<PodUsage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodUsage {
    pod_ref: Reference,
    containers: Vec<ContainerUsage>,
    #[serde(flatten)]
    parts: Parts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerUsage {
    name: String,
    #[serde(flatten)]
    parts: Parts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parts {
    cpu: Cpu,
    memory: Memory,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Cpu {
    usage_nano_cores: Option<u64>,
    psi: Option<Psi>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Memory {
    working_set_bytes: Option<u64>,
    available_bytes: Option<u64>,
    psi: Option<Psi>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Psi {
    some: PsiLine,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PsiLine {
    avg10: f64,
}

pub(crate) async fn execute(agent: &Agent, options: TopOptions) -> Result<ExitCode, CliError> {
    let is_live = !options.once && std::io::stdout().is_terminal();
    agent.usage().await?;
    tokio::time::sleep(FIRST_PAUSE).await;
    loop {
        let page = page(&agent.usage().await?, &agent.pods().await?);
        if !is_live {
            output::print(&page)?;
            return Ok(ExitCode::SUCCESS);
        }
        output::print(&format!("{CLEAR}{page}"))?;
        tokio::select! {
            () = tokio::time::sleep(options.interval) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// The node in one line, the pods in a table: those that use the most of a processor first.
pub(crate) fn page(usage: &Usage, reports: &[PodReport]) -> String {
    let node = &usage.node;
    let mut text = format!(
        "node: CPU {}, memory {} used, {} left, pressure {}\n",
        cores(&node.cpu),
        bytes(node.memory.working_set_bytes),
        bytes(node.memory.available_bytes),
        pressure(node),
    );
    let mut all: Vec<&PodUsage> = usage.pods.iter().collect();
    all.sort_by_key(|pod| {
        std::cmp::Reverse((pod.parts.cpu.usage_nano_cores, pod.parts.memory.working_set_bytes))
    });
    let rows: Vec<Vec<String>> = all.iter().map(|pod| row(pod, reports)).collect();
    text.push_str(&output::table(
        &["NAMESPACE", "NAME", "CPU", "MEMORY", "RESTARTS", "PRESSURE", "CLOSE TO ITS LIMIT"],
        &rows,
    ));
    text
}

fn row(pod: &PodUsage, reports: &[PodReport]) -> Vec<String> {
    let report = reports.iter().find(|report| report.pod.uid().as_str() == pod.pod_ref.uid);
    vec![
        pod.pod_ref.namespace.clone(),
        pod.pod_ref.name.clone(),
        cores(&pod.parts.cpu),
        bytes(pod.parts.memory.working_set_bytes),
        report.map_or_else(|| "-".to_owned(), |report| pods::restarts(report).to_string()),
        pressure(&pod.parts),
        close(pod),
    ]
}

/// Thousandths of a core, as `kubectl top` shows them.
fn cores(cpu: &Cpu) -> String {
    cpu.usage_nano_cores.map_or_else(|| "-".to_owned(), |nanos| format!("{}m", nanos.div_ceil(1_000_000)))
}

fn bytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{}Mi", bytes >> 20))
}

/// Parts of the last 10 s in which something waited for a processor and for memory; `-` where the kernel does not tell.
fn pressure(parts: &Parts) -> String {
    let percent = |psi: &Option<Psi>| psi.as_ref().map(|psi| psi.some.avg10);
    match (percent(&parts.cpu.psi), percent(&parts.memory.psi)) {
        (None, None) => "-".to_owned(),
        (cpu, memory) => {
            format!("cpu {:.0}%, memory {:.0}%", cpu.unwrap_or_default(), memory.unwrap_or_default())
        }
    }
}

/// Containers that use nearly all the memory they may.
fn close(pod: &PodUsage) -> String {
    let near = pod.containers.iter().filter_map(|container| {
        let memory = &container.parts.memory;
        let used = memory.working_set_bytes?;
        let limit = used.checked_add(memory.available_bytes?)?;
        let percent = used.saturating_mul(100).checked_div(limit)?;
        (percent >= CLOSE_PERCENT).then(|| format!("{}: memory {percent}%", container.name))
    });
    let near: Vec<String> = near.collect();
    if near.is_empty() { "-".to_owned() } else { near.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_pod_comes_first_and_what_is_close_to_its_limit_is_named() {
        let usage: Usage = serde_json::from_value(serde_json::json!({
            "node": {
                "cpu": { "usageNanoCores": 1_500_000_000, "psi": { "some": { "avg10": 12.4 }, "full": {} } },
                "memory": { "workingSetBytes": 104_857_600, "availableBytes": 209_715_200 },
            },
            "pods": [
                { "podRef": { "namespace": "a", "name": "idle" }, "containers": [] },
                {
                    "podRef": { "namespace": "a", "name": "busy" },
                    "cpu": { "usageNanoCores": 250_000_001 }, "memory": { "workingSetBytes": 99_614_720 },
                    "containers": [
                        { "name": "full", "memory": { "workingSetBytes": 95, "availableBytes": 5 } },
                        { "name": "free", "memory": { "workingSetBytes": 1, "availableBytes": 99 } },
                        { "name": "unlimited", "memory": { "workingSetBytes": 1 } },
                    ],
                },
            ],
        }))
        .expect("usage");
        let page = page(&usage, &[]);
        let lines: Vec<String> =
            page.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "node: CPU 1500m, memory 100Mi used, 200Mi left, pressure cpu 12%, memory 0%",
                "NAMESPACE NAME CPU MEMORY RESTARTS PRESSURE CLOSE TO ITS LIMIT",
                "a busy 251m 95Mi - - full: memory 95%",
                "a idle - - - - -",
            ]
        );
    }
}
