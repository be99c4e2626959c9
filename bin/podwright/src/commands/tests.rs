//! The commands against a fake agent on a real socket: what they ask, what they print, how they end.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use core_types::local::NodeReport;
use core_types::{PodKey, WallTime};
use ports::control::AppliedPod;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;
use crate::cli::{LogsOptions, PsOptions, RmOptions, RunOptions, WhyOptions};
use crate::client::{Agent, PodReport};
use crate::error::CliError;

/// A report as the agent sends it.
fn report(name: &str, state: &str, cause: &str) -> serde_json::Value {
    let phase = if state == "ready" { "Running" } else { "Pending" };
    serde_json::json!({
        "pod": {
            "metadata": { "namespace": "default", "name": name, "uid": format!("uid-{name}") },
            "spec": { "containers": [{ "name": "main" }, { "name": "side" }] },
            "status": {
                "phase": phase, "podIP": "10.0.0.2", "startTime": "2026-01-01T00:00:00Z",
                "containerStatuses": [{
                    "name": "main", "ready": state == "ready", "restartCount": 2, "image": "", "imageID": "",
                    "state": if state == "ready" { serde_json::json!({ "running": {} }) }
                             else { serde_json::json!({ "waiting": { "reason": "ErrImagePull" } }) },
                }],
            },
        },
        "lifecycle": "Syncing",
        "source": "local",
        "events": [{
            "name": "web.1", "object": { "kind": "Pod", "namespace": "default", "name": name, "uid": "uid" }, "eventType": "Warning", "reason": "Failed", "message": "no\nimage",
            "firstSeen": "2026-01-01T00:00:00Z", "lastSeen": "2026-01-01T00:01:30Z", "count": 3,
        }],
        "explanation": {
            "key": { "namespace": "default", "name": name }, "uid": format!("uid-{name}"), "state": state,
            "cause": { "kind": "notStartedYet" }, "causeText": cause, "since": null, "containers": [],
            "lastError": null, "nextRetry": null, "hint": "", "now": "2026-01-01T00:02:00Z",
        },
    })
}

fn parsed(value: serde_json::Value) -> PodReport {
    serde_json::from_value(value).expect("report")
}

/// Answers requests from a script: what must be asked, and the answer.
struct FakeAgent {
    agent: Agent,
    _directory: tempfile::TempDir,
}

impl FakeAgent {
    fn new(script: Vec<(&'static str, u16, String)>) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let socket = directory.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).expect("bind");
        let mut script: VecDeque<_> = script.into();
        tokio::spawn(async move {
            while let Some((want, status, body)) = script.pop_front() {
                let (mut stream, _) = listener.accept().await.expect("accept");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("head"));
                }
                let head = String::from_utf8(head).expect("text");
                assert!(head.starts_with(want), "wanted {want}, got {head}");
                let length = head.to_ascii_lowercase();
                let length =
                    length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let mut body_sent = vec![0; length.unwrap_or(0)];
                stream.read_exact(&mut body_sent).await.expect("body");
                let answer = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.expect("write");
            }
        });
        Self { agent: Agent::new(socket), _directory: directory }
    }
}

fn pods(reports: &[serde_json::Value]) -> (&'static str, u16, String) {
    ("GET /v1/pods ", 200, serde_json::json!({ "pods": reports }).to_string())
}

fn watch(lines: &[serde_json::Value]) -> (&'static str, u16, String) {
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n\n")).collect();
    ("GET /v1/watch ", 200, lines.concat())
}

fn line(reports: &[serde_json::Value], removed: &[&str]) -> serde_json::Value {
    serde_json::json!({ "pods": reports, "removed": removed })
}

#[test]
fn ps_shows_what_kubectl_would() {
    let reports = [parsed(report("web", "ready", "")), parsed(report("worker", "waiting", ""))];
    assert_eq!(
        ps::table(&reports, "node-1", ps::Width::Normal),
        "\
NAMESPACE   NAME     READY   STATUS         RESTARTS   AGE
default     web      1/2     Running        2          2m
default     worker   0/2     ErrImagePull   2          2m
"
    );
    let wide = ps::table(&reports[..1], "node-1", ps::Width::Wide);
    assert!(wide.ends_with("2m    10.0.0.2   node-1   local    uid-web\n"), "{wide}");
}

