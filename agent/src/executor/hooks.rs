//! Runs lifecycle hooks (CONTRACT 3.14): what `core/runtime` planned, through the runtime and the hook dialer.
//!
//! A hook never outlives the cancel of its operation, and a preStop hook never its container's grace. What a hook says may
//! hold secrets: it shows in the waiting message of a container only, as upstream does, and in no event or log.

use std::time::Duration;

use core_runtime::hooks::{Hook, post_start};
use core_runtime::plan::{Grace, StopContainer, post_start_failed};
use core_runtime::text::pod_text;
use core_runtime::{RuntimeEventText, WaitingReason};
use core_types::api::Pod;
use core_types::{ContainerId, ContainerRef, HttpGet, PodExt};
use ports::HookAnswer;

use super::Executor;
use super::context::{Op, StepError, StepResult};

/// Bytes of a failed command's output that are shown.
const SHOWN_OUTPUT_BYTES: usize = 1024;

/// Where a hook runs.
struct Place<'a> {
    container: &'a ContainerId,
    field_path: &'a str,
    /// Address of the pod for requests; `None` when it is not known.
    pod_ip: Option<&'a str>,
}

impl Executor {
    /// Runs the postStart hook of a container that was just started. When it fails the container is killed and waits.
    pub(super) async fn post_start(
        &self,
        op: &mut Op,
        (pod, ips): (&Pod, &[String]),
        container: &ContainerRef<'_>,
        id: &ContainerId,
    ) -> StepResult<()> {
        let Some(hook) = post_start(container.spec) else { return Ok(()) };
        let name = &container.spec.name;
        op.turn = None;
        op.notes.doing(name, "running the postStart hook").await;
        let field_path = container.field_path();
        let place = Place { container: id, field_path: &field_path, pod_ip: self.pod_ip(pod, ips) };
        let result = tokio::select! {
            biased;
            () = op.cancel.cancelled() => return Err(StepError::Cancelled),
            result = self.run_hook(op, &place, &hook) => result,
        };
        let Err(cause) = result else { return Ok(()) };
        op.tell(RuntimeEventText::FailedPostStartHook, &field_path).await;
        let reason = WaitingReason::PostStartHookError;
        let message = failure(&hook, name, &pod_text(pod), &cause);
        op.container_waits(name, reason.as_str(), &message);
        let stop = post_start_failed(pod, container, id.clone(), Grace::FromPod);
        let begun_at = op.now().mono;
        self.stop_stages(op, Some(pod), &[&[stop]], begun_at).await?;
        Err(StepError::failed(reason.as_str(), format!("the postStart hook of container {name:?} failed")))
    }

    /// Runs the preStop hook of a container, at most for `limit`. Whatever comes of it, the stop goes on.
    pub(super) async fn pre_stop(
        &self,
        op: &Op,
        pod: Option<&Pod>,
        (stop, field_path): (&StopContainer, &str),
        limit: Duration,
    ) {
        let Some(hook) = &stop.pre_stop else { return };
        op.notes.doing(&stop.name, "running the preStop hook").await;
        let pod_ip = match pod {
            Some(pod) => self.pod_ip(pod, &op.observed.ips),
            None => op.observed.ips.first().map(String::as_str),
        };
        let place = Place { container: &stop.id, field_path, pod_ip };
        match tokio::time::timeout(limit, self.run_hook(op, &place, hook)).await {
            Ok(Ok(())) => {}
            Ok(Err(_cause)) => op.tell(RuntimeEventText::FailedPreStopHook, field_path).await,
            Err(_elapsed) => {
                if matches!(hook, Hook::Sleep { .. }) {
                    op.notes.metrics.sleep_was_cut();
                }
                tracing::info!(pod = %op.key, container = stop.name, "the preStop hook did not end within the grace; the container is stopped");
            }
        }
    }

    async fn run_hook(&self, op: &Op, place: &Place<'_>, hook: &Hook) -> Result<(), String> {
        match hook {
            Hook::Exec(command) => {
                let ended = self.outside.runtime.exec_sync(place.container, command, Duration::ZERO).await;
                let ended = ended.map_err(|error| error.to_string())?;
                match ended.exit_code {
                    0 => Ok(()),
                    code => Err(format!(
                        "command '{}' exited with {code}: {}, message: {:?}",
                        command.join(" "),
                        shown(&ended.stderr),
                        shown(&ended.stdout)
                    )),
                }
            }
            Hook::HttpGet(get) => self.request(op, place, get).await,
            Hook::Sleep { secs } => {
                tokio::time::sleep(Duration::from_secs(*secs)).await;
                Ok(())
            }
            Hook::Invalid(why) => Err(why.clone()),
        }
    }

    async fn request(&self, op: &Op, place: &Place<'_>, get: &HttpGet) -> Result<(), String> {
        let mut get = get.clone();
        if get.host.is_empty() {
            place.pod_ip.ok_or("the pod has no address")?.clone_into(&mut get.host);
        }
        match self.outside.hooks.get(&get).await.map_err(|error| error.to_string())? {
            HookAnswer::AsAsked => {}
            HookAnswer::OverHttpInstead => {
                op.tell(RuntimeEventText::LifecycleHttpFallback(get.authority()), place.field_path).await;
            }
        }
        Ok(())
    }

    fn pod_ip<'a>(&'a self, pod: &Pod, ips: &'a [String]) -> Option<&'a str> {
        let ips = if pod.is_host_network() { &self.settings.host.node_ips } else { ips };
        ips.first().map(String::as_str)
    }
}

/// What is shown of a failed postStart hook, in upstream's words.
fn failure(hook: &Hook, container: &str, pod: &str, cause: &str) -> String {
    let what = match hook {
        Hook::Exec(command) => format!("Exec lifecycle hook ([{}])", command.join(" ")),
        Hook::HttpGet(get) => format!("HTTP lifecycle hook ({})", get.path),
        Hook::Sleep { secs } => format!("Sleep lifecycle hook ({secs})"),
        Hook::Invalid(_) => return format!("Cannot run handler: {cause}"),
    };
    format!("{what} for Container {container:?} in Pod {pod:?} failed - error: {cause}")
}

/// The beginning of an output.
fn shown(output: &[u8]) -> String {
    String::from_utf8_lossy(&output[..output.len().min(SHOWN_OUTPUT_BYTES)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_in_upstreams_words() {
        let exec = Hook::Exec(vec!["say".into(), "hello".into()]);
        assert_eq!(
            failure(&exec, "main", "web_shop(u)", "it broke"),
            "Exec lifecycle hook ([say hello]) for Container \"main\" in Pod \"web_shop(u)\" failed - error: it broke"
        );
        let invalid = Hook::Invalid("no such port".into());
        assert_eq!(
            failure(&invalid, "main", "web_shop(u)", "no such port"),
            "Cannot run handler: no such port"
        );
        assert_eq!(shown(&[b'x'; 5000]).len(), SHOWN_OUTPUT_BYTES);
    }
}
