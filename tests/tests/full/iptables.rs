//! The chains that the kubelet keeps in the host's packet filter, in a network namespace of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;
use tests::{LATER, Node, SOON, eventually};

/// A network namespace; it ends with the value.
struct Namespace(String);

impl Namespace {
    #[track_caller]
    fn new() -> Self {
        let name = format!("podwright-packets-{}", std::process::id());
        lab::command::output(Command::new("ip").args(["netns", "add", &name])).unwrap();
        Self(name)
    }

    /// What a command prints that is run in it.
    fn output(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).args(words);
        lab::command::output(&mut command).map_err(|error| format!("{error:#}"))
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        self.output(words).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The chains and rules of a table.
    fn table(&self, program: &str, table: &str) -> Result<Vec<String>, String> {
        let text = self.output(&[&format!("{program}-save"), "-t", table])?;
        let of_rules = text.lines().filter(|line| line.starts_with("-A ") || line.starts_with(':'));
        Ok(of_rules.map(|line| line.split(" [").next().unwrap_or_default().to_owned()).collect())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = lab::command::output(Command::new("ip").args(["netns", "delete", &self.0])) {
            eprintln!("cannot delete the network namespace: {error:#}");
        }
    }
}

const FILTER: [&str; 5] = [
    ":KUBE-FIREWALL -",
    ":KUBE-KUBELET-CANARY -",
    "-A INPUT -j KUBE-FIREWALL",
    "-A OUTPUT -j KUBE-FIREWALL",
    "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" \
     -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
];

#[track_caller]
fn complete(namespace: &Namespace) {
    eventually("the kubelet's chains", LATER, || {
        let filter = namespace.table("iptables", "filter")?;
        let mangle = [namespace.table("iptables", "mangle")?, namespace.table("ip6tables", "mangle")?];
        let times = |line: &str| filter.iter().filter(|one| *one == line).count();
        let hinted = mangle.iter().all(|table| table.contains(&":KUBE-IPTABLES-HINT -".to_owned()));
        match hinted && FILTER.into_iter().all(|line| times(line) == 1) {
            true => Ok(()),
            false => Err(format!("{filter:?} {mangle:?}")),
        }
    });
}

#[test]
fn chains_are_made_kept_and_never_doubled() {
    let mut node = Node::prepared();
    let namespace = Namespace::new();
    // What was there stays, and comes after the kubelet's own rule.
    namespace.run(&["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9", "-j", "ACCEPT"]);
    let programs = node.instance.dir().join("programs");
    fs::create_dir(&programs).unwrap();
    for program in ["iptables", "ip6tables"] {
        let real = lab::command::find_program(program, &["/usr/sbin"]).unwrap();
        let text = format!("#!/bin/sh\nexec ip netns exec {} {} \"$@\"\n", namespace.0, real.display());
        let file = programs.join(program);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    node.agent.env.push(("PATH".to_owned(), format!("{}:{path}", programs.display())));
    node.agent.config["makeIPTablesUtilChains"] = json!(true);
    node.start();
    complete(&namespace);
    let input: Vec<String> = namespace.table("iptables", "filter").unwrap();
    let input: Vec<&String> = input.iter().filter(|line| line.starts_with("-A INPUT")).collect();
    assert_eq!(input, ["-A INPUT -j KUBE-FIREWALL", "-A INPUT -p tcp -m tcp --dport 9 -j ACCEPT"]);
    let of_ipv6 = namespace.table("ip6tables", "filter").unwrap();
    assert!(!of_ipv6.contains(&":KUBE-FIREWALL -".to_owned()), "{of_ipv6:?}");

    node.agent.stop(SOON).unwrap();
    // What is made last shows when a start has made everything.
    namespace.run(&["iptables", "-t", "filter", "-X", "KUBE-KUBELET-CANARY"]);
    node.start();
    node.logged(0, &["Effective KubeletConfiguration"]);
    complete(&namespace);

    // The agent looks at a chain of the last of these tables, and makes nothing before that one is gone.
    for table in ["nat", "filter", "mangle"] {
        namespace.run(&["iptables", "-t", table, "-F"]);
        namespace.run(&["iptables", "-t", table, "-X"]);
    }
    complete(&namespace);
}