#[test]
fn ps_warns_of_what_concerns_the_whole_node() {
    let node: NodeReport = serde_json::from_value(serde_json::json!({
        "runtime": { "ready": true, "networkReady": false, "message": "no CNI configuration" },
        "sourceProblems": [{ "origin": "/m/web.yaml", "message": "line 3: not a pod", "since": "2026-01-01T00:00:00Z" }],
    }))
    .expect("report");
    assert_eq!(
        ps::warnings(&node),
        [
            "warning: the pod network is not ready: no CNI configuration",
            "warning: /m/web.yaml: line 3: not a pod"
        ]
    );
    assert_eq!(
        ps::warnings(&NodeReport::default()),
        ["warning: the container runtime is not ready: it has not answered yet"]
    );
}

#[test]
fn why_shows_the_explanation_and_the_events() {
    let screen = why::screen(&parsed(report("web", "waiting", "no image")));
    assert!(screen.starts_with("Pod default/web: waiting\nCause:"), "{screen}");
    assert!(screen.ends_with(
        "LAST SEEN          TYPE      REASON   MESSAGE\n30s (x3 over 2m)   Warning   Failed   no image\n"
    ));
}

#[test]
fn a_pod_is_named_by_name_or_beginning() {
    let all = ["web-node", "web2", "db"].map(|name| parsed(report(name, "ready", "")));
    let name = |reference: &str| {
        crate::pods::resolve(&all, reference)
            .map(|report| report.explanation.key.name.to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(name("db").as_deref(), Ok("db"));
    assert_eq!(name("default/d").as_deref(), Ok("db"));
    assert_eq!(name("web-").as_deref(), Ok("web-node"));
    let ambiguous = name("web").expect_err("ambiguous");
    assert_eq!(ambiguous, "\"web\" may mean default/web-node or default/web2: name one of them");
    assert!(name("other/db").expect_err("none").starts_with("there is no pod \"other/db\""));
    assert!(name("").is_err());
}

#[test]
fn the_container_is_the_first_one_unless_named() {
    let pod = parsed(report("web", "ready", ""));
    let first = crate::pods::container(&pod, None).expect("container");
    assert_eq!((first.name.as_str(), first.others.join(",").as_str()), ("main", "side"));
    assert_eq!(crate::pods::container(&pod, Some("side")).expect("container").others.len(), 0);
    let error = crate::pods::container(&pod, Some("x")).expect_err("none").to_string();
    assert_eq!(error, "pod default/web has no container \"x\": it has main, side");
}

#[test]
fn options_become_queries() {
    let logs = LogsOptions {
        pod: "web".into(),
        container: None,
        follow: true,
        previous: false,
        tail: Some(5),
        since: Some(Duration::from_secs(60)),
        timestamps: true,
    };
    assert_eq!(logs::query(&logs), "follow=true&timestamps=true&tailLines=5&sinceSeconds=60");
    let wanted = core_spdy::Wanted { stdin: true, stdout: true, stderr: false, tty: true };
    let exec = crate::session::command_query(&["sh", "-c", "a b&c"], wanted);
    assert_eq!(exec, "command=sh&command=-c&command=a+b%26c&input=1&output=1&tty=1");
}

/// A writer whose text can be looked at.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn progress_tells_news_once_and_knows_its_end() {
    let applied = [AppliedPod {
        key: PodKey::new("default", "web"),
        uid: "uid-web".into(),
        outcome: "created".into(),
        generation: 1,
    }];
    let text = Shared::default();
    let mut progress = run::Progress::new(&applied, run::Screen::plain(Box::new(text.clone())));
    let see = |progress: &mut run::Progress, state: &str, cause: &str| {
        let report = parsed(report("web", state, cause));
        progress.see(&"uid-web".into(), report.explanation).expect("shown");
    };
    assert!(progress.end().is_none());
    see(&mut progress, "starting", "pulling image app for 1 s");
    see(&mut progress, "starting", "pulling image app for 12 s");
    assert!(progress.end().is_none());
    assert!(progress.unfinished().starts_with("pod default/web is starting: pulling image app for 12 s"));
    see(&mut progress, "ready", "all well");
    assert_eq!(progress.end(), Some(ExitCode::SUCCESS));
    see(&mut progress, "failed", "exit code 1");
    assert_eq!(progress.end(), Some(ExitCode::from(1)));
    progress.gone(&"uid-web".into()).expect("shown");
    assert_eq!(progress.end(), Some(ExitCode::from(1)));
    let text = String::from_utf8(text.0.lock().expect("lock").clone()).expect("text");
    assert_eq!(
        text,
        "default/web: starting - pulling image app for 1 s\ndefault/web: ready - all well\n\
         default/web: failed - exit code 1\ndefault/web: removed\n"
    );
}

#[tokio::test]
async fn run_ends_with_the_state_of_its_pods() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("web.yaml");
    std::fs::write(&file, "kind: Pod").expect("write");
    let applied = r#"[{"key":{"namespace":"default","name":"web"},"uid":"uid-web","outcome":"created"}]"#;
    let post = || ("POST /v1/pods ", 200, applied.to_owned());
    let options = |no_wait| RunOptions { source: file.clone(), no_wait, timeout: Duration::from_secs(20) };
    let starting = line(&[report("web", "starting", "creating the sandbox")], &[]);

    let ready = line(&[report("web", "ready", "")], &[]);
    let fake = FakeAgent::new(vec![post(), watch(&[starting.clone(), ready])]);
    assert_eq!(run::execute(&fake.agent, options(false)).await.expect("code"), ExitCode::SUCCESS);

    let fake = FakeAgent::new(vec![post(), watch(&[starting.clone(), line(&[], &["uid-web"])])]);
    assert_eq!(run::execute(&fake.agent, options(false)).await.expect("code"), ExitCode::from(1));

    let fake = FakeAgent::new(vec![post()]);
    assert_eq!(run::execute(&fake.agent, options(true)).await.expect("code"), ExitCode::SUCCESS);

    let fake = FakeAgent::new(vec![post(), watch(&[starting])]);
    let stopped = run::execute(&fake.agent, options(false)).await.expect_err("stopped");
    assert_eq!(stopped.exit_code(), 1);

    let refusal = r#"{"message":"line 1: not a pod"}"#;
    let fake = FakeAgent::new(vec![("POST /v1/pods ", 400, refusal.to_owned())]);
    let refused = run::execute(&fake.agent, options(false)).await.expect_err("refused");
    assert_eq!((refused.to_string().as_str(), refused.exit_code()), ("line 1: not a pod", 1));
}

