//! How long things take from where a user stands: a watcher of the API server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::process::{kill_all, table};
use lab::wait::{Look, let_pass, until};
use serde_json::json;

use super::{idle, numbered};
use crate::clock::now;
use crate::report::{Figure, median};
use crate::session::{LIMIT, Session, Spent};

/// Containers that are ended, and sizes that are changed, one after another.
const REPEATS: usize = 15;
/// How long pods are watched for flips after the kubelet was started again.
const WATCHED: Duration = Duration::from_secs(20);
/// The argument of `sleep` by which the container that is ended is found; it is no other process's.
pub(crate) const TO_END: &str = "86399";

/// One pod after another: created, ready, deleted, gone.
pub(crate) fn one_after_another(session: &Session<'_>, count: usize) -> Result<Vec<Figure>> {
    let (mut ready, mut gone) = (Vec::new(), Vec::new());
    for name in numbered("one", count) {
        let names = [name];
        session.create(&names, &idle())?;
        session.until_ready(&names)?;
        ready.push(ready_after(session, &names)?[0]);
        let asked_at = now();
        session.delete(&names, 1)?;
        session.until_gone(&names)?;
        gone.push(asked_at.elapsed().as_secs_f64());
    }
    Ok(vec![
        Figure::new("one pod, created to Ready", "s", median(&ready), "median of 30 pods, at a watcher"),
        Figure::new(
            "one pod, deleted to gone",
            "s",
            median(&gone),
            "median of 30 pods that end at once, at a watcher",
        ),
    ])
}

/// Many pods created at once.
pub(crate) fn many_at_once(session: &Session<'_>, names: &[String]) -> Result<Vec<Figure>> {
    let before = session.spent()?;
    session.create(names, &idle())?;
    session.until_ready(names)?;
    let after = session.spent()?;
    let ready = ready_after(session, names)?;
    let what = format!("{} pods at once, created to Ready", names.len());
    let all = ready.iter().copied().fold(0.0, f64::max);
    let mut figures = vec![
        Figure::new(format!("{what}, all"), "s", all, "at a watcher"),
        Figure::new(format!("{what}, half"), "s", median(&ready), "at a watcher"),
    ];
    figures.extend(cost(&what, names.len(), (before, after)));
    Ok(figures)
}

/// Many pods deleted at once.
pub(crate) fn many_deleted(session: &Session<'_>, names: &[String]) -> Result<Vec<Figure>> {
    let before = session.spent()?;
    let asked_at = now();
    session.delete(names, 1)?;
    session.until_gone(names)?;
    let took = asked_at.elapsed().as_secs_f64();
    let after = session.spent()?;
    let what = format!("{} pods at once, deleted to gone", names.len());
    let mut figures = vec![Figure::new(format!("{what}, all"), "s", took, "at a watcher; they end at once")];
    figures.extend(cost(&what, names.len(), (before, after)));
    Ok(figures)
}

/// From the end of a container's process to a status that tells of it.
pub(crate) fn exit_to_status(session: &Session<'_>) -> Result<Vec<Figure>> {
    let mut took = Vec::new();
    for name in numbered("ends", REPEATS) {
        let mut spec = idle();
        spec["restartPolicy"] = json!("Never");
        spec["containers"][0]["command"] = json!(["/bin/sleep", TO_END]);
        let names = [name.clone()];
        session.create(&names, &spec)?;
        session.until_ready(&names)?;
        let ended_at = end_it()?;
        let seen_at = session.until("the end of a container to be seen", |book| book.get(&name)?.ends.1)?;
        took.push(seen_at.duration_since(ended_at).as_secs_f64() * 1000.0);
        session.delete(&names, 0)?;
        session.until_gone(&names)?;
    }
    let how = "median of 15, from SIGKILL to a watcher's event";
    Ok(vec![Figure::new("container exit to status", "ms", median(&took), how)])
}

/// Ends the container that sleeps for [`TO_END`], and says when.
pub(crate) fn end_it() -> Result<Instant> {
    let processes = table();
    let found = processes.iter().find(|process| process.args.iter().any(|arg| arg == TO_END));
    let pid = found.context("the container's process is not in the process table")?.pid;
    let ended_at = now();
    kill_all(&[pid])?;
    Ok(ended_at)
}

