//! What a kubelet costs while nothing is asked of it: memory, processor time, wake-ups, calls, also of those that it calls.

use std::{fs, time::Duration};

use anyhow::Result;
use lab::wait::let_pass;
use serde_json::{Value, json};

use super::{idle, numbered};
use crate::report::Figure;
use crate::session::Session;
use crate::usage::{self, Memory};

/// How long a kubelet is left alone before a figure at rest is taken.
const SETTLE: Duration = Duration::from_secs(10);
/// The span over which work at rest is counted.
const REST: Duration = Duration::from_secs(30);
/// What a monitoring system reads.
const PAGES: [&str; 5] =
    ["/metrics", "/metrics/cadvisor", "/metrics/resource", "/metrics/probes", "/stats/summary"];
/// Pods whose probes are commands.
const EXEC_PROBED: usize = 10;

/// Size of the program.
pub(crate) fn program(session: &Session<'_>) -> Result<Vec<Figure>> {
    let mib = fs::metadata(&session.program)?.len() as f64 / f64::from(1 << 20);
    Ok(vec![Figure::new("program", "MiB", mib, "size of the file")])
}

/// Everything at rest; `when` names the state.
pub(crate) fn at_rest(session: &Session<'_>, when: &str) -> Result<Vec<Figure>> {
    over(session, when, || {
        let_pass(REST);
        Ok(())
    })
}

/// What each of the pods costs in memory, given the kubelet's memory before they came.
pub(crate) fn each_pod(session: &Session<'_>, pods: usize, bare: Memory) -> Result<Vec<Figure>> {
    let more_kib = usage::memory(session.pid()?)?.anonymous_kib as f64 - bare.anonymous_kib as f64;
    let how = "anonymous memory of smaps_rollup, 40 s after the last work, less that before they came";
    Ok(vec![Figure::new(format!("memory for each of {pods} quiet pods"), "KiB", more_kib / pods as f64, how)])
}

/// At rest but for a monitoring system, which reads every page of figures every 15 s.
pub(crate) fn scraped(session: &Session<'_>, when: &str) -> Result<Vec<Figure>> {
    over(session, &format!("{when}, scraped every 15 s"), || {
        for _ in 0..2 {
            PAGES.into_iter().try_for_each(|page| session.rig.cluster.page(page).map(drop))?;
            let_pass(REST / 2);
        }
        Ok(())
    })
}

/// What is spent while `rest`, which takes [`REST`], goes on.
fn over(session: &Session<'_>, when: &str, rest: impl FnOnce() -> Result<()>) -> Result<Vec<Figure>> {
    let_pass(SETTLE);
    let before = session.spent()?;
    rest()?;
    let after = session.spent()?;
    let memory = usage::memory(session.pid()?)?;
    let (threads, _) = usage::threads_and_waits(session.pid()?)?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    let minutes = REST.as_secs_f64() / 60.0;
    // Of a core, in thousandths.
    let load =
        |before: Duration, after: Duration| (after - before).as_secs_f64() / REST.as_secs_f64() * 1000.0;
    let named = |what: &str| format!("{what}, {when}");
    let smaps = "smaps_rollup, 40 s after the last work";
    let stat = "utime + stime of /proc/<pid>/stat over 30 s, 10 s after the last work";
    Ok(vec![
        Figure::new(named("RSS"), "MiB", mib(memory.rss_kib), smaps),
        Figure::new(named("PSS"), "MiB", mib(memory.pss_kib), smaps),
        Figure::new(named("anonymous memory"), "MiB", mib(memory.anonymous_kib), smaps),
        Figure::new(named("threads"), "", threads as f64, "entries of /proc/<pid>/task"),
        Figure::new(named("CPU of the kubelet"), "m", load(before.kubelet, after.kubelet), stat),
        Figure::new(named("CPU of containerd"), "m", load(before.containerd, after.containerd), stat),
        Figure::new(named("CPU of the API server"), "m", load(before.api_server, after.api_server), stat),
        Figure::new(
            named("wake-ups"),
            "/s",
            (after.waits.saturating_sub(before.waits)) as f64 / REST.as_secs_f64(),
            "voluntary_ctxt_switches of all threads over 30 s",
        ),
        Figure::new(
            named("CRI calls"),
            "/min",
            (after.cri_calls - before.cri_calls) / minutes,
            "kubelet_runtime_operations_total over 30 s",
        ),
        Figure::new(
            named("API requests"),
            "/min",
            (after.api_requests - before.api_requests) / minutes,
            "rest_client_requests_total over 30 s",
        ),
    ])
}

/// At rest with pods that have a readiness and a liveness probe over HTTP, each once a second.
pub(crate) fn probed(session: &Session<'_>, pods: usize) -> Result<Vec<Figure>> {
    let mut spec = idle();
    let probe =
        json!({ "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 60 });
    let main = &mut spec["containers"][0];
    main["image"] = json!(lab::images::WEB);
    main["readinessProbe"] = probe.clone();
    main["livenessProbe"] = probe;
    main.as_object_mut().map(|main| main.remove("command"));
    beside(session, &numbered("probed", pods), &spec, &format!("{pods} pods with two HTTP probes a second"))
}

/// At rest with a few pods more, each with a readiness probe that is a command, once a second.
pub(crate) fn exec_probed(session: &Session<'_>, when: &str) -> Result<Vec<Figure>> {
    let mut spec = idle();
    spec["containers"][0]["readinessProbe"] =
        json!({ "exec": { "command": ["true"] }, "periodSeconds": 1, "failureThreshold": 60 });
    let when = format!("{when} and {EXEC_PROBED} with a command as probe a second");
    beside(session, &numbered("exec-probed", EXEC_PROBED), &spec, &when)
}

/// At rest with these pods, which come for it and go.
fn beside(session: &Session<'_>, names: &[String], spec: &Value, when: &str) -> Result<Vec<Figure>> {
    session.create(names, spec)?;
    session.until_ready(names)?;
    let figures = at_rest(session, when);
    session.delete(names, 1)?;
    session.until_gone(names)?;
    figures
}
