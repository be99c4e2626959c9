//! A runtime that is down, dies, comes back, hangs or refuses.

use std::time::Duration;

use core_types::ContainerId;
use core_types::runtime::{ImageSpec, RuntimeEventKind, SandboxConfig};
use futures_util::StreamExt;
use ports::runtime::RuntimeError;
use ports::{ContainerRuntime, ImageService};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tonic::Status;

use super::fake::{Bench, PATIENCE, soon};
use crate::proto;

const SHORT: Duration = Duration::from_millis(200);

fn id() -> ContainerId {
    ContainerId::from("c")
}

fn event(id: &str) -> proto::ContainerEventResponse {
    proto::ContainerEventResponse {
        container_id: id.to_owned(),
        container_event_type: proto::ContainerEventType::ContainerStartedEvent.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_runtime_that_is_down_fails_calls_at_once_and_is_used_when_it_comes_up() {
    let mut bench = Bench::stopped(PATIENCE * 100);
    let endpoint_of = format!("unix://{}", bench.socket().display());
    for _ in 0..5 {
        match soon(bench.client.version()).await.unwrap_err() {
            RuntimeError::Unavailable { call, endpoint, message } => {
                assert_eq!((call, endpoint), ("Version", endpoint_of.clone()));
                assert_eq!(message, "No such file or directory (os error 2)");
            }
            other => panic!("{other}"),
        }
    }
    bench.start();
    assert_eq!(
        soon(bench.client.version()).await.unwrap().name,
        "fake",
        "the first call after the start works"
    );
}

#[tokio::test]
async fn a_call_given_up_while_connecting_leaves_no_stale_failure() {
    for polls in 0..20 {
        let mut bench = Bench::stopped(PATIENCE * 100);
        soon(bench.client.version()).await.unwrap_err();
        let mut given_up = bench.client.version();
        for _ in 0..polls {
            if futures_util::poll!(&mut given_up).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(given_up);
        bench.start();
        assert_eq!(soon(bench.client.version()).await.unwrap().name, "fake");
    }
}

#[tokio::test]
async fn a_restarted_runtime_is_used_again_at_once() {
    let mut bench = Bench::new(PATIENCE * 100);
    for _ in 0..3 {
        soon(bench.client.version()).await.unwrap();
        bench.stop();
        // The kernel tells this side of the broken connection a moment later: until then a call may still be
        // sent.
        let down = async {
            loop {
                match bench.client.version().await {
                    Err(RuntimeError::Unavailable { message, .. })
                        if message.contains("Connection refused") =>
                    {
                        break;
                    }
                    Err(RuntimeError::Unavailable { .. }) | Ok(_) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        };
        soon(down).await;
        bench.start();
        assert_eq!(soon(bench.client.version()).await.unwrap().name, "fake");
    }
}

#[tokio::test]
async fn a_call_under_way_when_the_runtime_dies_is_unavailable() {
    let mut bench = Bench::new(PATIENCE * 100);
    bench.fake.hangs(&["StartContainer", "PullImage"]);
    let client = bench.client.clone();
    let start = tokio::spawn(async move { client.start_container(&id()).await });
    let client = bench.client.clone();
    let pull = tokio::spawn(async move {
        client.pull_image(&ImageSpec::default(), None, &SandboxConfig::default()).await
    });
    let seen = async {
        while bench.fake.pull.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        bench.client.version().await.unwrap();
    };
    soon(seen).await;
    bench.stop();
    for error in [soon(start).await.unwrap().unwrap_err(), soon(pull).await.unwrap().unwrap_err()] {
        assert!(matches!(error, RuntimeError::Unavailable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_hanging_runtime_gives_timeouts_that_name_the_call() {
    let bench = Bench::new(SHORT);
    bench.fake.hangs(&["Version", "RunPodSandbox", "StopContainer", "ExecSync", "ListPodSandbox"]);
    let client = &bench.client;
    let grace = Duration::from_millis(300);
    let sandbox = SandboxConfig::default();
    let errors = soon(async {
        [
            client.version().await.unwrap_err(),
            client.list_sandboxes(None).await.unwrap_err(),
            client.run_sandbox(&sandbox, "").await.unwrap_err(),
            client.stop_container(&id(), grace).await.unwrap_err(),
            client.exec_sync(&id(), &[], grace).await.unwrap_err(),
        ]
    })
    .await;
    let want = [
        ("Version", SHORT),
        ("ListPodSandbox", SHORT),
        ("RunPodSandbox", SHORT * 2),
        ("StopContainer", SHORT + grace),
        ("ExecSync", grace),
    ];
    for (error, want) in errors.into_iter().zip(want) {
        let RuntimeError::Timeout { call, after } = error else { panic!("{error}") };
        assert_eq!((call, after), want);
    }
    assert_eq!(*bench.fake.stop_timeout.lock().unwrap(), Some(1), "rounded up, as zero would kill at once");
    assert_eq!(*bench.fake.exec_timeout.lock().unwrap(), Some(1));
}

#[tokio::test]
async fn calls_without_a_deadline_outlive_the_request_timeout() {
    let bench = Bench::new(SHORT);
    bench.fake.hangs(&["PullImage", "ExecSync"]);
    let image = ImageSpec::default();
    let sandbox = SandboxConfig::default();
    let pull = bench.client.pull_image(&image, None, &sandbox);
    assert!(tokio::time::timeout(SHORT * 3, pull).await.is_err(), "still pulling");
    let id = id();
    let exec = bench.client.exec_sync(&id, &[], Duration::ZERO);
    assert!(tokio::time::timeout(SHORT * 3, exec).await.is_err(), "still running");
}

#[tokio::test]
async fn giving_up_a_call_cancels_it_in_the_runtime() {
    let bench = Bench::new(SHORT);
    bench.fake.hangs(&["PullImage", "Version"]);
    bench.client.version().await.unwrap_err();
    soon(bench.fake.given_up.notified()).await;
    let image = ImageSpec::default();
    let sandbox = SandboxConfig::default();
    let pull = bench.client.pull_image(&image, None, &sandbox);
    assert!(tokio::time::timeout(SHORT, pull).await.is_err());
    soon(bench.fake.given_up.notified()).await;
}

#[tokio::test]
async fn events_are_open_before_the_first_event_and_end_with_the_stream() {
    let bench = Bench::new(PATIENCE * 100);
    let (send, receive) = mpsc::channel(8);
    *bench.fake.events.lock().unwrap() = Some(receive);
    let mut events = soon(bench.client.events()).await.unwrap();
    for id in ["one", "two"] {
        send.send(Ok(event(id))).await.unwrap();
        let read = soon(events.next()).await.unwrap().unwrap();
        assert_eq!((read.container_id.as_str(), read.kind), (id, RuntimeEventKind::Started));
    }
    drop(send);
    assert!(soon(events.next()).await.is_none());
}

#[tokio::test]
async fn a_broken_event_stream_says_so_and_ends() {
    let mut bench = Bench::new(PATIENCE * 100);
    let (send, receive) = mpsc::channel(8);
    *bench.fake.events.lock().unwrap() = Some(receive);
    let mut events = soon(bench.client.events()).await.unwrap();
    send.send(Ok(event("one"))).await.unwrap();
    soon(events.next()).await.unwrap().unwrap();
    bench.stop();
    let error = soon(events.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, RuntimeError::Unavailable { call: "GetContainerEvents", .. }), "{error:?}");
    assert!(soon(events.next()).await.is_none());
}

#[tokio::test]
async fn a_refused_event_stream_is_an_error_of_the_call() {
    let bench = Bench::new(PATIENCE * 100);
    let Err(error) = soon(bench.client.events()).await else { panic!("no events here") };
    assert!(matches!(error, RuntimeError::Unimplemented { call: "GetContainerEvents" }), "{error:?}");
}

#[tokio::test]
async fn events_from_a_runtime_that_is_down_or_hangs_are_an_error_of_the_call() {
    let mut bench = Bench::stopped(SHORT);
    let Err(error) = soon(bench.client.events()).await else { panic!("down") };
    assert!(matches!(error, RuntimeError::Unavailable { call: "GetContainerEvents", .. }), "{error:?}");
    bench.fake.hangs(&["GetContainerEvents", "Version"]);
    bench.start();
    let Err(error) = soon(bench.client.events()).await else { panic!("hangs") };
    assert!(matches!(error, RuntimeError::Timeout { call: "GetContainerEvents", .. }), "{error:?}");
}

#[tokio::test]
async fn an_event_stream_that_nobody_reads_holds_up_no_other_call() {
    let bench = Bench::new(PATIENCE);
    let (send, receive) = mpsc::channel(8);
    *bench.fake.events.lock().unwrap() = Some(receive);
    let unread = soon(bench.client.events()).await.unwrap();
    let flood =
        tokio::spawn(async move { while send.send(Ok(event(&"x".repeat(100_000)))).await.is_ok() {} });
    for _ in 0..50 {
        soon(bench.client.version()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let sandbox = proto::PodSandbox { id: "x".repeat(6 << 20), ..Default::default() };
    *bench.fake.sandboxes.lock().unwrap() = vec![sandbox];
    assert_eq!(soon(bench.client.list_sandboxes(None)).await.unwrap().len(), 1);
    drop(unread);
    flood.abort();
}

#[tokio::test]
async fn replies_up_to_16_mib_are_read_and_larger_ones_refused() {
    let bench = Bench::new(PATIENCE);
    let sized = |mib: usize| vec![proto::PodSandbox { id: "x".repeat(mib << 20), ..Default::default() }];
    *bench.fake.sandboxes.lock().unwrap() = sized(15);
    assert_eq!(soon(bench.client.list_sandboxes(None)).await.unwrap()[0].id.as_str().len(), 15 << 20);
    *bench.fake.sandboxes.lock().unwrap() = sized(17);
    let error = soon(bench.client.list_sandboxes(None)).await.unwrap_err();
    let RuntimeError::Failed { call, code, .. } = error else { panic!("{error}") };
    assert_eq!((call, code.as_str()), ("ListPodSandbox", "OutOfRange"));
}

#[tokio::test]
async fn the_runtimes_own_unavailable_is_unavailable() {
    let bench = Bench::new(PATIENCE);
    bench.fake.refuses("Version", Status::unavailable("server is not initialized yet"));
    let error = bench.client.version().await.unwrap_err();
    assert!(matches!(error, RuntimeError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("server is not initialized yet"), "{error}");
}

#[tokio::test]
async fn a_socket_that_is_no_runtime_gives_errors_and_no_hang() {
    for words in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 64]] {
        let bench = Bench::stopped(PATIENCE * 100);
        let listener = tokio::net::UnixListener::bind(bench.socket()).unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(words).await.unwrap();
            }
        });
        for _ in 0..3 {
            let error = soon(bench.client.version()).await.unwrap_err();
            assert!(matches!(error, RuntimeError::Unavailable { .. }), "{words:?}: {error:?}");
        }
        server.abort();
    }
}
