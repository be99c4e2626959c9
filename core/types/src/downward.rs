//! The downward API: what `fieldRef` and `resourceFieldRef` read of a pod (CONTRACT 3.19).
//!
//! Used by environment variables and by downwardAPI and projected volumes. Which paths a volume may use is the API
//! validation's matter; this module reads every path that upstream knows.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::{ObjectFieldSelector, ResourceFieldSelector};

use crate::Quantity;
use crate::api::{Container, Pod, QuantityText};

/// What of a pod is known besides its object.
#[derive(Clone, Copy, Debug)]
pub struct PodFacts<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// IPs of the node, primary first.
    pub host_ips: &'a [String],
    /// IPs of the pod, the node's primary family first.
    pub pod_ips: &'a [String],
}

/// Why a downward API reference has no value. The text becomes a container's waiting message or a mount's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownwardError {
    /// No such field, or not one that may be read.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    /// A field of another API version.
    #[error("unsupported pod version: {0}")]
    Version(String),
    /// `['key']` behind a field that has no keys.
    #[error("fieldPath {0:?} does not support subscript")]
    Subscript(String),
    /// The node's address is not known yet.
    #[error("the node has no address yet")]
    NoHostIp,
    /// No such resource, or not one that may be read.
    #[error("unsupported container resource : {0}")]
    Resource(String),
    /// The reference names a container that the pod does not have.
    #[error("container {0} not found")]
    Container(String),
    /// The divisor is not a positive quantity.
    #[error("divisor {0:?} of resource {1} is not a positive quantity")]
    Divisor(String, String),
}

/// Value of a `fieldRef`.
pub fn field_value(selector: &ObjectFieldSelector, facts: &PodFacts<'_>) -> Result<String, DownwardError> {
    let version = selector.api_version.as_deref().unwrap_or_default();
    if !matches!(version, "" | "v1") {
        return Err(DownwardError::Version(version.to_owned()));
    }
    let path = selector.field_path.as_str();
    let metadata = &facts.pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.annotations" => &metadata.annotations,
            "metadata.labels" => &metadata.labels,
            _ => return Err(DownwardError::Subscript(path.to_owned())),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let spec = facts.pod.spec.as_ref();
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    Ok(match path {
        "metadata.annotations" => format_map(metadata.annotations.iter().flatten()),
        "metadata.labels" => format_map(metadata.labels.iter().flatten()),
        "metadata.name" => text(metadata.name.as_ref()),
        "metadata.namespace" => text(metadata.namespace.as_ref()),
        "metadata.uid" => text(metadata.uid.as_ref()),
        "spec.nodeName" | "spec.host" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.hostIP" => facts.host_ips.first().cloned().ok_or(DownwardError::NoHostIp)?,
        "status.hostIPs" if facts.host_ips.is_empty() => return Err(DownwardError::NoHostIp),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => text(facts.pod_ips.first()),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(DownwardError::Field(path.to_owned())),
    })
}