/// From a new size to a status that shows it in force.
pub(crate) fn resize_to_status(session: &Session<'_>) -> Result<Vec<Figure>> {
    let mut spec = idle();
    spec["containers"][0]["resources"] = json!({ "requests": { "cpu": "10m" }, "limits": { "cpu": "100m" } });
    let names = ["resized".to_owned()];
    session.create(&names, &spec)?;
    session.until_ready(&names)?;
    let mut took = Vec::new();
    for number in 1..=REPEATS {
        let cpu = format!("{}m", 100 + 10 * number);
        let asked_at = now();
        session.resize(&names[0], &cpu)?;
        let seen_at = session.until("a new size to be in force", |book| {
            let (limit, at) = &book.get(&names[0])?.cpu_limit;
            at.filter(|_| *limit == cpu)
        })?;
        took.push(seen_at.saturating_duration_since(asked_at).as_secs_f64() * 1000.0);
    }
    session.delete(&names, 1)?;
    session.until_gone(&names)?;
    Ok(vec![Figure::new("in-place resize to status", "ms", median(&took), "median of 15, at a watcher")])
}

/// The kubelet ends and is started again beside its pods.
pub(crate) fn restart(session: &mut Session<'_>, names: &[String]) -> Result<Vec<Figure>> {
    let flips = |session: &Session<'_>| session.rig.book.lives().values().map(|life| life.flips).sum::<u32>();
    let before = flips(session);
    let agent = &mut session.rig.cluster.agent;
    agent.stop(LIMIT)?;
    let started_at = now();
    agent.start()?;
    let serving = started_at.elapsed().as_secs_f64();
    until("every pod to be synced", LIMIT, || {
        let synced = session.synced()?;
        Ok(if synced < names.len() as f64 {
            Look::Waiting(format!("{synced} syncs"))
        } else {
            Look::Done(())
        })
    })?;
    let synced = started_at.elapsed().as_secs_f64();
    // A kubelet that takes up a new pod has looked at the others.
    let new = ["after-restart".to_owned()];
    session.create(&new, &idle())?;
    session.until_ready(&new)?;
    let working = started_at.elapsed().as_secs_f64();
    let_pass(WATCHED);
    session.delete(&new, 1)?;
    session.until_gone(&new)?;
    let is_ready =
        names.iter().filter(|name| session.rig.book.lives().get(*name).is_some_and(|life| life.is_ready));
    ensure!(is_ready.count() == names.len(), "pods are not ready any more after the restart of the kubelet");
    let what = format!("restart with {} pods", names.len());
    let to_ready = "from the start to Ready of a pod that is created when it serves, at a watcher";
    Ok(vec![
        Figure::new(format!("{what}, to serving"), "s", serving, "from the start to /healthz"),
        Figure::new(
            format!("{what}, to every pod synced"),
            "s",
            synced,
            "from the start until kubelet_pod_worker_duration_seconds has counted as many syncs, looked at every 20 ms",
        ),
        Figure::new(format!("{what}, to a new pod Ready"), "s", working, to_ready),
        Figure::new(
            format!("{what}, flips"),
            "",
            f64::from(flips(session) - before),
            "times that Ready left True in the 20 s after, at a watcher",
        ),
    ])
}

/// Seconds from the request for each pod to its first Ready.
fn ready_after(session: &Session<'_>, names: &[String]) -> Result<Vec<f64>> {
    let book = session.rig.book.lives();
    let each = names.iter().map(|name| {
        let life = book.get(name).context("an unknown pod")?;
        Ok(life.ready_at.context("a pod was not ready")?.duration_since(life.asked_at).as_secs_f64())
    });
    each.collect()
}

fn cost(what: &str, pods: usize, (before, after): (Spent, Spent)) -> Vec<Figure> {
    let secs = |before: Duration, after: Duration| (after - before).as_secs_f64();
    let stat = "utime + stime of /proc/<pid>/stat";
    vec![
        Figure::new(format!("{what}, CPU of the kubelet"), "s", secs(before.kubelet, after.kubelet), stat),
        Figure::new(
            format!("{what}, CPU of containerd"),
            "s",
            secs(before.containerd, after.containerd),
            stat,
        ),
        Figure::new(
            format!("{what}, CPU of the API server"),
            "s",
            secs(before.api_server, after.api_server),
            stat,
        ),
        Figure::new(
            format!("{what}, CRI calls per pod"),
            "",
            (after.cri_calls - before.cri_calls) / pods as f64,
            "kubelet_runtime_operations_total",
        ),
        Figure::new(
            format!("{what}, API requests per pod"),
            "",
            (after.api_requests - before.api_requests) / pods as f64,
            "rest_client_requests_total",
        ),
    ]
}
