//! `cargo xtask bench`: figures of the release build on a private container runtime. It prints and never judges.
//!
//! A measurement is one function from the [`Bench`] to rows; they run in the order of [`MEASUREMENTS`], each on the
//! state that the ones before have left (first no pods, then ten).

use std::{fs, path::Path, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use lab::{
    Agent, ContainerdVersion, Instance, Parts,
    wait::{Stopwatch, let_pass},
};

use crate::cargo;

/// How many pods the figures with pods are taken with.
const PODS: usize = 10;
/// How long the agent is left alone before a figure at rest is taken.
const SETTLE: Duration = Duration::from_secs(10);
/// The span over which work at rest is counted.
const REST: Duration = Duration::from_secs(30);
/// How long one pod may take to become Ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// `kubelet_runtime_operations_total` counts each CRI call by its kind.
const CRI_CALLS: &str = "kubelet_runtime_operations_total";
/// What `/proc/<pid>/stat` counts processor time in: USER_HZ, 100 a second on every Linux that we run on.
const TICK: Duration = Duration::from_millis(10);

type Measurement = fn(&mut Bench) -> Result<Vec<Row>>;

/// Every measurement, in order.
const MEASUREMENTS: [Measurement; 5] = [binary_size, idle_memory, pod_starts, rest, memory_with_pods];

struct Bench {
    program: PathBuf,
    agent: Agent,
}

struct Row {
    what: String,
    figure: String,
}

impl Row {
    fn new(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { what: what.into(), figure: figure.into() }
    }
}

/// Builds, measures and prints.
pub(crate) fn bench(root: &Path) -> Result<()> {
    let parts = Parts::ready()?;
    cargo::must(root, &["build", "--release", "--package", "kubelet"])?;
    let program = cargo::target_dir()?.join("release/kubelet");
    let instance = Instance::new(&parts, ContainerdVersion::V2_4)?;
    let mut agent = instance.agent_of(program.clone())?;
    agent.start()?;
    let mut bench = Bench { program, agent };
    let mut rows = Vec::new();
    for measurement in MEASUREMENTS {
        rows.extend(measurement(&mut bench)?);
    }
    drop(bench);
    instance.close()?;
    let width = rows.iter().map(|row| row.what.len()).max().unwrap_or_default();
    for row in rows {
        println!("{:width$}  {}", row.what, row.figure);
    }
    Ok(())
}

fn binary_size(bench: &mut Bench) -> Result<Vec<Row>> {
    let bytes = fs::metadata(&bench.program)?.len();
    Ok(vec![Row::new("size of the kubelet binary", mebibytes(bytes / 1024))])
}

fn idle_memory(bench: &mut Bench) -> Result<Vec<Row>> {
    memory(bench, "no pods")
}

fn memory_with_pods(bench: &mut Bench) -> Result<Vec<Row>> {
    memory(bench, &format!("{PODS} pods"))
}

fn memory(bench: &mut Bench, when: &str) -> Result<Vec<Row>> {
    let_pass(SETTLE);
    let path = format!("/proc/{}/smaps_rollup", pid(bench)?);
    let text = fs::read_to_string(&path).context(path)?;
    let row = |name: &str| {
        let kib = smaps_field_kib(&text, name).with_context(|| format!("smaps_rollup has no {name}"))?;
        Ok(Row::new(format!("{name} with {when}"), mebibytes(kib)))
    };
    ["Rss", "Pss", "Pss_Anon"].into_iter().map(row).collect()
}

fn pod_starts(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut spans = Vec::new();
    for number in 0..PODS {
        let name = format!("bench-{number}");
        let clock = Stopwatch::start();
        bench.agent.put_manifest(&format!("{name}.yaml"), &manifest(&name))?;
        bench.agent.wait_ready(&name, READY_LIMIT)?;
        spans.push(clock.elapsed());
    }
    spans.sort();
    let figure = format!(
        "{:.2?} least, {:.2?} median, {:.2?} most",
        spans.first().copied().unwrap_or_default(),
        spans[spans.len() / 2],
        spans.last().copied().unwrap_or_default(),
    );
    Ok(vec![Row::new(format!("manifest written to pod Ready, {PODS} pods one after another"), figure)])
}

fn rest(bench: &mut Bench) -> Result<Vec<Row>> {
    let_pass(SETTLE);
    let (calls_before, cpu_before) = (cri_calls(bench)?, cpu(bench)?);
    let_pass(REST);
    let (calls_after, cpu_after) = (cri_calls(bench)?, cpu(bench)?);
    let seconds = REST.as_secs();
    let per_mille = (cpu_after - cpu_before).as_millis() / u128::from(seconds);
    Ok(vec![
        Row::new(
            format!("CRI calls in {seconds} s at rest with {PODS} pods"),
            difference(&calls_before, &calls_after),
        ),
        Row::new(format!("CPU at rest with {PODS} pods"), format!("{per_mille}/1000 of a core")),
    ])
}

/// CRI calls so far, by kind.
fn cri_calls(bench: &Bench) -> Result<Vec<(String, u64)>> {
    let reply = bench.agent.read_only("/metrics")?;
    let calls = counters(&reply.body, CRI_CALLS, "operation_type");
    ensure!(!calls.is_empty(), "/metrics has no {CRI_CALLS}, though pods were started");
    Ok(calls)
}

fn difference(before: &[(String, u64)], after: &[(String, u64)]) -> String {
    let old = |kind: &str| before.iter().find(|(name, _)| name == kind).map_or(0, |(_, count)| *count);
    let grown: Vec<(&str, u64)> = after
        .iter()
        .map(|(kind, count)| (kind.as_str(), count - old(kind)))
        .filter(|(_, n)| *n > 0)
        .collect();
    let total: u64 = grown.iter().map(|(_, count)| count).sum();
    let kinds: Vec<String> = grown.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if kinds.is_empty() { "0".to_owned() } else { format!("{total} ({})", kinds.join(", ")) }
}

fn cpu(bench: &Bench) -> Result<Duration> {
    let path = format!("/proc/{}/stat", pid(bench)?);
    let text = fs::read_to_string(&path).context(path)?;
    let after_name = text.rsplit_once(')').context("a stat line names the program")?.1;
    // utime and stime are the 14th and 15th field of the line, and so the 12th and 13th after the name.
    let ticks: u32 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u32>().ok()).sum();
    Ok(TICK * ticks)
}

