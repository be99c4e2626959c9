//! The measurements of one session, in their order: each starts from what the one before has left.
//!
//! ```text
//! idle > one pod after another > ten pods at once > many pods at once > rest > scrape > exec > exit, resize > restart of the kubelet > delete > many pods
//! with probes
//! ```

pub(crate) mod life;
mod rest;

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::report::Figure;
use crate::session::Session;
use crate::usage;

/// Pods that are started one after another.
const SEQUENCE: usize = 30;
/// How long all are left alone before a figure at rest is taken.
pub(crate) const SETTLE: Duration = Duration::from_secs(10);
/// The span over which work at rest is counted.
pub(crate) const REST: Duration = Duration::from_secs(30);
/// Pods of a small burst.
const FEW: usize = 10;

/// Takes every wanted measurement. What one needs from those before it is done without being reported.
pub(crate) fn all(
    session: &mut Session<'_>,
    pods: usize,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut report = |name: &str, found: Vec<Figure>| {
        if wanted(name) {
            figures.extend(found);
        }
    };
    if wanted("idle") {
        report("idle", rest::program(session)?);
        report("idle", rest::at_rest(session, "idle")?);
    }
    if wanted("one") {
        report("one", life::one_after_another(session, SEQUENCE)?);
    }
    if wanted("ten") {
        let names = numbered("few", FEW);
        report("ten", life::many_at_once(session, &names)?);
        report("ten", life::many_deleted(session, &names)?);
    }
    let on_many = ["many", "rest", "scrape", "exec", "exit", "resize", "restart", "delete"];
    if on_many.into_iter().any(wanted) {
        let names = numbered("many", pods);
        let bare = usage::memory(session.pid()?)?;
        report("many", life::many_at_once(session, &names)?);
        if wanted("rest") {
            report("rest", rest::at_rest(session, &format!("{pods} quiet pods"))?);
            report("rest", rest::each_pod(session, pods, bare)?);
        }
        if wanted("scrape") {
            report("scrape", rest::scraped(session, &format!("{pods} quiet pods"))?);
        }
        if wanted("exec") {
            report("exec", rest::exec_probed(session, &format!("{pods} quiet pods"))?);
        }
        if wanted("exit") {
            report("exit", life::exit_to_status(session)?);
        }
        if wanted("resize") {
            report("resize", life::resize_to_status(session)?);
        }
        if wanted("restart") {
            report("restart", life::restart(session, &names)?);
        }
        report("delete", life::many_deleted(session, &names)?);
    }
    if wanted("probes") {
        report("probes", rest::probed(session, pods)?);
    }
    Ok(figures)
}

/// `<prefix>-0`, `<prefix>-1`, ...
fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

/// A pod that does nothing and ends at once when it is asked to.
pub(crate) fn idle() -> Value {
    let script = "trap 'exit 0' TERM; sleep 100000 & wait";
    json!({
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "containers": [{ "name": "main", "image": lab::images::BUSYBOX, "command": ["/bin/sh", "-c", script] }],
    })
}