/// Value of a `resourceFieldRef`, in whole divisors rounded up.
///
/// `container` is the container that asks (none in a volume, where the reference names one). A limit that neither the
/// container nor the pod sets is the node's `allocatable`; huge pages have no such default.
pub fn resource_value(
    selector: &ResourceFieldSelector,
    pod: &Pod,
    container: Option<&Container>,
    allocatable: &BTreeMap<String, Quantity>,
) -> Result<String, DownwardError> {
    let unsupported = || DownwardError::Resource(selector.resource.clone());
    let (part, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let (container, takes_default) = find_container(selector, pod, container)?;
    let resources = container.resources.as_ref();
    let amount = match part {
        "requests" => amount(resources.and_then(|resources| resources.requests.as_ref()), name),
        "limits" => {
            let own = amount(resources.and_then(|resources| resources.limits.as_ref()), name);
            let is_open = own.is_zero() && takes_default && !name.starts_with("hugepages-");
            if is_open { default_limit(pod, name, allocatable) } else { own }
        }
        _ => return Err(unsupported()),
    };
    let divisor = match &selector.divisor {
        None => Quantity::from_value(1),
        Some(text) => match Quantity::try_from(text) {
            Ok(divisor) if divisor.is_zero() => Quantity::from_value(1),
            Ok(divisor) => divisor,
            Err(_) => return Err(DownwardError::Divisor(text.0.clone(), selector.resource.clone())),
        },
    };
    let times = amount.divide_ceil(divisor);
    times
        .map(|times| times.to_string())
        .ok_or_else(|| DownwardError::Divisor(divisor.to_string(), selector.resource.clone()))
}

/// `key="escaped value"` lines in the order of the keys, as whole-map references show labels and annotations.
pub fn format_map<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut sorted: Vec<_> = pairs.into_iter().collect();
    sorted.sort();
    let lines: Vec<String> =
        sorted.into_iter().map(|(key, value)| format!("{key}={}", quote(value))).collect();
    lines.join("\n")
}

/// The container that a reference reads, and whether the node's allocatable stands in for its missing limits: upstream
/// fills them in for the asking container and for regular ones, not for other init containers.
fn find_container<'a>(
    selector: &ResourceFieldSelector,
    pod: &'a Pod,
    asking: Option<&'a Container>,
) -> Result<(&'a Container, bool), DownwardError> {
    let name = selector.container_name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return asking.map(|asking| (asking, true)).ok_or_else(|| DownwardError::Container(String::new()));
    }
    let spec = pod.spec.as_ref();
    let regular = spec.iter().flat_map(|spec| &spec.containers).map(|container| (container, true));
    // In a volume every container named takes the defaults.
    let init = spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let init = init.map(|container| (container, asking.is_none()));
    regular
        .chain(init)
        .find(|(container, _)| container.name == name)
        .ok_or_else(|| DownwardError::Container(name.to_owned()))
}

fn default_limit(pod: &Pod, name: &str, allocatable: &BTreeMap<String, Quantity>) -> Quantity {
    let Some(node) = allocatable.get(name) else { return Quantity::ZERO };
    let whole =
        pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()).and_then(|all| all.limits.as_ref());
    let whole = if name == "ephemeral-storage" { Quantity::ZERO } else { amount(whole, name) };
    if whole.is_zero() { *node } else { whole }
}

fn amount(list: Option<&BTreeMap<String, QuantityText>>, name: &str) -> Quantity {
    list.and_then(|list| list.get(name)).and_then(|text| text.try_into().ok()).unwrap_or_default()
}

/// Splits `path['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    (!map.is_empty()).then_some((map, key))
}