fn pid(bench: &Bench) -> Result<u32> {
    bench.agent.pid().context("the kubelet runs")
}

fn manifest(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  dnsPolicy: Default\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
         - name: main\n    image: {}\n    imagePullPolicy: IfNotPresent\n",
        lab::images::BUSYBOX
    )
}

fn mebibytes(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

/// `Rss:   1234 kB` of smaps_rollup.
fn smaps_field_kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The samples of the counter `name`, each with the value of its `label`.
fn counters(metrics: &str, name: &str, label: &str) -> Vec<(String, u64)> {
    let samples =
        metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "));
    let read = |(labels, value): (&str, &str)| {
        let kind = labels.split(',').find_map(|pair| pair.strip_prefix(label)?.strip_prefix("=\""))?;
        let count = value.split('.').next()?.parse().ok()?;
        Some((kind.trim_end_matches('"').to_owned(), count))
    };
    samples.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_label_and_subtracted() {
        let text = "# TYPE a counter\na{operation_type=\"version\"} 3\na{operation_type=\"run\",x=\"y\"} 4.0\nab{operation_type=\"no\"} 9\n";
        let before = counters(text, "a", "operation_type");
        assert_eq!(before, [("version".to_owned(), 3), ("run".to_owned(), 4)]);
        let after = vec![("version".to_owned(), 3), ("run".to_owned(), 6), ("list".to_owned(), 1)];
        assert_eq!(difference(&before, &after), "3 (run 2, list 1)");
        assert_eq!(difference(&after, &after), "0");
    }

    #[test]
    fn memory_fields_are_told_apart() {
        let text = "Rss:            2048 kB\nPss_Anon:        512 kB\nPss:            1536 kB\n";
        assert_eq!(smaps_field_kib(text, "Pss"), Some(1536));
        assert_eq!(mebibytes(1536), "1.5 MiB");
    }
}
