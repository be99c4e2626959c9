//! resolv.conf of a pod: the host's file, the cluster's DNS and the pod's own settings, within the limits that resolvers
//! stand (CONTRACT 3.18).
//!
//! Where upstream's order of options is random, options keep the order in which they were given.

use core_types::PodExt;
use core_types::api::{Pod, PodDNSConfig};
use core_types::runtime::DnsConfig;

use crate::events::RuntimeEventText;
use crate::text::pod_text;

/// Most name servers that resolvers use.
const MAX_SERVERS: usize = 3;
/// Most search domains.
const MAX_SEARCHES: usize = 32;
/// Most characters of the search line.
const MAX_SEARCH_CHARS: usize = 2048;
/// Longest search domain; some resolvers abort on longer ones.
const MAX_SEARCH_LEN: usize = 253;
/// Search domains that a cluster adds.
const CLUSTER_SEARCHES: usize = 3;

/// A parsed resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// The last `search` line.
    pub searches: Vec<String>,
    /// `options`, the last of each name.
    pub options: Vec<String>,
}

/// A resolv.conf that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: nameserver without an address; pods that use the host's DNS cannot start until it is corrected"
)]
pub struct ResolvConfError {
    /// Line number.
    pub line: usize,
}

/// The host's DNS settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostDns {
    /// `resolvConf` names a file with this content.
    File(ResolvConf),
    /// `resolvConf` is empty: lookups go to the node itself.
    Disabled {
        /// IPs of the node.
        node_ips: Vec<String>,
    },
}

/// DNS settings of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// `clusterDNS`.
    pub cluster_dns: Vec<String>,
    /// `clusterDomain`; may be empty.
    pub cluster_domain: String,
    /// The host's settings.
    pub host: HostDns,
}

/// A pod's resolv.conf and what its owner should know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodDns {
    /// What the runtime writes.
    pub config: DnsConfig,
    /// Events of the pod.
    pub events: Vec<RuntimeEventText>,
}

impl ResolvConf {
    /// Reads a resolv.conf. Name servers add up, the last `search` wins, options win by name; a trailing dot of a search
    /// domain is dropped, and the root alone is left out.
    pub fn parse(text: &str) -> Result<Self, ResolvConfError> {
        let mut conf = Self::default();
        for (index, line) in text.lines().enumerate() {
            let mut fields = line.split_whitespace();
            match fields.next() {
                Some("nameserver") => {
                    let server = fields.next().ok_or(ResolvConfError { line: index + 1 })?;
                    conf.servers.push(server.to_owned());
                }
                Some("search") => {
                    let domains = fields.filter(|domain| *domain != ".");
                    conf.searches = domains.map(|d| d.strip_suffix('.').unwrap_or(d).to_owned()).collect();
                }
                Some("options") => {
                    fields.for_each(|option| set_option(&mut conf.options, option.to_owned()));
                }
                _ => {}
            }
        }
        Ok(conf)
    }

    /// What the node's owner should know: the file, named `path`, is over the limits. Reason `CheckLimitsForResolvConf`.
    pub fn limits_problem(&self, path: &str, cluster_domain: &str) -> Option<String> {
        let most = if cluster_domain.is_empty() { MAX_SEARCHES } else { MAX_SEARCHES - CLUSTER_SEARCHES };
        if self.searches.len() > most {
            return Some(format!(
                "Resolv.conf file '{path}' contains search line consisting of more than {most} domains!"
            ));
        }
        if self.searches.iter().any(|search| search.len() > MAX_SEARCH_LEN) {
            return Some(format!(
                "Resolv.conf file {path:?} contains a search path which length is more than allowed {MAX_SEARCH_LEN} chars!"
            ));
        }
        (self.searches.join(" ").len() > MAX_SEARCH_CHARS).then(|| {
            format!(
                "Resolv.conf file '{path}' contains search line which length is more than allowed {MAX_SEARCH_CHARS} chars!"
            )
        })
    }
}