#[tokio::test(start_paused = true)]
async fn run_gives_up_after_its_timeout_and_says_where_the_pod_stands() {
    let directory = tempfile::tempdir().expect("directory");
    let socket = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).expect("bind");
    let applied = r#"[{"key":{"namespace":"default","name":"web"},"uid":"uid-web","outcome":"created"}]"#;
    let first = format!("{}\n", line(&[report("web", "starting", "pulling image app")], &[]));
    tokio::spawn(async move {
        let mut open = Vec::new();
        for body in [applied.to_owned(), first] {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let end = if body.starts_with('[') {
                format!("Content-Length: {}\r\n", body.len())
            } else {
                String::new()
            };
            let answer = format!("HTTP/1.1 200 OK\r\n{end}\r\n{body}");
            stream.write_all(answer.as_bytes()).await.expect("write");
            open.push(stream);
        }
        std::future::pending::<()>().await;
    });
    let file = directory.path().join("web.yaml");
    std::fs::write(&file, "kind: Pod").expect("write");
    let options = RunOptions { source: file, no_wait: false, timeout: Duration::from_secs(60) };
    let error = run::execute(&Agent::new(socket), options).await.expect_err("timeout");
    assert_eq!(error.exit_code(), 3);
    let text = error.to_string();
    assert!(
        text.starts_with("not done within 60s: pod default/web is starting: pulling image app"),
        "{text}"
    );
}

