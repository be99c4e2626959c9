//! The pod network of one instance: a bridge and a subnet of its own, and what CNI leaves behind when it is killed.
//!
//! Guarantees: only things that carry the instance's own bridge or network name are made or removed. What CNI's `portmap` shares
//! between all networks of a machine, its three chains without a container's rules, stays.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::command;

/// libcni keeps its results here, whatever the runtime is told.
const CNI_RESULTS: &str = "/var/lib/cni/results";

/// 10.88.0.0, where the subnets begin.
const FIRST_SUBNET: u32 = u32::from_be_bytes([10, 88, 0, 0]);

/// Length of a subnet's prefix.
const PREFIX_BITS: u32 = 22;

/// The network of the instance with this number.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    number: u8,
}

impl Network {
    pub(crate) fn new(number: u8) -> Self {
        Self { number }
    }

    /// The bridge's interface name.
    #[must_use]
    pub fn bridge(self) -> String {
        format!("pwbr{}", self.number)
    }

    /// The bridge's own address, which pods see as their gateway and which can serve as a node IP.
    #[must_use]
    pub fn gateway(self) -> String {
        let [a, b, c, _] = self.first_octets();
        format!("{a}.{b}.{c}.1")
    }

    /// The pods' addresses: room for a thousand.
    #[must_use]
    pub fn subnet(self) -> String {
        let [a, b, c, d] = self.first_octets();
        format!("{a}.{b}.{c}.{d}/{PREFIX_BITS}")
    }

    /// The subnet's own address: the number times the size of a subnet from 10.88.0.0 on.
    fn first_octets(self) -> [u8; 4] {
        (FIRST_SUBNET + (u32::from(self.number) << (32 - PREFIX_BITS))).to_be_bytes()
    }

    /// Whether another network of this machine already uses a part of the subnet.
    pub(crate) fn is_taken(self) -> Result<bool> {
        let routes = command::output(Command::new("ip").args(["-o", "-4", "route", "show"]))?;
        let [a, b, c, _] = self.first_octets();
        let within = |route: &str| (c..c + 4).any(|third| route.starts_with(&format!("{a}.{b}.{third}.")));
        Ok(routes.lines().any(|route| within(route) && !route.contains(&self.bridge())))
    }

    /// Makes the bridge and writes the CNI configuration to `conf_dir`; addresses given out are noted in `ipam_dir`.
    pub(crate) fn create(self, conf_dir: &Path, ipam_dir: &Path) -> Result<()> {
        fs::create_dir_all(conf_dir).with_context(|| format!("{}", conf_dir.display()))?;
        let file = conf_dir.join("10-podwright.conflist");
        fs::write(&file, serde_json::to_vec_pretty(&self.config(ipam_dir))?)
            .with_context(|| format!("{}", file.display()))?;
        let bridge = self.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/{PREFIX_BITS}", self.gateway()), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])
    }

    /// Removes the bridge, the address translation rules and CNI's notes; nothing there is no error.
    pub(crate) fn remove(self) -> Result<()> {
        if Path::new("/sys/class/net").join(self.bridge()).exists() {
            ip(&["link", "delete", &self.bridge()])?;
        }
        self.remove_rules()?;
        self.remove_results();
        Ok(())
    }

    fn name(self) -> String {
        format!("podwright-{}", self.number)
    }