/// The resolv.conf of a pod.
pub fn pod_dns(pod: &Pod, settings: &DnsSettings) -> PodDns {
    let mut events = Vec::new();
    let policy = pod.spec_ref().and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let mut config = match policy {
        "None" => DnsConfig::default(),
        "Default" => host_config(settings),
        "ClusterFirst" if pod.is_host_network() => host_config(settings),
        _ if settings.cluster_dns.is_empty() => {
            events.push(RuntimeEventText::MissingClusterDns { pod: pod_text(pod) });
            host_config(settings)
        }
        _ => cluster_config(pod, settings),
    };
    if let Some(own) = pod.spec_ref().and_then(|spec| spec.dns_config.as_ref()) {
        append(&mut config, own);
    }
    limit_servers(&mut config.servers, &mut events);
    limit_searches(&mut config.searches, &mut events);
    PodDns { config, events }
}

fn host_config(settings: &DnsSettings) -> DnsConfig {
    match &settings.host {
        HostDns::File(conf) => DnsConfig {
            servers: conf.servers.clone(),
            searches: conf.searches.clone(),
            options: conf.options.clone(),
        },
        HostDns::Disabled { node_ips } => {
            let local = |ip: &String| if ip.contains(':') { "::1" } else { "127.0.0.1" }.to_owned();
            let mut servers: Vec<String> = node_ips.iter().map(local).collect();
            if servers.is_empty() {
                servers.push("127.0.0.1".to_owned());
            }
            DnsConfig { servers, searches: vec![".".to_owned()], options: Vec::new() }
        }
    }
}

fn cluster_config(pod: &Pod, settings: &DnsSettings) -> DnsConfig {
    let host_searches = match &settings.host {
        HostDns::File(conf) => conf.searches.clone(),
        HostDns::Disabled { .. } => Vec::new(),
    };
    let domain = &settings.cluster_domain;
    let searches = if domain.is_empty() {
        host_searches
    } else {
        let mut searches =
            vec![format!("{}.svc.{domain}", pod.key().namespace), format!("svc.{domain}"), domain.clone()];
        searches.extend(host_searches);
        without_duplicates(searches)
    };
    DnsConfig { servers: settings.cluster_dns.clone(), searches, options: vec!["ndots:5".to_owned()] }
}

fn append(config: &mut DnsConfig, own: &PodDNSConfig) {
    config.servers.extend(own.nameservers.iter().flatten().cloned());
    config.servers = without_duplicates(std::mem::take(&mut config.servers));
    config.searches.extend(own.searches.iter().flatten().cloned());
    config.searches = without_duplicates(std::mem::take(&mut config.searches));
    for option in own.options.iter().flatten() {
        let name = option.name.clone().unwrap_or_default();
        set_option(
            &mut config.options,
            match option.value.as_deref() {
                None | Some("") => name,
                Some(value) => format!("{name}:{value}"),
            },
        );
    }
}

/// Adds an option, or replaces the one of the same name.
fn set_option(options: &mut Vec<String>, option: String) {
    let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
    match options.iter_mut().find(|known| name(known) == name(&option)) {
        Some(known) => *known = option,
        None => options.push(option),
    }
}

fn without_duplicates(texts: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    texts.into_iter().filter(|text| seen.insert(text.clone())).collect()
}

fn limit_servers(servers: &mut Vec<String>, events: &mut Vec<RuntimeEventText>) {
    if servers.len() > MAX_SERVERS {
        servers.truncate(MAX_SERVERS);
        events.push(RuntimeEventText::DnsConfigForming(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            servers.join(" ")
        )));
    }
}