/// A Go string literal (`strconv.Quote`).
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            _ if is_printable(char) => out.push(char),
            _ => {
                let code = u32::from(char);
                // Writing to a String cannot fail.
                let _ = match code {
                    0..0x80 => write!(out, "\\x{code:02x}"),
                    0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

fn is_printable(char: char) -> bool {
    // `escape_debug` leaves printable characters alone; it escapes combining marks only at a text's start.
    let text = format!("a{char}");
    matches!(char, '\'' | ' '..='~') || text.escape_debug().eq(text.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1",
                "labels": {"b": "2", "a": "1"}, "annotations": {"note": "x \"y\"\n\u{1}\u{200b}é", "k[l]m": "z"}},
            "spec": {"nodeName": "n1", "serviceAccountName": "sa",
                "initContainers": [{"name": "init"}],
                "containers": [
                    {"name": "c", "resources": {"limits": {"cpu": "1500m", "hugepages-2Mi": "4Mi"},
                        "requests": {"memory": "100Mi", "cpu": "250m"}}},
                    {"name": "free"}]}
        }))
        .unwrap()
    }

    fn field(path: &str) -> Result<String, DownwardError> {
        let selector =
            ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() };
        let pod = pod();
        let host_ips = ["10.0.0.1".to_owned(), "fd00::1".to_owned()];
        let pod_ips = ["10.1.0.2".to_owned(), "fd00::2".to_owned()];
        field_value(&selector, &PodFacts { pod: &pod, host_ips: &host_ips, pod_ips: &pod_ips })
    }

    #[test]
    fn every_field_path_reads_its_field() {
        for (path, value) in [
            ("metadata.name", "web"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "u-1"),
            ("metadata.labels['a']", "1"),
            ("metadata.labels['missing']", ""),
            ("metadata.annotations['k[l]m']", "z"),
            ("metadata.labels", "a=\"1\"\nb=\"2\""),
            ("metadata.annotations", "k[l]m=\"z\"\nnote=\"x \\\"y\\\"\\n\\x01\\u200bé\""),
            ("spec.nodeName", "n1"),
            ("spec.serviceAccountName", "sa"),
            ("status.hostIP", "10.0.0.1"),
            ("status.hostIPs", "10.0.0.1,fd00::1"),
            ("status.podIP", "10.1.0.2"),
            ("status.podIPs", "10.1.0.2,fd00::2"),
        ] {
            assert_eq!(field(path).as_deref(), Ok(value), "{path}");
        }
    }

    #[test]
    fn unknown_fields_are_named() {
        assert_eq!(field("status.phase"), Err(DownwardError::Field("status.phase".to_owned())));
        assert_eq!(field("spec.x['y']"), Err(DownwardError::Subscript("spec.x['y']".to_owned())));
        assert_eq!(field("status.phase").unwrap_err().to_string(), "unsupported fieldPath: status.phase");
    }

    fn resource(container: &str, resource: &str, divisor: &str) -> Result<String, DownwardError> {
        let selector = ResourceFieldSelector {
            container_name: Some(container.to_owned()),
            resource: resource.to_owned(),
            divisor: (!divisor.is_empty()).then(|| QuantityText(divisor.to_owned())),
        };
        let allocatable = [("cpu", "4"), ("memory", "8Gi"), ("ephemeral-storage", "10G")]
            .map(|(name, text)| (name.to_owned(), text.parse().unwrap()));
        let pod = pod();
        let asking = &pod.spec.as_ref().unwrap().containers[0];
        resource_value(&selector, &pod, Some(asking), &allocatable.into_iter().collect())
    }

    #[test]
    fn resources_come_in_divisors_rounded_up() {
        for (container, name, divisor, value) in [
            ("", "limits.cpu", "", "2"),
            ("", "limits.cpu", "0", "2"),
            ("", "limits.cpu", "1m", "1500"),
            ("c", "requests.cpu", "1", "1"),
            ("c", "requests.memory", "1Mi", "100"),
            ("c", "requests.memory", "1Gi", "1"),
            ("c", "limits.hugepages-2Mi", "1Mi", "4"),
            ("free", "limits.hugepages-2Mi", "1Mi", "0"),
            ("", "limits.memory", "1Gi", "8"),
            ("free", "limits.cpu", "1", "4"),
            ("free", "requests.cpu", "1", "0"),
            ("free", "limits.ephemeral-storage", "1M", "10000"),
            ("init", "limits.cpu", "1", "0"),
        ] {
            assert_eq!(
                resource(container, name, divisor).as_deref(),
                Ok(value),
                "{container} {name} {divisor}"
            );
        }
    }

    #[test]
    fn wrong_resource_references_are_named() {
        assert_eq!(resource("x", "limits.cpu", ""), Err(DownwardError::Container("x".to_owned())));
        for name in ["limits.gpu", "cpu", "usage.cpu"] {
            assert_eq!(resource("", name, ""), Err(DownwardError::Resource(name.to_owned())));
        }
        assert!(matches!(resource("", "limits.cpu", "-1"), Err(DownwardError::Divisor(..))));
    }
}
