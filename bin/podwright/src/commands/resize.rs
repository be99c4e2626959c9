//! `podwright resize`: other requests and limits for a pod that runs, without a restart where its `resizePolicy` allows.
//!
//! Done when the new sizes are in force. Failed when they can never be.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bytes::Bytes;
use core_types::api::{Pod, PodCondition, PodStatus, QuantityText, ResourceRequirements};
use core_types::{PodExt, PodUid};
use http::Method;
use ports::control::AppliedPod;

use crate::cli::ResizeOptions;
use crate::client::{Agent, WatchLine};
use crate::error::CliError;
use crate::output;
use crate::pods;

pub(crate) async fn execute(agent: &Agent, options: ResizeOptions) -> Result<ExitCode, CliError> {
    let all = agent.pods().await?;
    let report = pods::resolve(&all, &options.pod)?;
    let mut pod = report.pod.clone();
    pod.status = None;
    if options.whole {
        change(whole(&mut pod), &options);
    } else {
        let container = pods::container(report, options.container.as_deref())?;
        container.tell_if_guessed();
        change(of_container(&mut pod, &container.name)?, &options);
    }
    let manifest = serde_json::to_vec(&pod).map_err(|error| CliError::Pod(error.to_string()))?;
    let answer = agent.send(Method::POST, "/v1/resize", manifest.into()).await?;
    let applied: Vec<AppliedPod> = answer.json("POST /v1/resize").await?;
    let Some(resized) = applied.into_iter().next() else { return Ok(ExitCode::SUCCESS) };
    if options.no_wait || resized.outcome == "unchanged" {
        output::print(&format!("pod {} {}\n", resized.key, resized.outcome))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut last = "the agent has not looked at it yet".to_owned();
    match tokio::time::timeout(options.timeout, wait(agent, &resized, &mut last)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(CliError::Timeout { after: options.timeout, state: last }),
    }
}

fn whole(pod: &mut Pod) -> &mut ResourceRequirements {
    pod.spec.get_or_insert_default().resources.get_or_insert_default()
}

fn of_container<'a>(pod: &'a mut Pod, name: &str) -> Result<&'a mut ResourceRequirements, CliError> {
    let spec = pod.spec.get_or_insert_default();
    let mut containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    let container = containers.find(|container| container.name == name);
    let container = container
        .ok_or_else(|| CliError::Pod(format!("container {name:?} is ephemeral and cannot be resized")))?;
    Ok(container.resources.get_or_insert_default())
}

fn change(resources: &mut ResourceRequirements, options: &ResizeOptions) {
    let ResourceRequirements { requests, limits, .. } = resources;
    for (name, both, request, limit) in [
        ("cpu", &options.cpu, &options.cpu_request, &options.cpu_limit),
        ("memory", &options.memory, &options.memory_request, &options.memory_limit),
    ] {
        let has_limit = limits.as_ref().is_some_and(|limits| limits.contains_key(name));
        set(requests, name, both.as_ref().or(request.as_ref()));
        set(limits, name, both.as_ref().filter(|_| has_limit).or(limit.as_ref()));
    }
}

fn set(list: &mut Option<BTreeMap<String, QuantityText>>, name: &str, value: Option<&QuantityText>) {
    if let Some(value) = value {
        list.get_or_insert_default().insert(name.to_owned(), value.clone());
    }
}

/// What a status says of the resize to a generation of the spec.
pub(crate) enum Progress {
    Done,
    Waits(String),
    Impossible(String),
}

