//! What errors, lists and metrics mean.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::keys::POD_UID_LABEL;
use core_types::runtime::{ImageAuth, ImageSpec, SandboxConfig, StreamRequest};
use core_types::{ContainerId, PodUid, SandboxId};
use ports::runtime::RuntimeError;
use ports::{ContainerRuntime, ImageService};
use tonic::Status;

use super::fake::{Bench, PATIENCE};

#[tokio::test]
async fn stop_and_remove_of_what_is_gone_are_done() {
    let bench = Bench::new(PATIENCE);
    let calls = [
        "StopContainer",
        "RemoveContainer",
        "StopPodSandbox",
        "RemovePodSandbox",
        "RemoveImage",
        "ImageStatus",
    ];
    for call in calls {
        bench.fake.refuses(call, Status::not_found("an error occurred: not found"));
    }
    let (container, sandbox, image) = (ContainerId::from("c"), SandboxId::from("s"), ImageSpec::default());
    let client = &bench.client;
    client.stop_container(&container, Duration::ZERO).await.unwrap();
    client.remove_container(&container).await.unwrap();
    client.stop_sandbox(&sandbox).await.unwrap();
    client.remove_sandbox(&sandbox).await.unwrap();
    client.remove_image(&image).await.unwrap();
    assert_eq!(client.image_status(&image).await.unwrap(), None);
}

#[tokio::test]
async fn status_of_what_is_gone_is_not_found() {
    let bench = Bench::new(PATIENCE);
    bench.fake.refuses("ContainerStatus", Status::not_found("no such container"));
    bench.fake.refuses("PodSandboxStatus", Status::not_found("no such sandbox"));
    let error = bench.client.container_status(&ContainerId::from("c")).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.message(), "no such container");
    assert!(bench.client.sandbox_status(&SandboxId::from("s")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn calls_that_an_old_runtime_lacks_are_unimplemented() {
    let bench = Bench::new(PATIENCE);
    let client = &bench.client;
    let sandbox = SandboxId::from("s");
    let errors = [
        client.cgroup_driver().await.unwrap_err(),
        client.update_sandbox_resources(&sandbox, None, None).await.unwrap_err(),
        client.sandbox_stats(&sandbox).await.unwrap_err(),
        client.list_sandbox_stats().await.unwrap_err(),
        client.list_metric_descriptors().await.unwrap_err(),
        client.list_sandbox_metrics().await.unwrap_err(),
    ];
    let calls = [
        "RuntimeConfig",
        "UpdatePodSandboxResources",
        "PodSandboxStats",
        "ListPodSandboxStats",
        "ListMetricDescriptors",
        "ListPodSandboxMetrics",
    ];
    for (error, want) in errors.into_iter().zip(calls) {
        let RuntimeError::Unimplemented { call } = error else { panic!("{error:?}") };
        assert_eq!(call, want);
    }
}

#[tokio::test]
async fn lists_of_one_pod_select_by_its_label() {
    let bench = Bench::new(PATIENCE);
    let uid = PodUid::from("u-1");
    bench.client.list_sandboxes(Some(&uid)).await.unwrap();
    bench.client.list_containers(Some(&uid)).await.unwrap();
    bench.client.list_sandboxes(None).await.unwrap();
    bench.client.list_containers(None).await.unwrap();
    let one = BTreeMap::from([(POD_UID_LABEL.to_owned(), "u-1".to_owned())]);
    assert_eq!(*bench.fake.selectors.lock().unwrap(), [one.clone(), one, BTreeMap::new(), BTreeMap::new()]);
}

#[tokio::test]
async fn a_failed_pull_keeps_the_words_of_the_registry() {
    let bench = Bench::new(PATIENCE);
    bench.fake.refuses("PullImage", Status::unavailable("RegistryUnavailable: 503 from registry"));
    let (image, sandbox) = (ImageSpec::default(), SandboxConfig::default());
    let error = bench.client.pull_image(&image, None, &sandbox).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Failed { code, .. } if code == "Unavailable"), "{error:?}");
    assert_eq!(error.message(), "RegistryUnavailable: 503 from registry");
}

#[tokio::test]
async fn credentials_reach_the_runtime_and_no_debug_output() {
    let bench = Bench::new(PATIENCE);
    let auth = ImageAuth { username: "u".to_owned(), password: "hunter2".to_owned(), ..Default::default() };
    let image = ImageSpec { image: "r/i:1".to_owned(), ..Default::default() };
    let pulled = bench.client.pull_image(&image, Some(&auth), &SandboxConfig::default()).await.unwrap();
    assert_eq!(pulled, "sha256:1");
    let seen = bench.fake.pull.lock().unwrap().clone().unwrap();
    assert_eq!(seen.auth.as_ref().unwrap().password, "hunter2");
    assert!(!format!("{seen:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_exec_time_limit_that_the_runtime_enforced_is_a_timeout() {
    let bench = Bench::new(PATIENCE);
    let container = ContainerId::from("c");
    let limit = Duration::from_secs(7);
    let output = bench.client.exec_sync(&container, &[], limit).await.unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice(), output.exit_code),
        (&[0xff, b'o'][..], &b"e"[..], 3)
    );
    bench.fake.refuses("ExecSync", Status::deadline_exceeded("command timed out"));
    let error = bench.client.exec_sync(&container, &[], limit).await.unwrap_err();
    assert!(
        matches!(error, RuntimeError::Timeout { call: "ExecSync", after } if after == limit),
        "{error:?}"
    );
}

#[tokio::test]
async fn stream_urls_are_given_as_they_are() {
    let bench = Bench::new(PATIENCE);
    let request = StreamRequest { command: vec!["sh".to_owned()], stdout: true, ..Default::default() };
    assert_eq!(bench.client.exec_url(&ContainerId::from("c"), &request).await.unwrap(), "/exec/token");
}

#[tokio::test]
async fn replies_without_their_required_fields_are_errors() {
    let bench = Bench::new(PATIENCE);
    let client = &bench.client;
    let errors = [
        client.status().await.unwrap_err(),
        client.container_status(&ContainerId::from("c")).await.unwrap_err(),
        client.sandbox_status(&SandboxId::from("s")).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("cannot be used: status is not set"), "{error}");
    }
}

#[tokio::test]
async fn operations_are_counted_under_upstreams_names() {
    let bench = Bench::new(PATIENCE);
    bench.fake.refuses("StopContainer", Status::not_found("gone"));
    bench.client.version().await.unwrap();
    bench.client.list_sandboxes(None).await.unwrap();
    bench.client.list_sandboxes(None).await.unwrap();
    bench.client.stop_container(&ContainerId::from("c"), Duration::ZERO).await.unwrap();
    let text = bench.metrics.text();
    for line in [
        "kubelet_runtime_operations_total{operation_type=\"version\"} 1\n",
        "kubelet_runtime_operations_total{operation_type=\"list_podsandbox\"} 2\n",
        "kubelet_runtime_operations_errors_total{operation_type=\"stop_container\"} 1\n",
        "kubelet_runtime_operations_duration_seconds_count{operation_type=\"list_podsandbox\"} 2\n",
        "kubelet_runtime_operations_duration_seconds_bucket{operation_type=\"version\",le=\"745.0580596923828\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("errors_total{operation_type=\"version\""), "{text}");
}
