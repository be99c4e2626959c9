//! Variables that tell a container of services (CONTRACT 3.19): those of the API server always, all others of the pod's
//! namespace with `enableServiceLinks`.
//!
//! Keeps of a service what its variables need: a cluster has many, and a node looks at few.

use std::collections::BTreeMap;

use core_types::PodExt;
use core_types::api::Pod;
use core_types::runtime::KeyValue;
use k8s_openapi::api::core::v1::Service;
use serde::{Deserialize, Serialize};

/// Namespace of the service that every pod is told of, and its name.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Port {
    name: String,
    number: i32,
    protocol: String,
}

/// What variables tell of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    ip: String,
    ports: Vec<Port>,
}

impl Link {
    /// `None` for a headless service and for one without ports, of which nothing is told.
    fn of(service: &Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let ip = spec.cluster_ip.clone().filter(|ip| !matches!(ip.as_str(), "" | "None"))?;
        let ports = spec.ports.iter().flatten().map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            number: port.port,
            protocol: port
                .protocol
                .clone()
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| "TCP".to_owned()),
        });
        Some(Self { ip, ports: ports.collect() }).filter(|link| !link.ports.is_empty())
    }
}

/// The services of a cluster, by namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceBook(BTreeMap<String, BTreeMap<String, Link>>);

impl ServiceBook {
    /// Takes in a service that is new or has changed.
    pub fn put(&mut self, service: &Service) {
        let Some(link) = Link::of(service) else { return self.remove(service) };
        let (namespace, name) = name_of(service);
        self.0.entry(namespace.to_owned()).or_default().insert(name.to_owned(), link);
    }

    /// Takes out a service that is gone.
    pub fn remove(&mut self, service: &Service) {
        let (namespace, name) = name_of(service);
        let Some(services) = self.0.get_mut(namespace) else { return };
        services.remove(name);
        if services.is_empty() {
            self.0.remove(namespace);
        }
    }

    /// Forgets services of which no pod of the chosen namespaces is told.
    pub fn keep_namespaces(&mut self, is_chosen: impl Fn(&str) -> bool) {
        let (master_namespace, master) = MASTER;
        self.0.retain(|namespace, services| {
            if !is_chosen(namespace) {
                services.retain(|name, _| namespace == master_namespace && name == master);
            }
            !services.is_empty()
        });
    }

    fn master(&self) -> Option<(&str, &Link)> {
        let (namespace, name) = MASTER;
        Some((name, self.0.get(namespace)?.get(name)?))
    }
}

fn name_of(service: &Service) -> (&str, &str) {
    let meta = &service.metadata;
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// What is known of services.
#[derive(Clone, Copy, Debug)]
pub enum Services<'a> {
    /// There is no API server to have any: pods are told of none.
    Standalone,
    /// The API server has not listed them yet.
    NotYetRead,
    /// All of them.
    Known(&'a ServiceBook),
}

/// Why a container cannot be told of services. It is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceLinksError {
    /// Upstream's API sets the field; a pod without it came past the API.
    #[error("nil pod.spec.enableServiceLinks encountered, cannot construct envvars")]
    Unset,
    /// The list is not there yet.
    #[error("services have not yet been read at least once, cannot construct envvars")]
    NotYetRead,
}

/// The variables for containers of the pod, by service. Static pods wait for no API server: they are told of what is known.
///
/// # Errors
/// The services are not known yet, or the pod does not say whether it wants them.
pub fn service_variables(pod: &Pod, services: Services<'_>) -> Result<Vec<KeyValue>, ServiceLinksError> {
    let all = pod.spec_ref().and_then(|spec| spec.enable_service_links);
    let all = all.ok_or(ServiceLinksError::Unset)?;
    let services = match services {
        Services::Standalone => return Ok(Vec::new()),
        Services::NotYetRead if pod.is_static() => return Ok(Vec::new()),
        Services::NotYetRead => return Err(ServiceLinksError::NotYetRead),
        Services::Known(services) => services,
    };
    let mut chosen: BTreeMap<&str, &Link> = services.master().into_iter().collect();
    if let Some(own) = services.0.get(&*pod.key().namespace).filter(|_| all) {
        chosen.extend(own.iter().map(|(name, link)| (name.as_str(), link)));
    }
    Ok(chosen.into_iter().flat_map(|(name, link)| variables_of(name, link)).collect())
}

