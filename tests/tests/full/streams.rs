//! Exec, attach, port-forward and run on 10250, with a client certificate, over SPDY and WebSocket, on a real runtime.

use core_spdy::Wanted;
use serde_json::json;
use tests::{
    Node, SOON, eventually,
    https::{self, Authority},
    manifest::{IDLE, pod, shell},
    status,
    streams::{Streams, Wire},
};

const ALL: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
const OUTPUT: Wanted = Wanted { stdin: false, stdout: true, stderr: false, tty: false };
const BOTH: [Wire; 2] = [Wire::Spdy, Wire::WebSocket];
const POD: &str = "default/streamer-podwright-lab";

/// A path of exec with these arguments.
fn exec(arguments: &[&str], streams: &str) -> String {
    let command: String =
        arguments.iter().map(|argument| format!("command={}&", encoded(argument))).collect();
    format!("/exec/{POD}/main?{command}{streams}")
}

/// A text as a query has it.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[test]
fn streams_of_the_secure_port_reach_into_containers() {
    let mut node = Node::prepared();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    node.agent.config["authentication"]["anonymous"]["enabled"] = json!(false);
    node.agent.config["authentication"]["x509"] = json!({ "clientCAFile": authority.file() });
    let mut echo = shell("echo", "trap 'exit 0' TERM; nc -ll -p 7000 -e cat & nc -ll -p 7001 -e cat & wait");
    echo["readinessProbe"] = json!({ "tcpSocket": { "port": 7001 }, "periodSeconds": 1 });
    let mut reader = shell("reader", "while read line; do echo got $line; done; exec sleep 3600");
    reader["stdin"] = json!(true);
    node.put(&pod("streamer", json!({ "containers": [shell("main", IDLE), echo, reader] })));
    node.start();
    let uid = status::uid(&node.ready("streamer"));
    let admin = authority.sign("admin");
    let port = node.agent.ports().secure;
    let client = Streams { port, identity: Some(&admin) };

    let nobody =
        Streams { port, identity: None }.command(Wire::Spdy, &exec(&["id"], "output=1"), OUTPUT, b"");
    assert_eq!(nobody.unwrap_err(), (401, "Unauthorized".to_owned()));
    for wire in BOTH {
        commands(&client, wire, &uid);
        attach(&client, wire, &uid);
        forward(&client, wire);
        let endless = exec(&["sh", "-c", "yes $0", &format!("endless-{wire:?}")], "output=1");
        client.leave_after_first_output(wire, &endless, OUTPUT);
    }
    older_web_sockets(&client);
    eventually("commands without end to end with their clients", SOON, || {
        let left = node.cri.sh("streamer", "main", "ps | grep -c '[y]es endless' || true");
        if left.trim() == "0" { Ok(()) } else { Err(left) }
    });
    let run = |query: &str| https::post(port, &format!("/run/{POD}/main?{query}"), Some(&admin));
    assert_eq!(run("cmd=echo%20hello%20world"), (200, "hello world\n".to_owned()));
    let (code, words) = run("cmd=cat%20/nothing");
    assert!(
        code == 500 && words.starts_with("command 'cat /nothing' exited with 1: cat: "),
        "{code} {words}"
    );
    let metrics = https::get(port, "/metrics", Some(&admin)).1;
    for subresource in ["exec", "attach", "portforward"] {
        let counted = format!("kubelet_websocket_streaming_requests_total{{subresource=\"{subresource}\"}}");
        assert!(metrics.contains(&counted), "no {counted}");
    }
}

fn commands(client: &Streams<'_>, wire: Wire, uid: &str) {
    let script = "cat; echo done >&2; exit 42";
    let path = exec(&["sh", "-c", script], "input=1&output=1&error=1");
    let input: String = (0..60_000).map(|line| format!("line {line}\n")).collect();
    let ended = client.command(wire, &path, ALL, input.as_bytes()).unwrap();
    assert!(ended.out == input, "{wire:?}: {} of {} bytes", ended.out.len(), input.len());
    assert_eq!((ended.err.as_str(), ended.code), ("done\n", Some(42)), "{wire:?}");

    let with_uid = exec(&["true"], "output=1").replacen("/main?", &format!("/{uid}/main?"), 1);
    assert_eq!(client.command(wire, &with_uid, OUTPUT, b"").unwrap().code, Some(0), "{wire:?}");
    let missing = client.command(wire, &exec(&["no-such-program"], "output=1"), OUTPUT, b"").unwrap();
    assert!(missing.code.is_none() && missing.problem.contains("no-such-program"), "{wire:?}: {missing:?}");
    let terminal = Wanted { tty: true, ..OUTPUT };
    let ended = client.command(wire, &exec(&["tty"], "output=1&error=1&tty=1"), terminal, b"").unwrap();
    assert!(ended.out.starts_with("/dev/pts/") && ended.err.is_empty(), "{wire:?}: {ended:?}");
    let refused = client.command(wire, &exec(&["true"], "output=1").replace("/main?", "/gone?"), OUTPUT, b"");
    assert_eq!(refused.unwrap_err(), (500, "container not found (\"gone\")".to_owned()), "{wire:?}");
}

fn older_web_sockets(client: &Streams<'_>) {
    let path = exec(&["sh", "-c", "echo out; echo err >&2; exit 42"], "output=1&error=1");
    for protocol in ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let ended = client.older_web_socket(protocol, &path).unwrap();
        let seen = (ended.out.as_str(), ended.err.as_str(), ended.code);
        assert_eq!(seen, ("out\n", "err\n", Some(42)), "{protocol}");
    }
}

fn attach(client: &Streams<'_>, wire: Wire, uid: &str) {
    // The container goes on reading when a client is gone, and other clients come: nothing may end its input.
    let path = format!("/attach/{POD}/{uid}/reader?output=1");
    let wrong = client.command(wire, &path.replace(uid, "other"), OUTPUT, b"").unwrap_err();
    assert_eq!(wrong, (500, "pod streamer-podwright-lab_default not found".to_owned()), "{wire:?}");
    let path = path.replace("output=1", "input=1&output=1&error=1");
    let got = client.converse(wire, &path, ALL, &format!("{wire:?}\n"), &format!("got {wire:?}\n"));
    assert!(got.contains(&format!("got {wire:?}\n")), "{got}");
}

fn forward(client: &Streams<'_>, wire: Wire) {
    let long = "x".repeat(100_000);
    let talks = [(7000, "one"), (7001, "two"), (7000, long.as_str())];
    let answers = client.forward(wire, &format!("/portForward/{POD}"), &talks).unwrap();
    assert!(answers == ["one", "two", long.as_str()], "{wire:?}: {:?}", answers.iter().map(String::len));
    let refused = client.forward(wire, &format!("/portForward/{POD}/other"), &talks).unwrap_err();
    assert_eq!(refused, (404, "pod not found".to_owned()), "{wire:?}");
}
