//! Content of a pod's `/etc/hosts` (CONTRACT 3.18).

use core_types::PodExt;
use core_types::api::{HostAlias, Pod};

use crate::hostname::PodHostname;

/// First line of every file for a pod with its own network.
const HEADER: &str = "# Kubernetes-managed hosts file.\n";
/// First line of every file for a pod in the host's network.
const HOST_NETWORK_HEADER: &str = "# Kubernetes-managed hosts file (host network).\n";
/// Lines of every pod with its own network.
const LOCAL_LINES: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    fe00::0\tip6-mcastprefix\n\
    fe00::1\tip6-allnodes\n\
    fe00::2\tip6-allrouters\n";

/// The file for a pod with its own network.
pub fn pod_hosts(pod: &Pod, pod_ips: &[String], name: &PodHostname) -> String {
    let PodHostname { hostname, domain } = name;
    let mut file = format!("{HEADER}{LOCAL_LINES}");
    for ip in pod_ips {
        file += &match domain.as_str() {
            "" => format!("{ip}\t{hostname}\n"),
            domain => format!("{ip}\t{hostname}.{domain}\t{hostname}\n"),
        };
    }
    file + &alias_lines(pod)
}

/// The file for a pod in the host's network, made from the host's own.
pub fn host_network_hosts(pod: &Pod, host_file: &str) -> String {
    format!("{HOST_NETWORK_HEADER}{host_file}{}", alias_lines(pod))
}

fn alias_lines(pod: &Pod) -> String {
    let aliases: &[HostAlias] =
        pod.spec_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    if aliases.is_empty() {
        return String::new();
    }
    let line = |alias: &HostAlias| {
        let names = alias.hostnames.as_deref().unwrap_or_default();
        format!("{}\t{}\n", alias.ip, names.join("\t"))
    };
    let lines: String = aliases.iter().map(line).collect();
    format!("\n# Entries added by HostAliases.\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_with;
    use serde_json::json;

    const HEAD: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";

    #[test]
    fn files_are_byte_for_byte_upstreams() {
        let pod = pod_with(json!({"containers": []}));
        let short = PodHostname { hostname: "web".to_owned(), domain: String::new() };
        let full = PodHostname { domain: "s.shop.svc.cluster.local".to_owned(), ..short.clone() };
        let ips = ["10.0.0.2".to_owned(), "fd00::2".to_owned()];
        assert_eq!(pod_hosts(&pod, &ips, &short), format!("{HEAD}10.0.0.2\tweb\nfd00::2\tweb\n"));
        assert_eq!(
            pod_hosts(&pod, &ips[..1], &full),
            format!("{HEAD}10.0.0.2\tweb.s.shop.svc.cluster.local\tweb\n")
        );
        let aliased = pod_with(json!({"containers": [], "hostAliases": [
            {"ip": "1.2.3.4", "hostnames": ["a", "b"]}, {"ip": "1.2.3.5", "hostnames": ["c"]}
        ]}));
        let aliases = "\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n1.2.3.5\tc\n";
        assert_eq!(pod_hosts(&aliased, &[], &short), format!("{HEAD}{aliases}"));
        assert_eq!(
            host_network_hosts(&aliased, "127.0.0.1 me\n"),
            format!("# Kubernetes-managed hosts file (host network).\n127.0.0.1 me\n{aliases}")
        );
    }
}
