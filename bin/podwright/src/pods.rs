//! Which pod and container a person means, and a pod's state in a word.

use core_types::PodExt;
use core_types::view::Lifecycle;

use crate::client::PodReport;
use crate::error::CliError;

/// Annotation that names the container meant when none is given, as kubectl reads it.
const DEFAULT_CONTAINER_ANNOTATION: &str = "kubectl.kubernetes.io/default-container";

/// Finds the pod named `name`, `namespace/name`, or by a beginning of its name that no other pod shares.
pub(crate) fn resolve<'a>(pods: &'a [PodReport], reference: &str) -> Result<&'a PodReport, CliError> {
    let (namespace, name) = match reference.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, reference),
    };
    let in_namespace =
        |report: &&PodReport| namespace.is_none_or(|namespace| *report.pod.key().namespace == *namespace);
    let exact: Vec<_> =
        pods.iter().filter(in_namespace).filter(|report| &*report.pod.key().name == name).collect();
    let begin = |report: &&PodReport| !name.is_empty() && report.pod.key().name.starts_with(name);
    let found =
        if exact.is_empty() { pods.iter().filter(in_namespace).filter(begin).collect() } else { exact };
    match newest(found).as_slice() {
        [one] => Ok(one),
        [] if pods.is_empty() => {
            Err(CliError::Pod(format!("there is no pod {reference:?}: this node has no pods")))
        }
        [] => {
            let message = format!("there is no pod {reference:?}; 'podwright ps' lists what there is");
            Err(CliError::Pod(message))
        }
        many => {
            let names: Vec<String> = many.iter().map(|report| report.pod.key().to_string()).collect();
            Err(CliError::Pod(format!("{reference:?} may mean {}: name one of them", names.join(" or "))))
        }
    }
}

/// One incarnation of each pod: while an old one ends and a new one waits, the one that lives on.
fn newest(mut found: Vec<&PodReport>) -> Vec<&PodReport> {
    let rank = |report: &PodReport| match report.lifecycle {
        Lifecycle::Syncing => 0,
        Lifecycle::Waiting => 1,
        Lifecycle::Terminating => 2,
        Lifecycle::Terminated => 3,
        Lifecycle::Finished => 4,
    };
    found.sort_by_key(|report| (report.pod.key(), rank(report)));
    found.dedup_by_key(|report| report.pod.key());
    found
}

/// The container meant, and whether it was a guess among several.
pub(crate) fn container(report: &PodReport, asked: Option<&str>) -> Result<Container, CliError> {
    let names: Vec<String> = report.pod.container_refs().iter().map(|one| one.spec.name.clone()).collect();
    let ephemeral = report.pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_ref());
    let ephemeral = ephemeral.into_iter().flatten().map(|one| one.name.clone());
    let names: Vec<String> = names.into_iter().chain(ephemeral).collect();
    if let Some(asked) = asked {
        return if names.iter().any(|name| name == asked) {
            Ok(Container { name: asked.to_owned(), others: Vec::new() })
        } else {
            let key = report.pod.key();
            Err(CliError::Pod(format!("pod {key} has no container {asked:?}: it has {}", names.join(", "))))
        };
    }
    let annotated = report
        .pod
        .annotation(DEFAULT_CONTAINER_ANNOTATION)
        .filter(|name| names.iter().any(|own| own == name));
    let first =
        report.pod.spec.as_ref().and_then(|spec| spec.containers.first()).map(|one| one.name.as_str());
    let name = annotated.or(first).unwrap_or_default().to_owned();
    let others = names.into_iter().filter(|other| *other != name).collect();
    Ok(Container { name, others })
}

/// A container, and those that might have been meant as well.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) others: Vec<String>,
}

impl Container {
    /// Tells, on standard error, that the choice was ours.
    pub(crate) fn tell_if_guessed(&self) {
        if !self.others.is_empty() {
            eprintln!("container {} (others: {}; choose with -c)", self.name, self.others.join(", "));
        }
    }
}

/// The pod's state in the word that kubectl would use.
pub(crate) fn status_word(report: &PodReport) -> String {
    if report.lifecycle >= Lifecycle::Terminating {
        return match report.lifecycle {
            Lifecycle::Terminating => "Terminating",
            _ => "Terminated",
        }
        .to_owned();
    }
    let Some(status) = &report.pod.status else { return "Unknown".to_owned() };
    if let Some(reason) = status.reason.as_deref().filter(|reason| !reason.is_empty()) {
        return reason.to_owned();
    }
    let reason_of = |container: &core_types::api::ContainerStatus| {
        let state = container.state.as_ref()?;
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
        let failed = state.terminated.as_ref().filter(|end| end.exit_code != 0);
        waiting.or_else(|| failed.map(|end| end.reason.clone().unwrap_or_else(|| "Error".to_owned())))
    };
    let ordinary = |reason: &String| reason != "PodInitializing";
    let init = status.init_container_statuses.iter().flatten().find_map(reason_of).filter(ordinary);
    if let Some(reason) = init {
        return format!("Init:{reason}");
    }
    let reason = status.container_statuses.iter().flatten().find_map(reason_of);
    match status.phase.as_deref().unwrap_or("Unknown") {
        "Succeeded" => "Completed".to_owned(),
        phase => reason.unwrap_or_else(|| phase.to_owned()),
    }
}

/// Ready and all containers.
pub(crate) fn readiness(report: &PodReport) -> (usize, usize) {
    let status = report.pod.status.as_ref();
    let ready = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let all = report.pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    (ready.filter(|container| container.ready).count(), all)
}

/// Restarts of all containers.
pub(crate) fn restarts(report: &PodReport) -> i32 {
    let status = report.pod.status.as_ref();
    let regular = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let init = status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    regular.chain(init).map(|container| container.restart_count).sum()
}