/// The variables of one service.
fn variables_of(name: &str, Link { ip, ports }: &Link) -> Vec<KeyValue> {
    let Some(first) = ports.first() else { return Vec::new() };
    let upper = |text: &str| text.replace('-', "_").to_uppercase();
    let prefix = upper(name);
    let mut all = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.clone()),
        (format!("{prefix}_SERVICE_PORT"), first.number.to_string()),
    ];
    let named = ports.iter().filter(|port| !port.name.is_empty());
    all.extend(
        named.map(|port| (format!("{prefix}_SERVICE_PORT_{}", upper(&port.name)), port.number.to_string())),
    );
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
    for (index, Port { number, protocol, .. }) in ports.iter().enumerate() {
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{number}");
        if index == 0 {
            all.push((format!("{prefix}_PORT"), url.clone()));
        }
        let one = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
        all.push((format!("{one}_PROTO"), lower));
        all.push((format!("{one}_PORT"), number.to_string()));
        all.push((format!("{one}_ADDR"), ip.clone()));
        all.push((one, url));
    }
    all.into_iter().map(|(key, value)| KeyValue { key, value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_with;
    use serde_json::{Value, json};

    fn service(namespace: &str, name: &str, ip: &str, ports: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": ip, "ports": ports}}))
        .unwrap()
    }

    fn variables(links: Value, services: &[Service]) -> BTreeMap<String, String> {
        let pod = pod_with(json!({"enableServiceLinks": links, "containers": []}));
        let mut book = ServiceBook::default();
        services.iter().for_each(|service| book.put(service));
        let all = service_variables(&pod, Services::Known(&book)).unwrap();
        all.into_iter().map(|env| (env.key, env.value)).collect()
    }

    #[test]
    fn names_and_values_are_upstreams() {
        let services = [
            service(
                "default",
                "kubernetes",
                "10.0.0.1",
                json!([{"name": "https", "port": 443, "protocol": "TCP"}]),
            ),
            service(
                "shop",
                "my-db",
                "fd00::1",
                json!([{"port": 53, "protocol": "UDP"}, {"name": "m-1", "port": 9}]),
            ),
            service("shop", "headless", "None", json!([{"port": 1}])),
            service("other", "foreign", "10.0.0.3", json!([{"port": 1}])),
            service("shop", "without-ports", "10.0.0.4", json!([])),
        ];
        let master = [
            ("KUBERNETES_PORT", "tcp://10.0.0.1:443"),
            ("KUBERNETES_PORT_443_TCP", "tcp://10.0.0.1:443"),
            ("KUBERNETES_PORT_443_TCP_ADDR", "10.0.0.1"),
            ("KUBERNETES_PORT_443_TCP_PORT", "443"),
            ("KUBERNETES_PORT_443_TCP_PROTO", "tcp"),
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
        ];
        let own = [
            ("MY_DB_PORT", "udp://[fd00::1]:53"),
            ("MY_DB_PORT_53_UDP", "udp://[fd00::1]:53"),
            ("MY_DB_PORT_53_UDP_ADDR", "fd00::1"),
            ("MY_DB_PORT_53_UDP_PORT", "53"),
            ("MY_DB_PORT_53_UDP_PROTO", "udp"),
            ("MY_DB_PORT_9_TCP", "tcp://[fd00::1]:9"),
            ("MY_DB_PORT_9_TCP_ADDR", "fd00::1"),
            ("MY_DB_PORT_9_TCP_PORT", "9"),
            ("MY_DB_PORT_9_TCP_PROTO", "tcp"),
            ("MY_DB_SERVICE_HOST", "fd00::1"),
            ("MY_DB_SERVICE_PORT", "53"),
            ("MY_DB_SERVICE_PORT_M_1", "9"),
        ];
        let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(variables(json!(false), &services), texts(&master));
        assert_eq!(variables(json!(true), &services), texts(&[&master[..], &own[..]].concat()));
    }

    #[test]
    fn what_is_not_known_is_waited_for() {
        let pod = pod_with(json!({"enableServiceLinks": true, "containers": []}));
        assert_eq!(service_variables(&pod, Services::Standalone), Ok(Vec::new()));
        assert_eq!(service_variables(&pod, Services::NotYetRead), Err(ServiceLinksError::NotYetRead));
        let unset = pod_with(json!({"containers": []}));
        assert_eq!(service_variables(&unset, Services::Standalone), Err(ServiceLinksError::Unset));
    }

    #[test]
    fn static_pods_wait_for_no_list() {
        let mut pod = pod_with(json!({"enableServiceLinks": true, "containers": []}));
        let source = (core_types::keys::CONFIG_SOURCE_ANNOTATION.to_owned(), "file".to_owned());
        pod.metadata.annotations.get_or_insert_default().extend([source]);
        assert_eq!(service_variables(&pod, Services::NotYetRead), Ok(Vec::new()));
    }

    #[test]
    fn changes_are_followed_and_what_is_gone_leaves_nothing() {
        let (mut book, port) = (ServiceBook::default(), json!([{"port": 1}]));
        book.put(&service("shop", "db", "10.0.0.1", port.clone()));
        book.put(&service("shop", "db", "10.0.0.2", port.clone()));
        let pod = pod_with(json!({"enableServiceLinks": true, "containers": []}));
        let all = service_variables(&pod, Services::Known(&book)).unwrap();
        assert_eq!((all[0].key.as_str(), all[0].value.as_str()), ("DB_SERVICE_HOST", "10.0.0.2"));
        // It becomes headless, or goes.
        book.put(&service("shop", "db", "None", port.clone()));
        book.put(&service("shop", "web", "10.0.0.3", port.clone()));
        book.remove(&service("shop", "web", "", port));
        assert_eq!(book, ServiceBook::default());
    }
}
