//! The hostname of a pod (CONTRACT 3.18).

use core_types::PodExt;
use core_types::api::Pod;

/// Longest hostname; the rest is cut.
const MAX_HOSTNAME_LEN: usize = 63;
/// Longest name the kernel keeps.
const MAX_FQDN_LEN: usize = 64;

/// Hostname and domain of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodHostname {
    /// Short name.
    pub hostname: String,
    /// `<subdomain>.<namespace>.svc.<cluster domain>`; empty without a subdomain.
    pub domain: String,
}

/// Why a pod has no usable hostname.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// Not a DNS name.
    #[error("pod {field} {value:?} is not a valid DNS {kind}: the pod cannot start")]
    Invalid {
        /// Field of the spec.
        field: &'static str,
        /// Its value.
        value: String,
        /// `label` or `subdomain`.
        kind: &'static str,
    },
    /// Nothing is left of it after cutting.
    #[error("hostname for pod {pod:?} was invalid: {hostname:?}")]
    Empty {
        /// Pod name.
        pod: String,
        /// The name before cutting.
        hostname: String,
    },
    /// Too long for the kernel.
    #[error(
        "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long \
         ({MAX_FQDN_LEN} characters is the max, {} characters requested)", fqdn.len()
    )]
    FqdnTooLong {
        /// The name.
        fqdn: String,
    },
}

/// Hostname and domain that a pod's containers and its hosts file use.
pub fn pod_hostname(pod: &Pod, cluster_domain: &str) -> Result<PodHostname, HostnameError> {
    let key = pod.key();
    let spec = pod.spec_ref();
    let field = |value: Option<&String>| value.filter(|value| !value.is_empty()).cloned();
    if let Some(name) = spec.and_then(|spec| field(spec.hostname_override.as_ref())) {
        check("HostnameOverride", &name, "subdomain")?;
        return Ok(PodHostname { hostname: cut(&key.name, &name)?, domain: String::new() });
    }
    let hostname = spec.and_then(|spec| field(spec.hostname.as_ref()));
    if let Some(name) = &hostname {
        check("Hostname", name, "label")?;
    }
    let hostname = cut(&key.name, hostname.as_deref().unwrap_or(&key.name))?;
    let domain = match spec.and_then(|spec| field(spec.subdomain.as_ref())) {
        Some(subdomain) => {
            check("Subdomain", &subdomain, "label")?;
            format!("{subdomain}.{}.svc.{cluster_domain}", key.namespace)
        }
        None => String::new(),
    };
    Ok(PodHostname { hostname, domain })
}

/// What the kernel of the sandbox is told: the short name, or the full one with `setHostnameAsFQDN`.
pub fn kernel_hostname(pod: &Pod, name: &PodHostname) -> Result<String, HostnameError> {
    let as_fqdn = pod.spec_ref().and_then(|spec| spec.set_hostname_as_fqdn).unwrap_or(false);
    if !as_fqdn || name.domain.is_empty() {
        return Ok(name.hostname.clone());
    }
    let fqdn = format!("{}.{}", name.hostname, name.domain);
    if fqdn.len() > MAX_FQDN_LEN { Err(HostnameError::FqdnTooLong { fqdn }) } else { Ok(fqdn) }
}

fn cut(pod: &str, hostname: &str) -> Result<String, HostnameError> {
    if hostname.len() <= MAX_HOSTNAME_LEN {
        return Ok(hostname.to_owned());
    }
    let end = (0..=MAX_HOSTNAME_LEN).rev().find(|at| hostname.is_char_boundary(*at)).unwrap_or(0);
    match hostname[..end].trim_end_matches(['-', '.']) {
        "" => Err(HostnameError::Empty { pod: pod.to_owned(), hostname: hostname.to_owned() }),
        cut => Ok(cut.to_owned()),
    }
}

fn check(field: &'static str, value: &str, kind: &'static str) -> Result<(), HostnameError> {
    let is_label = |label: &str| {
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = label.as_bytes();
        bytes.iter().all(|b| is_word(*b) || *b == b'-')
            && bytes.first().copied().is_some_and(is_word)
            && bytes.last().copied().is_some_and(is_word)
    };
    let is_valid = match kind {
        "label" => value.len() <= 63 && is_label(value),
        _ => value.len() <= 253 && value.split('.').all(is_label),
    };
    if is_valid { Ok(()) } else { Err(HostnameError::Invalid { field, value: value.to_owned(), kind }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_with;
    use serde_json::{Value, json};

    fn name(mut spec: Value) -> Result<(String, String, String), HostnameError> {
        spec["containers"] = json!([]);
        let pod = pod_with(spec);
        let name = pod_hostname(&pod, "cluster.local")?;
        let kernel = kernel_hostname(&pod, &name)?;
        Ok((name.hostname, name.domain, kernel))
    }

    #[test]
    fn names_come_from_the_spec_or_the_pod() {
        for (spec, hostname, domain, kernel) in [
            (json!({}), "web", "", "web"),
            (json!({"hostname": "h"}), "h", "", "h"),
            (json!({"hostname": "h", "subdomain": "s"}), "h", "s.shop.svc.cluster.local", "h"),
            (
                json!({"subdomain": "s", "setHostnameAsFQDN": true}),
                "web",
                "s.shop.svc.cluster.local",
                "web.s.shop.svc.cluster.local",
            ),
            (json!({"hostnameOverride": "a.b.c", "subdomain": "s"}), "a.b.c", "", "a.b.c"),
        ] {
            let expected = (hostname.to_owned(), domain.to_owned(), kernel.to_owned());
            assert_eq!(name(spec.clone()), Ok(expected), "{spec}");
        }
    }

    #[test]
    fn long_names_are_cut_and_do_not_end_in_a_separator() {
        let mut pod = pod_with(json!({"containers": []}));
        pod.metadata.name = Some(format!("{}-.tail", "a".repeat(61)));
        assert_eq!(pod_hostname(&pod, "").unwrap().hostname, "a".repeat(61));
        pod.metadata.name = Some("-".repeat(70));
        assert!(matches!(pod_hostname(&pod, ""), Err(HostnameError::Empty { .. })));
    }

    #[test]
    fn wrong_and_too_long_names_are_refused() {
        for spec in [json!({"hostname": "A"}), json!({"subdomain": "a.b"}), json!({"hostnameOverride": "-a"})]
        {
            assert!(matches!(name(spec), Err(HostnameError::Invalid { .. })));
        }
        let error = name(json!({"hostname": "a".repeat(50), "subdomain": "s", "setHostnameAsFQDN": true}));
        assert!(
            error.unwrap_err().to_string().ends_with("(64 characters is the max, 75 characters requested)")
        );
    }
}