    fn config(self, ipam_dir: &Path) -> Value {
        let ipam = json!({
            "type": "host-local", "dataDir": ipam_dir, "ranges": [[{ "subnet": self.subnet() }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        });
        json!({
            "cniVersion": "1.0.0", "name": self.name(),
            "plugins": [
                { "type": "bridge", "bridge": self.bridge(), "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam },
                { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
            ],
        })
    }

    fn remove_rules(self) -> Result<()> {
        if command::find_program("iptables-save", &["/usr/sbin"]).is_none() {
            return Ok(());
        }
        let saved = command::output(Command::new("iptables-save").args(["-t", "nat"]))?;
        let script = removal_script(&saved, &self.name());
        if script.is_empty() {
            return Ok(());
        }
        let mut restore = Command::new("iptables-restore")
            .args(["--noflush", "--wait"])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start iptables-restore")?;
        restore
            .stdin
            .take()
            .context("iptables-restore has a standard input")?
            .write_all(script.as_bytes())?;
        let status = restore.wait()?;
        if !status.success() {
            bail!("iptables-restore ended with {status} on:\n{script}");
        }
        Ok(())
    }

    fn remove_results(self) {
        let Ok(entries) = fs::read_dir(CNI_RESULTS) else { return };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        for note in names.filter_map(|name| notes_of(&name, &self.name())).flatten() {
            // A note that stays is harmless: its container is gone.
            let _gone = fs::remove_file(Path::new(CNI_RESULTS).join(note));
        }
    }
}

/// The notes about one sandbox, given the one about its interface in `network`: that one and the one about its loopback.
fn notes_of(name: &str, network: &str) -> Option<[String; 2]> {
    let sandbox = name.strip_prefix(network)?.strip_prefix('-')?.strip_suffix("-eth0")?;
    Some([name.to_owned(), format!("cni-loopback-{sandbox}-lo")])
}

fn ip(args: &[&str]) -> Result<()> {
    command::output(Command::new("ip").args(args)).map(drop)
}

/// What to feed to `iptables-restore --noflush` so that the rules of `network`, and the chains only they lead to, go away.
///
/// CNI's plugins write the network's name into the comment of each rule that leads to a container's own chain.
fn removal_script(saved: &str, network: &str) -> String {
    let mark = format!("name: \\\"{network}\\\"");
    let mut chains: Vec<&str> = Vec::new();
    let mut script = String::new();
    for rule in saved.lines().filter(|line| line.contains(&mark)) {
        let Some(rest) = rule.strip_prefix("-A ") else { continue };
        script.push_str(&format!("-D {rest}\n"));
        let target = rest.split(" -j ").nth(1).and_then(|t| t.split(' ').next()).unwrap_or_default();
        if target.starts_with("CNI-") && target != "CNI-HOSTPORT-SETMARK" && !chains.contains(&target) {
            chains.push(target);
        }
    }
    // The rules inside such a chain carry the mark as well; flushing covers those that do not.
    script.extend(chains.iter().map(|chain| format!("-F {chain}\n")));
    script.extend(chains.iter().map(|chain| format!("-X {chain}\n")));
    if script.is_empty() { script } else { format!("*nat\n{script}COMMIT\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_networks_own_rules_and_chains_are_removed() {
        let saved = r#"*nat
:CNI-aaa - [0:0]
-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A POSTROUTING -s 10.88.3.2/32 -m comment --comment "name: \"podwright-3\" id: \"x\"" -j CNI-aaa
-A POSTROUTING -s 10.88.4.2/32 -m comment --comment "name: \"podwright-4\" id: \"y\"" -j CNI-bbb
-A CNI-aaa -d 10.88.3.0/24 -m comment --comment "name: \"podwright-3\" id: \"x\"" -j ACCEPT
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"podwright-3\" id: \"x\"" -m multiport --dports 80 -j CNI-DN-c
-A CNI-DN-c -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.88.3.2:80
COMMIT
"#;
        let script = removal_script(saved, "podwright-3");
        assert!(
            script.starts_with("*nat\n-D POSTROUTING -s 10.88.3.2/32") && script.ends_with("COMMIT\n"),
            "{script}"
        );
        assert!(script.contains("-F CNI-aaa\n-F CNI-DN-c\n-X CNI-aaa\n-X CNI-DN-c\n"), "{script}");
        assert!(
            !script.contains("10.88.4.2") && !script.contains("CNI-bbb") && !script.contains("MASQ"),
            "{script}"
        );
        assert_eq!(removal_script(saved, "podwright-30"), "");
    }

    #[test]
    fn subnets_follow_each_other() {
        let subnets = [0, 1, 64].map(|number| Network::new(number).subnet());
        assert_eq!(subnets, ["10.88.0.0/22", "10.88.4.0/22", "10.89.0.0/22"]);
        assert_eq!(Network::new(65).gateway(), "10.89.4.1");
    }

    #[test]
    fn notes_are_found_by_network_and_sandbox() {
        let notes = notes_of("podwright-1-abc-eth0", "podwright-1");
        assert_eq!(notes, Some(["podwright-1-abc-eth0".to_owned(), "cni-loopback-abc-lo".to_owned()]));
        assert_eq!(notes_of("podwright-11-abc-eth0", "podwright-1"), None);
        assert_eq!(notes_of("cni-loopback-abc-lo", "podwright-1"), None);
    }

    #[test]
    fn numbers_give_separate_networks() {
        let (one, two) = (Network::new(1), Network::new(2));
        assert_ne!(one.bridge(), two.bridge());
        assert_ne!(one.subnet(), two.subnet());
    }
}
