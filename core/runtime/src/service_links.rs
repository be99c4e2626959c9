//! Variables that tell a container of services (CONTRACT 3.19): those of the API server always, all others of the pod's
//! namespace with `enableServiceLinks`.

use std::collections::BTreeMap;

use core_types::PodExt;
use core_types::api::Pod;
use core_types::runtime::KeyValue;
use k8s_openapi::api::core::v1::Service;

/// Namespace of the service that every pod is told of, and its name.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// What is known of services.
#[derive(Clone, Copy, Debug)]
pub enum Services<'a> {
    /// There is no API server to have any: pods are told of none.
    Standalone,
    /// The API server has not listed them yet.
    NotYetRead,
    /// All of them.
    Known(&'a [Service]),
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

/// The variables for containers of the pod, by service.
///
/// # Errors
/// The services are not known yet, or the pod does not say whether it wants them.
pub fn service_variables(pod: &Pod, services: Services<'_>) -> Result<Vec<KeyValue>, ServiceLinksError> {
    let all = pod.spec_ref().and_then(|spec| spec.enable_service_links);
    let all = all.ok_or(ServiceLinksError::Unset)?;
    let services = match services {
        Services::Standalone => return Ok(Vec::new()),
        Services::NotYetRead => return Err(ServiceLinksError::NotYetRead),
        Services::Known(services) => services,
    };
    let namespace = pod.key().namespace;
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let meta = &service.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let of = meta.namespace.as_deref().unwrap_or_default();
        if (of, name) == MASTER {
            chosen.entry(name).or_insert(service);
        } else if all && *of == *namespace {
            chosen.insert(name, service);
        }
    }
    Ok(chosen.into_iter().flat_map(|(name, service)| variables_of(name, service)).collect())
}

/// The variables of one service; none for a headless one.
fn variables_of(name: &str, service: &Service) -> Vec<KeyValue> {
    let spec = service.spec.as_ref();
    let ip = spec.and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let (Some(first), false) = (ports.first(), matches!(ip, "" | "None")) else { return Vec::new() };
    let upper = |text: &str| text.replace('-', "_").to_uppercase();
    let prefix = upper(name);
    let mut all = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    let named = ports.iter().filter_map(|port| Some((port.name.as_deref().filter(|n| !n.is_empty())?, port)));
    all.extend(
        named.map(|(name, port)| (format!("{prefix}_SERVICE_PORT_{}", upper(name)), port.port.to_string())),
    );
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{}", port.port);
        if index == 0 {
            all.push((format!("{prefix}_PORT"), url.clone()));
        }
        let one = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        all.push((format!("{one}_PROTO"), lower));
        all.push((format!("{one}_PORT"), port.port.to_string()));
        all.push((format!("{one}_ADDR"), ip.to_owned()));
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
        let all = service_variables(&pod, Services::Known(services)).unwrap();
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
}