fn limit_searches(searches: &mut Vec<String>, events: &mut Vec<RuntimeEventText>) {
    let given = searches.len();
    searches.truncate(MAX_SEARCHES);
    searches.retain(|search| search.len() <= MAX_SEARCH_LEN);
    while searches.join(" ").len() > MAX_SEARCH_CHARS {
        searches.pop();
    }
    if searches.len() < given {
        events.push(RuntimeEventText::DnsConfigForming(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            searches.join(" ")
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_with;
    use serde_json::{Value, json};

    const FILE: &str = "# comment\nnameserver 8.8.8.8\n nameserver  9.9.9.9 \nsearch old.example\n\
        search a.example. . b.example\noptions ndots:2 rotate\noptions ndots:3\ndomain x\n";

    fn settings(cluster: bool) -> DnsSettings {
        DnsSettings {
            cluster_dns: if cluster { vec!["10.96.0.10".to_owned()] } else { Vec::new() },
            cluster_domain: "cluster.local".to_owned(),
            host: HostDns::File(ResolvConf::parse(FILE).unwrap()),
        }
    }

    fn lines(mut spec: Value, settings: &DnsSettings) -> (String, usize) {
        spec["containers"] = json!([]);
        let PodDns { config, events } = pod_dns(&pod_with(spec), settings);
        let text = format!(
            "{} | {} | {}",
            config.servers.join(" "),
            config.searches.join(" "),
            config.options.join(" ")
        );
        (text, events.len())
    }

    #[test]
    fn the_policy_chooses_the_base() {
        let host = "8.8.8.8 9.9.9.9 | a.example b.example | ndots:3 rotate";
        let cluster = "10.96.0.10 | shop.svc.cluster.local svc.cluster.local cluster.local a.example b.example | ndots:5";
        for (spec, is_cluster, expected, events) in [
            (json!({}), true, cluster, 0),
            (json!({"dnsPolicy": "ClusterFirst"}), true, cluster, 0),
            (json!({"dnsPolicy": "ClusterFirst"}), false, host, 1),
            (json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), true, host, 0),
            (json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), true, cluster, 0),
            (json!({"dnsPolicy": "Default"}), true, host, 0),
            (json!({"dnsPolicy": "None"}), true, " |  | ", 0),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.1"], "searches": ["x"],
                    "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}, {"name": "ndots", "value": "4"}]}}),
                true,
                "1.1.1.1 | x | ndots:4 edns0",
                0,
            ),
            (
                json!({"dnsConfig": {"searches": ["cluster.local"], "options": [{"name": "ndots", "value": "1"}]}}),
                true,
                "10.96.0.10 | shop.svc.cluster.local svc.cluster.local cluster.local a.example b.example | ndots:1",
                0,
            ),
        ] {
            assert_eq!(lines(spec.clone(), &settings(is_cluster)), (expected.to_owned(), events), "{spec}");
        }
    }

    #[test]
    fn without_a_file_lookups_stay_on_the_node() {
        for (node_ips, servers) in
            [(vec![], "127.0.0.1"), (vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()], "127.0.0.1 ::1")]
        {
            let settings = DnsSettings { host: HostDns::Disabled { node_ips }, ..settings(false) };
            assert_eq!(lines(json!({"dnsPolicy": "Default"}), &settings), (format!("{servers} | . | "), 0));
        }
    }

    #[test]
    fn what_is_over_the_limits_is_left_out_and_told() {
        let servers = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"];
        let many: Vec<String> = (0..40).map(|n| format!("d{n}")).collect();
        let long = vec!["x".repeat(254), "y".to_owned()];
        let wide: Vec<String> = (0..30).map(|n| format!("{n:0>200}")).collect();
        for (searches, kept) in [(many, 32), (long, 1), (wide, 10)] {
            let pod = pod_with(json!({"containers": [], "dnsPolicy": "None",
                "dnsConfig": {"nameservers": servers, "searches": searches}}));
            let dns = pod_dns(&pod, &settings(false));
            assert_eq!((dns.config.servers.len(), dns.config.searches.len()), (3, kept));
            assert_eq!(dns.events.len(), 2);
            assert_eq!(
                dns.events[0].message(),
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: \
                 1.1.1.1 1.1.1.2 1.1.1.3"
            );
        }
    }

    #[test]
    fn the_hosts_file_is_checked() {
        assert_eq!(ResolvConf::parse("a\nnameserver\n"), Err(ResolvConfError { line: 2 }));
        let conf = ResolvConf { searches: vec!["x".to_owned(); 30], ..ResolvConf::default() };
        assert_eq!(conf.limits_problem("/r", ""), None);
        assert_eq!(
            conf.limits_problem("/r", "cluster.local").as_deref(),
            Some("Resolv.conf file '/r' contains search line consisting of more than 29 domains!")
        );
    }
}
