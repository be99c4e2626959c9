//! Scale: the agent on the simulation's fakes, in real time, with more pods than a machine can run.
//!
//! The figures hold the fakes' cost too (API server, runtime, files), so they are upper bounds; what they show is how cost grows with
//! the number of pods. Everything runs on one thread.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use core_types::PodKey;
use k8s_openapi::api::core::v1::Pod;
use ports::PodApi as _;
use serde_json::json;
use sim::world::{NODE_NAME, World};

use crate::book::{Book, Lives};
use crate::clock::now;
use crate::report::{Figure, at_share};
use crate::usage;

/// Numbers of pods that are there while others come and go.
const SIZES: [usize; 4] = [250, 500, 1000, 2000];
/// Pods created, and as many deleted, in a second of churn.
const CHURN_PER_SEC: u32 = 50;
/// Pods of the churn that are there at once.
const CHURNING: usize = 100;
/// How long there is churn.
const CHURN: Duration = Duration::from_secs(20);
/// How long the agent is left alone before a figure at rest is taken.
const SETTLE: Duration = Duration::from_secs(10);
/// The span over which work at rest is counted.
const REST: Duration = Duration::from_secs(20);
/// How long pods may take to come or to go; what takes longer is an error and no figure.
const LIMIT: Duration = Duration::from_secs(240);

/// All sizes, one after the other.
pub(crate) fn measure() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for pods in SIZES {
        eprintln!("{pods} simulated pods");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        figures.extend(runtime.block_on(one_size(pods))?);
    }
    Ok(figures)
}

async fn one_size(pods: usize) -> Result<Vec<Figure>> {
    let me = std::process::id();
    let bare_kib = usage::memory(me)?.anonymous_kib;
    let world = World::with_room_for(pods + 2 * CHURNING)?;
    let book = Arc::new(Book::default());
    tokio::spawn(Arc::clone(&book).follow(world.api.pods.follow()));

    let (cpu, began_at) = (usage::cpu(me)?, now());
    let names: Vec<String> = (0..pods).map(|number| format!("still-{number}")).collect();
    names.iter().for_each(|name| create(&world, &book, name));
    book.until("all pods to be ready", LIMIT, |lives| all_ready(lives, &names)).await?;
    let (start_cpu, start_time) = (usage::cpu(me)? - cpu, began_at.elapsed());

    tokio::time::sleep(SETTLE).await;
    let cpu = usage::cpu(me)?;
    tokio::time::sleep(REST).await;
    let rest_cpu = usage::cpu(me)? - cpu;
    let more_kib = usage::memory(me)?.anonymous_kib as f64 - bare_kib as f64;

    let cpu = usage::cpu(me)?;
    let mut latencies_ms = churn(&world, &book).await?;
    let churn_cpu = usage::cpu(me)? - cpu;
    latencies_ms.sort_by(f64::total_cmp);

    let named = |what: &str| format!("{what}, {pods} simulated pods");
    let (stat, fakes) =
        ("utime + stime of /proc/<pid>/stat, fakes included", "at a watcher of the fake API server");
    let thousandths = |cpu: Duration, span: Duration| cpu.as_secs_f64() / span.as_secs_f64() * 1000.0;
    let each_ms = start_cpu.as_secs_f64() / pods as f64 * 1000.0;
    Ok(vec![
        Figure::new(named("all created to Ready"), "s", start_time.as_secs_f64(), fakes),
        Figure::new(named("CPU to start each"), "ms", each_ms, stat),
        Figure::new(
            named("memory for each"),
            "KiB",
            more_kib / pods as f64,
            "anonymous memory, fakes included",
        ),
        Figure::new(named("CPU at rest"), "m", thousandths(rest_cpu, REST), stat),
        Figure::new(named("CPU while 50 come and go a second"), "m", thousandths(churn_cpu, CHURN), stat),
        Figure::new(named("created to Ready meanwhile, half"), "ms", at_share(&latencies_ms, 0.5), fakes),
        Figure::new(named("created to Ready meanwhile, 99 %"), "ms", at_share(&latencies_ms, 0.99), fakes),
    ])
}

/// Pods come and go; returns how long each took to be ready, in milliseconds.
async fn churn(world: &World, book: &Book) -> Result<Vec<f64>> {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / CHURN_PER_SEC);
    let (mut there, mut all) = (VecDeque::new(), Vec::new());
    let began_at = now();
    while began_at.elapsed() < CHURN {
        pace.tick().await;
        let name = format!("churned-{}", all.len());
        create(world, book, &name);
        there.push_back(name.clone());
        all.push(name);
        if there.len() > CHURNING
            && let Some(oldest) = there.pop_front()
        {
            world.api.pods.user_deletes(&PodKey::new("default", oldest.as_str()), 1);
        }
    }
    there.iter().for_each(|name| world.api.pods.user_deletes(&PodKey::new("default", name.as_str()), 1));
    let gone =
        |lives: &Lives| all.iter().all(|name| lives.get(name).is_some_and(|life| life.gone_at.is_some()));
    book.until("the last pods to be gone", LIMIT, |lives| gone(lives).then_some(())).await?;
    let lives = book.lives();
    let ready_after = |name: &String| Some(millis(lives.get(name)?.asked_at, lives.get(name)?.ready_at?));
    Ok(all.iter().filter_map(ready_after).collect())
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

fn all_ready(lives: &Lives, names: &[String]) -> Option<()> {
    names.iter().all(|name| lives.get(name).is_some_and(|life| life.is_ready)).then_some(())
}

fn create(world: &World, book: &Book, name: &str) {
    book.expect(name);
    world.api.pods.user_creates(pod(name));
}

fn pod(name: &str) -> Pod {
    let text = json!({
        "metadata": { "namespace": "default", "name": name },
        "spec": {
            "nodeName": NODE_NAME, "restartPolicy": "Always", "terminationGracePeriodSeconds": 1,
            "enableServiceLinks": false,
            "containers": [{ "name": "main", "image": "sim/app:1", "args": ["serve"] }],
        },
        "status": { "phase": "Pending", "qosClass": "BestEffort" },
    });
    serde_json::from_value(text).unwrap_or_default()
}
