//! The built program as a user starts it: what it prints, what it ends with, and that a runtime that is down is waited for.
//!
//! Reads and writes below directories of its own; the program itself also makes `/var/log/containers`. Needs root for the
//! tests that start the agent.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_secs(30);

/// A configuration that gets past all checks on any host, and leaves its packet filter alone.
const STANDALONE: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
    failCgroupV1: false\nfailSwapOn: false\nauthentication: { webhook: { enabled: false } }\n\
    authorization: { mode: AlwaysAllow }\nenableServer: false\nmakeIPTablesUtilChains: false\n";

fn kubelet(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubelet")).args(args).output().expect("the program runs")
}

/// Runs the program, which must end with 1, and returns what it says on standard error.
fn refusal(args: &[&str]) -> String {
    let output = kubelet(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "{said}");
    said
}

fn config(directory: &Path, text: &str) -> String {
    let path = directory.join("config.yaml");
    fs::write(&path, text).expect("written");
    format!("--config={}", path.display())
}

#[test]
fn version_and_help_go_to_standard_output() {
    let version = kubelet(&["--version"]);
    assert!(version.status.success());
    assert_eq!(String::from_utf8_lossy(&version.stdout), "Kubernetes v1.37.2\n");
    let raw = kubelet(&["--version=raw", "--port=1"]);
    assert!(String::from_utf8_lossy(&raw.stdout).contains("GitVersion:\"v1.37.2\""));
    let help = kubelet(&["-h"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("--pod-manifest-path"));
}

#[test]
fn a_command_line_that_is_not_understood_is_refused() {
    assert_eq!(
        refusal(&["--network-plugin=cni"]),
        "Error: unknown flag: --network-plugin (see kubelet --help)\n"
    );
    assert_eq!(refusal(&["run"]), "Error: unknown command \"run\": the kubelet takes flags only\n");
    assert!(refusal(&["--container-runtime=docker"]).contains("containerd or CRI-O"));
}

#[test]
fn files_that_are_missing_are_named() {
    let temp = tempfile::tempdir().expect("directory");
    let missing = temp.path().join("no").display().to_string();
    for flag in ["--config", "--config-dir"] {
        let said = refusal(&[&format!("{flag}={missing}")]);
        assert!(said.starts_with(&format!("Error: {flag}: ")) && said.contains(&missing), "{said}");
    }
}

#[test]
fn every_error_of_a_configuration_has_a_line_with_its_field() {
    let temp = tempfile::tempdir().expect("directory");
    fs::create_dir_all(temp.path().join("conf.d/sub")).expect("made");
    fs::write(
        temp.path().join("conf.d/sub/10.conf"),
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: -1\n",
    )
    .expect("written");
    let dir = format!("--config-dir={}", temp.path().join("conf.d").display());
    let wrong =
        format!("{STANDALONE}port: 70000\ntopologyManagerScope: x\nfeatureGates: {{ NoSuchGate: true }}\n");
    let said = refusal(&[&config(temp.path(), &wrong), &dir, "--oom-score-adj=2000"]);
    for field in ["port", "topologyManagerScope", "maxPods", "oomScoreAdj", "NoSuchGate"] {
        let of_field = |line: &str| line.starts_with("Error: ") && line.contains(field);
        assert!(said.lines().any(of_field), "{field}: {said}");
    }
    assert_eq!(said.lines().count(), 5, "{said}");
}

#[test]
fn what_needs_an_api_server_is_refused_without_one() {
    let temp = tempfile::tempdir().expect("directory");
    let webhooks =
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfailCgroupV1: false\n";
    let said = refusal(&[&config(temp.path(), webhooks)]);
    assert!(said.contains("no client provided, cannot use webhook authentication"), "{said}");
    assert!(said.contains("cannot use webhook authorization"), "{said}");
    let root = format!("--root-dir={}", temp.path().join("root").display());
    let said = refusal(&[&config(temp.path(), STANDALONE), &root, "--kubeconfig=/no/such/kubelet.conf"]);
    assert!(said.contains("--kubeconfig: kubeconfig /no/such/kubelet.conf: read "), "{said}");
}

/// A started agent whose runtime is not there.
struct Started {
    child: Child,
    lines: Receiver<String>,
    healthz: u16,
    directory: tempfile::TempDir,
}

impl Started {
    /// `None`, said aloud, where this machine does not allow it.
    fn new(flags: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: the agent needs root");
            return None;
        }
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path();
        let healthz = free_port();
        let text = format!(
            "{STANDALONE}healthzPort: {healthz}\npodLogsDir: {0}/logs\nstaticPodURL: http://127.0.0.1:1/\n\
             staticPodURLHeader: {{ Token: [ hunter2 ] }}\ncontainerRuntimeEndpoint: unix://{0}/no.sock\n",
            path.display()
        );
        let mut child = Command::new(env!("CARGO_BIN_EXE_kubelet"))
            .arg(config(path, &text))
            .arg(format!("--root-dir={}", path.join("root").display()))
            .arg(format!("--local-socket={}", path.join("agent.sock").display()))
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Some(Self { child, lines, healthz, directory })
    }

    /// Waits for a line that holds all of `parts`; returns every line up to it.
    fn wait_for(&self, parts: &[&str]) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(LIMIT);
            assert!(line.is_ok(), "no line with {parts:?} in {seen:#?}");
            seen.extend(line);
            if seen.last().is_some_and(|line| parts.iter().all(|part| line.contains(part))) {
                return seen;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("ended").code()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address").port()
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.set_read_timeout(Some(LIMIT)).expect("set");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn a_runtime_that_is_down_is_waited_for_and_sigterm_ends_with_0() {
    let cadvisor = free_port();
    let flag = format!("--cadvisor-port={cadvisor}");
    let Some(mut started) = Started::new(&[&flag, "--address=127.0.0.1", "-v4"]) else { return };
    let mut log = started.wait_for(&["listening", "agent.sock"]);
    assert!(get(started.healthz, "/healthz").ends_with("\r\n\r\nok"));
    let metrics = get(cadvisor, "/metrics");
    for want in [
        "machine_cpu_cores{",
        "container_memory_usage_bytes{container=\"\",id=\"/\"",
        "container_scrape_error 1",
    ] {
        assert!(metrics.contains(want), "{want} is missing in\n{metrics}");
    }
    assert!(get(cadvisor, "/pods").starts_with("HTTP/1.1 404"));
    if !log.iter().any(|line| line.contains("the container runtime cannot be used")) {
        log.extend(started.wait_for(&["the container runtime cannot be used"]));
    }
    assert!(started.child.try_wait().expect("asked").is_none());
    started.signal(Signal::TERM);
    log.extend(started.wait_for(&["stopping", "SIGTERM"]));
    assert_eq!(started.exit_code(), Some(0));

    let log = log.join("\n");
    assert!(log.contains("\"staticPodURLHeader\": {") && log.contains("<masked>"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    assert!(log.contains("--address is deprecated"), "{log}");
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = taken.local_addr().expect("address").port();
    let flag = format!("--read-only-port={port}");
    let Some(mut started) = Started::new(&[&flag, "--address=127.0.0.1", "--logging-format=json"]) else {
        return;
    };
    let log = started.wait_for(&["the kubelet ends"]);
    let last = log.last().expect("a line");
    assert!(
        last.starts_with("{\"ts\":") && last.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{last}"
    );
    assert_eq!(started.exit_code(), Some(1));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let Some(mut started) = Started::new(&[]) else { return };
    started.wait_for(&["listening", "agent.sock"]);
    // Both wait for the stopped process, so it meets them together.
    for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
        started.signal(signal);
    }
    assert_eq!(started.exit_code(), Some(1));
}

#[test]
fn someone_who_wants_the_lock_ends_it_with_0() {
    let directory = tempfile::tempdir().expect("directory");
    let lock = directory.path().join("lock");
    let flag = format!("--lock-file={}", lock.display());
    let Some(mut started) = Started::new(&[&flag, "--exit-on-lock-contention"]) else { return };
    started.wait_for(&["listening", "agent.sock"]);
    assert!(started.path("root/podwright/manifests").is_dir());
    let Some(second) = Started::new(&[&flag]) else { return };
    started.wait_for(&["another process wants the file lock"]);
    assert_eq!(started.exit_code(), Some(0));
    second.wait_for(&["listening", "agent.sock"]);
}