#[test]
fn manifests_are_read_from_files_and_directories() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("write");
    let empty = run::read(directory.path()).expect_err("empty").to_string();
    assert!(empty.ends_with("holds no manifest (*.yaml, *.yml, *.json)"), "{empty}");
    write("b.yml", "b: 1");
    write("a.yaml", "a: 1");
    write("c.txt", "no");
    write(".d.yaml", "no");
    assert_eq!(run::read(directory.path()).expect("read"), "a: 1\n---\nb: 1\n---\n");
    write("blank.yaml", " \n");
    let blank = run::read(&directory.path().join("blank.yaml")).expect_err("blank");
    assert_eq!(blank.exit_code(), 2);
    let missing = run::read(&directory.path().join("missing.yaml")).expect_err("missing");
    assert!(matches!(missing, CliError::File { .. }));
}

#[tokio::test]
async fn rm_removes_each_pod_and_may_wait_until_it_is_gone() {
    let both = || pods(&[report("web", "ready", ""), report("db", "ready", "")]);
    let delete = |path, uid: &str| (path, 200, format!("{{\"uid\":\"{uid}\"}}"));
    let options = |names: &[&str], wait| RmOptions {
        pods: names.iter().map(|&name| name.to_owned()).collect(),
        wait,
        timeout: Duration::from_secs(20),
    };
    let fake = FakeAgent::new(vec![
        both(),
        delete("DELETE /v1/pods/default/db ", "uid-db"),
        delete("DELETE /v1/pods/default/web ", "uid-web"),
        watch(&[line(&[report("web", "terminating", "")], &[]), line(&[], &["uid-web"])]),
    ]);
    let code = rm::execute(&fake.agent, options(&["web", "db", "web"], true)).await.expect("code");
    assert_eq!(code, ExitCode::SUCCESS);

    let refusal = r#"{"message":"pod default/db comes from a file: remove the file"}"#.to_owned();
    let fake = FakeAgent::new(vec![
        both(),
        ("DELETE /v1/pods/default/db ", 409, refusal),
        delete("DELETE /v1/pods/default/web ", "uid-web"),
    ]);
    let code = rm::execute(&fake.agent, options(&["web", "db"], false)).await.expect("code");
    assert_eq!(code, ExitCode::from(1), "one refused, the other removed all the same");
}

#[tokio::test]
async fn without_an_agent_every_command_says_how_to_get_one() {
    let agent = Agent::new(PathBuf::from("/no/such/agent.sock"));
    let error = ps::execute(&agent, PsOptions { output: None }).await.expect_err("no agent");
    assert_eq!(error.exit_code(), 4);
    assert_eq!(
        error.to_string(),
        "no agent listens on /no/such/agent.sock: start it (kubelet), or name its socket with --socket or PODWRIGHT_SOCKET"
    );
    let error =
        why::execute(&agent, WhyOptions { pod: "web".into(), output: None }).await.expect_err("no agent");
    assert_eq!(error.exit_code(), 4);
}

#[tokio::test]
async fn an_answer_of_another_version_is_said_to_be_one() {
    let fake = FakeAgent::new(vec![("GET /v1/pods ", 200, "{\"items\":[]}".to_owned())]);
    let error = ps::execute(&fake.agent, PsOptions { output: None }).await.expect_err("unreadable");
    assert!(error.to_string().ends_with("agent and podwright may be of different versions"), "{error}");
}

#[test]
fn times_in_reports_are_text() {
    let report = parsed(report("web", "ready", ""));
    assert_eq!(report.explanation.now, WallTime::from_unix_secs(1_767_225_720));
}