pub(crate) fn progress(status: &PodStatus, generation: i64) -> Progress {
    let find = |name: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == name);
    let text = |condition: &PodCondition| {
        let (reason, message) = (condition.reason.as_deref(), condition.message.as_deref());
        let parts: Vec<&str> = [reason, message].into_iter().flatten().collect();
        parts.join(": ")
    };
    if status.observed_generation.unwrap_or_default() < generation {
        return Progress::Waits("the agent has not looked at it yet".to_owned());
    }
    match (find("PodResizePending"), find("PodResizeInProgress")) {
        (Some(pending), _) if pending.reason.as_deref() == Some("Infeasible") => {
            Progress::Impossible(text(pending))
        }
        (Some(pending), _) => Progress::Waits(format!("it waits: {}", text(pending))),
        (None, Some(going)) => {
            Progress::Waits(format!("it is in progress {}", text(going)).trim_end().to_owned())
        }
        (None, None) => Progress::Done,
    }
}

async fn wait(agent: &Agent, resized: &AppliedPod, last: &mut String) -> Result<ExitCode, CliError> {
    let mut lines = agent.send(Method::GET, "/v1/watch", Bytes::new()).await?.lines();
    let gone = |uid: &PodUid| *uid == resized.uid;
    loop {
        let Some(line) = lines.next::<WatchLine>().await? else {
            return Err(CliError::Stream(
                "the agent has stopped; it goes on when it starts again".to_owned(),
            ));
        };
        if line.removed.iter().any(gone) {
            return Err(CliError::Pod(format!("pod {} was removed", resized.key)));
        }
        for report in line.pods.iter().filter(|report| report.pod.uid() == resized.uid) {
            let status = report.pod.status.clone().unwrap_or_default();
            match progress(&status, resized.generation) {
                Progress::Done => {
                    output::print(&format!("pod {} resized\n", resized.key))?;
                    return Ok(ExitCode::SUCCESS);
                }
                Progress::Impossible(why) => {
                    return Err(CliError::Pod(format!("pod {} cannot be resized: {why}", resized.key)));
                }
                Progress::Waits(why) if why != *last => {
                    eprintln!("pod {}: {why}", resized.key);
                    *last = why;
                }
                Progress::Waits(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use serde_json::json;

    fn options(line: &str) -> ResizeOptions {
        match Cli::try_parse_from(line.split(' ')).expect("it parses").command {
            Command::Resize(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_size_goes_to_the_request_and_to_a_limit_that_is_there() {
        let mut resources: ResourceRequirements =
            serde_json::from_value(json!({"requests": {"cpu": "1"}, "limits": {"memory": "1Mi"}}))
                .expect("valid");
        change(&mut resources, &options("podwright resize web --cpu 2 --memory 2Mi"));
        let want = json!({"requests": {"cpu": "2", "memory": "2Mi"}, "limits": {"memory": "2Mi"}});
        assert_eq!(serde_json::to_value(&resources).expect("JSON"), want);
        change(&mut resources, &options("podwright resize web --cpu-limit 3 --memory-request 1Mi"));
        let want =
            json!({"requests": {"cpu": "2", "memory": "1Mi"}, "limits": {"cpu": "3", "memory": "2Mi"}});
        assert_eq!(serde_json::to_value(&resources).expect("JSON"), want);
        for wrong in ["", " --cpu 1 --cpu-limit 2", " --cpu much", " -c a --whole --cpu 1"] {
            assert!(
                Cli::try_parse_from(format!("podwright resize web{wrong}").split(' ')).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_status_tells_how_far_a_resize_is() {
        let of = |status: serde_json::Value| progress(&serde_json::from_value(status).expect("a status"), 2);
        assert!(matches!(of(json!({"observedGeneration": 1})), Progress::Waits(_)));
        assert!(matches!(of(json!({"observedGeneration": 2})), Progress::Done));
        let pending = |reason: &str| {
            let condition =
                json!({"type": "PodResizePending", "status": "True", "reason": reason, "message": "why"});
            of(json!({"observedGeneration": 2, "conditions": [condition]}))
        };
        assert!(matches!(pending("Deferred"), Progress::Waits(why) if why == "it waits: Deferred: why"));
        assert!(matches!(pending("Infeasible"), Progress::Impossible(why) if why == "Infeasible: why"));
    }
}
